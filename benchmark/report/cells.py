"""What a report says of single cases and classes: how they are distributed, and a breakdown by class."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..outcomes.aggregate import SeedResult
from ..outcomes.collect import Collected
from ..outcomes.paired_scores import pair
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


def distributions(collected: Collected, baseline: str | None) -> list[Distribution]:
    """Return the scores of single cases on each target: means of their classes, then of the seeds.

    Args:
        collected: what is there of the suite.
        baseline: id of the row that others are held against, if there is one.
    """
    made: list[Distribution] = []
    for column in collected.columns:
        strips = {}
        for row in collected.suite.rows:
            seeds = collected.scores[row.id, column].seeds
            if seeds:
                strips[row.id] = StripRow(row_label(row), 100 * case_means(seeds), seeds[0].scores.strata)
        if strips:
            held = strips.get(baseline or "")
            reference = None if held is None else float(np.nanmedian(held.values))
            cases = max(len(strip.values) for strip in strips.values())
            made.append(Distribution(f"cases-{len(made)}", column, tuple(strips.values()), reference, cases))
    return made


def breakdowns(collected: Collected) -> list[Breakdown]:
    """Return each target's scores by class: means over cases, then over seeds; none where there is one class."""
    made = []
    for column in collected.columns:
        rows: list[tuple[str, tuple[float | None, ...]]] = []
        classes: tuple[str, ...] = ()
        for row in collected.suite.rows:
            seeds = collected.scores[row.id, column].seeds
            if seeds and len(seeds[0].scores.classes) > 1:
                classes = seeds[0].scores.classes
                means = _mean(np.stack([_mean(seed.scores.values, 0) for seed in seeds]), 0)
                rows.append((row_label(row), tuple(None if np.isnan(v) else 100 * float(v) for v in means)))
        if rows:
            made.append(Breakdown(column, classes, tuple(rows)))
    return made


def case_means(seeds: Sequence[SeedResult]) -> NDArray[np.float64]:
    """Return each case's score (0..1): the mean of its classes, then of the seeds; in the first seed's order."""
    return _mean(pair([seeds]).scores[0], 0)


def overall(row: TableRow, column: Column) -> Entry:
    """Return the cell that stands for a target as a whole: of all its cases where printed, else its last group."""
    found = [entry for entry in row.entries if entry.heading.column == column and entry.heading.headline]
    return next((entry for entry in found if entry.heading.group in ("all", "average")), found[-1])


def _mean(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    with warnings.catch_warnings():  # nothing defined is NaN, and no news
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmean(values, axis=axis))
