"""From what is stored of each case to the score of a cell.

The order is fixed: the measure (by default Dice) of each case and class, mean over the cases of each class, mean over
the foreground classes, then mean and sample SD over seeds. Cases are never pooled, and what is not defined is left
out, never 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ..errors import UsageError
from ..scoring.case_file import read_cases
from ..scoring.metric_file import case_values
from ..scoring.metrics import DSC, Measure
from ..storage.results_reader import StoredEvaluation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..scoring.overlap import Empty

Average: TypeAlias = Literal["cases", "strata"]
"""Mean of all cases, or unweighted mean of the means of the strata."""

CellState: TypeAlias = Literal["complete", "partial", "missing", "undefined", "unavailable", "not-applicable"]


@dataclass(frozen=True, slots=True)
class CaseScores:
    """A measure of every case and foreground class of one seed."""

    cases: tuple[str, ...]
    strata: tuple[str, ...]  # of each case
    classes: tuple[str, ...]
    values: "NDArray[np.float64]"  # (cases, classes), shares in 0..1 or lengths; NaN where not defined
    missed: "NDArray[np.bool_]"  # (cases, classes): the label has the class, and nothing is predicted of it

    def members(self, group: str) -> "NDArray[np.bool_]":
        """Return which cases belong to a group: a stratum, or "all" or "average" for all of them.

        Raises:
            UsageError: no case has that stratum.
        """
        import numpy as np

        if group in ("all", "average"):
            return np.ones(len(self.cases), dtype=bool)
        inside = np.array([stratum == group for stratum in self.strata])
        if not inside.any():
            raise UsageError(f"no case is in group {group!r}; strata there are {', '.join(sorted(set(self.strata)))}")
        return inside

    def mean(self, group: str = "all", average: Average = "cases") -> float:
        """Return a group's score: mean per class over cases, then over classes; NaN if nothing is defined."""
        import numpy as np

        if group == "average" and average == "strata":
            return float(np.mean([self.mean(stratum) for stratum in sorted(set(self.strata))]))
        scores = self.values[self.members(group)]
        defined = ~np.isnan(scores)
        n = defined.sum(axis=0)
        total = np.where(defined, scores, 0.0).sum(axis=0)
        return float((total[n > 0] / n[n > 0]).mean()) if n.any() else float("nan")

    def tally(self, group: str = "all") -> tuple[int, int]:
        """Return how many values of a group's cases and classes are not defined, and how many classes are missed."""
        import numpy as np

        inside = self.members(group)
        return int(np.isnan(self.values[inside]).sum()), int(self.missed[inside].sum())


@dataclass(frozen=True, slots=True)
class SeedResult:
    """What one seed contributes to the cells of a row and target: the union of its evaluations."""

    seed: int
    scores: CaseScores
    counts: Mapping[str, Any]  # "scored", "published", "missing", perhaps "note"


@dataclass(frozen=True, slots=True)
class Cell:
    """One printed number: where it comes from and how much of it is there.

    What is counted of cases and classes is that of the seed with most of it.
    """

    state: CellState
    values: tuple[float, ...] = ()  # of the complete seeds, as stored: shares in 0..1 or lengths
    expected_seeds: int = 0
    n_cases: int = 0
    n_undefined: int = 0  # values of its cases and classes that are not defined and left out
    n_missed: int = 0  # of its cases and classes: the label has the class, and nothing is predicted of it
    reason: str = ""  # why seeds are missing: "diverged", "running", …
    measure: Measure = DSC

    @property
    def n_seeds(self) -> int:
        """Seeds that are complete."""
        return len(self.values)

    @property
    def mean(self) -> float | None:
        """Mean over seeds of the per-seed score."""
        return sum(self.values) / len(self.values) if self.values else None

    @property
    def sd(self) -> float | None:
        """Sample standard deviation over seeds (ddof 1); None for fewer than two."""
        if len(self.values) < 2:
            return None
        mean = sum(self.values) / len(self.values)
        return float((sum((value - mean) ** 2 for value in self.values) / (len(self.values) - 1)) ** 0.5)


