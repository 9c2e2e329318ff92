"""Runs and scores as plain rows and as pandas data frames: the files of an export, and the Python API.

pandas is imported on use: neither a table nor an export must wait for it.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..digests import to_json
from ..scoring.metrics import find_metric
from ..spec import RunRequest
from ..storage.results_reader import VERSIONS, StoredEvaluation
from ..storage.run_folder import VALIDATION
from ..suites.suite import Column, Row
from .headings import Heading, stratum_headings
from .planned_run import PlannedRun
from .scores import Cell

if TYPE_CHECKING:
    import pandas as pd

    from .results import SuiteResults

RUN_COLUMNS = (
    *("row", "method", "version", "seed", "task", "source", "targets", "fold", "train_id", "state"),
    *("epochs", "best_epoch", "steps", "training_seconds", "fastest_epoch", "device", "threads", *VERSIONS.values()),
    *("commit", "started", "finished", "trained_on"),
)

SCORE_COLUMNS = ("row", "method", "seed", "source", "target", "case", "stratum", "class_name", "value")

RUN_KEY = ("row", "method", "seed", "task", "source", "targets", "fold")


def run_record(run: PlannedRun) -> dict[str, Any]:
    """Return a planned run as a row of ``runs.csv``; what is not recorded is empty.

    ``best_epoch`` counts from 1 and is the epoch whose weights are scored; ``training_seconds`` are those of the
    epochs, without preparing data and scoring. On a shared machine the fastest epoch measures the run better than the
    mean does.
    """
    planned = {**run_key(run), "state": run.state}
    recorded = {} if run.stored is None else run.stored.recorded
    evaluations = () if run.stored is None else run.stored.evaluations
    planned["trained_on"] = next((e.data["trained_on"] for e in evaluations if "trained_on" in e.data), "")
    # Of an export the row may have another name, and its texts are typed in the plan.
    told = {name: value for name, value in recorded.items() if value is not None and name not in RUN_KEY}
    return dict.fromkeys(RUN_COLUMNS, "") | planned | told


def run_key(run: PlannedRun) -> dict[str, Any]:
    """Return what tells a run from the others of its suite."""
    request = run.request
    values = (run.row.id, request.method, request.seed, request.task, request.source, ";".join(run.targets))
    return dict(zip(RUN_KEY, (*values, fold_text(request)), strict=True))


def fold_text(request: RunRequest) -> str:
    """Return a run's fold as "1of5"; "" where it has none."""
    return "" if request.fold is None else f"{request.fold.index + 1}of{request.fold.count}"


def scored_evaluations(results: "SuiteResults") -> Iterator[tuple[PlannedRun, Column, StoredEvaluation]]:
    """Yield each evaluation that the scores of a suite come from, validation cases included, run by run."""
    columns = results.columns(validation=True)
    used = {
        (row.id, column): {evaluation.path for evaluation in results.row_scores(row, column).evaluations}
        for column in columns
        for row in results.suite.rows
    }
    for run in results.planned_runs:
        # Folds score their target in the columns of every source: once here.
        for column in {column.target: column for column in columns if run.contributes(column)}.values():
            evaluation = run.evaluation(column.target)
            # Validation cases of a row that trains once a target are in no cell, and tell whether it has converged.
            judges = column.target == VALIDATION and run.row.per_target and run.row.folds is None
            if evaluation is not None and (judges or evaluation.path in used[run.row.id, column]):
                yield run, column, evaluation


def scores_frame(results: "SuiteResults", metric: str = "dsc") -> "pd.DataFrame":
    """Return a metric of every case and class as a frame.

    Columns: row, method, seed, source, target, case, stratum, class_name, value (a share in 0..1, mm or px; NaN where
    not defined).
    """
    import pandas as pd

    entry = find_metric(metric)
    frames = []
    for column in results.suite.columns:
        for row in results.suite.rows:
            scores = results.row_scores(row, column, entry)
            seeds, cases, classes = scores.values.shape
            lines = {
                "row": row.id,
                "method": row.method,
                "seed": np.repeat(scores.seeds, cases * classes),
                "source": column.source,
                "target": column.target,
                "case": np.tile(np.repeat(np.array(scores.cases, dtype=object), classes), seeds),
                "stratum": np.tile(np.repeat(np.array(scores.strata, dtype=object), classes), seeds),
                "class_name": np.tile(np.array(scores.classes, dtype=object), seeds * cases),
                "value": scores.values.ravel(),
            }
            if seeds:
                frames.append(pd.DataFrame(lines))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(SCORE_COLUMNS))


def cell_record(row: Row, heading: Heading, cell: Cell) -> dict[str, Any]:
    """Return a cell by name, its mean and sample SD in the unit named; None where there is none."""
    column, mean, sd = heading.column, cell.scaled(cell.mean), cell.scaled(cell.sd)
    return {
        **{"row": row.id, "label": row.label, "method": row.method, "setting": row.access},
        **{"task": column.task, "source": column.source, "target": column.target},
        **{"stratum": heading.stratum, "average": heading.average, "metric": cell.metric.name, "unit": heading.unit},
        **{"state": cell.state, "reason": cell.reason, "mean": mean, "sd": sd},
        **{"n": cell.n_seeds, "expected_n": cell.expected_seeds, "cases": cell.n_cases},
        **{"undefined": cell.n_undefined, "missed": cell.n_missed},
    }


def table_frame(results: "SuiteResults", metric: str = "dsc") -> "pd.DataFrame":
    """Return the cells of a table as a frame, in printed units (percent, mm or px)."""
    import pandas as pd

    entry = find_metric(metric)
    lines = [
        cell_record(row, heading, results.cell(row, column, heading.stratum, heading.average, entry))
        for row in results.suite.rows
        for column in results.suite.columns
        for heading in stratum_headings(results, column, entry)
    ]
    return pd.DataFrame(lines).astype({"mean": float, "sd": float})


def runs_frame(results: "SuiteResults") -> "pd.DataFrame":
    """Return a frame with one line a planned run: settings, state, seconds, device, commit."""
    import pandas as pd

    lines = []
    for run in results.planned_runs:
        changed = to_json({**results.suite.settings, **run.row.settings})
        assert isinstance(changed, dict)
        settings = ", ".join(f"{name}={value}" for name, value in changed.items())
        lines.append({**run_record(run), "settings": settings})
    frame = pd.DataFrame(lines, columns=[*RUN_COLUMNS, "settings"])
    numbers = ("epochs", "best_epoch", "steps", "training_seconds", "fastest_epoch")
    return frame.assign(**{name: pd.to_numeric(frame[name]) for name in numbers})


def history_frame(results: "SuiteResults") -> "pd.DataFrame":
    """Return the histories of all runs as a frame: one line a run and epoch (counted from 1)."""
    import pandas as pd

    lines = []
    for run in results.planned_runs:
        key = run_key(run)
        for row in () if run.stored is None else run.stored.history:
            numbers = {name: float(value) if value else float("nan") for name, value in row.items() if name}
            lines.append({**key, **numbers, "epoch": int(row["epoch"]) + 1})
    return pd.DataFrame(lines) if lines else pd.DataFrame(columns=[*RUN_KEY, "epoch"])
