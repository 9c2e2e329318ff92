"""A bootstrap of runs and cases: how means of methods, and so their order, might have come out otherwise."""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.random import Generator

from .statistics import DefinedScores, Floats, TargetScores, defined

DRAWS = 10_000
SEED = 0  # of its own generator: what is printed twice is the same


def drawn_means(targets: Sequence[TargetScores], rng: Generator) -> tuple[Floats, Floats]:
    """Return the means of methods, (targets, methods), and of each draw of runs and cases, (targets, DRAWS, methods).

    A draw takes the same cases for all methods, and on all targets that have them; the seeds of a method for itself,
    and the same ones on all targets of its runs. Resampling n of them understates their variance by (n - 1) / n, and
    three runs say little of it: draws are spread accordingly, those of runs as Student's t.

    Raises:
        ValueError: see :func:`defined`; or no case is defined for every seed of all methods.
    """
    seeds: dict[tuple[int, Hashable], Floats] = {}
    cases: dict[Hashable, tuple[Floats, Floats]] = {}
    means, drawn = [], []
    for target in targets:
        common = defined(target)
        if not common.strata:
            raise ValueError("no case is defined for every seed of all methods")
        runs = [(method, target.runs_of(method)) for method in range(len(common.scores))]
        new = [(key, scores) for key, scores in zip(runs, common.scores, strict=True) if key not in seeds]
        seeds |= {key: _drawn_seeds(len(scores), rng) for key, scores in new}
        if common.cases not in cases:
            cases[common.cases] = _drawn_cases(common, rng)
        weights, full = cases[common.cases]
        means.append([float((scores @ full).mean()) for scores in common.scores])
        draws = [
            ((seeds[key] @ scores) * weights).sum(axis=1) for key, scores in zip(runs, common.scores, strict=True)
        ]
        drawn.append(np.stack(draws, axis=-1))
    return np.array(means), np.stack(drawn)


def _drawn_seeds(seeds: int, rng: Generator) -> Floats:
    """Return the weight of each seed in each draw, (DRAWS, seeds): around the full mean as Student's t of n - 1."""
    if seeds == 1:
        return np.ones((DRAWS, 1))
    share = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=DRAWS) / seeds
    return np.asarray(1 / seeds + (share - 1 / seeds) * (seeds / rng.chisquare(seeds - 1, (DRAWS, 1))) ** 0.5)


def _drawn_cases(common: DefinedScores, rng: Generator) -> tuple[Floats, Floats]:
    """Return the weight of each case in each draw, (DRAWS, cases), and in the full mean; each sums to 1."""
    weights, full = np.empty((DRAWS, len(common.strata))), np.empty(len(common.strata))
    for group in common.groups:
        n = int(group.sum())
        full[group] = 1 / (n * len(common.groups))
        share = rng.multinomial(n, np.full(n, 1 / n), size=DRAWS) / (n * len(common.groups))
        weights[:, group] = full[group] + (share - full[group]) * (n / max(1, n - 1)) ** 0.5
    return weights, full
