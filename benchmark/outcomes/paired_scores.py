"""From stored scores to arrays of one number a seed and case, on the cases that rows share."""

import functools
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .aggregate import Average, SeedResult

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Paired:
    """Scores of several rows on the same cases."""

    cases: tuple[str, ...]
    strata: tuple[str, ...] | None  # of each case, where strata weigh equally; None: cases do
    scores: tuple["NDArray[np.float64]", ...]  # of each row: (seeds, cases), NaN where not defined


def pair(rows: Sequence[Sequence[SeedResult]], group: str = "all", average: Average = "cases") -> Paired:
    """Return the scores of rows on a group's cases, in one order.

    A case's score is the mean over the classes that are defined in it. Where every class is defined in every case,
    the mean of these is the cell of the table. Else they differ a little: a cell averages each class over its cases
    first, so that a class which few cases have weighs as much as any other; here it weighs in those cases alone.

    A class of a case that some seed of some row misses, under a measure that leaves misses out, is left out of that
    case for all rows: no row's mean is over the easier classes alone.

    Args:
        rows: the complete seeds of each row, at least one; seeds may have their cases in different orders (folds).
        group: a stratum, "all" or "average".
        average: what "average" means.

    Raises:
        UsageError: no case has that stratum.
    """
    first = rows[0][0].scores
    members = first.members(group)
    shared = frozenset.intersection(*(frozenset(s.scores.cases) for seeds in rows for s in seeds))
    cases, strata = [], []
    for case, stratum, inside in zip(first.cases, first.strata, members, strict=True):
        if inside and case in shared:
            cases.append(case)
            strata.append(stratum)
    equal_strata = group == "average" and average == "strata"
    gathered = [_gathered(seeds, cases) for seeds in rows]
    left_out = functools.reduce(operator.or_, (missed for _, missed in gathered))
    scores = tuple(_by_case(values, left_out) for values, _ in gathered)
    return Paired(tuple(cases), tuple(strata) if equal_strata else None, scores)


def _gathered(seeds: Sequence[SeedResult], cases: Sequence[str]) -> tuple["NDArray[np.float64]", "NDArray[np.bool_]"]:
    """Return (seeds, cases, classes), and which (cases, classes) some seed misses and has no value for."""
    import numpy as np

    orders: dict[tuple[str, ...], list[int]] = {}
    values, missed = [], []
    for seed in seeds:
        if seed.scores.cases not in orders:
            place = {case: position for position, case in enumerate(seed.scores.cases)}
            orders[seed.scores.cases] = [place[case] for case in cases]
        order = orders[seed.scores.cases]
        values.append(seed.scores.values[order])
        missed.append(np.isnan(values[-1]) & seed.scores.missed[order])
    return np.stack(values), np.any(missed, axis=0)


def _by_case(values: "NDArray[np.float64]", left_out: "NDArray[np.bool_]") -> "NDArray[np.float64]":
    """Return (seeds, cases): the mean of the defined classes of each case, NaN where none is."""
    import numpy as np

    defined = ~(np.isnan(values) | left_out)
    n = defined.sum(axis=-1)
    total = np.where(defined, values, 0.0).sum(axis=-1)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)
