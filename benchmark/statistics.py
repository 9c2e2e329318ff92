"""Whether two methods differ: an interval that holds for other seeds and cases, and what papers print beside it.

A method's scores are an array (seeds, cases). Both methods score the same cases, in the same order. A difference then
has two sources of chance: which cases there are, and how each training run turned out. A test over cases alone takes
the second for a property of the method: with three seeds whose means spread by 1.5 points it tells two equal methods
apart in about a third of all studies. The interval here is crossed, over both. Runs count as independent, also where
two methods share a seed's initial weights: should that make their runs alike, the interval is too wide, never too
narrow. A run variance is a row's own: what borrowing it from other rows would do is in ``docs/statistics.md``.
"""

import itertools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Level: TypeAlias = Literal["runs and cases", "cases"]
"""What an interval generalises to. "cases": these trained models only, because a method has a single seed."""

CONFIDENCE = 0.95

ALPHA = 0.05
LEAST_SEEDS = 3
"""Seeds of every contender from which on rows can be told apart: two runs say next to nothing of how runs vary."""

EQUAL = 1e-9
"""Scores this close are equal: what is left is the rounding of sums."""

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


def compare(
    a: ArrayLike, b: ArrayLike, strata: Sequence[str] | None = None, case_means: Sequence[ArrayLike] = ()
) -> Comparison:
    """Return how method A compares with method B; see :func:`mean_difference` for the arguments and the interval.

    ``case_means`` are the scores of both that the paired statistics take; without them ``a`` and ``b``.
    """
    interval = mean_difference(a, b, strata)
    differences = _differences(*defined(TargetScores(case_means or (a, b))).scores)
    wins, ties, losses = (int((np.sign(differences) == sign).sum()) for sign in (1, 0, -1))
    median = float(np.median(differences)) if differences.size else float("nan")
    shared = {field.name: getattr(interval, field.name) for field in fields(interval)}
    return Comparison(
        **shared, wilcoxon_p=_signed_rank(differences), median=median, wins=wins, ties=ties, losses=losses
    )


def mean_difference(a: ArrayLike, b: ArrayLike, strata: Sequence[str] | None = None) -> Interval:
    """Return the crossed interval of a difference of means.

    The variance is the sum of what cases and runs contribute: that of the seed-averaged paired differences over n,
    and for each method that of its seeds' means over its number of seeds. A t distribution with Satterthwaite's
    degrees of freedom gives interval and p. Where a method has a single seed, its runs' spread is unknown: the
    interval is over cases alone.

    Without any spread p is 1 for equal means and 0 for others. With a single case in a stratum nothing is known of
    the spread: the interval is infinite and p is 1.

    Args:
        a: (seeds, cases) scores of one method, NaN where not defined.
        b: the same of the other; as many cases, not necessarily as many seeds.
        strata: the stratum of each case, to weigh strata equally instead of cases. A run's mean is over all of them.

    Cases that are not defined for every seed of both methods are left out, and strata without any other.

    Raises:
        ValueError: see :func:`defined`.
    """
    return mean_difference_over([TargetScores((a, b), strata)])


@dataclass(frozen=True, slots=True)
class TargetScores:
    """Scores of methods on the cases of one target."""

    scores: Sequence[ArrayLike]  # of each method: (seeds, cases), NaN where not defined
    strata: Sequence[str] | None = None  # of each case, where strata weigh equally; None: cases do
    runs: Hashable = None  # of each method (a tuple), or of all: equal on targets that the same runs were scored on
    cases: Hashable = None  # equal on targets that have the same cases in the same order; None: cases of its own
    case_means: Sequence[ArrayLike] = ()  # of each method, as ``scores``: what a case is won or lost by

    def runs_of(self, method: int) -> Hashable:
        """Return what is equal on targets that the same runs of a method were scored on."""
        return self.runs[method] if isinstance(self.runs, tuple) else self.runs


class DefinedScores(NamedTuple):
    """Scores of methods, (seeds, cases) each, on the cases that are NaN in no seed of any, with their strata."""

    scores: list[Floats]
    strata: list[str]
    cases: Hashable  # equal where the cases are the same; where one was left out, of its own

    @property
    def groups(self) -> list[NDArray[np.bool_]]:
        """Which cases are of each stratum."""
        names = np.array(self.strata)
        return [names == name for name in sorted(set(self.strata))]


