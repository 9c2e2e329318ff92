"""Marks of a table's cells: the best mean of each column, and the rows that are not separated from it."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..outcomes.headings import Heading, pair_rows
from ..outcomes.results import SuiteResults
from ..outcomes.scores import Cell, contenders
from ..scoring.metrics import DSC, Metric
from ..statistics import EQUAL, holm, mean_difference
from ..suites.suite import Row
from .wording import TIED

ALPHA = 0.05
LEAST_SEEDS = 3
"""Seeds of every contender from which on rows can be told apart: two runs say next to nothing of how runs vary."""


@dataclass(frozen=True, slots=True)
class Marks:
    """Ids of the marked rows of each printed column."""

    best: tuple[frozenset[str], ...]  # several only where means are equal; none with fewer than two contenders
    tied: tuple[frozenset[str], ...]  # contenders that are not separated from the best
    comparisons: int  # in the family that Holm's method adjusts for; 0: nothing was compared
    seeds: int  # of the contender with the fewest
    fewest: bool  # whether only rows with the fewest misses compete

    @property
    def rule(self) -> str:
        """Meaning of the marks, for a caption."""
        if not any(self.best):
            return "Bold: none, because no column has two complete rows that saw the source alone"
        fewest = " and have the fewest misses" if self.fewest else ""
        bold = f"Bold: the best mean among complete rows that saw the source alone{fewest}"
        if not self.comparisons:
            seeds = f"{self.seeds} seed{'' if self.seeds == 1 else 's'}"
            return f"{bold}; with {seeds} a row nothing can be told apart, {LEAST_SEEDS} are the least"
        several = "" if self.comparisons == 1 else "s"
        few = "" if self.seeds >= LEAST_SEEDS else f"; no {TIED} where a row has fewer than {LEAST_SEEDS} seeds"
        return (
            f"{bold}. {TIED}: not separated from it, which does not mean equal (p over runs and cases above "
            f"{ALPHA:g} after Holm over {self.comparisons} comparison{several}{few})"
        )


def mark_columns(
    results: SuiteResults, headings: Sequence[Heading], cells: Sequence[Sequence[Cell]], metric: Metric = DSC
) -> Marks:
    """Return the rows to mark in each printed column; ``cells`` are (rows, headings).

    The family is (row against its column's best) x columns, without columns where a contender has fewer than three
    seeds. The best is chosen on the same numbers, which Holm's method does not know: of nine equal methods in
    simulated tables, some row is separated in 9 to 17 % of the tables instead of 5 %, and 1 to 3 % of the rows. A
    mark is not a test of a method named beforehand.
    """
    best: list[frozenset[str]] = []
    tied: list[set[str]] = []
    family: list[tuple[int, str, float]] = []
    fewest_seeds: list[int] = []
    for position, (heading, *of_column) in enumerate(zip(headings, *cells, strict=True)):
        ranked = best_first(results.suite.rows, of_column)
        of_row = {row.id: cell for row, cell in zip(results.suite.rows, of_column, strict=True)}
        means = [of_row[row.id].mean or 0.0 for row in ranked]
        best.append(
            frozenset(row.id for row, mean in zip(ranked, means, strict=True) if abs(mean - means[0]) < EQUAL)
        )
        tied.append(set())
        seeds = min((of_row[row.id].n_seeds for row in ranked), default=0)
        fewest_seeds += [seeds] if ranked else []
        if seeds >= LEAST_SEEDS:
            paired = pair_rows(results, ranked, heading, metric)
            reference, *others = paired.scores
            intervals = [mean_difference(scores, reference, paired.strata) for scores in others]
            family += [(position, row.id, c.p) for row, c in zip(ranked[1:], intervals, strict=True)]
    for (position, row, _), adjusted in zip(family, holm([p for _, _, p in family]), strict=True):
        if adjusted > ALPHA and row not in best[position]:
            tied[position].add(row)
    fewest = any(cell.metric.skips_misses for of_row in cells for cell in of_row)
    return Marks(tuple(best), tuple(map(frozenset, tied)), len(family), min(fewest_seeds, default=0), fewest)


def best_first(rows: Sequence[Row], cells: Sequence[Cell]) -> list[Row]:
    """Return the contenders of a column, the best mean first; none where fewer than two rows could be compared."""
    of_row = {row.id: cell for row, cell in zip(rows, cells, strict=True)}
    if sum(row.contender and of_row[row.id].state == "complete" for row in rows) < 2:
        return []
    higher = cells[0].metric.better == "higher"
    ranked = contenders(rows, {name: [cell] for name, cell in of_row.items()})
    return sorted(ranked, key=lambda row: of_row[row.id].mean or 0.0, reverse=higher)
