"""What a report says of single cases and classes: how they are distributed, and a breakdown by class."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..outcomes.results import SuiteResults
from ..outcomes.scores import RowScores, mean_defined
from ..suites.suite import Column
from ..tables.build import Entry, TableRow
from ..tables.wording import row_label
from .charts import StripRow


@dataclass(frozen=True, slots=True)
class Distribution:
    """The cases of every row on one target."""

    name: str  # of the chart
    column: Column
    strips: tuple[StripRow, ...]
    reference: float | None  # the baseline's median, percent
    cases: int


@dataclass(frozen=True, slots=True)
class Breakdown:
    """The classes of every row on one target; percent, None where not defined."""

    column: Column
    classes: tuple[str, ...]
    rows: tuple[tuple[str, tuple[float | None, ...]], ...]


def distributions(results: SuiteResults, baseline: str | None) -> list[Distribution]:
    """Return the scores of single cases on each target: means of their classes, then of the seeds.

    Args:
        results: of the suite.
        baseline: id of the row that others are compared with, if there is one.
    """
    made: list[Distribution] = []
    for column in results.suite.columns:
        strips = {
            row.id: StripRow(row_label(row), 100 * seed_means(scores), scores.strata)
            for row in results.suite.rows
            if (scores := results.row_scores(row, column)).seeds
        }
        if strips:
            held = strips.get(baseline or "")
            reference = None if held is None else float(np.nanmedian(held.values))
            cases = max(len(strip.values) for strip in strips.values())
            made.append(Distribution(f"cases-{len(made)}", column, tuple(strips.values()), reference, cases))
    return made


def breakdowns(results: SuiteResults) -> list[Breakdown]:
    """Return each target's scores by class: means over cases, then over seeds; none where there is one class."""
    made = []
    for column in results.suite.columns:
        rows: list[tuple[str, tuple[float | None, ...]]] = []
        classes: tuple[str, ...] = ()
        for row in results.suite.rows:
            scores = results.row_scores(row, column)
            if len(scores.classes) > 1:
                classes = scores.classes
                means = mean_defined(mean_defined(scores.values, axis=1), axis=0)
                rows.append((row_label(row), tuple(None if np.isnan(v) else 100 * float(v) for v in means)))
        if rows:
            made.append(Breakdown(column, classes, tuple(rows)))
    return made


def seed_means(scores: RowScores) -> NDArray[np.float64]:
    """Return each case's score (0..1): the mean of its classes, then of the seeds."""
    return mean_defined(scores.case_means(), axis=0)


def overall(row: TableRow, column: Column) -> Entry:
    """Return the cell that stands for a target as a whole: of all its cases where printed, else its last group."""
    found = [entry for entry in row.entries if entry.heading.column == column and entry.heading.headline]
    return next((entry for entry in found if entry.heading.stratum in ("all", "average")), found[-1])
