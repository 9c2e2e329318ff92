"""Computing metrics from masks of stored evaluations: predictions against labels, into a file for each metric.

Nothing is predicted again. Only metric files are written, whole and for finished evaluations, so that no lease is
taken: two that do the same work write the same. On the way the voxels are counted again, which checks ``cases.csv``.
"""

import functools
import itertools
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from ssdg.datasets.base import DataError, Domain, Task

from ..data.preprocess import label_map_of
from ..data.run_data import DataSource, find_domain
from ..errors import UsageError
from ..spec import PreprocessConfig
from ..storage.results_reader import StoredEvaluation
from ..storage.run_folder import prediction_path
from .case_file import COUNTS, RowKey, read_cases
from .case_values import CaseValues, CaseWork, compute_case
from .metric_file import Stored, path_of, read_entries, write_entries
from .metrics import REGIONS, Metric, mask_metrics

SAVE_INTERVAL = 20.0
"""Seconds after which an evaluation that is not finished is saved: what a killed process loses at most."""

Compute: TypeAlias = Callable[[Sequence[CaseWork]], Iterable[CaseValues]]
"""Does pieces of work and gives their results one by one, in their order."""

REMEDY = "; remove that evaluation's folder and score the run again"


class Observer(Protocol):
    """Progress of rescoring, for people."""

    def log(self, message: str) -> None:
        """Something worth a line of its own."""

    def scoring(self, domain: str, cases: int) -> None:
        """An evaluation begins."""

    def scored(self) -> None:
        """A case is done."""


@dataclass(frozen=True, slots=True)
class RescoreItem:
    """A finished evaluation with what its labels are found by."""

    name: str  # for people: row, seed and domain
    evaluation: StoredEvaluation
    task: Task
    domain: str  # of the cases, also where these are held-out source cases
    preprocess: PreprocessConfig


@dataclass(slots=True)
class Outcome:
    """Counts of cases, and messages of those that could not be computed."""

    computed: int = 0
    present: int = 0  # computed before
    failures: list[str] = field(default_factory=list)


@contextmanager
def workers(jobs: int, initializer: Callable[[], None]) -> Iterator[Compute]:
    """Yield a function that computes in so many processes, each begun by the initializer; 1: in this process."""
    if jobs == 1:
        yield functools.partial(map, compute_case)
        return
    # Not forked: this process may have threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, initializer=initializer) as pool:

        def compute(work: Sequence[CaseWork]) -> Iterable[CaseValues]:
            with _interrupts_held_back():  # it is here that processes start
                return pool.map(compute_case, work)

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
    """Computes metrics of evaluations; each domain's files are found and identified once.

    Args:
        data_source: where the labels are.
        compute: does the work; see :func:`workers`.
        commit: recorded with the values.
        names: of metrics from masks; None: those that suit the task's dimensions.
        again: also those that have values.
    """

    def __init__(
        self,
        data_source: DataSource,
        compute: Compute,
        commit: str,
        names: Sequence[str] | None = None,
        again: bool = False,
    ) -> None:
        self.data_source = data_source
        self.compute = compute
        self.commit = commit
        self.names = names
        self.again = again
        self.outcome = Outcome()
        self._domains: dict[tuple[str, str], tuple[Domain, str]] = {}

    def rescore(self, item: RescoreItem, observer: Observer) -> None:
        """Compute what an evaluation lacks and write it; what fails is among the outcome's failures."""
        try:
            values = _EvaluationValues(item, self._metrics(item.task.ndim))
            lacking = values.lacking(self.again)
            self.outcome.present += len(values.rows) - len(lacking)
            work = self._work(item, lacking, observer) if lacking else []
        except (DataError, UsageError) as error:
            self.outcome.failures.append(f"{item.name}: {error}")
            return
        if work:
            observer.scoring(item.name, len(work))
            self._run(values, work, observer)

    def _metrics(self, ndim: int) -> list[Metric]:
        known = mask_metrics()
        if self.names is not None:
            return [known[name] for name in self.names]
        return [metric for metric in known.values() if ndim in metric.default_ndims]

    def _work(self, item: RescoreItem, lacking: Mapping[str, Sequence[str]], observer: Observer) -> list[CaseWork]:
        domain = self._domain(item, observer)
        label_map = dict(label_map_of(domain, item.preprocess))
        task, folder = item.task, item.evaluation.path
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

    def _domain(self, item: RescoreItem, observer: Observer) -> Domain:
        """Return the domain of an evaluation's cases; DataError where its files are not those that were scored."""
        key = item.task.name, item.domain
        if key not in self._domains:
            located = find_domain(item.task, item.domain, self.data_source, observer.log)
            self._domains[key] = located.domain, located.manifest.digest
        domain, manifest = self._domains[key]
        scored_on = item.evaluation.data.get("manifest")
        if manifest != scored_on:
            raise DataError(
                f"the files of {item.domain} have changed since (manifest {scored_on} then, {manifest} now): "
                f"put back those that {item.evaluation.path} was scored on, or score the run again"
            )
        return domain

    def _run(self, values: "_EvaluationValues", work: Sequence[CaseWork], observer: Observer) -> None:
        saved = time.monotonic()
        try:
            for case, result in zip(work, self.compute(work), strict=True):
                if problem := values.take(case, result, self.commit):
                    self.outcome.failures.append(f"{values.item.name}: {problem}")
                else:
                    self.outcome.computed += 1
                observer.scored()
                if time.monotonic() - saved > SAVE_INTERVAL:
                    values.save()
                    saved = time.monotonic()
        finally:
            values.save()


