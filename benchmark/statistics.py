"""Whether two methods differ: an interval that holds for other seeds and cases, and what papers print beside it.

A method's scores are an array (seeds, cases). Both methods score the same cases, in the same order. A difference then
has two sources of chance: which cases there are, and how each training run turned out. A test over cases alone takes
the second for a property of the method: with three seeds whose means spread by 1.5 points it tells two equal methods
apart in about a third of all studies. The interval here is crossed, over both. Runs count as independent, also where
two methods share a seed's initial weights: should that make their runs alike, the interval is too wide, never too
narrow. A run variance is a row's own: what borrowing it from other rows would do is in ``docs/statistics.md``.

Nothing here knows what is scored: differences are in the units of the scores, A minus B.
"""

import itertools
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

Level: TypeAlias = Literal["runs and cases", "cases"]
"""What an interval generalises to. "cases": these trained models only, because a method has a single seed."""

CONFIDENCE = 0.95

EQUAL = 1e-9
"""Scores this close are equal: what is left is the rounding of sums."""

MANY = 50
"""Seeds from which on single ones are drawn and counted, faster than a multinomial, with other draws."""

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A difference of means, A minus B in score units, with its 95 % interval."""

    difference: float  # NaN where there are no cases
    low: float  # infinite where the spread over cases is unknown: no case, or a stratum with one
    high: float
    p: float  # two-sided; never NaN
    df: float  # Satterthwaite's; 0 where the spread is unknown
    level: Level
    cases: int  # with a score of every seed of both methods
    seeds: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Comparison(Interval):
    """An interval, with the paired statistics of the seed-averaged scores.

    Those are conditional on these trained models, whatever the interval's level: they see cases alone.
    """

    wilcoxon_p: float  # signed-rank, two-sided; equal cases left out; 1 where all are equal
    median: float  # of the cases' differences
    wins: int  # cases where A is higher
    ties: int
    losses: int


def compare(a: ArrayLike, b: ArrayLike, strata: Sequence[str] | None = None) -> Comparison:
    """Return how method A compares with method B; see :func:`mean_difference` for the arguments and the interval."""
    interval = mean_difference(a, b, strata)
    differences = _differences(*_paired(a, b, strata)[:2])
    return Comparison(
        **{field.name: getattr(interval, field.name) for field in fields(interval)},
        wilcoxon_p=_signed_rank(differences),
        median=float(np.median(differences)) if differences.size else float("nan"),
        wins=int((differences > 0).sum()),
        ties=int((differences == 0).sum()),
        losses=int((differences < 0).sum()),
    )


def mean_difference(a: ArrayLike, b: ArrayLike, strata: Sequence[str] | None = None) -> Interval:
    """Return the crossed interval of a difference of means.

    The variance is the sum of what cases and runs contribute: that of the seed-averaged paired differences over n,
    and for each method that of its seeds' means over its number of seeds. A t distribution with Satterthwaite's
    degrees of freedom gives interval and p. Where a method has a single seed, its runs' spread is unknown: the
    interval is over cases alone.

    Without any spread p is 1 for equal means and 0 for others. With a single case (or a stratum with a single case)
    nothing is known of the spread: the interval is infinite and p is 1.

    Args:
        a: (seeds, cases) scores of one method, NaN where not defined.
        b: the same of the other; as many cases, not necessarily as many seeds.
        strata: the stratum of each case, to weigh strata equally instead of cases. Cases vary within their
            stratum; a run's mean is over all strata, because one run is good or bad in all of them.

    Cases that are not defined for every seed of both methods are left out, and strata without any other.

    Raises:
        ValueError: arrays that are not (seeds, cases), no seed, different cases, or an infinite score.
    """
    return mean_difference_over([PairedScores(a, b, strata)])


class PairedScores(NamedTuple):
    """Scores of two methods on one target, as :func:`mean_difference` takes them."""

    a: ArrayLike
    b: ArrayLike
    strata: Sequence[str] | None = None
    runs: Hashable = None  # equal on targets that the same runs were scored on


def mean_difference_over(targets: Sequence[PairedScores]) -> Interval:
    """Return the crossed interval of the mean over targets, which weigh the same, of a difference of means.

    As :func:`mean_difference`, which is that of one target: cases of different targets vary independently, and a
    run is as good or bad as its mean over the targets that it was scored on.

    Raises:
        ValueError: see :func:`mean_difference`.
    """
    share, difference, cases, known = 1 / len(targets), 0.0, 0, True
    parts: list[tuple[float, int]] = []
    run_means: dict[tuple[int, Hashable], _Scores] = {}
    seeds = []
    for target in targets:
        a, b, strata = _paired(*target[:3])
        differences = _differences(a, b)
        groups = [np.array([stratum == group for stratum in strata]) for group in sorted(set(strata))]
        weights = np.zeros(differences.size)
        for group in groups:
            weights[group] = share / (len(groups) * group.sum())
        difference += float(weights @ differences) if groups else float("nan")
        cases += differences.size
        seeds.append((len(a), len(b)))
        known = known and bool(groups) and all(group.sum() > 1 for group in groups)
        if known:
            of_groups = [(_spread(differences[group]), int(group.sum()) - 1) for group in groups]
            parts += [(spread * (share / len(groups)) ** 2, freedom) for spread, freedom in of_groups]
            for side, scores in enumerate((a, b)):
                run_means[side, target.runs] = run_means.get((side, target.runs), 0.0) + scores @ weights
    fewest = min(of[0] for of in seeds), min(of[1] for of in seeds)
    level: Level = "runs and cases" if min(fewest) > 1 else "cases"
    if not known:
        return Interval(difference, -np.inf, np.inf, 1.0, 0.0, level, cases, fewest)
    if level == "runs and cases":
        parts += [(_spread(means), len(means) - 1) for means in run_means.values()]
    low, high, p, df = _student(difference, parts)
    return Interval(difference, low, high, p, df, level, cases, fewest)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values adjusted for their number by Holm's step-down method, in the order given.

    Rejecting those at most α keeps the probability of any false rejection in the family at α, however they depend.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in adjusted]


def defined_in_all(rows: Sequence[Floats], strata: Sequence[str] | None) -> tuple[list[Floats], list[str] | None]:
    """Return the scores (seeds, cases) of each row, and strata, of the cases that are NaN in no seed of any row."""
    defined = np.asarray(~np.isnan(np.concatenate(rows)).any(axis=0))
    kept = None if strata is None else list(itertools.compress(strata, defined))
    return [of_row[:, defined] for of_row in rows], kept


_Scores: TypeAlias = NDArray[np.float64]


def _paired(a: ArrayLike, b: ArrayLike, strata: Sequence[str] | None) -> tuple[_Scores, _Scores, Sequence[str]]:
    """Return both as arrays (seeds, cases) of the cases that are defined everywhere, with their strata."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    for scores in (a, b):
        if scores.ndim != 2 or not len(scores):
            raise ValueError(f"scores are (seeds, cases) with at least one seed, not {scores.shape}")
        if np.isinf(scores).any():
            raise ValueError("a score is infinite; what is not defined is NaN")
    if a.shape[1] != b.shape[1] or (strata is not None and len(strata) != a.shape[1]):
        counts = [a.shape[1], b.shape[1], *([len(strata)] if strata is not None else [])]
        raise ValueError(f"both methods and the strata need the same cases, not {' and '.join(map(str, counts))}")
    (a, b), kept = defined_in_all((a, b), [""] * a.shape[1] if strata is None else strata)
    return a, b, kept or []


