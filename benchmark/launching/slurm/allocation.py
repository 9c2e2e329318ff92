"""What Slurm runs: some jobs side by side, each a process with a run folder, a state and a log of its own."""

from collections.abc import Sequence
from pathlib import Path

from submitit.helpers import DelayedSubmission

from ..job_file import JobFile, read_job
from ..local import Finished, LocalLauncher

SAVING = 60.0
"""Seconds that runs get to write a checkpoint once the allocation is told that it ends."""


class Allocation:
    """The callable that submitit pickles, by reference: it holds the time that jobs get to stop, and nothing else.

    Args:
        saving: seconds that the jobs get to stop before the allocation is put back into the queue.
    """

    def __init__(self, saving: float = SAVING) -> None:
        self.saving = saving
        self._launcher: LocalLauncher | None = None

    def __call__(self, files: Sequence[str]) -> None:
        """Run the jobs of some job files at the same time, to their ends.

        Raises:
            RuntimeError: some failed; so that Slurm's own records do not call the allocation a success.
        """
        jobs = [JobFile(read_job(Path(file), {}), Path(file)) for file in files]
        self._launcher = LocalLauncher(len(jobs), finished=_report)
        ended = self._launcher.run(jobs)
        failed = [one for one in ended if one.failed]
        if failed:
            raise RuntimeError(
                f"{len(failed)} of {len(jobs)} runs failed: {', '.join(o.file.job.name for o in failed)}"
            )

    def checkpoint(self, files: Sequence[str]) -> DelayedSubmission:
        """Return what is to be run again, once the jobs have stopped; submitit calls this in its signal handler."""
        if self._launcher is not None:
            self._launcher.stop(self.saving)
        return DelayedSubmission(Allocation(self.saving), files)


def _report(one: Finished) -> None:
    print(f"{one.file.job.name}: {one.outcome}", flush=True)
