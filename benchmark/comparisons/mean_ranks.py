"""Mean ranks of rows over the targets of several suites, and which rows they separate.

Seeds and cases are drawn again as in :mod:`ssdg.benchmark.comparisons.ranking`, and the targets stay as they are: the
result holds for other runs and cases of these targets, not for other targets. A draw takes the same seeds of a row on
all targets of a source, because one run is good or bad on all of them. Resampling n runs or cases understates their
variance by (n - 1) / n, and three runs say little of it: draws are spread accordingly, those of runs as Student's t.

Ranks describe. Two rows are separated where the crossed interval of their mean difference over the targets, which
weigh the same, excludes zero after Holm's method. (A test of the ranks themselves separated equal rows in up to 14 %
of simulated studies: the rank of a row also moves with rows between the two.) ``studies/mean_ranks.py`` simulates it.
"""

import itertools
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..errors import UsageError, listed
from ..outcomes.headings import Heading, overall_headings, pair_rows
from ..outcomes.results import SuiteResults
from ..scoring.metrics import DSC, Metric
from ..statistics import (
    Floats,
    Interval,
    Level,
    PairedScores,
    case_weights,
    defined_in_all,
    holm,
    mean_difference_over,
    resampled_means,
    times_drawn,
)
from ..suites.suite import Row
from ..tables.significance import ALPHA, LEAST_SEEDS
from .ranking import DRAWS, SEED, competition_ranks

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
    draws: int = DRAWS
    seed: int = SEED

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


def mean_ranks(of_suites: Sequence[SuiteResults], metric: Metric = DSC, draws: int = DRAWS) -> MeanRanks:
    """Return the mean rank of every row that all suites have and that is complete on all their targets.

    Raises:
        UsageError: fewer than two such rows, a target without a case that all of them have a score of, or a metric
            that leaves misses out.
    """
    if metric.skips_misses:
        raise UsageError(f"{metric.short} leaves misses out, and a mean rank would reward them: rank by dsc or nsd")
    shared, missing = _shared_rows(of_suites, metric)
    if len(shared) < 2:
        raise UsageError("\n  ".join(["a mean rank needs two rows that all suites have complete:", *missing]))
    targets, scored = [], []
    for results, rows in zip(of_suites, zip(*shared.values(), strict=True), strict=True):
        for heading in overall_headings(results, metric):
            scores, strata = _defined(results, rows, heading, metric)
            targets.append((results, heading))
            scored.append(
                TargetScores(scores, strata, (results.suite.name, heading.column.task, heading.column.source))
            )
    sign = 1.0 if metric.better == "higher" else -1.0
    full, drawn = drawn_means(scored, np.random.default_rng(SEED), draws)
    ranks = competition_ranks(sign * full)
    low, high = np.quantile(competition_ranks(sign * drawn).mean(axis=0), [0.025, 0.975], axis=0)
    first_rows = tuple(rows[0] for rows in shared.values())
    pairs = tuple(row_pairs(scored, sign * full.mean(axis=0)))
    mean = np.asarray(ranks.mean(axis=0))
    return MeanRanks(first_rows, tuple(targets), ranks, mean, low, high, pairs, tuple(missing), draws)


@dataclass(frozen=True, slots=True)
class TargetScores:
    """Scores of all rows on one target."""

    scores: Sequence[Floats]  # of each row: (seeds, cases)
    strata: Sequence[str] | None  # of the cases, where strata weigh; None: cases weigh
    runs: Hashable  # equal on targets that the same runs were scored on


def drawn_means(targets: Sequence[TargetScores], rng: Generator, draws: int = DRAWS) -> tuple[Floats, Floats]:
    """Return the means of rows, (targets, rows), and of each draw of seeds and cases, (targets, draws, rows)."""
    shares: dict[Hashable, list[Floats]] = {}
    full, drawn = [], []
    for target in targets:
        if target.runs not in shares:
            shares[target.runs] = [_shares(len(of_row), draws, rng) for of_row in target.scores]
        means, of_draws = _means(target.scores, target.strata, shares[target.runs], rng)
        full.append(means)
        drawn.append(of_draws)
    return np.stack(full), np.stack(drawn)


