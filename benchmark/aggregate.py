"""From stored counts to the score of a cell.

The order is fixed: Dice of each case and class, mean over the cases of each class, mean over the foreground classes,
then mean and sample SD over seeds. Cases are never pooled, and what is not defined is left out, never 0.
"""

import csv
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from .settings import UsageError
from .store import CASE_COLUMNS
from .stored import StoredEvaluation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .metrics import Empty

Average: TypeAlias = Literal["cases", "strata"]
"""Mean of all cases, or unweighted mean of the means of the strata."""

CellState: TypeAlias = Literal["complete", "partial", "missing", "unavailable", "not-applicable"]

_COUNTS = CASE_COLUMNS.index("tp")


@dataclass(frozen=True, slots=True)
class CaseScores:
    """Dice (0..1) of every case and foreground class of one seed."""

    cases: tuple[str, ...]
    strata: tuple[str, ...]  # of each case
    classes: tuple[str, ...]
    dice: "NDArray[np.float64]"  # (cases, classes), NaN where not defined

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
        scores = self.dice[self.members(group)]
        defined = ~np.isnan(scores)
        n = defined.sum(axis=0)
        total = np.where(defined, scores, 0.0).sum(axis=0)
        return float((total[n > 0] / n[n > 0]).mean()) if n.any() else float("nan")


@dataclass(frozen=True, slots=True)
class SeedResult:
    """What one seed contributes to the cells of a row and target: the union of its evaluations."""

    seed: int
    scores: CaseScores
    counts: Mapping[str, Any]  # "scored", "published", "missing", perhaps "note"


@dataclass(frozen=True, slots=True)
class Cell:
    """One printed number: where it comes from and how much of it is there. Scores are Dice in 0..1."""

    state: CellState
    values: tuple[float, ...] = ()  # of the complete seeds
    expected_seeds: int = 0
    n_cases: int = 0
    n_undefined: int = 0  # Dice values of its cases and classes that are not defined and left out; of the worst seed
    reason: str = ""  # why seeds are missing: "diverged", "running", …

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


def make_cell(
    results: Sequence[SeedResult], expected_seeds: int, group: str, average: Average = "cases", reason: str = ""
) -> Cell:
    """Return the cell of a row, target and group of cases from the seeds that are complete.

    Args:
        results: one entry a complete seed.
        expected_seeds: how many the suite asks for.
        group: a stratum, "all", or "average".
        average: what "average" means.
        reason: why seeds are missing, if any are.
    """
    import numpy as np

    values = tuple(result.scores.mean(group, average) for result in results)
    if any(value != value for value in values):
        raise UsageError(f"group {group!r} has no defined score: its cases contain none of the classes")
    if not values:
        return Cell("missing", expected_seeds=expected_seeds, reason=reason)
    members = [result.scores.members(group) for result in results]
    undefined = [int(np.isnan(r.scores.dice[inside]).sum()) for r, inside in zip(results, members, strict=True)]
    complete = len(values) == expected_seeds
    return Cell(
        "complete" if complete else "partial",
        values,
        expected_seeds,
        n_cases=int(members[0].sum()),
        n_undefined=max(undefined),
        reason="" if complete else reason,
    )


def seed_result(seed: int, evaluations: Sequence[StoredEvaluation], region: str, empty: "Empty") -> SeedResult:
    """Return one seed's scores from its evaluations: one, or one a fold whose cases do not overlap.

    Args:
        seed: the run's seed.
        evaluations: finished evaluations on one domain.
        region: "foreground" counts inside the foreground only, "image" everywhere.
        empty: rule for a class that a case lacks; see ``metrics.dice``.

    Raises:
        UsageError: a file is incomplete, or a case is scored twice.
    """
    import numpy as np

    parts = [case_scores(evaluation, region, empty) for evaluation in evaluations]
    cases = tuple(case for part in parts for case in part.cases)
    if len(set(cases)) != len(cases):
        where = " and ".join(str(evaluation.path) for evaluation in evaluations)
        raise UsageError(f"a case is scored by more than one fold: {where}")
    scores = CaseScores(
        cases,
        tuple(stratum for part in parts for stratum in part.strata),
        parts[0].classes,
        np.concatenate([part.dice for part in parts]),
    )
    counts = [dict(evaluation.data.get("counts", {})) for evaluation in evaluations]
    return SeedResult(seed, scores, {**counts[0], "scored": len(cases)})


