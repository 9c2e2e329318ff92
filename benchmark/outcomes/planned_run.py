"""A planned run and the stored run that satisfies it: what a sweep starts and `bench status` shows."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ..launching.job_file import JobFile, job_name
from ..spec import RunRequest
from ..storage.results_reader import StoredEvaluation, StoredRun, last_error
from ..storage.run_folder import VALIDATION, State
from ..suites.suite import Column, Planned, Row
from .match import find_evaluation, match_runs

AGAIN: tuple[State, ...] = ("QUEUED", "STALE", "RUNNING", "DONE")
"""States a sweep works on; FAILED and DIVERGED runs are left to ``bench retry``. A running one is waited for."""

REASONS = {
    "DIVERGED": "diverged",
    "FAILED": "failed",
    "RUNNING": "running",
    "STALE": "interrupted",
    "QUEUED": "queued",
    "DONE": "not scored",
}
"""Why a run's state leaves a hole, the most telling first."""

NOT_RESCORED = "not rescored"
NOT_RUN = "not run"


@dataclass(frozen=True)
class PlannedRun:
    """A planned run and the stored run that satisfies it, if any."""

    planned: Planned
    stored: StoredRun | None
    job_of: Callable[[Planned], JobFile] | None = field(default=None, repr=False, compare=False)

    @property
    def row(self) -> Row:
        """The row it is for."""
        return self.planned.row

    @property
    def request(self) -> RunRequest:
        """What is asked for."""
        return self.planned.request

    @property
    def name(self) -> str:
        """Short name for people: row and seed, and what else tells the row's runs apart."""
        return job_name(self.request, self.row.id)

    @property
    def targets(self) -> tuple[str, ...]:
        """Domains its evaluations score."""
        return tuple(column.target for column in self.planned.columns)

    def contributes(self, column: Column) -> bool:
        """Tell whether it scores a column of a table, which may be one of validation cases."""
        if column.target == VALIDATION:
            return (self.request.task, self.request.source) == (column.task, column.source)
        return column in self.planned.columns

    @cached_property
    def job(self) -> JobFile:
        """Job file of what is left to do; it need not exist."""
        assert self.job_of is not None, "planned without a folder of jobs"
        return self.job_of(self.planned)

    def evaluation(self, domain: str) -> StoredEvaluation | None:
        """Return the finished evaluation on a domain that the plan asks for."""
        return None if self.stored is None else find_evaluation(self.stored, domain, self.request)

    def state_of(self, domain: str) -> State:
        """Return the state of one evaluation: DONE once scored, QUEUED while only that is left.

        FAILED also where the job failed before there was a run that could say so.
        """
        if self.evaluation(domain) is not None:
            return "DONE"
        state: State = "QUEUED" if self.stored is None or self.stored.state == "DONE" else self.stored.state
        lost = state in ("QUEUED", "STALE") and self.job_of is not None and self.job.failure.exists()
        return "FAILED" if lost else state

    @cached_property
    def state(self) -> State:
        """State of the run: DONE once it is trained and every evaluation is there."""
        states = map(self.state_of, (*self.targets, VALIDATION))
        return next((state for state in states if state != "DONE"), "DONE")

    @property
    def trained(self) -> bool:
        """Whether its final weights are there, whatever is left to score."""
        return self.stored is not None and self.stored.trained

    @property
    def error(self) -> str:
        """Why it failed, if it did."""
        message = last_error(self.stored.path) if self.stored is not None else ""
        return message or (self.job.failed_with if self.state == "FAILED" and self.job_of is not None else "")


def match_plan(
    runs: Sequence[Planned], stored: Iterable[StoredRun], job_of: Callable[[Planned], JobFile] | None = None
) -> tuple[list[PlannedRun], list[str]]:
    """Return each planned run with the stored run that satisfies it, and notes about runs left out.

    Raises:
        UsageError: runs that belong in one table were trained on different data.
    """
    matched, notes = match_runs(runs, stored)
    return [PlannedRun(planned, run, job_of) for planned, run in zip(runs, matched, strict=True)], notes


def hole_reason(reasons: Iterable[str]) -> str:
    """Return the most telling of several reasons for a hole; "" for none."""
    reasons = set(reasons)
    return next((reason for reason in (*REASONS.values(), NOT_RESCORED, NOT_RUN) if reason in reasons), "")


def tally(states: Iterable[State]) -> str:
    """Return the counts of states as text: "4 DONE, 2 QUEUED"."""
    counts = Counter(states)
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
