"""Mean ranks of rows over the targets of several suites, and which rows they separate.

Seeds and cases are drawn again by :func:`ssdg.benchmark.resampling.drawn_means`, and the targets stay as they are:
the result holds for other runs and cases of these targets, not for other targets.

Ranks describe. Two rows are separated where the crossed interval of their mean difference over the targets, which
weigh the same, excludes zero after Holm's method. (A test of the ranks themselves separated equal rows in up to 14 %
of simulated studies: the rank of a row also moves with rows between the two.) ``studies/mean_ranks.py`` simulates it.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError, listed
from ..outcomes.headings import Heading, overall_headings, target_scores
from ..outcomes.results import SuiteResults
from ..resampling import SEED, drawn_means
from ..scoring.metrics import DSC, Metric
from ..statistics import (
    ALPHA,
    LEAST_SEEDS,
    Floats,
    Interval,
    Level,
    TargetScores,
    defined,
    holm,
    mean_difference_over,
)
from ..suites.suite import Row
from .contrasts import require_distinct
from .ranking import competition_ranks

LISTED = 3
"""Targets that a message names."""


@dataclass(frozen=True, slots=True)
class RowPair:
    """Two rows, the first with the better mean over the targets, and how far they differ there."""

    first: int  # position among the rows
    second: int
    interval: Interval  # the first minus the second, in the metric's own sign
    adjusted: float  # p after Holm's method over all pairs


@dataclass(frozen=True, slots=True)
class MeanRanks:
    """Ranks of the rows that all suites have, on every target. Rank 1 is best; equal means share the better rank."""

    rows: tuple[Row, ...]  # as the first suite names them
    targets: tuple[tuple[SuiteResults, Heading], ...]
    ranks: NDArray[np.int64]  # (targets, rows)
    mean: Floats  # (rows,): over the targets
    low: Floats  # 2.5 and 97.5 percentiles of the draws
    high: Floats
    pairs: tuple[RowPair, ...]
    missing: tuple[str, ...]  # rows left out, with the reason

    @property
    def seeds(self) -> int:
        """Number of seeds of the row that has the fewest in a suite."""
        return min(min(pair.interval.seeds) for pair in self.pairs)

    @property
    def separated(self) -> tuple[RowPair, ...]:
        """Pairs of rows that are separated, the surest first; none where a row has fewer than three seeds."""
        if self.seeds < LEAST_SEEDS:
            return ()
        pairs = [pair for pair in self.pairs if pair.adjusted <= ALPHA]
        return tuple(sorted(pairs, key=lambda pair: pair.adjusted))

    @property
    def level(self) -> Level:
        """What intervals and draws generalise to: cases alone where some row has one seed."""
        return "cases" if self.seeds == 1 else "runs and cases"

    @property
    def order(self) -> list[int]:
        """Positions of the rows, the best mean rank first."""
        return sorted(range(len(self.rows)), key=lambda position: float(self.mean[position]))


def mean_ranks(suites: Sequence[SuiteResults], metric: Metric = DSC) -> MeanRanks:
    """Return the mean rank of every row that all suites have and that is complete on all their targets.

    Raises:
        UsageError: fewer than two such rows, a target without a case that all of them have a score of, a metric that
            leaves misses out, or suites that have a source and target in common.
    """
    if metric.skips_misses:
        raise UsageError(f"{metric.short} leaves misses out, and a mean rank would reward them: rank by dsc or nsd")
    require_distinct(suites)
    shared, missing = _shared_rows(suites, metric)
    if len(shared) < 2:
        raise UsageError("\n  ".join(["a mean rank needs two rows that all suites have complete:", *missing]))
    targets, scores = [], []
    for results, rows in zip(suites, zip(*shared.values(), strict=True), strict=True):
        for heading in overall_headings(results, metric):
            targets.append((results, heading))
            scores.append(target_scores(results, rows, heading, metric))
            if not defined(scores[-1]).strata:
                place = f"{heading.text} ({results.suite.name})"
                raise UsageError(f"{place}: no case has a score of every seed of every row")
    sign = metric.sign
    means, drawn = drawn_means(scores, np.random.default_rng(SEED))
    ranks = competition_ranks(sign * means)
    low, high = np.quantile(competition_ranks(sign * drawn).mean(axis=0), [0.025, 0.975], axis=0)
    first_rows = tuple(rows[0] for rows in shared.values())
    pairs = tuple(row_pairs(scores, sign * means.mean(axis=0)))
    mean = np.asarray(ranks.mean(axis=0))
    return MeanRanks(first_rows, tuple(targets), ranks, mean, low, high, pairs, tuple(missing))


def row_pairs(targets: Sequence[TargetScores], goodness: Floats) -> Iterator[RowPair]:
    """Yield every pair of rows with its interval; ``goodness`` orders the rows, (rows,), the higher the better."""
    best_first = sorted(range(len(goodness)), key=lambda row: -float(goodness[row]))
    pairs = list(itertools.combinations(best_first, 2))
    intervals = [mean_difference_over([_pair(target, i, j) for target in targets]) for i, j in pairs]
    adjusted_p = holm([interval.p for interval in intervals])
    for (i, j), interval, adjusted in zip(pairs, intervals, adjusted_p, strict=True):
        yield RowPair(i, j, interval, adjusted)


def _pair(target: TargetScores, first: int, second: int) -> TargetScores:
    runs = target.runs_of(first), target.runs_of(second)
    return replace(target, scores=(target.scores[first], target.scores[second]), runs=runs)


def _shared_rows(suites: Sequence[SuiteResults], metric: Metric) -> tuple[dict[str, list[Row]], list[str]]:
    """Return each row that takes part, as every suite has it, by id, and why others do not."""
    shared: dict[str, list[Row]] = {}
    missing = []
    by_id: list[Mapping[str, Row]] = [{row.id: row for row in results.suite.rows} for results in suites]
    for name in dict.fromkeys(itertools.chain(*by_id)):
        rows = [rows_of_suite[name] for rows_of_suite in by_id if name in rows_of_suite]
        if not all(row.contender for row in rows):
            continue
        without = [results.suite.name for results, ids in zip(suites, by_id, strict=True) if name not in ids]
        holes = [] if without else list(_holes(suites, rows, metric))
        if without:
            missing.append(f"{rows[0].label}: not a row of {', '.join(without)}")
        elif len({(row.method, str(sorted(row.settings.items()))) for row in rows}) > 1:
            missing.append(f"{rows[0].label}: not the same method and settings in all suites")
        elif holes:
            missing.append(f"{rows[0].label}: not complete on {listed(holes, LISTED)}")
        else:
            shared[name] = rows
    return shared, missing


def _holes(suites: Sequence[SuiteResults], rows: Sequence[Row], metric: Metric) -> Iterator[str]:
    for results, row in zip(suites, rows, strict=True):
        for column in results.suite.columns:
            if not results.is_complete(row, column, metric):
                yield f"{column.label} ({results.suite.name})"
