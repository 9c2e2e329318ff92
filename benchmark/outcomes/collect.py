"""Collecting what is stored for each row and target of a suite: per-case scores of every complete seed."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from ..errors import NotRescored, UsageError
from ..scoring.metrics import DSC, Measure
from ..spec import PROTOCOLS
from ..storage.results_reader import StoredEvaluation, StoredRun
from ..storage.run_folder import HELD_OUT
from ..suites.suite import Choice, Column, Inventory, Planned, Row, Standing, Suite
from .aggregate import SeedResult, seed_result
from .match import EVALUATED_ON, find_evaluation, match_runs, require_same_evaluations

REASONS = {
    "DIVERGED": "diverged",
    "FAILED": "failed",
    "RUNNING": "running",
    "STALE": "interrupted",
    "QUEUED": "queued",
    "DONE": "not scored",
}
"""Why a run's state leaves a hole, the most telling first."""

NOT_RESCORED = "not rescored"
NOT_RUN = "not run"

Answered: TypeAlias = Sequence[tuple[Planned, StoredRun | None]]
"""Planned runs, each with the stored run that answers it."""


@dataclass(frozen=True, slots=True)
class RowScores:
    """What is there of a row on one target."""

    standing: Standing
    seeds: tuple[SeedResult, ...] = ()  # the complete ones
    evaluations: tuple[StoredEvaluation, ...] = ()  # that they come from
    reason: str = ""  # why others are missing
    not_rescored: tuple[int, ...] = ()  # seeds that have evaluations, without the measure asked for


@dataclass(frozen=True, slots=True)
class Collected:
    """What is there of a suite."""

    suite: Suite
    columns: tuple[Column, ...]  # the suite's, after those of held-out source cases where asked for
    scores: Mapping[tuple[str, Column], RowScores]  # by row id and column
    notes: tuple[str, ...] = ()
    measure: Measure = DSC
    units: Mapping[Column, str] = field(default_factory=dict)  # of the measure in each column

    def of_column(self, column: Column) -> list[RowScores]:
        """Return a column's scores in the order of the rows."""
        return [self.scores[row.id, column] for row in self.suite.rows]


def collect(
    suite: Suite, runs: Sequence[StoredRun], inventory: Inventory, held_out: bool = False, measure: Measure = DSC
) -> Collected:
    """Return the scores of a suite's rows from the runs of a results folder.

    Args:
        suite: rows, columns and seeds, already narrowed.
        runs: what ``stored.scan`` found; runs of other suites are ignored.
        inventory: the methods and tasks there are.
        held_out: also the scores on each source's held-out cases.
        measure: what is scored.

    Raises:
        UsageError: runs on different data, or a damaged results file.
    """
    plan = suite.requests(Choice(), inventory)
    stored, notes = match_runs(plan, runs)
    by_row: defaultdict[str, list[tuple[Planned, StoredRun | None]]] = defaultdict(list)
    for planned, run in zip(plan, stored, strict=True):
        by_row[planned.row.id].append((planned, run))
    columns = (*(held_out_columns(suite.columns) if held_out else ()), *suite.columns)
    scores = {}
    for column in columns:
        for row in suite.rows:
            standing = _standing(suite, row, column, inventory)
            answered = [item for item in by_row[row.id] if _contributes(item[0], column)]
            ndim = inventory.task(column.task).ndim
            scores[row.id, column] = (
                _row_scores(answered, column, ndim, measure) if standing == "planned" else RowScores(standing)
            )
        _require_same_cases([scores[row.id, column] for row in suite.rows], suite.rows)
    units = {column: measure.unit_in(inventory.task(column.task).ndim) for column in columns}
    notes += not_rescored(suite, scores, measure)
    return Collected(suite, columns, scores, tuple(notes), measure, units)


def not_rescored(suite: Suite, scores: Mapping[tuple[str, Column], RowScores], measure: Measure) -> list[str]:
    """Return a note that names the evaluations which lack a measure, if any do, and how to compute it."""
    labels = {row.id: row.label for row in suite.rows}
    lacking = [
        f"{labels[row]} on {column.label} (seed {', '.join(map(str, found.not_rescored))})"
        for (row, column), found in scores.items()
        if found.not_rescored
    ]
    if not lacking:
        return []
    where = "; ".join(lacking) if any(found.seeds for found in scores.values()) else "any evaluation"
    way_out = f"bench rescore {suite.name} --metrics {measure.name}"
    return [f"{measure.short} is not computed yet for {where}: {way_out} does so from the stored predictions"]


