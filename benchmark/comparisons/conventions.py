"""How means and ranks depend on scoring conventions: region, empty classes, average; all from what is stored.

Each convention is the same counts under other ``evaluation.*`` settings: the numbers are those that `bench table
--set evaluation.…` prints.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np

from ..errors import UsageError
from ..outcomes.results import Scoring, SuiteResults
from ..outcomes.scores import Average, Cell, RowScores, contenders
from ..scoring.metrics import DSC, Metric, Region
from ..scoring.overlap import Empty
from ..suites.suite import Column, Row, Suite
from .ranking import competition_ranks, kendall_tau

AXES = ("region", "empty", "average")
"""Settings ``evaluation.*`` that change what is made of the stored numbers, and not those."""


@dataclass(frozen=True, slots=True)
class Convention:
    """One way to make a mean of what is stored."""

    region: Region
    empty: Empty
    average: Average

    def values(self, axes: Sequence[str]) -> list[str]:
        """Return the settings of some axes, as ``--set evaluation.AXIS=`` takes them."""
        return [str(getattr(self, axis)) for axis in axes]


@dataclass(frozen=True, slots=True)
class ConventionRow:
    """A row's mean under each convention, and its rank among those rows that have one under all of them."""

    row: Row
    cells: tuple[Cell, ...]
    ranks: tuple[int, ...] | None  # None: does not compete, or there is nothing to rank it with


@dataclass(frozen=True, slots=True)
class TargetConventions:
    """What conventions do to the order on one target, over all its cases."""

    column: Column
    unit: str
    axes: tuple[str, ...]  # those that change a score here
    conventions: tuple[Convention, ...]  # the one in force first
    rows: tuple[ConventionRow, ...]
    taus: tuple[float | None, ...]  # Kendall's, with the ranking in force; None where fewer than two rows have ranks
    notes: tuple[str, ...]  # which other axes change nothing here, and why


@dataclass(frozen=True, slots=True)
class ConventionTable:
    """Everything that is printed."""

    suite: Suite
    metric: Metric
    targets: tuple[TargetConventions, ...]
    missing: tuple[str, ...]  # the holes, as in a table

    @property
    def complete(self) -> bool:
        """Whether there is no hole."""
        return not self.missing


def build_conventions(results: SuiteResults, metric: Metric = DSC, validation: bool = False) -> ConventionTable:
    """Return a suite's means and ranks under every convention that makes a difference.

    Args:
        results: of the suite; its protocol and settings say which convention is in force.
        metric: of each case and class.
        validation: also on the source's validation cases.

    Raises:
        UsageError: runs on different data, or a damaged results file.
    """
    columns = results.columns(validation)
    targets = tuple(_of_target(results, column, metric) for column in columns)
    return ConventionTable(results.suite, metric, targets, tuple(results.holes(metric, columns)))


def _of_target(results: SuiteResults, column: Column, metric: Metric) -> TargetConventions:
    in_force = results.scoring
    regions, rules = _first(in_force.region, get_args(Region)), _first(in_force.empty, get_args(Empty))
    average: Average = in_force.average if "average" in column.strata else "cases"
    averages = _first(average, get_args(Average))
    flat = results.inventory.task(column.task).ndim == 2
    fixed = _fixed(results, column, metric, regions, rules)
    conventions = [
        Convention(region, rule, average)
        for region, rule in itertools.product(
            regions[:1] if "region" in fixed else regions, rules[:1] if "empty" in fixed else rules
        )
        for average in (averages[:1] if "average" in fixed else averages)
    ]
    cells = {
        row.id: tuple(_cell(results, row, column, metric, convention) for convention in conventions)
        for row in results.suite.rows
    }
    rows, taus = _ranked(results.suite.rows, cells, metric)
    return TargetConventions(
        column=column,
        unit=results.unit(column, metric),
        axes=tuple(axis for axis in AXES if axis not in fixed),
        conventions=tuple(c if flat else replace(c, region="image") for c in conventions),
        rows=tuple(rows),
        taus=tuple(taus),
        notes=tuple(dict.fromkeys(fixed.values())),
    )


def _first(value: Any, every: Sequence[Any]) -> list[Any]:
    """Return all values, one of them first."""
    return [value, *(other for other in every if other != value)]


def _fixed(
    results: SuiteResults, column: Column, metric: Metric, regions: Sequence[Region], rules: Sequence[Empty]
) -> dict[str, str]:
    """Return the axes that change no score on a target, each with a note that says why."""

    def scores(region: Region, rule: Empty) -> list[RowScores]:
        return [results.row_scores(row, column, metric, (region, rule)) for row in results.suite.rows]

    def same(pairs: Sequence[tuple[Scoring, Scoring]]) -> bool:
        return all(
            np.array_equal(a.values, b.values, equal_nan=True)
            for one, other in pairs
            for a, b in zip(scores(*one), scores(*other), strict=True)
        )

    strata = {stratum for there in scores(regions[0], rules[0]) for stratum in there.strata}
    if not strata:
        return dict.fromkeys(AXES, "not scored yet")
    fixed = {}
    if results.inventory.task(column.task).ndim == 3:
        fixed["region"] = "region: volumes are always scored whole"
    elif same([((regions[0], rule), (region, rule)) for region in regions[1:] for rule in rules]):
        fixed["region"] = f"region: {' and '.join(regions)} give the same scores"
    if not metric.follows_empty:
        fixed["empty"] = f"empty: {metric.short} does not follow it"
    elif same([((region, rules[0]), (region, rule)) for region in regions for rule in rules[1:]]):
        fixed["empty"] = f"empty: {', '.join(rules)} give the same scores, because no label lacks a class"
    if len(strata) == 1:
        fixed["average"] = "average: the cases are of one stratum"
    return fixed


def _cell(results: SuiteResults, row: Row, column: Column, metric: Metric, convention: Convention) -> Cell:
    scoring = (convention.region, convention.empty)
    try:
        return results.cell(row, column, "average", convention.average, metric, scoring)
    except UsageError:  # a convention may leave no class in any case, or none in a stratum
        return Cell("undefined", expected_seeds=len(results.suite.seeds), reason="not defined", metric=metric)


def _ranked(
    rows: Sequence[Row], cells: Mapping[str, tuple[Cell, ...]], metric: Metric
) -> tuple[list[ConventionRow], list[float | None]]:
    """Return the rows with their ranks under each convention, and each convention's tau with the first."""
    ranked = contenders(rows, cells)
    if len(ranked) < 2:
        return [ConventionRow(row, cells[row.id], None) for row in rows], [None] * len(cells[rows[0].id])
    sign = 1.0 if metric.better == "higher" else -1.0
    goodness = np.array([[sign * (cell.mean or 0.0) for cell in cells[row.id]] for row in ranked])
    ranks = competition_ranks(goodness.T).T
    by_row = {row.id: tuple(map(int, of_row)) for row, of_row in zip(ranked, ranks, strict=True)}
    taus = kendall_tau(goodness.T, goodness[:, 0])
    return [ConventionRow(row, cells[row.id], by_row.get(row.id)) for row in rows], [float(tau) for tau in taus]
