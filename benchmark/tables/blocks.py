"""Blocks of a suite, rows that repeat the same methods on another network, and whether the methods' order repeats.

Descriptive, not a test; runs and cases are drawn by :func:`ssdg.benchmark.resampling.drawn_means`.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..outcomes.headings import Heading, overall_headings, target_scores
from ..outcomes.results import SuiteResults
from ..resampling import DRAWS, SEED, drawn_means
from ..scoring.metrics import DSC, Metric
from ..statistics import Floats, TargetScores, defined, kendall_tau
from ..suites.blocks import blocks_of
from ..suites.suite import Row
from .wording import decimals


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
    """Return how each pair of blocks agrees; None without two blocks, two methods and a target."""
    blocks = blocks_of(results.suite.rows)
    methods = [m for m in next(iter(blocks.values()), ()) if all(m in block for block in blocks.values())]
    if len(blocks) < 2 or len(methods) < 2:
        return None
    rows = [block[method] for block in blocks.values() for method in methods]
    targets = [
        (heading, target_scores(results, rows, heading, metric))
        for heading in overall_headings(results, metric)
        if all(results.is_complete(row, heading.column, metric) for row in rows)
    ]
    targets = [(heading, scores) for heading, scores in targets if defined(scores).strata]
    if not targets:
        return None
    headings, scores = zip(*targets, strict=True)
    return Agreements(tuple(agreements(tuple(blocks), scores)[1]), tuple(rows[: len(methods)]), headings)


def agreements(names: Sequence[str], targets: Sequence[TargetScores]) -> tuple[Floats, list[Agreement]]:
    """Return means over targets, (groups, methods), and how the orders in each pair of groups agree.

    ``targets`` have the scores of all methods of the first group, then of the next one.
    """
    means, drawn = (values.mean(axis=0) for values in drawn_means(targets, np.random.default_rng(SEED)))
    means, drawn = means.reshape(len(names), -1), drawn.reshape(DRAWS, len(names), -1)
    pairs = []
    for (i, first), (j, second) in itertools.combinations(enumerate(names), 2):
        low, high = np.quantile(kendall_tau(drawn[:, i], drawn[:, j]), [0.025, 0.975])
        pairs.append(Agreement((first, second), float(kendall_tau(means[i], means[j])), float(low), float(high)))
    return means, pairs


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
