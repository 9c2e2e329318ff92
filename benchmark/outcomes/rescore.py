"""Measuring shapes of what is stored: predictions against labels, into a ``shapes.csv`` beside each ``cases.csv``.

Nothing is predicted again. Only that one file is written, whole and for finished evaluations, so that no lease is
taken: two that do the same work write the same. On the way the voxels are counted again, which checks ``cases.csv``.
"""

import csv
import functools
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

from ssdg.datasets.base import DataError, Domain, Task

from ..data.preprocess import label_map_of
from ..data.run_data import Shelf, find_domain
from ..errors import UsageError
from ..launching.job_file import job_name
from ..launching.worker import end_with_launcher
from ..scoring.case_file import read_cases
from ..scoring.case_shapes import CaseShapes, CaseWork, measure_case
from ..scoring.shape_file import SHAPES, add_values, current_values, has_measure, write_shapes
from ..storage.results_reader import StoredEvaluation, StoredRun
from ..storage.run_folder import CASE_COLUMNS, HELD_OUT, prediction_path
from ..suites.suite import Planned
from ..training.progress import RunObserver
from .match import find_evaluation, match_runs

DEFAULT_NAMES = {2: tuple(SHAPES), 3: tuple(name for name in SHAPES if name != "cldice")}
"""By dimensions; centre lines say little of tissues and take the longest: in 3D they are asked for by name."""

SAVE_INTERVAL = 20.0
"""Seconds after which an evaluation that is not finished is saved: what a killed process loses at most."""

Compute: TypeAlias = Callable[[Sequence[CaseWork]], Iterable[CaseShapes]]
"""Does pieces of work and gives their results one by one, in their order."""

REMEDY = "; remove that evaluation's folder and score the run again"

_COUNTED = CASE_COLUMNS[CASE_COLUMNS.index("tp") :]


@dataclass(frozen=True, slots=True)
class Subject:
    """An evaluation to measure."""

    name: str  # for people: row, seed and domain
    run: StoredRun
    evaluation: StoredEvaluation
    task: Task

    @property
    def domain(self) -> str:
        """The domain that the cases are of."""
        return self.run.spec.request.source if self.evaluation.domain == HELD_OUT else self.evaluation.domain


@dataclass(slots=True)
class Outcome:
    """What came of measuring."""

    measured: int = 0  # cases
    there: int = 0  # cases that had been measured before
    failures: list[str] = field(default_factory=list)


def find_subjects(
    plan: Sequence[Planned], runs: Sequence[StoredRun], tasks: Mapping[str, Task]
) -> tuple[list[Subject], list[str]]:
    """Return every finished evaluation that a suite's table can show, and notes about runs that are left out.

    Raises:
        UsageError: runs that cannot share a table.
    """
    stored, notes = match_runs(plan, runs)
    subjects = {}
    for planned, run in zip(plan, stored, strict=True):
        if run is None:
            continue
        held_out = () if planned.row.per_target else (HELD_OUT,)
        for domain in (*held_out, *(column.target for column in planned.columns)):
            found = find_evaluation(run, domain, planned.request)
            if found is not None:
                name = f"{job_name(planned.request, planned.row.id)} on {domain}"
                subjects[found.path] = Subject(name, run, found, tasks[planned.request.task])
    return list(subjects.values()), notes


@contextmanager
def workers(jobs: int) -> Iterator[Compute]:
    """Yield what computes in so many processes at a time; one computes in this process."""
    if jobs == 1:
        yield functools.partial(map, measure_case)
        return
    # Not forked: this process may have threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, initializer=end_with_launcher) as pool:

        def compute(work: Sequence[CaseWork]) -> Iterable[CaseShapes]:
            with _interrupts_held_back():  # it is here that processes start
                return pool.map(measure_case, work)

        try:
            yield compute
        except BrokenProcessPool:
            raise UsageError("a worker process was killed, perhaps for want of memory: give fewer --jobs") from None
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Start processes that never hear Ctrl-C, which is this one's to answer: it does so at the end of the block."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # processes inherit it
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


