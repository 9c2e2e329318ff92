"""Results as pandas data frames: the Python API's columns, with plain arrays inside."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..scoring.metrics import find_metric
from ..spec import to_json
from .headings import stratum_headings
from .results import SuiteResults
from .run_records import RUN_COLUMNS, run_key, run_record

SCORE_COLUMNS = ("row", "method", "seed", "target", "case", "stratum", "class_name", "value")

CELL_COLUMNS = (
    *("row", "label", "method", "setting", "target", "stratum", "average", "metric", "unit", "mean", "sd", "n"),
    *("expected_n", "cases", "undefined", "missed", "state", "reason"),
)

RUN_KEY = ("row", "method", "seed", "task", "source", "targets", "fold")


def scores_frame(results: SuiteResults, name: str) -> pd.DataFrame:
    """Return a metric with one line a row, seed, target, case and class; see :meth:`SuiteResults.scores`."""
    metric = find_metric(name)
    frames = []
    for column in results.suite.columns:
        for row in results.suite.rows:
            scores = results.row_scores(row, column, metric)
            seeds, cases, classes = scores.values.shape
            lines = {
                "row": row.id,
                "method": row.method,
                "seed": np.repeat(scores.seeds, cases * classes),
                "target": column.target,
                "case": np.tile(np.repeat(np.array(scores.cases, dtype=object), classes), seeds),
                "stratum": np.tile(np.repeat(np.array(scores.strata, dtype=object), classes), seeds),
                "class_name": np.tile(np.array(scores.classes, dtype=object), seeds * cases),
                "value": scores.values.ravel(),
            }
            if seeds:
                frames.append(pd.DataFrame(lines))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(SCORE_COLUMNS))


def table_frame(results: SuiteResults, name: str) -> pd.DataFrame:
    """Return a line for each row, target and printed stratum; see :meth:`SuiteResults.table`."""
    metric = find_metric(name)
    lines: list[Mapping[str, Any]] = []
    for row in results.suite.rows:
        for column in results.suite.columns:
            for h in stratum_headings(results, column, metric):
                cell = results.cell(row, column, h.stratum, h.average, metric)
                values = (row.id, row.label, row.method, row.access, column.target, h.stratum, h.average, metric.name)
                numbers = (h.unit, cell.scaled(cell.mean), cell.scaled(cell.sd), cell.n_seeds)
                counts = (cell.expected_seeds, cell.n_cases, cell.n_undefined, cell.n_missed, cell.state, cell.reason)
                lines.append(dict(zip(CELL_COLUMNS, (*values, *numbers, *counts), strict=True)))
    return pd.DataFrame(lines, columns=list(CELL_COLUMNS)).astype({"mean": float, "sd": float})


def runs_frame(results: SuiteResults) -> pd.DataFrame:
    """Return a line for each planned run: ``runs.csv`` with the settings and the seconds as a number."""
    lines = [{**run_record(run), "settings": _settings(results, run.row.settings)} for run in results.planned_runs]
    frame = pd.DataFrame(lines, columns=[*RUN_COLUMNS, "settings"])
    numbers = ("epochs", "best_epoch", "steps", "training_seconds")
    return frame.assign(**{name: pd.to_numeric(frame[name]) for name in numbers})


def history_frame(results: SuiteResults) -> pd.DataFrame:
    """Return a line for each run and epoch: the loss terms and validation scores of ``history.csv``."""
    lines = []
    for run in results.planned_runs:
        key = run_key(run)
        for row in () if run.stored is None else run.stored.history:
            numbers = {name: float(value) if value else float("nan") for name, value in row.items() if name}
            lines.append({**key, **numbers, "epoch": int(row["epoch"]) + 1})
    return pd.DataFrame(lines) if lines else pd.DataFrame(columns=[*RUN_KEY, "epoch"])


def _settings(results: SuiteResults, own: Mapping[str, Any]) -> str:
    changed = to_json({**results.suite.settings, **own})
    assert isinstance(changed, dict)
    return ", ".join(f"{name}={value}" for name, value in changed.items())
