"""What a suite asks for against what is on disk: the plan of a sweep, and the states that ``bench status`` shows."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .jobs import Job, Place
from .match import find_evaluation, match_runs
from .store import HELD_OUT, State, StoredRun, last_error
from .suite import Planned

AGAIN: tuple[State, ...] = ("QUEUED", "STALE", "RUNNING", "DONE")
"""States a sweep works on; FAILED and DIVERGED runs are left to ``bench retry``. A running one is waited for."""


@dataclass(frozen=True, slots=True)
class Item:
    """One planned run and what is there of it."""

    planned: Planned
    run: StoredRun | None

    @property
    def targets(self) -> tuple[str, ...]:
        """The domains its evaluations score."""
        return tuple(column.target for column in self.planned.columns)

    def state_of(self, target: str) -> State:
        """Return the state of the run's cell for one target: DONE once it is scored."""
        if self.run is None:
            return "QUEUED"
        if find_evaluation(self.run, target, self.planned.request) is not None:
            return "DONE"
        return "STALE" if self.run.state == "DONE" else self.run.state

    @property
    def state(self) -> State:
        """The run's state: DONE once it is trained and every evaluation is there."""
        states = [self.state_of(target) for target in (*self.targets, HELD_OUT)]
        return next((state for state in states if state != "DONE"), "DONE")

    @property
    def error(self) -> str:
        """Why it failed, if it did."""
        return last_error(self.run.path) if self.run is not None else ""


def survey(plan: Sequence[Planned], runs: Iterable[StoredRun]) -> list[Item]:
    """Return each planned run with what is there of it."""
    matched, _notes = match_runs(plan, runs)
    return [Item(planned, run) for planned, run in zip(plan, matched, strict=True)]


def jobs_of(
    items: Sequence[Item],
    place: Place,
    states: Iterable[State],
    task_files: dict[str, Path],
    plugins: tuple[Path, ...],
) -> list[Job]:
    """Return the jobs for the items in some of the states, each of which leaves alone what is done of it."""
    wanted = set(states)
    return [
        Job(
            request=item.planned.request,
            targets=item.targets,
            # Another sweep may work on the same run: its result is as good, so wait for it.
            place=replace(place, wait=float("inf")),
            task_file=task_files.get(item.planned.request.task),
            plugins=plugins,
            row=item.planned.row.id,
        )
        for item in items
        if item.state in wanted
    ]


def tally(items: Sequence[Item]) -> str:
    """Return the counts of states as text: "4 DONE, 2 QUEUED"."""
    counts = Counter(item.state for item in items)
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