def case_scores(evaluation: StoredEvaluation, region: str, empty: "Empty") -> CaseScores:
    """Return the Dice of every case and class of one evaluation.

    Raises:
        UsageError: ``cases.csv`` is not what an evaluation writes; names the file.
    """
    import numpy as np

    from .metrics import dice

    try:
        described, counts = _read_counts(evaluation.path / "cases.csv", 3 if region == "foreground" else 6)
        layout = _layout(described)
    except (OSError, ValueError, csv.Error) as error:
        raise _malformed(evaluation, str(error)) from None
    expected = evaluation.data.get("counts", {}).get("scored", len(layout.cases))
    if len(layout.cases) != expected:
        raise _malformed(evaluation, f"it should have {expected} cases, not {len(layout.cases)}")
    tp, fp, fn = counts if region == "foreground" else counts[:3] + counts[3:]
    scores = np.empty((len(layout.cases), len(layout.classes)))
    scores.flat[layout.place] = dice(tp, fp, fn, empty)
    return CaseScores(layout.cases, layout.strata, layout.classes, scores)


def _read_counts(path: Path, columns: int) -> tuple[tuple[str, ...], "NDArray[np.int64]"]:
    """Return what describes each row of ``cases.csv``, not parsed, and its first counts as (columns, rows).

    Only what is needed, column by column: a table over thousands of runs reads millions of these numbers.
    """
    import numpy as np

    header, *lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    if header != ",".join(CASE_COLUMNS) or not lines:
        raise ValueError("its header is not the expected one" if lines else "it has no rows")
    # Names may be quoted and hold commas, counts never: from the right, every comma separates.
    rows = [line.rsplit(",", len(CASE_COLUMNS) - _COUNTS) for line in lines]
    if {len(row) for row in rows} != {1 + len(CASE_COLUMNS) - _COUNTS}:
        raise ValueError("a row is cut short")
    described, *counts = zip(*rows, strict=True)
    return described, np.array([list(map(int, column)) for column in counts[:columns]], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class _Layout:
    """What the rows of a ``cases.csv`` are about: one case and class each."""

    cases: tuple[str, ...]
    strata: tuple[str, ...]  # of each case
    classes: tuple[str, ...]
    place: "NDArray[np.int64]"  # of each row, among cases x classes


@functools.lru_cache(maxsize=64)
def _layout(described: tuple[str, ...]) -> _Layout:
    """Return the layout of rows from what describes each; evaluations on the same cases share it."""
    import numpy as np

    rows = list(csv.reader(described, strict=True))
    if {len(row) for row in rows} != {_COUNTS}:
        raise ValueError("a row is cut short")
    strata = {case: stratum for case, stratum, _, _ in rows}
    by_index = sorted({(int(index), name) for _, _, index, name in rows})
    cases = {case: position for position, case in enumerate(strata)}
    classes = {name: position for position, (_, name) in enumerate(by_index)}
    place = [cases[case] * len(classes) + classes[name] for case, _, _, name in rows]
    if sorted(place) != list(range(len(cases) * len(classes))):
        raise ValueError("it should have one row for each class of each case")
    return _Layout(tuple(cases), tuple(strata.values()), tuple(classes), np.array(place))


def _malformed(evaluation: StoredEvaluation, why: str) -> UsageError:
    return UsageError(
        f"{evaluation.path / 'cases.csv'} is damaged ({why}); remove that evaluation's folder and score the run again"
    )
