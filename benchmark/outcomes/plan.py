"""What a suite asks for against what is on disk: the plan of a sweep, and the states that ``bench status`` shows."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..launching.job_file import Job, JobFile, job_file, job_name
from ..storage.results_reader import StoredEvaluation, StoredRun, last_error
from ..storage.run_folder import HELD_OUT, RunFolder, State
from ..suites.suite import Planned
from ..training.runtime import Runtime
from .match import find_evaluation, match_runs

AGAIN: tuple[State, ...] = ("QUEUED", "STALE", "RUNNING", "DONE")
"""States a sweep works on; FAILED and DIVERGED runs are left to ``bench retry``. A running one is waited for."""


@dataclass(frozen=True, slots=True)
class Item:
    """One planned run and what is there of it."""

    planned: Planned
    run: StoredRun | None

    @property
    def name(self) -> str:
        """A short name for people: row and seed, and what else tells the row's runs apart."""
        return job_name(self.planned.request, self.planned.row.id)

    @property
    def targets(self) -> tuple[str, ...]:
        """The domains its evaluations score."""
        return tuple(column.target for column in self.planned.columns)

    def evaluation(self, target: str) -> StoredEvaluation | None:
        """Return the finished evaluation of the run on a target that the plan asks for."""
        return None if self.run is None else find_evaluation(self.run, target, self.planned.request)

    def state_of(self, target: str) -> State:
        """Return the state of the run's cell for one target: DONE once scored, QUEUED while only that is left."""
        if self.run is None:
            return "QUEUED"
        if self.evaluation(target) is not None:
            return "DONE"
        return "QUEUED" if self.run.state == "DONE" else self.run.state

    @property
    def state(self) -> State:
        """The run's state: DONE once it is trained and every evaluation is there."""
        states = [self.state_of(target) for target in (*self.targets, HELD_OUT)]
        return next((state for state in states if state != "DONE"), "DONE")

    @property
    def trained(self) -> bool:
        """Whether its final weights are there, whatever is left to score."""
        return self.run is not None and RunFolder(self.run.path).trained

    @property
    def error(self) -> str:
        """Why it failed, if it did."""
        return last_error(self.run.path) if self.run is not None else ""


def survey(plan: Sequence[Planned], runs: Iterable[StoredRun]) -> list[Item]:
    """Return each planned run with what is there of it."""
    matched, _notes = match_runs(plan, runs)
    return [Item(planned, run) for planned, run in zip(plan, matched, strict=True)]


class Work:
    """A planned run as a launcher sees it: with the job that does what is left of it.

    Args:
        item: the run.
        folder: where the suite's job files are kept.
        place: where and how its job is to run.
        task_files: files of the tasks that are a user's own, by name.
        plugins: files of methods.
    """

    def __init__(
        self, item: Item, folder: Path, place: Runtime, task_files: Mapping[str, Path], plugins: tuple[Path, ...]
    ) -> None:
        self.item = item
        self._folder = folder
        self._place = place
        self._task_files = task_files
        self._plugins = plugins

    @cached_property
    def file(self) -> JobFile:
        """The job's file, which need not exist."""
        request = self.item.planned.request
        job = Job(
            request=request,
            targets=self.item.targets,
            runtime=self._place,
            task_file=self._task_files.get(request.task),
            plugins=self._plugins,
            row=self.item.planned.row.id,
        )
        return job_file(self._folder, job)

    @cached_property
    def state(self) -> State:
        """The run's state; FAILED also where its job did before there was a run that could say so."""
        return self._unless_failed(self.item.state)

    def state_of(self, target: str) -> State:
        """Return the state of the run's cell for one target, likewise."""
        return self._unless_failed(self.item.state_of(target))

    def _unless_failed(self, state: State) -> State:
        return "FAILED" if state in ("QUEUED", "STALE") and self.file.failure.exists() else state

    @property
    def error(self) -> str:
        """Why it failed, if it did."""
        return self.item.error or (self.file.failed_with if self.state == "FAILED" else "")


def tally(states: Iterable[State]) -> str:
    """Return the counts of states as text: "4 DONE, 2 QUEUED"."""
    counts = Counter(states)
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
