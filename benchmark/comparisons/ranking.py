"""How firm a ranking is: the probability of each rank, by resampling runs and cases.

Descriptive, not a test: with few seeds a bootstrap is too narrow, because three runs resampled hold no fourth.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..statistics import EQUAL, Floats, Level, case_weights, defined_in_all, kendall_tau, resampled_means, times_drawn

DRAWS = 10_000
SEED = 0  # of the bootstrap's own generator: a ranking printed twice is the same


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
    draws: int
    seed: int


def rank_stability(
    methods: Sequence[ArrayLike],
    strata: Sequence[str] | None = None,
    better: Literal["higher", "lower"] = "higher",
    draws: int = DRAWS,
    seed: int = SEED,
) -> RankStability:
    """Return how the ranking of methods varies when seeds and cases are drawn again, with replacement.

    A draw takes the same cases for all methods, and seeds of each method for itself. Each method's scores are
    ``(seeds, cases)``, NaN where not defined. With the stratum of each case in ``strata``, these weigh equally and
    cases are drawn within their stratum.

    Raises:
        ValueError: no method, or no case that is defined for every seed of all of them.
    """
    scores, kept = _defined(methods, strata)
    sign = 1.0 if better == "higher" else -1.0
    rng = np.random.default_rng(seed)
    weights, full = case_weights(scores[0].shape[1], kept, draws, rng)
    shares = (times_drawn(len(of_method), draws, rng) / len(of_method) for of_method in scores)
    means, drawn = resampled_means(scores, shares, weights, full)
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
        draws=draws,
        seed=seed,
    )


def competition_ranks(scores: ArrayLike) -> NDArray[np.int64]:
    """Return the ranks along the last axis, 1 for the highest; equal scores share the better rank."""
    values = np.asarray(scores, dtype=np.float64)
    return np.asarray(1 + (values[..., None, :] > values[..., :, None] + EQUAL).sum(axis=-1))


def _defined(methods: Sequence[ArrayLike], strata: Sequence[str] | None) -> tuple[list[Floats], list[str] | None]:
    scores = [np.asarray(method, dtype=np.float64) for method in methods]
    if not scores or len({array.shape[-1] for array in scores}) != 1 or {array.ndim for array in scores} != {2}:
        raise ValueError("a ranking needs scores (seeds, cases) of methods on the same cases")
    scores, kept = defined_in_all(scores, strata)
    if not scores[0].size:
        raise ValueError("no case is defined for every seed of all methods")
    return scores, kept
