"""Evaluations that a suite's cells come from, and their counts: which seeds are complete, on which cases."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..scoring.case_file import CaseFile, read_cases
from ..scoring.metric_file import MaskValues, has_any, stored_values
from ..scoring.metrics import Metric
from ..storage.results_reader import StoredEvaluation
from ..storage.run_folder import VALIDATION
from ..suites.suite import Availability, Column, Plan, Row
from .exported_run import ExportedEvaluation
from .planned_run import EVALUATED_ON, PlannedRun, require_same_evaluations


def commits_of(evaluation: StoredEvaluation) -> list[str]:
    """Return the commit of the code that scored an evaluation; of an export those of all its evaluations."""
    return [commit for commit in str(evaluation.data.get("commit") or "").split(", ") if commit]


@dataclass(frozen=True)
class SeedCases:
    """Cases of one complete seed, its folds behind each other."""

    evaluations: Sequence[StoredEvaluation]  # one, or one a fold
    files: Sequence[CaseFile]  # of each evaluation
    cases: tuple[str, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """Foreground classes."""
        return self.files[0].layout.classes

    def arranged(self, values: Iterable[NDArray[Any]], cases: tuple[str, ...]) -> NDArray[Any]:
        """Return values (..., rows) of each file as (..., cases, classes), in the order of ``cases``."""
        parts = [file.layout.arranged(array) for file, array in zip(self.files, values, strict=True)]
        whole = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-2)
        if cases is self.cases or cases == self.cases:
            return whole
        position = {case: index for index, case in enumerate(self.cases)}
        return whole[..., [position[case] for case in cases], :]


class StoredCounts:
    """Evaluations and counts behind each row and column of a plan; each file is read once."""

    def __init__(self, plan: Plan, runs: Iterable[PlannedRun]) -> None:
        self.suite, self.inventory = plan.suite, plan.inventory
        self._by_row: defaultdict[str, list[PlannedRun]] = defaultdict(list)
        for run in runs:
            self._by_row[run.row.id].append(run)
        self._cases: dict[str, CaseFile] = {}
        self._masks: dict[tuple[str, str], MaskValues] = {}
        self._seeds: dict[Column, dict[str, dict[int, SeedCases]]] = {}

    def availability(self, row: Row, column: Column) -> Availability:
        """Return whether a row has runs in a column, and why not."""
        availability = self.suite.availability(row, column, self.inventory)
        # A row that trains once a target has as many validation scores as targets, and no single one to print.
        # What another program did on its validation cases is not known.
        if column.target == VALIDATION and (row.per_target or not row.trained_here) and availability == "planned":
            return "not-applicable"
        return availability

    def runs_of(self, row: Row, column: Column) -> list[PlannedRun]:
        """Return the planned runs of a row that score a column."""
        return [run for run in self._by_row[row.id] if run.contributes(column)]

    def missing(self, row: Row, column: Column) -> set[str]:
        """Return why runs of a row have no evaluation in a column."""
        return {run.reason for run in self.runs_of(row, column) if run.evaluation(column.target) is None}

    def seeds(self, row: Row, column: Column) -> dict[int, SeedCases]:
        """Return the complete seeds of a row on a target: those of which each run, one or one a fold, is scored.

        Raises:
            UsageError: rows were scored on different versions of the data, other cases or other classes.
        """
        if column not in self._seeds:
            complete = {other.id: self._complete(other, column) for other in self.suite.rows}
            whole = [other for other in self.suite.rows if other.folds is None]
            for rows, fields in ((self.suite.rows, EVALUATED_ON[:1]), (whole, EVALUATED_ON[:2])):
                scored = [e for other in rows for parts in complete[other.id].values() for e in parts]
                require_same_evaluations(scored, fields)
            seeds = {id_: {seed: self._joined(parts) for seed, parts in of.items()} for id_, of in complete.items()}
            for rows in (whole, *([other] for other in self.suite.rows if other.folds is not None)):
                _require_same_cases(
                    (f"{other.label}, seed {n}", seed) for other in rows for n, seed in seeds[other.id].items()
                )
            self._seeds[column] = seeds
        return self._seeds[column][row.id]

    def case_file(self, evaluation: StoredEvaluation) -> CaseFile:
        """Return the counts of an evaluation; its file is read once."""
        key = str(evaluation.path)
        if key not in self._cases:
            self._cases[key] = (
                evaluation.cases() if isinstance(evaluation, ExportedEvaluation) else read_cases(evaluation)
            )
        return self._cases[key]

    def masks(self, evaluation: StoredEvaluation, metric: Metric) -> MaskValues:
        """Return a metric of masks of an evaluation; its file is read once."""
        key = str(evaluation.path), metric.name
        if key not in self._masks:
            if isinstance(evaluation, ExportedEvaluation):
                self._masks[key] = evaluation.masks(metric)
            else:
                self._masks[key] = stored_values(evaluation.path, self.case_file(evaluation), metric)
        return self._masks[key]

    def rescored(self, evaluation: StoredEvaluation) -> bool:
        """Tell whether an evaluation has values of any metric of masks."""
        return evaluation.rescored if isinstance(evaluation, ExportedEvaluation) else has_any(evaluation.path)

    def _complete(self, row: Row, column: Column) -> dict[int, list[StoredEvaluation]]:
        by_seed: defaultdict[int, list[StoredEvaluation | None]] = defaultdict(list)
        for run in self.runs_of(row, column) if self.availability(row, column) == "planned" else ():
            by_seed[run.request.seed].append(run.evaluation(column.target))
        return {seed: [e for e in parts if e is not None] for seed, parts in by_seed.items() if None not in parts}

    def _joined(self, evaluations: Sequence[StoredEvaluation]) -> SeedCases:
        files = [self.case_file(evaluation) for evaluation in evaluations]
        if len(files) == 1:
            return SeedCases(evaluations, files, files[0].layout.cases)
        cases = tuple(case for file in files for case in file.layout.cases)
        paths = " and ".join(str(evaluation.path) for evaluation in evaluations)
        if len(set(cases)) != len(cases):
            raise UsageError(f"a case is scored by more than one fold: {paths}")
        if len({file.layout.classes for file in files}) > 1:
            raise UsageError(f"folds were scored on different classes: {paths}")
        return SeedCases(evaluations, files, cases)


def _require_same_cases(named: Iterator[tuple[str, SeedCases]]) -> None:
    first, expected = next(named, ("", None))
    for name, seed in named:
        assert expected is not None
        same_cases = seed.cases is expected.cases or set(seed.cases) == set(expected.cases)
        if not same_cases or seed.classes != expected.classes:
            differing = {*seed.cases, *seed.classes} ^ {*expected.cases, *expected.classes}
            raise UsageError(
                f"{name}, and {first}, cannot share a table: their cases.csv differ in "
                f"{', '.join(sorted(differing)) or 'the order of classes'}; remove the evaluation that is "
                "wrong and score its run again"
            )
