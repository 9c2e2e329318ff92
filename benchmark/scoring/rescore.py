"""Computing metrics from masks of stored predictions and labels, into a file for each metric.

Only metric files are written, whole and for finished evaluations, so that no lease is needed: who saves adds to what
is there by then, and two processes that do the same work write the same. The voxels are counted again, which checks
``cases.csv``.
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
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from ssdg.datasets.base import DataError, Task

from ..data.images import file_ndim
from ..data.run_data import DataSource, LocatedDomain, find_domain
from ..errors import UsageError
from ..progress import Display
from ..spec import PreprocessConfig
from ..storage.results_reader import StoredEvaluation
from ..storage.run_folder import COUNTS, prediction_path
from .case_file import RowKey, read_cases
from .case_values import CaseValues, CaseWork, compute_case
from .metric_file import Stored, path_of, read_entries, write_entries
from .metrics import REGIONS, Metric, find_metric, mask_metrics

SAVE_INTERVAL = 20.0
"""Seconds between saves of an unfinished evaluation: the most a killed process loses."""

Compute: TypeAlias = Callable[[Sequence[CaseWork]], Iterable[CaseValues]]
"""Computes cases and yields their results in order."""

REMEDY = "; remove that evaluation's folder and score the run again"


@dataclass(frozen=True, slots=True)
class RescoreItem:
    """A finished evaluation, and the domain of its labels."""

    name: str  # row, seed and domain, for messages
    evaluation: StoredEvaluation
    task: Task
    domain: str  # of the cases, also if these are validation cases
    preprocess: PreprocessConfig


@contextmanager
def workers(jobs: int, initializer: Callable[[], None]) -> Iterator[Compute]:
    """Yield a function that computes in some processes, each begun by the initializer; 1: in this process."""
    if jobs == 1:
        yield functools.partial(map, compute_case)
        return
    # Not forked: this process may have threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, initializer=initializer) as pool:

        def compute(work: Sequence[CaseWork]) -> Iterable[CaseValues]:
            # The processes that start here ignore Ctrl-C, because they inherit this mask; this one answers it after.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                return pool.map(compute_case, work)
            finally:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

        try:
            yield compute
        except BrokenProcessPool:
            raise UsageError("a worker process was killed, perhaps for want of memory: give fewer --jobs") from None
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


@dataclass
class Rescorer:
    """Computes metrics of evaluations; each domain's files are found and identified once."""

    data_source: DataSource  # of the labels
    compute: Compute  # see :func:`workers`
    commit: str  # recorded with the values
    names: Sequence[str] | None = None  # of metrics from masks; None: the defaults for the task's dimensions
    again: bool = False  # also those that have values
    computed: int = field(default=0, init=False)  # cases
    present: int = field(default=0, init=False)  # cases that were computed before
    failures: list[str] = field(default_factory=list, init=False)  # messages
    _domains: dict[tuple[str, str], LocatedDomain] = field(default_factory=dict, init=False)

    def rescore(self, item: RescoreItem, display: Display) -> None:
        """Compute and write the missing values of an evaluation; errors go to the failures."""
        try:
            values = _EvaluationValues(item, self._metrics(item.task.scored_ndim))
            lacking = values.lacking(self.again)
            self.present += len(values.rows) - len(lacking)
            work = self._work(item, lacking, display) if lacking else []
        except (DataError, UsageError) as error:
            self.failures.append(f"{item.name}: {error}")
            return
        if not work:
            return
        display.scoring(item.name, len(work))
        saved = time.monotonic()
        try:
            for case, result in zip(work, self.compute(work), strict=True):
                if problem := values.take(case, result, self.commit):
                    self.failures.append(f"{item.name}: {problem}")
                else:
                    self.computed += 1
                display.scored()
                if time.monotonic() - saved > SAVE_INTERVAL:
                    values.save()
                    saved = time.monotonic()
        finally:
            values.save()

    def _metrics(self, ndim: int) -> list[Metric]:
        if self.names is not None:
            return [find_metric(name) for name in self.names]
        return [metric for metric in mask_metrics().values() if ndim in metric.default_ndims]

    def _work(self, item: RescoreItem, lacking: Mapping[str, Sequence[str]], display: Display) -> list[CaseWork]:
        located = self._domains.get((item.task.name, item.domain))
        if located is None:
            located = find_domain(item.task, item.domain, self.data_source, display.log)
            self._domains[item.task.name, item.domain] = located
        domain, manifest, scored_on = located.domain, located.manifest.digest, item.evaluation.data.get("manifest")
        if manifest != scored_on:
            raise DataError(
                f"the files of {item.domain} have changed since (manifest {scored_on} then, {manifest} now): "
                f"put back those that {item.evaluation.path} was scored on, or score the run again"
            )
        # Loaders stay here: workers get plain data.
        facts, rules = replace(item.task, sources={}, targets={}), replace(domain, cases=())
        folder, ndim = item.evaluation.path, file_ndim(item.task, domain)
        cases = {case.id: case for case in domain.cases}
        if foreign := sorted(lacking.keys() - cases.keys()):
            raise DataError(f"{folder / 'cases.csv'} names cases that {domain.name} lacks: {', '.join(foreign)}")
        return [
            CaseWork(cases[name], prediction_path(folder, name, ndim), rules, facts, item.preprocess, tuple(names))
            for name, names in lacking.items()
        ]


