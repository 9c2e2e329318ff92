"""How means and ranks depend on scoring conventions: region, empty classes, average; all from what is stored.

Each convention is the suite with other ``evaluation.*`` settings, collected again: the numbers are those that `bench
table --set evaluation.…` prints.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, get_args

import numpy as np

from ..errors import UsageError
from ..outcomes.aggregate import Average, Cell, SeedResult, make_cell
from ..outcomes.collect import Collected, collect
from ..scoring.metrics import DSC, Measure, Region
from ..scoring.overlap import Empty
from ..storage.results_reader import StoredRun
from ..suites.suite import Choice, Column, Inventory, Row, Suite
from ..tables.build import holes
from .ranking import competition_ranks, kendall_tau

AXES = ("region", "empty", "average")
"""Settings ``evaluation.*`` that change what is made of the stored numbers, and not those."""

Scoring: TypeAlias = tuple[Region, Empty]


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
    measure: Measure
    targets: tuple[TargetConventions, ...]
    missing: tuple[str, ...]  # the holes, as in a table

    @property
    def complete(self) -> bool:
        """Whether there is no hole."""
        return not self.missing


def build_conventions(
    suite: Suite, runs: Sequence[StoredRun], inventory: Inventory, measure: Measure = DSC, held_out: bool = False
) -> ConventionTable:
    """Return a suite's means and ranks under every convention that makes a difference.

    Args:
        suite: rows, columns and seeds, already narrowed; its protocol and settings say what is in force.
        runs: what ``stored.scan`` found.
        inventory: the methods and tasks there are.
        measure: what is scored.
        held_out: also on the source's held-out cases.

    Raises:
        UsageError: runs on different data, or a damaged results file.
    """
    evaluation = suite.sections()["evaluation"]
    regions = _first(evaluation.region, get_args(Region))
    rules = _first(evaluation.empty, get_args(Empty))
    found = {
        (region, empty): collect(_under(suite, region, empty), runs, inventory, held_out, measure)
        for region, empty in itertools.product(regions, rules)
    }
    in_force = next(iter(found.values()))
    targets = []
    for column in in_force.columns:
        flat = inventory.task(column.task).ndim == 2
        average: Average = evaluation.average if "average" in column.groups else "cases"
        targets.append(_of_target(column, found, _first(average, get_args(Average)), flat))
    return ConventionTable(suite, measure, tuple(targets), tuple(holes(in_force)))


def _first(chosen: Any, known: Sequence[Any]) -> list[Any]:
    """Return all that are known, the chosen one first."""
    return [chosen, *(one for one in known if one != chosen)]


def _under(suite: Suite, region: Region, empty: Empty) -> Suite:
    return suite.narrowed(Choice(overrides={"evaluation.region": region, "evaluation.empty": empty}))


def _of_target(
    column: Column, found: Mapping[Scoring, Collected], averages: Sequence[Average], flat: bool
) -> TargetConventions:
    (region, empty), in_force = next(iter(found.items()))
    fixed = _fixed(column, found, flat)
    wanted = [
        Convention(*scoring, average)
        for scoring, average in itertools.product(found, averages)
        if ("region" not in fixed or scoring[0] == region)
        and ("empty" not in fixed or scoring[1] == empty)
        and ("average" not in fixed or average == averages[0])
    ]
    cells = {
        row.id: tuple(_cell(found[one.region, one.empty], row, column, one.average) for one in wanted)
        for row in in_force.suite.rows
    }
    rows, taus = _ranked(in_force, cells)
    return TargetConventions(
        column=column,
        unit=in_force.units[column],
        axes=tuple(axis for axis in AXES if axis not in fixed),
        conventions=tuple(one if flat else replace(one, region="image") for one in wanted),
        rows=tuple(rows),
        taus=tuple(taus),
        notes=tuple(dict.fromkeys(fixed.values())),
    )


def _fixed(column: Column, found: Mapping[Scoring, Collected], flat: bool) -> dict[str, str]:
    """Return the axes that change no score on a target, each with a note that says why."""
    (region, empty), in_force = next(iter(found.items()))
    regions, rules = list(dict.fromkeys(r for r, _ in found)), list(dict.fromkeys(e for _, e in found))
    strata = {stratum for result in _results(in_force, column) for stratum in result.scores.strata}
    if not strata:
        return dict.fromkeys(AXES, "not scored yet")
    fixed = {}
    if not flat:
        fixed["region"] = "region: volumes are always scored whole"
    elif all(_same(column, found[region, e], found[r, e]) for r in regions for e in rules):
        fixed["region"] = f"region: {' and '.join(regions)} give the same scores"
    if not in_force.measure.follows_empty:
        fixed["empty"] = f"empty: {in_force.measure.short} does not follow it"
    elif all(_same(column, found[r, empty], found[r, e]) for r in regions for e in rules):
        fixed["empty"] = f"empty: {', '.join(rules)} give the same scores, because no label lacks a class"
    if len(strata) == 1:
        fixed["average"] = "average: the cases are of one stratum"
    return fixed


def _results(collected: Collected, column: Column) -> Iterator[SeedResult]:
    for scores in collected.of_column(column):
        yield from scores.seeds


def _same(column: Column, one: Collected, other: Collected) -> bool:
    """Return whether two ways of scoring give the same numbers on a target."""
    pairs = zip(_results(one, column), _results(other, column), strict=True)
    return all(np.array_equal(a.scores.values, b.scores.values, equal_nan=True) for a, b in pairs)


def _cell(collected: Collected, row: Row, column: Column, average: Average) -> Cell:
    scores, seeds = collected.scores[row.id, column], len(collected.suite.seeds)
    if scores.standing != "planned":
        return Cell(scores.standing, measure=collected.measure)
    try:
        return make_cell(scores.seeds, seeds, "average", average, scores.reason, collected.measure)
    except UsageError:  # a convention may leave no class in any case, or none in a stratum
        return Cell("undefined", expected_seeds=seeds, reason="not defined", measure=collected.measure)


def _ranked(
    collected: Collected, cells: Mapping[str, tuple[Cell, ...]]
) -> tuple[list[ConventionRow], list[float | None]]:
    """Return the rows with their ranks under each convention, and each convention's tau with the first."""
    rows = collected.suite.rows
    ranked = _competing(rows, cells)
    sign = 1.0 if collected.measure.better == "higher" else -1.0
    goodness = np.array([[sign * (cell.mean or 0.0) for cell in cells[row.id]] for row in ranked])
    if len(ranked) < 2:
        return [ConventionRow(row, cells[row.id], None) for row in rows], [None] * len(cells[rows[0].id])
    by_row = {
        row.id: tuple(map(int, ranks)) for row, ranks in zip(ranked, competition_ranks(goodness.T).T, strict=True)
    }
    taus = kendall_tau(goodness.T, goodness[:, 0])
    return [ConventionRow(row, cells[row.id], by_row.get(row.id)) for row in rows], [float(tau) for tau in taus]


def _competing(rows: Sequence[Row], cells: Mapping[str, tuple[Cell, ...]]) -> list[Row]:
    """Return the complete rows that saw the source alone; where misses are left out, those with the fewest."""
    found = [row for row in rows if row.saw_source_alone and all(cell.state == "complete" for cell in cells[row.id])]
    missed = {row.id: [cell.n_missed if cell.measure.skips_misses else 0 for cell in cells[row.id]] for row in found}
    fewest = [min(counts) for counts in zip(*missed.values(), strict=True)]
    return [row for row in found if missed[row.id] == fewest]