def row_pairs(targets: Sequence[TargetScores], goodness: Floats) -> Iterator[RowPair]:
    """Yield every pair of rows with its interval; ``goodness`` orders the rows, (rows,), the higher the better."""
    best_first = sorted(range(len(goodness)), key=lambda row: -float(goodness[row]))
    pairs = list(itertools.combinations(best_first, 2))
    intervals = [
        mean_difference_over([PairedScores(t.scores[i], t.scores[j], t.strata, t.runs) for t in targets])
        for i, j in pairs
    ]
    for (i, j), interval, adjusted in zip(pairs, intervals, holm([of.p for of in intervals]), strict=True):
        yield RowPair(i, j, interval, adjusted)


def _shared_rows(of_suites: Sequence[SuiteResults], metric: Metric) -> tuple[dict[str, list[Row]], list[str]]:
    """Return each row that takes part, as every suite has it, by id, and why others do not."""
    shared: dict[str, list[Row]] = {}
    missing = []
    by_id: list[Mapping[str, Row]] = [{row.id: row for row in results.suite.rows} for results in of_suites]
    for name in dict.fromkeys(itertools.chain(*by_id)):
        rows = [of.get(name) for of in by_id]
        if any(row is not None and not row.contender for row in rows):
            continue
        there = [row for row in rows if row is not None]
        lacking = [results.suite.name for results, row in zip(of_suites, rows, strict=True) if row is None]
        holes = [] if lacking else list(_holes(of_suites, there, metric))
        if lacking:
            missing.append(f"{there[0].label}: not a row of {', '.join(lacking)}")
        elif len({(row.method, str(sorted(row.settings.items()))) for row in there}) > 1:
            missing.append(f"{there[0].label}: not the same method and settings in all suites")
        elif holes:
            missing.append(f"{there[0].label}: not complete on {listed(holes, LISTED)}")
        else:
            shared[name] = there
    return shared, missing


def _holes(of_suites: Sequence[SuiteResults], rows: Sequence[Row], metric: Metric) -> Iterator[str]:
    for results, row in zip(of_suites, rows, strict=True):
        for column in results.suite.columns:
            if not results.is_complete(row, column, metric):
                yield f"{column.label} ({results.suite.name})"


def _defined(
    results: SuiteResults, rows: Sequence[Row], heading: Heading, metric: Metric
) -> tuple[list[Floats], list[str] | None]:
    """Return the scores (seeds, cases) of each row on the cases that all have a score of, and strata that weigh."""
    paired = pair_rows(results, rows, heading, metric)
    scores, strata = defined_in_all(paired.scores, paired.strata)
    if not scores[0].size:
        raise UsageError(f"{heading.text} ({results.suite.name}): no case has a score of every seed of every row")
    return scores, strata


def _shares(seeds: int, draws: int, rng: Generator) -> Floats:
    """Return the weight of each seed in each draw, (draws, seeds): around the full mean as Student's t of n - 1."""
    if seeds == 1:
        return np.ones((draws, 1))
    share = times_drawn(seeds, draws, rng) / seeds
    return np.asarray(1 / seeds + (share - 1 / seeds) * (seeds / rng.chisquare(seeds - 1, (draws, 1))) ** 0.5)


def _means(
    scores: Sequence[Floats], strata: Sequence[str] | None, shares: Sequence[Floats], rng: Generator
) -> tuple[Floats, Floats]:
    """Return the means of rows on a target, (rows,), and of each draw, (draws, rows)."""
    cases = scores[0].shape[1]
    weights, full = case_weights(cases, strata, len(shares[0]), rng)
    names = np.zeros(cases) if strata is None else np.unique(list(strata), return_inverse=True)[1]
    counts = np.array([(names == name).sum() for name in names])
    weights = full + (weights - full) * np.sqrt(counts / np.maximum(1, counts - 1))
    return resampled_means(scores, shares, weights, full)
