"""The cases that went worst on each target, with their pictures or the reason why there are none."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path

from ssdg.datasets.base import DataError, Domain, Task

from ..outcomes.aggregate import seed_result
from ..outcomes.collect import Collected
from ..outcomes.plan import Item
from ..spec import RunRequest
from ..storage.results_reader import StoredEvaluation
from ..suites.suite import Column, Inventory, Row
from ..tables.build import Table, TableRow
from .cells import case_means, overall
from .images import NoPicture, Thumbnail, WorstCase, colour_keys, thumbnails

WORST = 3
"""Cases of a row and target that are shown."""


@dataclass(frozen=True, slots=True)
class ShownCase:
    """One of the worst cases, with its pictures or the reason why there are none."""

    worst: WorstCase
    pictures: tuple[Thumbnail, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class WorstOfRow:
    """The cases that went worst with one row on one target."""

    label: str
    why: str  # this row is looked at
    cases: tuple[ShownCase, ...]


@dataclass(frozen=True, slots=True)
class WorstOfTarget:
    """The worst cases on one target."""

    column: Column
    keys: Mapping[str, Mapping[str, str]]  # of labels and of errors: what each colour means
    terms: str  # of the data: where they are published, and under which licence
    reason: str  # why there are no pictures at all; "" if there are
    rows: tuple[WorstOfRow, ...]


def worst_of_targets(
    table: Table, collected: Collected, items: Sequence[Item], inventory: Inventory, baseline: str | None, root: Path
) -> Iterator[WorstOfTarget]:
    """Yield the worst cases on each target: of the best row that saw the source alone, and of the baseline.

    Args:
        table: says which row is best.
        collected: what it was made from.
        items: the suite's runs.
        inventory: the tasks there are.
        baseline: id of the row that others are held against, if there is one.
        root: the folder of the data sets.
    """
    for column, chosen in looked_at(table, baseline):
        task = inventory.task(column.task)
        domain, reason = _find_domain(task, column.target, root)
        rows = []
        for row, why in chosen:
            worst = worst_cases(row, column, collected, items, task.ndim)
            rows.append(WorstOfRow(row.row.label, why, tuple(_shown(case, task, domain) for case in worst)))
        terms = "" if domain is None else f"{domain.source}. Terms: {domain.licence}"
        yield WorstOfTarget(column, colour_keys(task), terms, reason, tuple(rows))


def _find_domain(task: Task, name: str, root: Path) -> tuple[Domain | None, str]:
    """Return a target as found on disk, or why it is not there."""
    try:
        return task.domain(name)(root), ""
    except DataError as error:
        return None, str(error)


def _shown(worst: WorstCase, task: Task, domain: Domain | None) -> ShownCase:
    if domain is None:
        return ShownCase(worst, ())
    try:
        return ShownCase(worst, tuple(thumbnails(worst, task, domain)))
    except NoPicture as error:
        return ShownCase(worst, (), str(error))


def looked_at(table: Table, baseline: str | None) -> Iterator[tuple[Column, list[tuple[TableRow, str]]]]:
    """Yield each target with the rows looked at, and why: the best that saw the source alone, and the baseline."""
    for column in table.suite.columns:
        means = [(mean, row) for row in table.rows if (mean := overall(row, column).cell.mean) is not None]
        ranked = [(mean, row) for mean, row in means if row.row.saw_source_alone]
        if not ranked:
            continue
        _, best = max(ranked, key=lambda pair: pair[0])
        if best.row.id == baseline:
            yield column, [(best, "highest mean, and the baseline")]
        else:
            held = [(row, "baseline") for _, row in means if row.row.id == baseline]
            yield column, [(best, "highest mean"), *held]


def worst_cases(
    row: TableRow, column: Column, collected: Collected, items: Sequence[Item], ndim: int
) -> list[WorstCase]:
    """Return the cases with the lowest mean over a row's complete seeds, each as its worst seed left it."""
    seeds = collected.scores[row.row.id, column].seeds
    means = dict(zip(seeds[0].scores.cases, (100 * case_means(seeds)).tolist(), strict=True))
    lowest = sorted((case for case in means if not isnan(means[case])), key=lambda case: (means[case], case))[:WORST]
    found: defaultdict[str, list[WorstCase]] = defaultdict(list)
    for request, evaluation in _evaluations(row.row, column, items, {seed.seed for seed in seeds}):
        region = request.evaluation.region_in(ndim)
        result = seed_result(request.seed, [evaluation], collected.measure, region, request.evaluation.empty)
        for case, score in zip(result.scores.cases, (100 * case_means([result])).tolist(), strict=True):
            if case in lowest and not isnan(score):
                where = WorstCase(case, score, means[case], request.seed, row.row.label, evaluation, request)
                found[case].append(where)
    return [min(found[case], key=lambda one: one.score) for case in lowest]


def _evaluations(
    row: Row, column: Column, items: Sequence[Item], seeds: Collection[int]
) -> Iterator[tuple[RunRequest, StoredEvaluation]]:
    """Yield a row's finished evaluations on a target: one a seed, or one a seed and fold."""
    for item in items:
        request = item.planned.request
        if item.planned.row.id == row.id and column in item.planned.columns and request.seed in seeds:
            found = item.evaluation(column.target)
            if found is not None:
                yield request, found