def _differences(a: _Scores, b: _Scores) -> _Scores:
    """Return each case's difference of seed means, 0 where it is nothing but rounding."""
    differences: _Scores = a.mean(axis=0) - b.mean(axis=0)
    return np.where(np.abs(differences) < EQUAL, 0.0, differences)


def _spread(values: _Scores) -> float:
    return float(values.var(ddof=1)) / values.size


def _student(difference: float, parts: Sequence[tuple[float, int]]) -> tuple[float, float, float, float]:
    """Return low, high, p and the degrees of freedom of a difference whose variance is a sum of (estimate, df)."""
    from scipy.special import stdtr, stdtrit

    variance = sum(part for part, _ in parts)
    error = variance**0.5
    if error < EQUAL:
        p = 1.0 if abs(difference) < EQUAL else 0.0
        return difference, difference, p, float(sum(freedom for _, freedom in parts))
    df = 1 / sum((part / variance) ** 2 / freedom for part, freedom in parts)
    half = float(stdtrit(df, (1 + CONFIDENCE) / 2)) * error
    return difference - half, difference + half, float(2 * stdtr(df, -abs(difference) / error)), df


def _signed_rank(differences: _Scores) -> float:
    """Return the two-sided p of Wilcoxon's signed-rank test; zeros are left out, equal sizes share a rank."""
    # In whole units of what is equal: else rounding, and not size, would rank differences that are the same.
    nonzero = np.round(differences[differences != 0] / EQUAL)
    if not nonzero.size:
        return 1.0
    from scipy.stats import wilcoxon

    return float(wilcoxon(nonzero).pvalue)