class Rescorer:
    """Measures evaluations; each domain's files are found and identified once.

    Args:
        shelf: where the labels are.
        compute: does the work; see :func:`workers`.
        commit: recorded beside the values.
        names: of measures; None: those that suit the task's dimensions.
        again: also what was measured before.
    """

    def __init__(
        self, shelf: Shelf, compute: Compute, commit: str, names: Sequence[str] | None = None, again: bool = False
    ) -> None:
        self.shelf = shelf
        self.compute = compute
        self.commit = commit
        self.names = names
        self.again = again
        self.outcome = Outcome()
        self._domains: dict[tuple[str, str], tuple[Domain, str]] = {}

    def rescore(self, subject: Subject, watcher: RunObserver) -> None:
        """Measure what an evaluation lacks and write it; what cannot be measured is among the outcome's failures."""
        try:
            file = _File(subject, self.again)
            lacking = file.lacking(self.names or DEFAULT_NAMES[subject.task.ndim])
            self.outcome.there += len(file.rows) - len(lacking)
            work = self._work(subject, lacking, watcher) if lacking else []
        except (DataError, UsageError) as error:
            self.outcome.failures.append(f"{subject.name}: {error}")
            return
        if work:
            watcher.scoring(subject.name, len(work))
            self._measure(file, work, watcher)

    def _work(self, subject: Subject, lacking: Mapping[str, Sequence[str]], watcher: RunObserver) -> list[CaseWork]:
        domain = self._domain(subject, watcher)
        label_map = dict(label_map_of(domain, subject.run.spec.request.preprocess))
        task, folder = subject.task, subject.evaluation.path
        cases = {case.id: case for case in domain.cases}
        if foreign := sorted(lacking.keys() - cases.keys()):
            raise DataError(f"{folder / 'cases.csv'} names cases that {domain.name} lacks: {', '.join(foreign)}")
        return [
            CaseWork(
                case=cases[name],
                prediction=prediction_path(folder, name, task.ndim),
                label_map=label_map,
                ndim=task.ndim,
                classes=len(task.classes),
                names=tuple(names),
            )
            for name, names in lacking.items()
        ]

    def _domain(self, subject: Subject, watcher: RunObserver) -> Domain:
        """Return the domain of an evaluation's cases; DataError where its files are not those that were scored."""
        key = subject.task.name, subject.domain
        if key not in self._domains:
            found = find_domain(subject.task, subject.domain, self.shelf, watcher.log)
            self._domains[key] = found.domain, found.manifest.digest
        domain, manifest = self._domains[key]
        scored_on = subject.evaluation.data.get("manifest")
        if manifest != scored_on:
            raise DataError(
                f"the files of {subject.domain} have changed since (manifest {scored_on} then, {manifest} now): "
                f"put back those that {subject.evaluation.path} was scored on, or score the run again"
            )
        return domain

    def _measure(self, file: "_File", work: Sequence[CaseWork], watcher: RunObserver) -> None:
        saved = time.monotonic()
        try:
            for case, shapes in zip(work, self.compute(work), strict=True):
                problem = shapes.error or file.take(case, shapes, self.commit)
                if problem:
                    self.outcome.failures.append(f"{file.subject.name}: {problem}")
                else:
                    self.outcome.measured += 1
                watcher.scored()
                if time.monotonic() - saved > SAVE_INTERVAL:
                    file.save()
                    saved = time.monotonic()
        finally:
            file.save()


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of ``cases.csv``."""

    line: str
    index: int  # of the class
    counts: tuple[int, ...]


class _File:
    """An evaluation's ``shapes.csv`` in the making."""

    def __init__(self, subject: Subject, again: bool) -> None:
        self.subject = subject
        lines = read_cases(subject.evaluation, "image").lines
        self.rows: dict[str, list[_Row]] = {}  # by case
        for line, values in zip(lines, csv.DictReader(lines, CASE_COLUMNS), strict=True):
            row = _Row(line, int(values["class_index"]), tuple(int(values[name]) for name in _COUNTED))
            self.rows.setdefault(values["case"], []).append(row)
        self.known = {} if again else current_values(subject.evaluation.path, lines)  # by line

    def lacking(self, names: Sequence[str]) -> dict[str, list[str]]:
        """Return the measures that each case lacks, of the cases that lack any."""
        found = {
            case: [name for name in names if not all(has_measure(self.known.get(row.line, {}), name) for row in rows)]
            for case, rows in self.rows.items()
        }
        return {case: missing for case, missing in found.items() if missing}

    def take(self, work: CaseWork, shapes: CaseShapes, commit: str) -> str:
        """Keep what was measured of a case; return what is wrong where its counts are not those of ``cases.csv``."""
        rows = self.rows[work.case.id]
        if sorted(row.index for row in rows) != list(range(1, work.classes)):
            found = ", ".join(str(row.index) for row in rows)
            return f"case {work.case.id}: cases.csv has classes {found}, and the task 1 to {work.classes - 1}{REMEDY}"
        for row in rows:
            counted = shapes.counts[row.index - 1]
            if counted != row.counts:
                return (
                    f"case {work.case.id}, class {row.index}: cases.csv says {_listed(row.counts)}, but "
                    f"{work.prediction} has {_listed(counted)}{REMEDY}"
                )
        for row in rows:
            values = shapes.values[row.index - 1]
            self.known[row.line] = add_values(self.known.get(row.line, {}), work.names, values, commit)
        return ""

    def save(self) -> None:
        """Write what is known, in the order of ``cases.csv``."""
        ordered = [row.line for rows in self.rows.values() for row in rows if row.line in self.known]
        if ordered:
            write_shapes(self.subject.evaluation.path, {line: self.known[line] for line in ordered})


def _listed(counts: Sequence[int]) -> str:
    return ", ".join(f"{name} {value}" for name, value in zip(_COUNTED, counts, strict=True))
