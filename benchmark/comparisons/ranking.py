"""How firm a ranking is: the probability of each rank, by resampling runs and cases.

Descriptive, not a test; :func:`ssdg.benchmark.resampling.drawn_means` says how runs and cases are drawn.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..resampling import SEED, drawn_means
from ..statistics import EQUAL, Floats, Level, TargetScores, defined, kendall_tau


@dataclass(frozen=True, slots=True)
class RankStability:
    """What a paired bootstrap says of the order of methods. Rank 1 is best; equal means share the better rank."""

    means: tuple[float, ...]  # of each method, over seeds and the cases used
    ranks: tuple[int, ...]  # by these means
    probabilities: Floats  # (methods, ranks); each method's sum to 1
    expected: tuple[float, ...]  # rank of each method, averaged over the draws
    tau: float  # Kendall's, of a draw's order with the full one: mean over the draws
    tau_low: float  # and its 2.5 and 97.5 percentiles
    tau_high: float
    cases: int  # with a score of every seed of every method
    level: Level  # "cases" where some method has one seed, which cannot be resampled


def rank_stability(target: TargetScores, sign: float = 1.0) -> RankStability:
    """Return how the ranking of methods on a target varies when seeds and cases are drawn again.

    ``sign`` is the metric's: -1 where lower values are better.

    Raises:
        ValueError: no method, or no case that is defined for every seed of all of them.
    """
    scores = defined(target).scores
    (means,), (drawn,) = drawn_means([target], np.random.default_rng(SEED))
    ranks = competition_ranks(sign * drawn)
    tau = kendall_tau(drawn, means)
    low, high = np.quantile(tau, [0.025, 0.975])
    return RankStability(
        means=tuple(map(float, means)),
        ranks=tuple(map(int, competition_ranks(sign * means))),
        probabilities=np.stack([(ranks == rank).mean(axis=0) for rank in range(1, len(scores) + 1)], axis=-1),
        expected=tuple(map(float, ranks.mean(axis=0))),
        tau=float(tau.mean()),
        tau_low=float(low),
        tau_high=float(high),
        cases=scores[0].shape[1],
        level="cases" if min(map(len, scores)) == 1 else "runs and cases",
    )


def competition_ranks(scores: ArrayLike) -> NDArray[np.int64]:
    """Return the ranks along the last axis, 1 for the highest; equal scores share the better rank."""
    values = np.asarray(scores, dtype=np.float64)
    return np.asarray(1 + (values[..., None, :] > values[..., :, None] + EQUAL).sum(axis=-1))
