"""An allocation of Slurm: jobs side by side, each a process of its own. Queued allocations name this module."""

from collections.abc import Sequence
from pathlib import Path

from submitit.helpers import DelayedSubmission

from ..job_file import JobFile, read_job
from ..local import Finished, LocalLauncher

SAVING = 60.0
"""Seconds that runs get to write a checkpoint once the allocation is told that it ends."""


class Allocation:
    """The callable that submitit pickles by reference; its state is the seconds that jobs get to stop."""

    def __init__(self, saving: float = SAVING) -> None:
        self.saving = saving
        self._launcher: LocalLauncher | None = None

    def __call__(self, files: Sequence[str]) -> None:
        """Run the jobs of some job files at the same time, to their ends."""
        jobs = [JobFile(read_job(Path(file), {}), Path(file)) for file in files]
        self._launcher = LocalLauncher(len(jobs), finished=_report)
        ended = self._launcher.run(jobs)
        if failed := [finished.file.job.name for finished in ended if finished.failed]:
            # So that Slurm's own records do not call the allocation a success.
            raise RuntimeError(f"{len(failed)} of {len(jobs)} runs failed: {', '.join(failed)}")

    def checkpoint(self, files: Sequence[str]) -> DelayedSubmission:
        """Return what is to be run again, once the jobs have stopped; submitit calls this in its signal handler."""
        if self._launcher is not None:
            self._launcher.stop(self.saving)
        return DelayedSubmission(Allocation(self.saving), files)


def _report(finished: Finished) -> None:
    print(f"{finished.file.job.name}: {finished.outcome}", flush=True)
