"""Marks of a table's cells: the best mean of each column, and the rows that are not separated from it."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..outcomes.headings import Heading, target_scores
from ..outcomes.results import SuiteResults
from ..outcomes.scores import Cell, contenders
from ..scoring.metrics import DSC, Metric
from ..statistics import ALPHA, EQUAL, LEAST_SEEDS, Interval, holm, mean_difference
from ..storage.run_folder import VALIDATION
from ..suites.suite import Row
from .wording import TIED


@dataclass(frozen=True, slots=True)
class Marks:
    """Ids of the marked rows of each printed column."""

    best: tuple[frozenset[str], ...]  # several only where means are equal; none with fewer than two contenders
    tied: tuple[frozenset[str], ...]  # contenders that are not separated from the best
    comparisons: int  # in the family that Holm's method adjusts for; 0: nothing was compared
    seeds: int  # of the contender with the fewest; 0: no column has two rows to compare
    rows: int  # contenders of the column with most
    fewest: bool  # whether only rows with the fewest misses compete
    held_out: bool  # whether columns of held-out source cases are printed

    @property
    def rule(self) -> str:
        """Meaning of the marks, for a caption."""
        if not any(self.best):
            return "Bold: none, because no column has two complete rows that saw the source alone"
        fewest = " and have the fewest misses" if self.fewest else ""
        bold = f"Bold: the best mean among complete rows that saw the source alone{fewest}"
        if not self.seeds:
            return f"{bold}; a single row has the fewest misses, so that nothing is compared"
        if not self.comparisons:
            seeds = f"{self.seeds} seed{'' if self.seeds == 1 else 's'}"
            return f"{bold}; with {seeds} a row nothing can be told apart, {LEAST_SEEDS} are the least"
        several = "" if self.comparisons == 1 else "s"
        few = "" if self.seeds >= LEAST_SEEDS else f"; no {TIED} where a row has fewer than {LEAST_SEEDS} seeds"
        few += f"; no {TIED} on held-out source cases" if self.held_out else ""
        return (
            f"{bold}. {TIED}: not separated from it, which does not mean equal (p over runs and cases above "
            f"{ALPHA:g} after Holm over {self.comparisons} comparison{several}{few})"
        )

    @property
    def notes(self) -> list[str]:
        """Limit of the marks, for a caption; none where nothing was compared, or two rows, which each may be best."""
        price = (
            "the best is chosen on the same numbers, so that some of nine equal rows is separated from it in 9 to "
            "17 % of simulated tables instead of 5 %"
        )
        return [price] if self.comparisons and self.rows > 2 else []


def mark_columns(
    results: SuiteResults, headings: Sequence[Heading], cells: Sequence[Sequence[Cell]], metric: Metric = DSC
) -> Marks:
    """Return the rows to mark in each printed column; ``cells`` are (rows, headings).

    The family is (row against its column's best) x targets, without columns where a contender has fewer than three
    seeds. Columns of held-out source cases are not in it, nor is ≈ in them: marks of targets are the same with and
    without them. The best is chosen on the same numbers, which Holm's method does not know: see :attr:`Marks.notes`.
    """
    best: list[frozenset[str]] = []
    tied: list[set[str]] = []
    family: list[tuple[int, str, Interval]] = []
    fewest_seeds: list[int] = []
    most_rows = 0
    for position, (heading, *of_column) in enumerate(zip(headings, *cells, strict=True)):
        ranked = best_first(results.suite.rows, of_column)
        by_row = {row.id: cell for row, cell in zip(results.suite.rows, of_column, strict=True)}
        means = [by_row[row.id].mean or 0.0 for row in ranked]
        best.append(
            frozenset(row.id for row, mean in zip(ranked, means, strict=True) if abs(mean - means[0]) < EQUAL)
        )
        tied.append(set())
        if len(ranked) < 2 or heading.column.target == VALIDATION:
            continue
        most_rows = max(most_rows, len(ranked))
        fewest_seeds.append(min(by_row[row.id].n_seeds for row in ranked))
        if fewest_seeds[-1] >= LEAST_SEEDS:
            common = target_scores(results, ranked, heading, metric)
            reference, *others = common.scores
            intervals = [mean_difference(scores, reference, common.strata) for scores in others]
            family += [(position, row.id, interval) for row, interval in zip(ranked[1:], intervals, strict=True)]
    for (position, row, interval), adjusted in zip(family, holm([i.p for *_, i in family]), strict=True):
        # Where misses differ, rows are compared on the classes that both have: there the best may be the worse one.
        if row not in best[position] and (adjusted > ALPHA or metric.sign * interval.difference > 0):
            tied[position].add(row)
    return Marks(
        best=tuple(best),
        tied=tuple(map(frozenset, tied)),
        comparisons=len(family),
        seeds=min(fewest_seeds, default=0),
        rows=most_rows,
        fewest=any(cell.metric.skips_misses for row_cells in cells for cell in row_cells),
        held_out=any(heading.column.target == VALIDATION for heading in headings),
    )


def best_first(rows: Sequence[Row], cells: Sequence[Cell]) -> list[Row]:
    """Return the contenders of a column, the best mean first; none where fewer than two rows could be compared."""
    by_row = {row.id: cell for row, cell in zip(rows, cells, strict=True)}
    if sum(row.contender and by_row[row.id].state == "complete" for row in rows) < 2:
        return []
    higher = cells[0].metric.better == "higher"
    ranked = contenders(rows, {name: [cell] for name, cell in by_row.items()})
    return sorted(ranked, key=lambda row: by_row[row.id].mean or 0.0, reverse=higher)
