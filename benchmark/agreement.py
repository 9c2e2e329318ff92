"""Whether two groups of rows, blocks of a suite or protocols, order the same methods alike.

Runs and cases are drawn by :func:`ssdg.benchmark.resampling.drawn_means`.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .resampling import DRAWS, SEED, drawn_means
from .statistics import Floats, TargetScores, kendall_tau


@dataclass(frozen=True, slots=True)
class Agreement:
    """Kendall's tau (tau-b) between the orders of the same methods in two groups, by the mean over targets."""

    blocks: tuple[str, str]  # or regimes
    tau: float
    low: float  # 2.5 and 97.5 percentiles of the draws
    high: float


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
