"""Evaluations that a suite's cells come from, and their counts: which seeds are complete, on which cases."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..scoring.case_file import CaseFile, read_cases
from ..storage.results_reader import StoredEvaluation
from ..storage.run_folder import VALIDATION
from ..suites.suite import Availability, Column, Plan, Row
from .planned_run import EVALUATED_ON, NOT_RUN, REASONS, PlannedRun, require_same_evaluations


@dataclass(frozen=True)
class SeedCases:
    """Cases of one complete seed, its folds behind each other."""

    files: list[CaseFile]
    cases: tuple[str, ...]

    @property
    def strata(self) -> tuple[str, ...]:
        """Stratum of each case."""
        return tuple(stratum for file in self.files for stratum in file.layout.strata)

    def arranged(self, values: Iterable[NDArray[Any]], cases: tuple[str, ...]) -> NDArray[Any]:
        """Return values (..., rows) of each file as (..., cases, classes), in the order of ``cases``."""
        parts = [file.layout.arranged(array) for file, array in zip(self.files, values, strict=True)]
        whole = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-2)
        if cases is self.cases or cases == self.cases:
            return whole
        position = {case: index for index, case in enumerate(self.cases)}
        return whole[..., [position[case] for case in cases], :]


@dataclass(frozen=True)
class SeedEvaluations:
    """Evaluations of a row on a target; a seed is complete when every run (one, or one a fold) has one."""

    place: tuple[str, str]  # labels of the row and the target
    complete: Mapping[int, Sequence[StoredEvaluation]]  # by seed: one evaluation, or one a fold
    reasons: frozenset[str]  # why other seeds are missing
    read: Callable[[StoredEvaluation], CaseFile]

    @cached_property
    def cases(self) -> dict[int, SeedCases]:
        """Cases of each complete seed."""
        return {seed: self._joined(evaluations) for seed, evaluations in self.complete.items()}

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Counts of the complete seeds as (seeds, 6, cases, classes), in the first seed's order."""
        (first, reference), *others = self.cases.items()
        for seed, joined in others:
            if not _same_cases(joined.cases, reference.cases):
                raise UsageError(
                    f"{self.place[0]}: seeds {first} and {seed} were scored on different cases of {self.place[1]}; "
                    "remove the evaluation that is out of date and score its run again"
                )
        arrays = [s.arranged((file.counts for file in s.files), reference.cases) for s in self.cases.values()]
        return np.stack(arrays)

    def _joined(self, evaluations: Sequence[StoredEvaluation]) -> SeedCases:
        files = [self.read(evaluation) for evaluation in evaluations]
        if len(files) == 1:
            return SeedCases(files, files[0].layout.cases)
        cases = tuple(case for file in files for case in file.layout.cases)
        paths = " and ".join(str(evaluation.path) for evaluation in evaluations)
        if len(set(cases)) != len(cases):
            raise UsageError(f"a case is scored by more than one fold: {paths}")
        if len({file.layout.classes for file in files}) > 1:
            raise UsageError(f"folds were scored on different classes: {paths}")
        return SeedCases(files, cases)


class StoredCounts:
    """Evaluations and counts behind each row and column of a plan; each file is read once."""

    def __init__(
        self, plan: Plan, runs: Iterable[PlannedRun], read: Callable[[StoredEvaluation], CaseFile] = read_cases
    ) -> None:
        self._read = read
        self.suite, self.inventory = plan.suite, plan.inventory
        self._by_row: defaultdict[str, list[PlannedRun]] = defaultdict(list)
        for run in runs:
            self._by_row[run.row.id].append(run)
        self._files: dict[str, CaseFile] = {}
        self._evaluations: dict[tuple[str, Column], SeedEvaluations] = {}
        self._checked: set[Column] = set()

    def availability(self, row: Row, column: Column) -> Availability:
        """Return whether a row has runs in a column, and why not."""
        availability = self.suite.availability(row, column, self.inventory)
        # A row that trains once a target has as many validation scores as targets, and no single one to print.
        if column.target == VALIDATION and row.per_target and availability == "planned":
            return "not-applicable"
        return availability

    def runs_of(self, row: Row, column: Column) -> list[PlannedRun]:
        """Return the planned runs of a row that score a column."""
        return [run for run in self._by_row[row.id] if run.contributes(column)]

    def of(self, row: Row, column: Column) -> SeedEvaluations:
        """Return a row's evaluations on a target."""
        key = (row.id, column)
        if key not in self._evaluations:
            by_seed: defaultdict[int, list[StoredEvaluation | None]] = defaultdict(list)
            reasons = set()
            for run in self.runs_of(row, column) if self.availability(row, column) == "planned" else ():
                evaluation = run.evaluation(column.target)
                by_seed[run.request.seed].append(evaluation)
                if evaluation is None:
                    reasons.add(NOT_RUN if run.stored is None else REASONS[run.stored.state])
            complete = {
                seed: [e for e in parts if e is not None] for seed, parts in by_seed.items() if None not in parts
            }
            place = (row.label, column.label)
            self._evaluations[key] = SeedEvaluations(place, complete, frozenset(reasons), self.case_file)
        return self._evaluations[key]

    def case_file(self, evaluation: StoredEvaluation) -> CaseFile:
        """Return the counts of an evaluation; its file is read once."""
        key = str(evaluation.path)
        if key not in self._files:
            self._files[key] = self._read(evaluation)
        return self._files[key]

    def require_same_cases(self, column: Column) -> None:
        """Refuse a column whose rows were scored on different versions of the data, other cases or other classes."""
        if column in self._checked:
            return
        of_rows = [(row, self.of(row, column)) for row in self.suite.rows]
        whole = [(row, seeds) for row, seeds in of_rows if row.folds is None]
        for rows, fields in ((of_rows, EVALUATED_ON[:1]), (whole, EVALUATED_ON[:2])):
            require_same_evaluations([e for _, s in rows for parts in s.complete.values() for e in parts], fields)
        named = [
            (f"{row.label}, seed {seed}", joined.cases, joined.files[0].layout.classes)
            for row, seeds in whole
            for seed, joined in seeds.cases.items()
        ]
        for name, cases, classes in named[1:]:
            first, expected_cases, expected_classes = named[0]
            if not _same_cases(cases, expected_cases) or classes != expected_classes:
                differing = {*cases, *classes} ^ {*expected_cases, *expected_classes}
                raise UsageError(
                    f"{name}, and {first}, cannot share a table: their cases.csv differ in "
                    f"{', '.join(sorted(differing)) or 'the order of classes'}; remove the evaluation that is "
                    "wrong and score its run again"
                )
        self._checked.add(column)


def _same_cases(cases: tuple[str, ...], expected: tuple[str, ...]) -> bool:
    return cases is expected or set(cases) == set(expected)