def defined(target: TargetScores) -> DefinedScores:
    """Return the scores of the cases that are defined for every seed of every method.

    Raises:
        ValueError: arrays that are not (seeds, cases), no seed, different cases, or an infinite score.
    """
    rows = [np.asarray(scores, dtype=np.float64) for scores in target.scores]
    for scores in rows:
        if scores.ndim != 2 or not len(scores):
            raise ValueError(f"scores are (seeds, cases) with at least one seed, not {scores.shape}")
        if np.isinf(scores).any():
            raise ValueError("a score is infinite; what is not defined is NaN")
    counts = [*(scores.shape[1] for scores in rows), *([len(target.strata)] if target.strata is not None else [])]
    if len(set(counts)) != 1:
        raise ValueError(f"all methods and the strata need the same cases, not {' and '.join(map(str, counts))}")
    kept = np.asarray(~np.isnan(np.concatenate(rows)).any(axis=0))
    strata = list(itertools.compress([""] * kept.size if target.strata is None else target.strata, kept))
    cases = object() if target.cases is None or not kept.all() else (target.cases, tuple(strata))
    return DefinedScores([scores[:, kept] for scores in rows], strata, cases)


def mean_difference_over(targets: Sequence[TargetScores]) -> Interval:
    """Return the crossed interval of the mean over targets, which weigh the same, of a difference of two methods.

    As :func:`mean_difference`, which is that of one target. A run is as good or bad as its mean over the targets that
    it was scored on, and a case differs by its mean over the targets that have it; all else varies independently.

    Raises:
        ValueError: see :func:`defined`.
    """
    share, difference, cases, known = 1 / len(targets), 0.0, 0, True
    run_means: dict[tuple[int, Hashable], Floats] = {}
    case_shares: dict[Hashable, tuple[list[NDArray[np.bool_]], Floats]] = {}
    seeds = []
    for target in targets:
        common = defined(target)
        (a, b), groups = common.scores, common.groups
        differences, weights = _differences(a, b), np.zeros(a.shape[1])
        for group in groups:
            weights[group] = share / (len(groups) * group.sum())
        difference += float(weights @ differences) if groups else float("nan")
        cases += differences.size
        seeds.append((len(a), len(b)))
        known = known and bool(groups) and all(group.sum() > 1 for group in groups)
        if known:
            before = case_shares[common.cases][1] if common.cases in case_shares else 0.0
            case_shares[common.cases] = groups, before + share / len(groups) * differences
            for side, scores in enumerate((a, b)):
                key = side, target.runs_of(side)
                run_means[key] = run_means.get(key, 0.0) + scores @ weights
    fewest = min(counts[0] for counts in seeds), min(counts[1] for counts in seeds)
    level: Level = "runs and cases" if min(fewest) > 1 else "cases"
    if not known:
        return Interval(difference, -np.inf, np.inf, 1.0, 0.0, level, cases, fewest)
    parts = [
        (_spread(shares[group]), int(group.sum()) - 1) for groups, shares in case_shares.values() for group in groups
    ]
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


def _differences(a: Floats, b: Floats) -> Floats:
    """Return each case's difference of seed means, 0 where it is nothing but rounding."""
    differences = a.mean(axis=0) - b.mean(axis=0)
    return np.where(np.abs(differences) < EQUAL, 0.0, differences)


def _spread(values: Floats) -> float:
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


def _signed_rank(differences: Floats) -> float:
    """Return the two-sided p of Wilcoxon's signed-rank test; zeros are left out, equal sizes share a rank."""
    # In whole units of what is equal: else rounding, and not size, would rank differences that are the same.
    nonzero = np.round(differences[differences != 0] / EQUAL)
    if not nonzero.size:
        return 1.0
    from scipy.stats import wilcoxon

    return float(wilcoxon(nonzero).pvalue)


def kendall_tau(scores: ArrayLike, reference: ArrayLike) -> Floats:
    """Return Kendall's rank correlation (tau-b) of orders (..., methods) along the last axis with others.

    1: the same order; -1: the reverse; 0 also where either is all ties, with which no order can agree.
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
