"""The cases that went worst on each target, with their pictures or the reason why there are none."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isnan
from pathlib import Path

import numpy as np

from ssdg.datasets.base import DataError, Domain, Task

from ..outcomes.results import SuiteResults
from ..spec import RunRequest
from ..storage.results_reader import StoredEvaluation
from ..suites.suite import Column, Row
from ..tables.build import Table, TableRow
from .cells import overall, seed_means
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
    table: Table, results: SuiteResults, baseline: str | None, root: Path
) -> Iterator[WorstOfTarget]:
    """Yield the worst cases on each target: of the best contender, and of the baseline.

    Args:
        table: says which row is best.
        results: that it was made from.
        baseline: id of the row that others are compared with, if there is one.
        root: the folder of the data sets.
    """
    for column, chosen in shown_rows(table, baseline):
        task = results.inventory.task(column.task)
        domain, reason = _find_domain(task, column.target, root)
        rows = []
        for row, why in chosen:
            worst = worst_cases(row.row, column, results)
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


def shown_rows(table: Table, baseline: str | None) -> Iterator[tuple[Column, list[tuple[TableRow, str]]]]:
    """Yield each target with the rows looked at, and why: the best that saw the source alone, and the baseline."""
    for column in table.suite.columns:
        means = [(mean, row) for row in table.rows if (mean := overall(row, column).cell.mean) is not None]
        ranked = [(mean, row) for mean, row in means if row.row.contender]
        if not ranked:
            continue
        _, best = max(ranked, key=lambda pair: pair[0])
        if best.row.id == baseline:
            yield column, [(best, "highest mean, and the baseline")]
        else:
            held = [(row, "baseline") for _, row in means if row.row.id == baseline]
            yield column, [(best, "highest mean"), *held]


def worst_cases(row: Row, column: Column, results: SuiteResults) -> list[WorstCase]:
    """Return the cases with the lowest mean over a row's complete seeds, each as its worst seed left it."""
    scores = results.row_scores(row, column)
    by_seed, means = 100 * scores.case_means(), 100 * seed_means(scores)
    defined = [index for index in range(len(scores.cases)) if not isnan(means[index])]
    worst = []
    for index in sorted(defined, key=lambda index: (means[index], scores.cases[index]))[:WORST]:
        position = int(np.nanargmin(by_seed[:, index]))
        seed, case = scores.seeds[position], scores.cases[index]
        request, evaluation = _evaluation_of(results, row, column, seed, case)
        score = float(by_seed[position, index])
        worst.append(WorstCase(case, score, float(means[index]), seed, row.label, evaluation, request))
    return worst


def _evaluation_of(
    results: SuiteResults, row: Row, column: Column, seed: int, case: str
) -> tuple[RunRequest, StoredEvaluation]:
    """Return the evaluation of a seed, of its folds the one that scored a case, and what its run was asked for."""
    for run in results.counts.runs_of(row, column):
        evaluation = run.evaluation(column.target)
        if run.request.seed != seed or evaluation is None:
            continue
        if case in results.counts.case_file(evaluation).layout.cases:
            return run.request, evaluation
    raise AssertionError(f"{case} is in no evaluation of {row.id}, seed {seed}")
