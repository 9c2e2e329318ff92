"""Which cells of a table are bold: the best mean of each column, and every row that is not separated from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..outcomes.aggregate import Average, Cell
from ..outcomes.collect import RowScores
from ..outcomes.paired_scores import pair
from ..suites.suite import Column, Row

ALPHA = 0.05


class Place(Protocol):
    """Where rows are compared: a printed column of a table."""

    @property
    def column(self) -> Column:
        """The target."""

    @property
    def group(self) -> str:
        """A stratum, "all" or "average"."""

    @property
    def average(self) -> Average:
        """What "average" means."""


@dataclass(frozen=True, slots=True)
class BestSets:
    """The tied best set of each printed column."""

    rows: tuple[frozenset[str], ...]  # ids, by column; empty where fewer than two rows can be compared
    comparisons: int  # in the family that Holm's method adjusts for
    cases_only: bool  # whether some of them are over cases alone, because a row has a single seed
    fewest: bool  # whether only rows with the fewest misses compete

    @property
    def rule(self) -> str:
        """What bold means here, for a caption."""
        if not any(self.rows):
            return "Bold: none, because no column has two complete rows that saw the source alone"
        over = "cases alone, for these trained models only," if self.cases_only else "runs and cases,"
        return (
            "Bold: the best mean among complete rows that saw the source alone"
            f"{' and have the fewest misses' if self.fewest else ''}, and every such row that is not separated from "
            f"it (p over {over} above {ALPHA:g} after Holm over {self.comparisons} comparison"
            f"{'' if self.comparisons == 1 else 's'}); not separated does not mean equal"
        )


def tied_best(
    rows: Sequence[Row],
    places: Sequence[Place],
    cells: Sequence[Sequence[Cell]],
    scores: Mapping[tuple[str, Column], RowScores],
) -> BestSets:
    """Return the rows to mark in each column of a table.

    The family is (row against its column's best) x columns. The best is chosen on the same numbers, which Holm's
    method does not know: of nine equal methods in simulated tables, some row is left out of a set in 9 to 17 % of the
    tables instead of 5 %, and 1 to 3 % of the rows. A set is a marking, not a test of a method named beforehand.

    Args:
        rows: of the table.
        places: its printed columns.
        cells: of each row, in the order of the columns.
        scores: what the cells come from, by row id and target.
    """
    from ..statistics import holm  # imports numpy

    best: list[set[str]] = [set() for _ in places]
    family: list[tuple[int, str, float]] = []
    for position, place in enumerate(places):
        competing = _competing(rows, [line[position] for line in cells])
        if competing:
            top, *others = competing
            best[position].add(top.id)
            family += [(position, row, p) for row, p in _against(top, others, place, scores)]
    for (position, row, _), adjusted in zip(family, holm([p for _, _, p in family]), strict=True):
        if adjusted > ALPHA:
            best[position].add(row)
    shown = [cell for line in cells for cell in line]
    return BestSets(
        tuple(map(frozenset, best)),
        len(family),
        cases_only=any(cell.state == "complete" and cell.n_seeds == 1 for cell in shown),
        fewest=any(cell.measure.skips_misses for cell in shown),
    )


def _competing(rows: Sequence[Row], cells: Sequence[Cell]) -> list[Row]:
    """Return the rows to compare in a column, the best mean first; none where fewer than two are complete.

    Where a measure leaves misses out, only rows with the fewest compete: none wins by predicting less.
    """
    pairs = zip(rows, cells, strict=True)
    complete = [(row, cell) for row, cell in pairs if row.saw_source_alone and cell.state == "complete"]
    if len(complete) < 2:
        return []
    fewest = min(cell.n_missed for _, cell in complete)
    left = [(row, cell) for row, cell in complete if not cell.measure.skips_misses or cell.n_missed == fewest]
    best_first = sorted(left, key=lambda pair: pair[1].mean or 0.0, reverse=cells[0].measure.better == "higher")
    return [row for row, _ in best_first]


def _against(
    top: Row, others: Sequence[Row], place: Place, scores: Mapping[tuple[str, Column], RowScores]
) -> list[tuple[str, float]]:
    """Return each other row's id and its p against the top one."""
    from ..statistics import mean_difference

    paired = pair([scores[row.id, place.column].seeds for row in (top, *others)], place.group, place.average)
    reference, *rest = paired.scores
    intervals = [mean_difference(one, reference, paired.strata) for one in rest]
    return [(row.id, interval.p) for row, interval in zip(others, intervals, strict=True)]
