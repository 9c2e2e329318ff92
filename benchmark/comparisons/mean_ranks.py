"""Mean ranks of rows over the targets of several suites, and which rows they separate.

Seeds and cases are drawn again as in :mod:`ssdg.benchmark.comparisons.ranking`, and the targets stay as they are: the
result holds for other runs and cases of these targets, not for other targets. A draw takes the same seeds of a row on
all targets of a source, because one run is good or bad on all of them. Resampling n runs or cases understates their
variance by (n - 1) / n, and three runs say little of it: draws are spread accordingly, those of runs as Student's t.

Two rows are separated where two equal ones in their place, both at the mean of their scores with the same spread,
would seldom differ as much in mean rank. ``studies/mean_ranks.py`` simulates how often that is wrong. With few
targets ranks hold little: two rows need about six targets that agree.
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
from ..statistics import EQUAL, Floats, Level, case_weights, defined_in_all, holm, resampled_means, times_drawn
from ..suites.suite import Row
from .ranking import DRAWS, SEED, competition_ranks

LISTED = 3
"""Targets that a message names."""


@dataclass(frozen=True, slots=True)
class RankPair:
    """The difference between two rows' mean ranks: the first, which is better, minus the second."""

    first: int  # position among the rows
    second: int
    difference: float
    p: float  # of such a difference, either way, between equal rows; after Holm's method over all pairs


@dataclass(frozen=True, slots=True)
class MeanRanks:
    """Ranks of the rows that all suites have, on every target. Rank 1 is best; equal means share the better rank."""

    rows: tuple[Row, ...]  # as the first suite names them
    places: tuple[tuple[SuiteResults, Heading], ...]
    ranks: NDArray[np.int64]  # (places, rows)
    mean: Floats  # (rows,): over the places
    low: Floats  # 2.5 and 97.5 percentiles of the draws
    high: Floats
    pairs: tuple[RankPair, ...]
    level: Level  # "cases" where some row has one seed, which cannot be resampled
    missing: tuple[str, ...]  # rows left out, with the reason
    draws: int = DRAWS
    seed: int = SEED

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
    sign, places, scored = 1.0 if metric.better == "higher" else -1.0, [], []
    for results, rows in zip(of_suites, zip(*shared.values(), strict=True), strict=True):
        for heading in overall_headings(results, metric):
            scores, strata = _defined(results, rows, heading, metric)
            runs = results.suite.name, heading.column.task, heading.column.source
            places.append((results, heading))
            scored.append(PlaceScores([sign * of_row for of_row in scores], strata, runs))
    full, drawn = drawn_means(scored, np.random.default_rng(SEED), draws)
    ranks = competition_ranks(full)
    mean = np.asarray(ranks.mean(axis=0))
    low, high = np.quantile(np.mean([competition_ranks(of) for of in drawn], axis=0), [0.025, 0.975], axis=0)
    level: Level = (
        "cases" if min(len(of_row) for place in scored for of_row in place.scores) == 1 else "runs and cases"
    )
    first_rows = tuple(rows[0] for rows in shared.values())
    pairs = tuple(rank_pairs(mean, full, drawn))
    return MeanRanks(first_rows, tuple(places), ranks, mean, low, high, pairs, level, tuple(missing), draws)


@dataclass(frozen=True, slots=True)
class PlaceScores:
    """Scores on one target, the higher the better."""

    scores: Sequence[Floats]  # of each row: (seeds, cases)
    strata: Sequence[str] | None  # of the cases, where strata weigh; None: cases weigh
    runs: Hashable  # equal on targets that the same runs were scored on


def drawn_means(
    places: Sequence[PlaceScores], rng: Generator, draws: int = DRAWS
) -> tuple[list[Floats], list[Floats]]:
    """Return the means of rows on each place, (rows,), and of each draw of seeds and cases, (draws, rows)."""
    shares: dict[Hashable, list[Floats]] = {}
    full, drawn = [], []
    for place in places:
        if place.runs not in shares:
            shares[place.runs] = [_shares(len(of_row), draws, rng) for of_row in place.scores]
        means, of_draws = _means(place.scores, place.strata, shares[place.runs], rng)
        full.append(means)
        drawn.append(of_draws)
    return full, drawn


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


def rank_pairs(mean: Floats, full: Sequence[Floats], drawn: Sequence[Floats]) -> Iterator[RankPair]:
    """Yield every pair of rows; ``full`` and ``drawn`` are their means on each target, the higher the better."""
    pairs = [
        tuple(sorted(pair, key=lambda i: float(mean[i]))) for pair in itertools.combinations(range(len(mean)), 2)
    ]
    p_values = []
    for first, second in pairs:
        differences = np.mean([_equal_ranks(*of, first, second) for of in zip(full, drawn, strict=True)], axis=0)
        as_far = np.abs(differences) >= abs(mean[first] - mean[second]) - EQUAL
        p_values.append((1 + int(as_far.sum())) / (1 + len(differences)))
    for (first, second), adjusted in zip(pairs, holm(p_values), strict=True):
        yield RankPair(first, second, float(mean[first] - mean[second]), adjusted)


def _equal_ranks(full: Floats, drawn: Floats, first: int, second: int) -> NDArray[np.int64]:
    """Return by how many ranks two rows differ in each draw, (draws,), were both at the mean of the two."""
    middle = (full[first] + full[second]) / 2
    one, other = (middle + drawn[:, i] - full[i] for i in (first, second))
    rest = np.delete(drawn, [first, second], axis=1)
    better = [(rest > values[:, None] + EQUAL).sum(axis=1) for values in (one, other)]
    return np.asarray(better[0] - better[1] + (other > one + EQUAL).astype(np.int64) - (one > other + EQUAL))
