"""The rows of an export's ``cases.csv`` and ``runs.csv``: all that a suite's tables are computed from."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..outcomes.collect import Collected
from ..outcomes.estimate import read_history, training_seconds
from ..outcomes.plan import Item
from ..scoring.case_file import read_cases
from ..scoring.metric_file import stored_values
from ..scoring.metrics import DSC, REGIONS, mask_metrics
from ..storage.files import read_mapping
from ..storage.results_reader import StoredEvaluation
from ..storage.run_folder import CASE_COLUMNS, HELD_OUT
from ..suites.suite import Column, Inventory, Planned
from .run_facts import selected_epoch

VERSIONS = {"torch": "torch", "monai": "monai", "ssdg-bench": "ssdg_bench"}
"""Packages whose version is a column of ``runs.csv``, with its name."""

RUN_COLUMNS = (
    *("row", "method", "version", "seed", "task", "source", "targets", "fold", "train_id", "state"),
    *("epochs", "best_epoch", "steps", "training_seconds", "device", "threads", *VERSIONS.values()),
    *("commit", "started", "finished"),
)

_SCORED = ("row", "seed", "task", "source", "target", "fold", "train_id", *CASE_COLUMNS, "dsc")


def scored_by(items: Iterable[Item], collected: Collected) -> list[tuple[Item, Column, StoredEvaluation]]:
    """Return each evaluation that the scores of a suite come from, with its run and column, in the suite's order."""
    used = {key: {one.path for one in scores.evaluations} for key, scores in collected.scores.items()}
    found = []
    for item in items:
        for column in collected.columns:
            evaluation = _evaluation(item, column)
            if evaluation is not None and evaluation.path in used[item.planned.row.id, column]:
                found.append((item, column, evaluation))
    return found


def _evaluation(item: Item, column: Column) -> StoredEvaluation | None:
    planned = item.planned
    held_out = Column(task=planned.request.task, source=planned.request.source, target=HELD_OUT)
    mine = [(one.task, one.source, one.target) for one in (*planned.columns, held_out)]
    return item.evaluation(column.target) if (column.task, column.source, column.target) in mine else None


def case_rows(
    scored: Iterable[tuple[Item, Column, StoredEvaluation]], inventory: Inventory
) -> tuple[Sequence[str], list[dict[str, Any]]]:
    """Return the columns of ``cases.csv``, and a row for each run, target, case and class.

    Counts are those inside the foreground and outside of it. ``dsc`` (0..1) follows the suite's region and rule for
    empty classes. Measures of shapes are those of both regions, where `bench rescore` computed any; a value that is
    not defined is "nan", one that was not computed is empty.

    Raises:
        UsageError: a damaged results file.
    """
    rows = [row for item, column, one in scored for row in _rows_of(item, column, one, inventory)]
    named = [f"{name}_{region}" for name in mask_metrics() for region in REGIONS]
    shapes = [name for name in named if any(row.get(name) for row in rows)]
    return (*_SCORED, *shapes), [{name: row.get(name, "") for name in (*_SCORED, *shapes)} for row in rows]


def _rows_of(item: Item, column: Column, evaluation: StoredEvaluation, inventory: Inventory) -> list[dict[str, Any]]:
    rules = item.planned.request.evaluation
    file = read_cases(evaluation, rules.region_in(inventory.task(column.task).ndim))
    scores = DSC.of_counts(file.tp, file.fp, file.fn, rules.empty).tolist()
    texts = {
        f"{name}_{region}": ["" if value is None else f"{value:.6g}" for value in values]
        for region in REGIONS
        for name, values in stored_values(evaluation.path, file, region).items()
    }
    where = {**_where(item.planned), "target": column.target, "train_id": evaluation.data.get("train_id", "")}
    return [
        {**where, **dict(zip(CASE_COLUMNS, values, strict=True)), "dsc": score, **dict(zip(texts, more, strict=True))}
        for values, score, *more in zip(csv.reader(file.lines), scores, *texts.values(), strict=True)
    ]


def _where(planned: Planned) -> dict[str, Any]:
    request = planned.request
    fold = "" if request.fold is None else f"{request.fold.index + 1}of{request.fold.count}"
    return {"row": planned.row.id, "seed": request.seed, "task": request.task, "source": request.source, "fold": fold}


def run_row(item: Item) -> dict[str, Any]:
    """Return a planned run as a row of ``runs.csv``; what is not recorded is empty.

    ``best_epoch`` counts from 1 and is the epoch whose weights are scored; ``training_seconds`` are those of the
    epochs, without preparing data and scoring.
    """
    row = {
        **dict.fromkeys(RUN_COLUMNS, ""),
        **_where(item.planned),
        "method": item.planned.request.method,
        "targets": ";".join(item.targets),
        "state": item.state,
    }
    if item.run is None:
        return row
    record, marker = read_mapping(item.run.path / "environment.json"), read_mapping(item.run.path / "DONE")
    versions = record.get("versions") or {}
    found = {
        "version": item.run.spec.method_version,
        "train_id": item.run.spec.train_id,
        **_trained(read_history(item.run.path), marker),
        **{name: record.get(name) for name in ("device", "threads", "commit", "started")},
        **{column: versions.get(name) for name, column in VERSIONS.items()},
        "finished": marker.get("finished"),
    }
    return row | {name: value for name, value in found.items() if value is not None}


def _trained(history: Sequence[Mapping[str, str]], marker: Mapping[str, Any]) -> dict[str, Any]:
    try:
        seconds: float | None = training_seconds(history)
    except (ValueError, TypeError):  # damaged: what is left of it is no time
        seconds = None
    return {
        "epochs": len(history) or None,
        "best_epoch": selected_epoch(marker),
        "steps": history[-1].get("step") if history else None,
        "training_seconds": round(seconds, 1) if history and seconds is not None else None,
    }
