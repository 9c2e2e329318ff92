"""Blocks of a suite, rows that repeat the same methods on another network, and whether the methods' order repeats.

Descriptive, not a test: see :mod:`ssdg.benchmark.comparisons.ranking` on few seeds.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from ..outcomes.headings import Heading, overall_headings, pair_rows
from ..outcomes.results import SuiteResults
from ..scoring.metrics import DSC, Metric
from ..statistics import Floats, case_weights, defined_in_all, kendall_tau, resampled_means, times_drawn
from ..suites.blocks import blocks_of
from ..suites.suite import Row
from .wording import decimals

DRAWS = 2_000
SEED = 0  # of the bootstrap's own generator: a line printed twice is the same


@dataclass(frozen=True, slots=True)
class Agreement:
    """Kendall's tau (tau-b) between the orders of the same methods in two blocks, by the mean over targets."""

    blocks: tuple[str, str]
    tau: float
    low: float  # 2.5 and 97.5 percentiles of the draws
    high: float


@dataclass(frozen=True, slots=True)
class Agreements:
    """Every pair of blocks, on the targets where all their rows are complete."""

    pairs: tuple[Agreement, ...]
    rows: tuple[Row, ...]  # of the first block, one a method
    headings: tuple[Heading, ...]


def compare_blocks(results: SuiteResults, metric: Metric = DSC) -> Agreements | None:
    """Return how each pair of blocks agrees; None without two blocks, two methods and a target.

    A draw takes the same cases of a target for all rows, and each row's seeds for itself.
    """
    blocks = blocks_of(results.suite.rows)
    methods = [m for m in next(iter(blocks.values()), ()) if all(m in block for block in blocks.values())]
    if len(blocks) < 2 or len(methods) < 2:
        return None
    rows = [block[method] for block in blocks.values() for method in methods]
    rng, targets = np.random.default_rng(SEED), []
    for heading in overall_headings(results, metric):
        if all(results.is_complete(row, heading.column, metric) for row in rows):
            means, drawn = row_means(results, rows, heading, metric, rng, rng)
            if means.size:
                targets.append((heading, means, drawn))
    if not targets:
        return None
    headings, means_by_target, drawn_by_target = zip(*targets, strict=True)
    # (blocks, methods), and (draws, blocks, methods).
    means = np.mean(means_by_target, axis=0).reshape(len(blocks), -1)
    drawn = np.mean(drawn_by_target, axis=0).reshape(DRAWS, len(blocks), -1)
    pairs = agreements(tuple(blocks), means, drawn.swapaxes(0, 1))
    return Agreements(tuple(pairs), tuple(rows[: len(methods)]), headings)


def agreements(names: Sequence[str], means: Floats, drawn: Floats) -> Iterator[Agreement]:
    """Yield how the orders in each pair of groups agree.

    Args:
        names: of the groups.
        means: (groups, methods).
        drawn: (groups, draws, methods).
    """
    for (i, first), (j, second) in itertools.combinations(enumerate(names), 2):
        low, high = np.quantile(kendall_tau(drawn[i], drawn[j]), [0.025, 0.975])
        yield Agreement((first, second), float(kendall_tau(means[i], means[j])), float(low), float(high))


def row_means(
    results: SuiteResults,
    rows: Sequence[Row],
    heading: Heading,
    metric: Metric,
    of_cases: Generator,
    of_seeds: Generator,
) -> tuple[Floats, Floats]:
    """Return the means of rows on a target, (rows,), and of each draw, (draws, rows); empty without a shared case."""
    paired = pair_rows(results, rows, heading, metric)
    scores, strata = defined_in_all(paired.scores, paired.strata)
    if not scores[0].size:
        return np.empty(0), np.empty(0)
    weights, full = case_weights(scores[0].shape[1], strata, DRAWS, of_cases)
    shares = [times_drawn(len(of_row), DRAWS, of_seeds) / len(of_row) for of_row in scores]
    return resampled_means(scores, shares, weights, full)


def block_notes(results: SuiteResults, metric: Metric = DSC) -> list[str]:
    """Return whether the order of the methods depends on the block, as a sentence; none without blocks."""
    compared = compare_blocks(results, metric)
    if compared is None:
        return []
    pairs = map(agreement_text, compared.pairs)
    seeds = ", and each row's seeds for itself" if len(results.suite.seeds) > 1 else "; the one seed is not resampled"
    return [
        f"order of {', '.join(row.label for row in compared.rows)} by mean {metric.short} over "
        f"{', '.join(heading.text for heading in compared.headings)}: Kendall's tau between {'; '.join(pairs)}; "
        f"in brackets 95 % of {DRAWS:,} draws of each target's cases, the same for all rows{seeds} "
        f"(generator seed {SEED})"
    ]


def agreement_text(pair: Agreement) -> str:
    """Return tau between two groups with its interval."""
    return f"{' and '.join(pair.blocks)} {decimals(pair.tau)} [{decimals(pair.low)}, {decimals(pair.high)}]"
