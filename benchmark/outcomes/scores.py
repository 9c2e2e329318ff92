"""Scores of a row on one target, and the cell that they come to.

The order is fixed: the metric (by default Dice) of each case and class, mean over the cases of each class, mean over
the foreground classes, then mean and sample SD over seeds. Cases are never pooled, and what is not defined is left
out, never 0.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..scoring.case_file import CaseFile, counts_in_region
from ..scoring.metrics import DSC, Metric
from ..scoring.overlap import Empty
from ..spec import EvaluationConfig
from ..statistics import TargetScores
from ..storage.results_reader import StoredEvaluation
from ..suites.suite import Availability, Row

Average: TypeAlias = Literal["cases", "strata"]
"""Mean of all cases, or unweighted mean of the means of the strata."""

CellState: TypeAlias = Literal["complete", "partial", "missing", "undefined", "unavailable", "not-applicable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowScores:
    """A metric of every case and foreground class on one target, of each complete seed of a row."""

    availability: Availability = "planned"  # whether the row has runs here, and why not
    seeds: tuple[int, ...] = ()  # the complete ones
    cases: tuple[str, ...] = ()  # ids, in the first seed's order
    strata: tuple[str, ...] = ()  # of each case
    classes: tuple[str, ...] = ()  # of the foreground
    # (seeds, cases, classes): shares in 0..1 or lengths, NaN where not defined
    values: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0, 0)))
    # (seeds, cases, classes): the label has the class, and nothing is predicted of it
    missed: NDArray[np.bool_] = field(default_factory=lambda: np.empty((0, 0, 0), dtype=bool))
    evaluations: tuple[StoredEvaluation, ...] = ()  # that they come from
    counts: tuple[Mapping[str, Any], ...] = ()  # of each seed: "scored", "published", "missing", perhaps "note"
    reason: str = ""  # why other seeds are missing
    not_rescored: tuple[int, ...] = ()  # seeds that have evaluations without the metric asked for

    def members(self, stratum: str) -> NDArray[np.bool_]:
        """Return which cases belong to a stratum; "all" and "average" are all of them.

        Raises:
            UsageError: no case has that stratum.
        """
        if stratum in ("all", "average"):
            return np.ones(len(self.cases), dtype=bool)
        inside = np.array([name == stratum for name in self.strata])
        if not inside.any():
            strata = ", ".join(sorted(set(self.strata)))
            raise UsageError(f"no case is in group {stratum!r}; strata there are {strata}")
        return inside

    def means(self, stratum: str = "all", average: Average = "cases") -> NDArray[np.float64]:
        """Return each seed's score: mean per class over cases, then over classes; NaN if nothing is defined."""
        if stratum == "average" and average == "strata":
            return np.asarray(np.mean([self.means(name) for name in sorted(set(self.strata))], axis=0))
        # In C order, a sum over cases rounds as it does for a seed alone, however many seeds there are.
        values = np.ascontiguousarray(self.values[:, self.members(stratum)])
        return mean_defined(mean_defined(values, axis=1), axis=1)

    def case_means(self) -> NDArray[np.float64]:
        """Return (seeds, cases): the mean of the classes that are defined in a case, NaN where none is."""
        return mean_defined(self.values, axis=2)

    def tally(self, stratum: str = "all") -> tuple[int, int]:
        """Return the number of undefined values and of missed classes, each of the seed with the most."""
        inside = self.members(stratum)
        undefined = np.isnan(self.values[:, inside]).sum(axis=(1, 2))
        return int(undefined.max(initial=0)), int(self.missed[:, inside].sum(axis=(1, 2)).max(initial=0))


@dataclass(frozen=True, slots=True)
class Cell:
    """One printed number: where it comes from and how much of it is there.

    What is counted of cases and classes is that of the seed with most of it.
    """

    state: CellState
    values: tuple[float, ...] = ()  # of the complete seeds, as stored: shares in 0..1 or lengths
    expected_seeds: int = 0
    n_cases: int = 0
    n_undefined: int = 0  # values of its cases and classes that are not defined and left out
    n_missed: int = 0  # of its cases and classes: the label has the class, and nothing is predicted of it
    reason: str = ""  # why seeds are missing: "diverged", "running", …
    metric: Metric = DSC

    @property
    def n_seeds(self) -> int:
        """Seeds that are complete."""
        return len(self.values)

    @property
    def mean(self) -> float | None:
        """Mean over seeds of the per-seed score."""
        return sum(self.values) / len(self.values) if self.values else None

    @property
    def sd(self) -> float | None:
        """Sample standard deviation over seeds (ddof 1); None for fewer than two."""
        if len(self.values) < 2:
            return None
        mean = sum(self.values) / len(self.values)
        return float((sum((value - mean) ** 2 for value in self.values) / (len(self.values) - 1)) ** 0.5)

    def scaled(self, value: float | None) -> float | None:
        """Return a stored value in the printed unit."""
        return None if value is None else self.metric.scale * value


def make_cell(
    scores: RowScores, expected_seeds: int, stratum: str, average: Average = "cases", metric: Metric = DSC
) -> Cell:
    """Return the cell of a row, target and stratum ("all", "average", or one of cases) from the complete seeds.

    A seed of which no case has a score is none: of the classes that no label has nothing was predicted either.
    """
    if scores.availability != "planned":
        return Cell(scores.availability, metric=metric)
    if not scores.seeds:
        return Cell("missing", expected_seeds=expected_seeds, reason=scores.reason, metric=metric)
    means = [float(mean) for mean in scores.means(stratum, average)]
    values = tuple(mean for mean in means if mean == mean)
    undefined, missed = scores.tally(stratum)
    reason = scores.reason
    if len(values) < len(means):
        reason = "nothing predicted" if missed else "no label has a class"
    complete = len(values) == expected_seeds
    return Cell(
        "complete" if complete else "partial" if values else "undefined",
        values,
        expected_seeds,
        n_cases=int(scores.members(stratum).sum()),
        n_undefined=undefined,
        n_missed=missed,
        reason="" if complete else reason,
        metric=metric,
    )


