"""Runs and cases as plain rows: ``runs.csv`` and ``cases.csv`` of an export, and the frames of the Python API."""

from collections.abc import Iterator
from typing import Any

from ..spec import RunRequest
from ..storage.results_reader import VERSIONS, StoredEvaluation
from ..suites.suite import Column
from .planned_run import PlannedRun
from .results import SuiteResults

RUN_COLUMNS = (
    *("row", "method", "version", "seed", "task", "source", "targets", "fold", "train_id", "state"),
    *("epochs", "best_epoch", "steps", "training_seconds", "device", "threads", *VERSIONS.values()),
    *("commit", "started", "finished"),
)


def run_record(run: PlannedRun) -> dict[str, Any]:
    """Return a planned run as a row of ``runs.csv``; what is not recorded is empty.

    ``best_epoch`` counts from 1 and is the epoch whose weights are scored; ``training_seconds`` are those of the
    epochs, without preparing data and scoring.
    """
    planned = {**run_key(run), "state": run.state}
    recorded = {} if run.stored is None else run.stored.recorded
    return dict.fromkeys(RUN_COLUMNS, "") | planned | {n: value for n, value in recorded.items() if value is not None}


def run_key(run: PlannedRun) -> dict[str, Any]:
    """Return what tells a run from the others of its suite."""
    request = run.request
    return {
        "row": run.row.id,
        "method": request.method,
        "seed": request.seed,
        "task": request.task,
        "source": request.source,
        "targets": ";".join(run.targets),
        "fold": fold_text(request),
    }


def fold_text(request: RunRequest) -> str:
    """Return a run's fold as "1of5"; "" where it has none."""
    return "" if request.fold is None else f"{request.fold.index + 1}of{request.fold.count}"


def scored_evaluations(results: SuiteResults) -> Iterator[tuple[PlannedRun, Column, StoredEvaluation]]:
    """Yield each evaluation that the scores of a suite come from, validation cases included, run by run."""
    columns = results.columns(validation=True)
    used = {
        (row.id, column): {evaluation.path for evaluation in results.row_scores(row, column).evaluations}
        for column in columns
        for row in results.suite.rows
    }
    for run in results.planned_runs:
        for column in filter(run.contributes, columns):
            evaluation = run.evaluation(column.target)
            if evaluation is not None and evaluation.path in used[run.row.id, column]:
                yield run, column, evaluation