class _EvaluationValues:
    """The metric files of an evaluation in the making."""

    def __init__(self, item: RescoreItem, metrics: Sequence[Metric]) -> None:
        self.item = item
        self.metrics = metrics
        self.keys = read_cases(item.evaluation).row_keys()
        self.rows: dict[str, list[RowKey]] = {}  # by case
        for key in self.keys:
            self.rows.setdefault(key[0], []).append(key)
        self.entries = {metric.name: read_entries(item.evaluation.path, metric) for metric in metrics}
        self.changed: set[str] = set()

    def lacking(self, again: bool) -> dict[str, list[str]]:
        """Return the metrics that each case lacks, of the cases that lack any; again: all."""
        regions = REGIONS if self.item.task.ndim == 2 else ("image",)
        lacking = {}
        for case, rows in self.rows.items():
            needed = [(row, region) for row in rows for region in regions]
            names = [name for name, known in self.entries.items() if again or not known.keys() >= set(needed)]
            if names:
                lacking[case] = names
        return lacking

    def take(self, work: CaseWork, result: CaseValues, commit: str) -> str:
        """Keep the values of a case; return what is wrong where there are none or its counts are not cases.csv's."""
        rows = self.rows[work.case.id]
        problem = result.error or _difference(work, rows, result)
        self.changed |= set(work.names)
        for name in work.names:
            known = self.entries[name]
            for row, region in itertools.product(rows, REGIONS):
                known.pop((row, region), None)
                if not problem and region in result.values:
                    known[row, region] = Stored(result.values[region][int(row[1]) - 1][name], commit)
        return problem

    def save(self) -> None:
        """Write what changed, in the order of ``cases.csv``."""
        folder = self.item.evaluation.path
        for metric in self.metrics:
            if metric.name in self.changed and (self.entries[metric.name] or path_of(folder, metric).exists()):
                write_entries(folder, metric, self.keys, self.entries[metric.name])
        self.changed.clear()


def _difference(work: CaseWork, rows: Sequence[RowKey], result: CaseValues) -> str:
    if sorted(int(row[1]) for row in rows) != list(range(1, work.classes)):
        listed = ", ".join(row[1] for row in rows)
        return f"case {work.case.id}: cases.csv has classes {listed}, and the task 1 to {work.classes - 1}{REMEDY}"
    for _, index, _, counts in rows:
        counted = " ".join(map(str, result.counts[int(index) - 1]))
        if counted != counts:
            return (
                f"case {work.case.id}, class {index}: cases.csv says {_listed(counts)}, but "
                f"{work.prediction} has {_listed(counted)}{REMEDY}"
            )
    return ""


def _listed(counts: str) -> str:
    return ", ".join(f"{name} {value}" for name, value in zip(COUNTS, counts.split(), strict=True))
