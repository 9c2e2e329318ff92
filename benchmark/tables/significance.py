"""Which cells of a table are bold: the best mean of each column, and every row that is not separated from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..outcomes.results import SuiteResults
from ..outcomes.scores import Cell, contenders, pair
from ..scoring.metrics import DSC, Metric
from ..statistics import holm, mean_difference
from ..suites.suite import Row

if TYPE_CHECKING:
    from .build import Heading

ALPHA = 0.05


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


def best_sets(
    results: SuiteResults, headings: Sequence["Heading"], cells: Sequence[Sequence[Cell]], metric: Metric = DSC
) -> BestSets:
    """Return the rows to mark in each printed column.

    The family is (row against its column's best) x columns. The best is chosen on the same numbers, which Holm's
    method does not know: of nine equal methods in simulated tables, some row is left out of a set in 9 to 17 % of the
    tables instead of 5 %, and 1 to 3 % of the rows. A set is a marking, not a test of a method named beforehand.

    ``cells`` holds those of each row, in the order of the headings.
    """
    rows = results.suite.rows
    best: list[set[str]] = [set() for _ in headings]
    family: list[tuple[int, str, float]] = []
    for position, heading in enumerate(headings):
        ranked = best_first(rows, [line[position] for line in cells])
        best[position] |= {row.id for row in ranked[:1]}
        family += [(position, row, p) for row, p in _against_first(results, ranked, heading, metric)]
    for (position, row, _), adjusted in zip(family, holm([p for _, _, p in family]), strict=True):
        if adjusted > ALPHA:
            best[position].add(row)
    shown = [cell for line in cells for cell in line]
    return BestSets(
        tuple(map(frozenset, best)),
        len(family),
        cases_only=any(cell.state == "complete" and cell.n_seeds == 1 for cell in shown),
        fewest=any(cell.metric.skips_misses for cell in shown),
    )


def best_first(rows: Sequence[Row], cells: Sequence[Cell]) -> list[Row]:
    """Return the contenders of a column, the best mean first; none where fewer than two rows could be compared."""
    of_row = {row.id: cell for row, cell in zip(rows, cells, strict=True)}
    if sum(row.contender and of_row[row.id].state == "complete" for row in rows) < 2:
        return []
    higher = cells[0].metric.better == "higher"
    ranked = contenders(rows, {name: [cell] for name, cell in of_row.items()})
    return sorted(ranked, key=lambda row: of_row[row.id].mean or 0.0, reverse=higher)


def _against_first(
    results: SuiteResults, ranked: Sequence[Row], heading: "Heading", metric: Metric
) -> list[tuple[str, float]]:
    if len(ranked) < 2:
        return []
    paired = pair(
        [results.row_scores(row, heading.column, metric) for row in ranked], heading.stratum, heading.average
    )
    reference, *others = paired.scores
    intervals = [mean_difference(scores, reference, paired.strata) for scores in others]
    return [(row.id, interval.p) for row, interval in zip(ranked[1:], intervals, strict=True)]