class _EvaluationValues:
    """The metric files of an evaluation while they are computed."""

    def __init__(self, item: RescoreItem, metrics: Sequence[Metric]) -> None:
        self.item = item
        self.metrics = metrics
        self.keys = read_cases(item.evaluation).row_keys()
        self.rows: dict[str, list[RowKey]] = {}  # by case
        for key in self.keys:
            self.rows.setdefault(key[0], []).append(key)
        self.entries = {metric.name: read_entries(item.evaluation.path, metric) for metric in metrics}
        self.taken: dict[str, set[tuple[RowKey, str]]] = {metric.name: set() for metric in metrics}  # not saved yet

    def lacking(self, again: bool) -> dict[str, list[str]]:
        """Return the missing metrics of each case that lacks any; again: all."""
        regions = REGIONS if self.item.task.scored_ndim == 2 else ("image",)
        lacking = {}
        for case, rows in self.rows.items():
            needed = set(itertools.product(rows, regions))
            names = [name for name, stored in self.entries.items() if again or not stored.keys() >= needed]
            if names:
                lacking[case] = names
        return lacking

    def take(self, work: CaseWork, result: CaseValues, commit: str) -> str:
        """Keep the values of a case; return the problem if it failed or its counts differ from ``cases.csv``."""
        rows = self.rows[work.case.id]
        problem = result.error or _difference(work, rows, result)
        for name in work.names:
            stored = self.entries[name]
            for row, region in itertools.product(rows, REGIONS):
                self.taken[name].add((row, region))
                stored.pop((row, region), None)
                if not problem and region in result.values:
                    stored[row, region] = Stored(result.values[region][int(row[1]) - 1][name], commit)
        return problem

    def save(self) -> None:
        """Add what was computed since to the files, in the order of ``cases.csv``."""
        folder = self.item.evaluation.path
        for metric in self.metrics:
            own, taken = self.entries[metric.name], self.taken[metric.name]
            # Read again: another process may have saved more than was there at the start of this one.
            others = read_entries(folder, metric) if taken else {}
            entries = {key: value for key, value in others.items() if key not in taken}
            entries |= {key: own[key] for key in taken if key in own}
            if taken and (entries or path_of(folder, metric).exists()):
                write_entries(folder, metric, self.keys, entries)
            taken.clear()


def _difference(work: CaseWork, rows: Sequence[RowKey], result: CaseValues) -> str:
    stored = [f"{row[1]} {row[2]}" for row in rows]
    scored = [f"{index} {name}" for index, name in enumerate(work.task.scored, start=1)]
    if stored != scored:
        return f"case {work.case.id}: cases.csv has {', '.join(stored)}, and the task {', '.join(scored)}{REMEDY}"
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