def tally(results: Sequence[SeedResult], group: str) -> tuple[int, int]:
    """Return how many values of a group are not defined, and how many classes are missed, in the seed with most."""
    undefined, missed = zip(*(result.scores.tally(group) for result in results), strict=True)
    return max(undefined), max(missed)


def make_cell(
    results: Sequence[SeedResult],
    expected_seeds: int,
    group: str,
    average: Average = "cases",
    reason: str = "",
    measure: Measure = DSC,
) -> Cell:
    """Return the cell of a row, target and group of cases from the seeds that are complete.

    Args:
        results: one entry a complete seed.
        expected_seeds: how many the suite asks for.
        group: a stratum, "all", or "average".
        average: what "average" means.
        reason: why seeds are missing, if any are.
        measure: what the scores are.

    Raises:
        UsageError: no case of the group has any of the classes.
    """
    if not results:
        return Cell("missing", expected_seeds=expected_seeds, reason=reason, measure=measure)
    means = [result.scores.mean(group, average) for result in results]
    values = tuple(mean for mean in means if mean == mean)
    undefined, missed = tally(results, group)
    if len(values) < len(means):
        if not missed:
            raise UsageError(f"group {group!r} has no defined score: its cases contain none of the classes")
        reason = "nothing predicted"
    complete = len(values) == expected_seeds
    return Cell(
        "complete" if complete else "partial" if values else "undefined",
        values,
        expected_seeds,
        n_cases=int(results[0].scores.members(group).sum()),
        n_undefined=undefined,
        n_missed=missed,
        reason="" if complete else reason,
        measure=measure,
    )


def seed_result(
    seed: int, evaluations: Sequence[StoredEvaluation], measure: Measure, region: str, empty: "Empty"
) -> SeedResult:
    """Return one seed's scores from its evaluations: one, or one a fold whose cases do not overlap.

    Args:
        seed: the run's seed.
        evaluations: finished evaluations on one domain.
        measure: what of each case and class.
        region: "foreground" looks inside the foreground only, "image" everywhere.
        empty: rule for a class that a case lacks; see ``metrics.dice``.

    Raises:
        NotRescored: a measure of shapes that was not computed yet.
        UsageError: a file is incomplete, or a case is scored twice.
    """
    parts = [case_scores(evaluation, measure, region, empty) for evaluation in evaluations]
    scores = parts[0] if len(parts) == 1 else _united(parts, evaluations)
    counts = evaluations[0].data.get("counts", {})
    return SeedResult(seed, scores, {**counts, "scored": len(scores.cases)})


def case_scores(evaluation: StoredEvaluation, measure: Measure, region: str, empty: "Empty") -> CaseScores:
    """Return a measure of every case and class of one evaluation; arguments as for :func:`seed_result`.

    Raises:
        NotRescored: a measure of shapes that was not computed yet.
        UsageError: ``cases.csv`` is not what an evaluation writes; names the file.
    """
    file = read_cases(evaluation, region)
    values = case_values(evaluation.path, file, measure, region, empty)
    layout = file.layout
    missed = (file.fn > 0) & (file.tp + file.fp == 0)
    return CaseScores(layout.cases, layout.strata, layout.classes, layout.arranged(values), layout.arranged(missed))


def _united(parts: Sequence[CaseScores], evaluations: Sequence[StoredEvaluation]) -> CaseScores:
    """Return the scores of several folds as those of one."""
    import numpy as np

    cases = tuple(case for part in parts for case in part.cases)
    where = " and ".join(str(evaluation.path) for evaluation in evaluations)
    if len(set(cases)) != len(cases):
        raise UsageError(f"a case is scored by more than one fold: {where}")
    if len({part.classes for part in parts}) > 1:
        raise UsageError(f"folds were scored on different classes: {where}")
    return CaseScores(
        cases,
        tuple(stratum for part in parts for stratum in part.strata),
        parts[0].classes,
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.missed for part in parts]),
    )