def held_out_columns(columns: Iterable[Column]) -> list[Column]:
    """Return a column for the held-out cases of each source."""
    sources = dict.fromkeys((column.task, column.source) for column in columns)
    return [Column(task=t, source=s, target=HELD_OUT, label=f"{s} (source, held out)") for t, s in sources]


def other_protocols(
    suite: Suite, runs: Sequence[StoredRun], inventory: Inventory, empty: set[tuple[str, Column]]
) -> list[str]:
    """Return a note for each other protocol that has results where this one's cells are empty.

    Args:
        suite: as shown, with its protocol.
        runs: all runs of the results folder.
        inventory: the methods and tasks there are.
        empty: the empty cells, as row id and column.
    """
    notes = []
    for name in PROTOCOLS:
        if name == suite.protocol or not empty:
            continue
        plan = replace(suite, protocol=name).requests(Choice(), inventory)
        try:
            stored, _ = match_runs(plan, runs)
            filled = {
                (planned.row.id, column)
                for planned, run in zip(plan, stored, strict=True)
                for column in planned.columns
                if run is not None and find_evaluation(run, column.target, planned.request) is not None
            }
        except UsageError:
            continue  # that protocol's own table will say what is wrong
        if filled & empty:
            notes.append(
                f"{len(filled & empty)} of the {len(empty)} empty cells (row and target) have results under the "
                f"{name} protocol: show them with --protocol {name}"
            )
    return notes


def _standing(suite: Suite, row: Row, column: Column, inventory: Inventory) -> Standing:
    standing = suite.standing(row, column, inventory)
    # A row that trains once a target has as many held-out scores as targets, and no single one to print.
    if column.target == HELD_OUT and row.per_target and standing == "planned":
        return "not-applicable"
    return standing


def _contributes(planned: Planned, column: Column) -> bool:
    if column.target == HELD_OUT:
        return (planned.request.task, planned.request.source) == (column.task, column.source)
    return column in planned.columns


def _row_scores(answered: Answered, column: Column, ndim: int, measure: Measure) -> RowScores:
    """Return a row's complete seeds on a target: those whose every run (one, or one a fold) has an evaluation."""
    by_seed: defaultdict[int, list[StoredEvaluation | None]] = defaultdict(list)
    reasons = set()
    for planned, run in answered:
        found = None if run is None else find_evaluation(run, column.target, planned.request)
        by_seed[planned.request.seed].append(found)
        if found is None:
            reasons.add(NOT_RUN if run is None else REASONS[run.state])
    scoring = answered[0][0].request.evaluation
    region = scoring.region_in(ndim)
    complete = {seed: [e for e in found if e is not None] for seed, found in by_seed.items() if None not in found}
    results, lacking = [], []
    for seed, evaluations in complete.items():
        try:
            results.append(seed_result(seed, evaluations, measure, region, scoring.empty))
        except NotRescored:
            lacking.append(seed)
            reasons.add(NOT_RESCORED)
    return RowScores(
        "planned",
        tuple(results),
        tuple(evaluation for found in complete.values() for evaluation in found),
        next((reason for reason in [*REASONS.values(), NOT_RESCORED, NOT_RUN] if reason in reasons), ""),
        tuple(lacking),
    )


def _require_same_cases(scores: Sequence[RowScores], rows: Sequence[Row]) -> None:
    """Refuse a column whose rows were scored on different versions of the data, or on different cases or classes."""
    require_same_evaluations([e for found in scores for e in found.evaluations], ("manifest",))
    whole = [e for row, found in zip(rows, scores, strict=True) if row.folds is None for e in found.evaluations]
    require_same_evaluations(whole, EVALUATED_ON[:2])
    named = [
        (f"{row.label}, seed {seed.seed}", seed.scores)
        for row, found in zip(rows, scores, strict=True)
        for seed in found.seeds
        if row.folds is None
    ]
    for name, found_there in named[1:]:
        first, expected = named[0]
        same_cases = found_there.cases == expected.cases or set(found_there.cases) == set(expected.cases)
        if not same_cases or found_there.classes != expected.classes:
            differing = {*found_there.cases, *found_there.classes} ^ {*expected.cases, *expected.classes}
            raise UsageError(
                f"{name}, and {first}, cannot share a table: their cases.csv differ in "
                f"{', '.join(sorted(differing)) or 'the order of classes'}; remove the evaluation that is "
                "wrong and score its run again"
            )
