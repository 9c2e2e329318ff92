"""Mean ranks of rows over the targets of several suites, and which rows they separate.

Seeds and cases are drawn again as in :mod:`ssdg.benchmark.comparisons.ranking`, and the targets stay as they are: the
result holds for other runs and cases of these targets, not for other targets. A draw takes the same seeds of a row on
all targets of a source, because one run is good or bad on all of them. Draws are spread by sqrt(n / (n - 1)) around
the full mean, without which resampling n runs or cases understates their variance.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..errors import UsageError
from ..outcomes.headings import Heading, overall_headings, pair_rows
from ..outcomes.results import SuiteResults
from ..scoring.metrics import DSC, Metric
from ..statistics import EQUAL, Floats, Level, case_weights, holm, times_drawn
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
    p: float  # two-sided, after Holm's method over all pairs


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
    rng, sign = np.random.default_rng(SEED), 1.0 if metric.better == "higher" else -1.0
    places, full, drawn, runs = [], [], np.zeros((draws, len(shared))), []
    for results, rows in zip(of_suites, zip(*shared.values(), strict=True), strict=True):
        shares: dict[tuple[str, str], list[Floats]] = {}
        for heading in overall_headings(results, metric):
            scores, strata = _defined(results, rows, heading, metric)
            place = heading.column.task, heading.column.source
            if place not in shares:
                shares[place] = [_shares(len(of_row), draws, rng) for of_row in scores]
                runs.append(min(map(len, scores)))
            means, of_draws = _means(scores, strata, shares[place], rng)
            places.append((results, heading))
            full.append(competition_ranks(sign * means))
            drawn += competition_ranks(sign * of_draws)
    ranks, drawn = np.array(full), drawn / len(places)
    mean = np.asarray(ranks.mean(axis=0))
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    level: Level = "cases" if min(runs) == 1 else "runs and cases"
    freedom = 2 * sum(count - 1 for count in runs) if level == "runs and cases" else None
    first_rows = tuple(rows[0] for rows in shared.values())
    pairs = tuple(_pairs(mean, drawn, freedom))
    return MeanRanks(first_rows, tuple(places), ranks, mean, low, high, pairs, level, tuple(missing), draws)


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
            more = f" and {len(holes) - LISTED} more" if len(holes) > LISTED else ""
            missing.append(f"{there[0].label}: not complete on {', '.join(holes[:LISTED])}{more}")
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
    defined = np.asarray(~np.isnan(np.concatenate(paired.scores)).any(axis=0))
    if not defined.any():
        raise UsageError(f"{heading.text} ({results.suite.name}): no case has a score of every seed of every row")
    strata = None if paired.strata is None else list(itertools.compress(paired.strata, defined))
    return [of_row[:, defined] for of_row in paired.scores], strata


def _shares(seeds: int, draws: int, rng: Generator) -> Floats:
    """Return the weight of each seed in each draw, (draws, seeds)."""
    share = times_drawn(seeds, draws, rng) / seeds
    return np.asarray(1 / seeds + (share - 1 / seeds) * (seeds / max(1, seeds - 1)) ** 0.5)


def _means(
    scores: Sequence[Floats], strata: Sequence[str] | None, shares: Sequence[Floats], rng: Generator
) -> tuple[Floats, Floats]:
    """Return the means of rows on a target, (rows,), and of each draw, (draws, rows)."""
    cases = scores[0].shape[1]
    weights, full = case_weights(cases, strata, len(shares[0]), rng)
    names = np.zeros(cases) if strata is None else np.unique(list(strata), return_inverse=True)[1]
    counts = np.array([(names == name).sum() for name in names])
    weights = full + (weights - full) * np.sqrt(counts / np.maximum(1, counts - 1))
    means = np.array([float((of_row @ full).mean()) for of_row in scores])
    drawn = [((share @ of_row) * weights).sum(axis=1) for share, of_row in zip(shares, scores, strict=True)]
    return means, np.stack(drawn, axis=-1)


def _pairs(mean: Floats, drawn: Floats, freedom: int | None) -> Iterator[RankPair]:
    """Yield every pair of rows: the difference over its spread in the draws, by t with the two rows' runs."""
    from scipy.special import ndtr, stdtr

    found = []
    for i, j in itertools.combinations(range(len(mean)), 2):
        first, second = (i, j) if mean[i] <= mean[j] else (j, i)
        difference, spread = float(mean[first] - mean[second]), float((drawn[:, first] - drawn[:, second]).std())
        if spread < EQUAL:
            p = 1.0 if abs(difference) < EQUAL else 0.0
        else:
            ratio = -abs(difference) / spread
            p = float(2 * (ndtr(ratio) if freedom is None else stdtr(freedom, ratio)))
        found.append((first, second, difference, p))
    for (first, second, difference, _), adjusted in zip(found, holm([p for *_, p in found]), strict=True):
        yield RankPair(first, second, difference, adjusted)
