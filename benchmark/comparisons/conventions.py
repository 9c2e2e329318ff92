"""How means and ranks depend on scoring conventions: region, empty classes, average; all from what is stored.

Each convention is the same counts under other ``evaluation.*`` settings: the numbers are those that `bench table
--set evaluation.…` prints.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args

import numpy as np

from ..outcomes.results import Scoring, SuiteResults
from ..outcomes.scores import Average, Cell, contenders
from ..scoring.metrics import DSC, Metric, Region
from ..scoring.overlap import Empty
from ..statistics import kendall_tau
from ..suites.suite import Column, Row, Suite
from .ranking import competition_ranks


class Convention(NamedTuple):
    """One way to make a mean of what is stored: settings ``evaluation.*`` that leave the stored numbers alone."""

    region: Region
    empty: Empty
    average: Average


AXES = Convention._fields


@dataclass(frozen=True, slots=True)
class TargetConventions:
    """What conventions do to the order on one target, over all its cases."""

    column: Column
    unit: str
    axes: tuple[str, ...]  # those that change a score here
    conventions: tuple[Convention, ...]  # the one in force first
    cells: Mapping[str, tuple[Cell, ...]]  # of each row, by its id
    ranks: Mapping[str, tuple[int, ...]]  # of the rows that compete under all of them; none: nothing to rank
    taus: tuple[float | None, ...]  # Kendall's, with the ranking in force; None where fewer than two rows have ranks
    notes: tuple[str, ...]  # which other axes change nothing here, and why


@dataclass(frozen=True, slots=True)
class ConventionTable:
    """Everything that is printed."""

    suite: Suite
    metric: Metric
    targets: tuple[TargetConventions, ...]
    missing: tuple[str, ...]  # the holes, as in a table


def build_conventions(results: SuiteResults, metric: Metric = DSC, validation: bool = False) -> ConventionTable:
    """Return a suite's means and ranks under every convention that makes a difference.

    The suite's protocol and settings say which one is in force; ``validation`` adds the source's validation cases.

    Raises:
        UsageError: runs on different data, or a damaged results file.
    """
    columns = results.columns(validation)
    targets = tuple(_of_target(results, column, metric) for column in columns)
    return ConventionTable(results.suite, metric, targets, tuple(results.holes(metric, columns)))


def _of_target(results: SuiteResults, column: Column, metric: Metric) -> TargetConventions:
    average: Average = results.scoring.average if "average" in column.strata else "cases"
    options = {  # the one in force first
        "region": sorted(get_args(Region), key=lambda region: region != results.scoring.region),
        "empty": sorted(get_args(Empty), key=lambda rule: rule != results.scoring.empty),
        "average": sorted(get_args(Average), key=lambda kind: kind != average),
    }
    fixed = _fixed(results, column, metric, options)
    varied = [values[:1] if axis in fixed else values for axis, values in options.items()]
    conventions = [Convention(*values) for values in itertools.product(*varied)]
    rows = results.suite.rows
    cells = {row.id: tuple(_cell(results, row, column, metric, c) for c in conventions) for row in rows}
    ranks, taus = _ranked(rows, cells, metric)
    flat = results.inventory.task(column.task).scored_ndim == 2
    return TargetConventions(
        column=column,
        unit=results.unit(column, metric),
        axes=tuple(axis for axis in AXES if axis not in fixed),
        conventions=tuple(c if flat else c._replace(region="image") for c in conventions),
        cells=cells,
        ranks=ranks,
        taus=taus,
        notes=tuple(dict.fromkeys(fixed.values())),
    )


def _fixed(results: SuiteResults, column: Column, metric: Metric, options: Mapping[str, Any]) -> dict[str, str]:
    """Return the axes that change no score on a target, each with a note that says why."""

    def same(*scorings: Scoring) -> bool:
        values = ([results.row_scores(row, column, metric, s).values for s in scorings] for row in results.suite.rows)
        return all(np.array_equal(first, second, equal_nan=True) for first, second in values)

    regions, rules = options["region"], options["empty"]
    strata = {stratum for scores in results.of_column(column, metric) for stratum in scores.strata}
    if not strata:
        return dict.fromkeys(AXES, "not scored yet")
    fixed = {}
    if results.inventory.task(column.task).scored_ndim == 3:
        fixed["region"] = "region: volumes are always scored whole"
    elif all(same((regions[0], rule), (region, rule)) for region in regions[1:] for rule in rules):
        fixed["region"] = f"region: {' and '.join(regions)} give the same scores"
    if not metric.follows_empty:
        fixed["empty"] = f"empty: {metric.short} does not follow it"
    elif all(same((region, rules[0]), (region, rule)) for region in regions for rule in rules[1:]):
        fixed["empty"] = f"empty: {', '.join(rules)} give the same scores, because no label lacks a class"
    if len(strata) == 1:
        fixed["average"] = "average: the cases are of one stratum"
    return fixed


def _cell(results: SuiteResults, row: Row, column: Column, metric: Metric, convention: Convention) -> Cell:
    region, empty, average = convention
    return results.cell(row, column, "average", average, metric, (region, empty))


def _ranked(
    rows: Sequence[Row], cells: Mapping[str, tuple[Cell, ...]], metric: Metric
) -> tuple[dict[str, tuple[int, ...]], tuple[float | None, ...]]:
    ranked = contenders(rows, cells)
    if len(ranked) < 2:
        return {}, (None,) * len(cells[rows[0].id])
    goodness = np.array([[metric.sign * (cell.mean or 0.0) for cell in cells[row.id]] for row in ranked])
    ranks = competition_ranks(goodness.T).T
    by_row = {row.id: tuple(row_ranks) for row, row_ranks in zip(ranked, ranks.tolist(), strict=True)}
    return by_row, tuple(kendall_tau(goodness.T, goodness[:, 0]).tolist())