def kendall_tau(scores: ArrayLike, reference: ArrayLike) -> Floats:
    """Return Kendall's rank correlation (tau-b) of orders along the last axis with others.

    1: the same order; -1: the reverse; 0 also where either is all ties, with which no order can agree.

    Shapes are ``(..., methods)``, or ``(methods,)`` for one order.
    """
    values, target = np.asarray(scores, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    first, second = np.triu_indices(target.shape[-1], 1)
    signs = _signs(values[..., first] - values[..., second])
    wanted = _signs(target[..., first] - target[..., second])
    untied = np.sqrt(np.abs(signs).sum(axis=-1) * np.abs(wanted).sum(axis=-1))
    agreement = (signs * wanted).sum(axis=-1)
    return np.where(untied > 0, agreement / np.maximum(untied, 1.0), 0.0)


def _signs(differences: Floats) -> Floats:
    return np.where(np.abs(differences) < EQUAL, 0.0, np.sign(differences))


def resampled_means(
    scores: Sequence[Floats], shares: Iterable[Floats], weights: Floats, full: Floats
) -> tuple[Floats, Floats]:
    """Return the mean of each method, (methods,), and of each draw of seeds and cases, (draws, methods).

    Args:
        scores: (seeds, cases) of each method.
        shares: weight of each of its seeds in each draw, (draws, seeds).
        weights: of each case in each draw, (draws, cases), and
        full: in the mean, (cases,), from :func:`case_weights`.
    """
    means = np.array([float((of_method @ full).mean()) for of_method in scores])
    drawn = [((share @ of_method) * weights).sum(axis=1) for share, of_method in zip(shares, scores, strict=True)]
    return means, np.stack(drawn, axis=-1)


def case_weights(cases: int, strata: Sequence[str] | None, draws: int, rng: Generator) -> tuple[Floats, Floats]:
    """Return the weight of each case in each draw, (draws, cases), and in the full mean; each sums to 1."""
    names = np.zeros(cases, dtype=np.int64) if strata is None else np.unique(list(strata), return_inverse=True)[1]
    weights, full = np.empty((draws, cases)), np.empty(cases)
    groups = int(names.max()) + 1
    for group in range(groups):
        inside = names == group
        n = int(inside.sum())
        weights[:, inside] = rng.multinomial(n, np.full(n, 1 / n), size=draws) / (n * groups)
        full[inside] = 1 / (n * groups)
    return weights, full


def times_drawn(seeds: int, draws: int, rng: Generator) -> NDArray[np.int64]:
    """Return (draws, seeds): how often each seed is in a draw of as many, with replacement."""
    if seeds < MANY:
        return rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws)
    drawn = rng.integers(seeds, size=(draws, seeds)) + seeds * np.arange(draws)[:, None]
    counts: NDArray[np.int64] = np.bincount(drawn.ravel(), minlength=draws * seeds).reshape(draws, seeds)
    return counts