def contenders(rows: Sequence[Row], cells: Mapping[str, Sequence[Cell]]) -> list[Row]:
    """Return the rows that are ranked and may win: trained on the source alone, and complete in all their cells.

    Where a metric leaves misses out, only rows with the fewest compete: none wins by predicting less. ``cells`` has
    those of each row by its id: one of a printed column, or the same one under several conventions.
    """
    complete = [row for row in rows if row.contender and all(c.state == "complete" for c in cells[row.id])]
    misses = {r.id: [c.n_missed if c.metric.skips_misses else 0 for c in cells[r.id]] for r in complete}
    fewest = [min(counts) for counts in zip(*misses.values(), strict=True)]
    return [row for row in complete if misses[row.id] == fewest]


def metric_of(
    counts: NDArray[np.int64],
    metric: Metric,
    region: str,
    empty: Empty,
    masks: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return a metric (seeds, cases, classes), and which classes are missed.

    ``counts`` are (seeds, 6, cases, classes), as ``cases.csv`` has them, ``masks`` the values of a metric of masks.
    """
    tp, fp, fn = counts_in_region(np.moveaxis(counts, 1, 0), region)
    missed = (fn > 0) & (tp + fp == 0)
    if masks is None:
        return metric.of_counts(tp, fp, fn, empty), missed
    return metric.with_empty_rule(masks, tp, fp, fn, empty), missed


def evaluation_scores(file: CaseFile, scoring: EvaluationConfig, ndim: int, metric: Metric = DSC) -> RowScores:
    """Return the scores of one evaluation by a metric of its counts, as those of a row with one seed."""
    layout = file.layout
    counts = layout.arranged(file.counts)[None]
    values, missed = metric_of(counts, metric, scoring.region_in(ndim), scoring.empty)
    return RowScores(
        seeds=(0,), cases=layout.cases, strata=layout.strata, classes=layout.classes, values=values, missed=missed
    )


def mean_defined(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Return the mean of the defined values along an axis, NaN where there are none."""
    defined = ~np.isnan(values)
    n = defined.sum(axis=axis)
    total = np.where(defined, values, 0.0).sum(axis=axis)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)


def common_scores(rows: Sequence[RowScores], stratum: str = "all", average: Average = "cases") -> TargetScores:
    """Return the scores of rows on a stratum's cases, in one order; a seed's mean over them is its cell of the table.

    A case and class weigh there as in the cell: 1 / (classes x cases of the seed that have the class), times the
    number of cases. Where every case has every class, a case's score is the mean of its classes.

    A class of a case that some seed of some row misses, under a metric that leaves misses out, is left out of that
    case for all rows, so that no row's mean is over the easier classes alone: there means may not be the cells. Cases
    are those with a defined value in some row; a seed without any is NaN.

    Each row has at least one complete seed; intra-domain rows may have their cases in another order.

    Raises:
        UsageError: no case has that stratum.
    """
    first = rows[0]
    shared = frozenset.intersection(*(frozenset(scores.cases) for scores in rows))
    kept = [i for i in np.flatnonzero(first.members(stratum)) if first.cases[i] in shared]
    positions = [{case: index for index, case in enumerate(scores.cases)} for scores in rows]
    orders = [[position[first.cases[i]] for i in kept] for position in positions]
    values = [scores.values[:, order] for scores, order in zip(rows, orders, strict=True)]
    missed = [scores.missed[:, order] for scores, order in zip(rows, orders, strict=True)]
    left_out = np.any([(np.isnan(v) & m).any(axis=0) for v, m in zip(values, missed, strict=True)], axis=0)
    values = [np.where(left_out, np.nan, array) for array in values]
    scored = np.any([~np.isnan(array).all(axis=(0, 2)) for array in values], axis=0)
    values = [array[:, scored] for array in values]
    cases = tuple(first.cases[i] for i in itertools.compress(kept, scored))
    strata = tuple(first.strata[i] for i in itertools.compress(kept, scored))
    weighed = strata if stratum == "average" and average == "strata" else None
    return TargetScores(
        [_shares(array, weighed or ("",) * len(cases)) for array in values],
        weighed,
        cases=cases,
        case_means=[mean_defined(array, axis=2) for array in values],
    )


def _shares(values: NDArray[np.float64], strata: Sequence[str]) -> NDArray[np.float64]:
    """Return (seeds, cases) whose mean within a stratum is that per class over cases, then over classes."""
    shares = np.empty(values.shape[:2])
    for stratum in set(strata):
        inside = np.array([name == stratum for name in strata])
        defined = ~np.isnan(values[:, inside])
        cases = defined.sum(axis=1, keepdims=True)  # (seeds, 1, classes): that have the class
        total = (np.where(defined, values[:, inside], 0.0) * (inside.sum() / np.maximum(cases, 1))).sum(axis=2)
        classes = (cases > 0).sum(axis=2)
        shares[:, inside] = np.where(classes > 0, total / np.maximum(classes, 1), np.nan)
    shares[np.isnan(shares).any(axis=1)] = np.nan
    return shares
