"""From scores to arrays of one number a seed and case, on the cases that rows share."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .scores import Average, RowScores, mean_defined


@dataclass(frozen=True, slots=True)
class Paired:
    """Scores of several rows on the same cases."""

    cases: tuple[str, ...]
    strata: tuple[str, ...] | None  # of each case, where strata weigh equally; None: cases do
    scores: tuple[NDArray[np.float64], ...]  # of each row: (seeds, cases), NaN where not defined


def pair(rows: Sequence[RowScores], stratum: str = "all", average: Average = "cases") -> Paired:
    """Return the scores of rows on a stratum's cases, in one order.

    A case's score is the mean over the classes that are defined in it. Where every class is defined in every case,
    the mean of these is the cell of the table. Else they differ a little: a cell averages each class over its cases
    first, so that a class which few cases have weighs as much as any other; here it weighs in those cases alone.

    A class of a case that some seed of some row misses, under a metric that leaves misses out, is left out of that
    case for all rows: no row's mean is over the easier classes alone.

    Each row has at least one complete seed; intra-domain rows may have their cases in another order.

    Raises:
        UsageError: no case has that stratum.
    """
    first = rows[0]
    shared = frozenset.intersection(*(frozenset(scores.cases) for scores in rows))
    kept = [i for i in np.flatnonzero(first.members(stratum)) if first.cases[i] in shared]
    cases = tuple(first.cases[i] for i in kept)
    strata = tuple(first.strata[i] for i in kept)
    positions = [{case: index for index, case in enumerate(scores.cases)} for scores in rows]
    orders = [[position[case] for case in cases] for position in positions]
    values = [scores.values[:, order] for scores, order in zip(rows, orders, strict=True)]
    missed = [scores.missed[:, order] for scores, order in zip(rows, orders, strict=True)]
    left_out = np.any([(np.isnan(v) & m).any(axis=0) for v, m in zip(values, missed, strict=True)], axis=0)
    equal_strata = stratum == "average" and average == "strata"
    by_case = tuple(mean_defined(np.where(left_out, np.nan, array), axis=2) for array in values)
    return Paired(cases, strata if equal_strata else None, by_case)
