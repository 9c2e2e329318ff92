"""Runs on a page: how they learned, what they cost, where they ran, with which settings."""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from ..outcomes.planned_run import PlannedRun
from ..outcomes.results import SuiteResults
from ..progress import NO_LOSSES
from ..storage.results_reader import StoredRun
from ..suites.suite import Column, Row
from ..tables.wording import row_label
from .charts import Curve, curve_chart

MOST_CURVES = 12  # runs of a row that are read: they differ in seed, fold and target, and more lines look like none


class LearnedRow(NamedTuple):
    """Histories of a row's runs."""

    row: Row
    read: list[tuple[StoredRun, Curve]]
    trained: int  # runs, read or not


def learned_rows(planned: Iterable[PlannedRun]) -> list[LearnedRow]:
    """Return the histories of each row's first trained runs; rows without any are left out."""
    rows = []
    for _, of_row in itertools.groupby(planned, key=lambda run: run.row.id):
        trained = [run for run in of_row if run.trained]
        stored = [run.stored for run in trained[:MOST_CURVES] if run.stored is not None]
        if read := [(run, history) for run in stored if (history := curve(run)) is not None]:
            rows.append(LearnedRow(trained[0].row, read, len(trained)))
    return rows


def learning_charts(rows: Sequence[LearnedRow]) -> list[tuple[str, str, Markup]]:
    """Return a chart a row as (caption, aside, drawing), all with the same axis of scores."""
    scores = [v for row in rows for _, c in row.read for part in (c.validation, c.target) for v in part.values()]
    limits = (min(scores) - 4, max(scores) + 4) if scores else (0.0, 100.0)
    charts = []
    for number, row in enumerate(rows):
        label, shown = row_label(row.row), len(row.read)
        pools = "target and held-out DSC" if is_on_target(row) else "held-out DSC"
        title = f"{label}: {pools} and training loss over epochs"
        aside = f"{shown}{f' of {row.trained}' if row.trained > shown else ''} run{'' if shown == 1 else 's'}"
        charts.append((label, aside, curve_chart(f"curve-{number}", title, [c for _, c in row.read], limits)))
    return charts


def is_on_target(row: LearnedRow) -> bool:
    """Tell whether the target's labels choose a row's epoch."""
    return any(curve.target for _, curve in row.read)


def training_costs(results: SuiteResults, column: Column) -> dict[str, tuple[float, str]]:
    """Return the seconds of one training for a target and the device, by row id; rows without a record are left out.

    The time is the one of :meth:`SuiteResults.training_seconds`.
    """
    costs = {}
    for row in results.suite.rows:
        if seconds := results.training_seconds(row, column):
            runs = [run.stored for run in results.counts.runs_of(row, column) if run.stored is not None]
            costs[row.id] = seconds, " and ".join(sorted({_device(run) for run in runs if run.trained}))
    return costs


def curve(run: StoredRun) -> Curve | None:
    """Return a run's history as numbers; None where it is missing or damaged."""
    if not run.epoch_seconds:
        return None
    try:
        by_epoch = {float(line["epoch"]) + 1: line for line in run.history}
        loss = {
            epoch: sum(float(value) for name, value in line.items() if name not in NO_LOSSES and value)
            for epoch, line in by_epoch.items()
        }
        validation, target = (
            {epoch: 100 * float(line[column]) for epoch, line in by_epoch.items() if line.get(column)}
            for column in ("held_out_dsc", "oracle_dsc")
        )
        return Curve(loss, validation, target, run.selected_epoch)
    except (ValueError, KeyError, TypeError):
        return None


def list_runs(planned: Sequence[PlannedRun], results_root: Path) -> dict[str, Any]:
    """Return runs, with folders relative to a root, and environments, as rows."""
    numbers: dict[tuple[tuple[str, str], ...], int] = {}
    counts: Counter[int] = Counter()
    runs: list[tuple[str, ...]] = []
    for run in planned:
        if run.stored is None:
            runs.append((run.name, run.state, "", "", "", ""))
            continue
        path, record, number = run.stored.path, run.stored.environment, 0
        if record:
            number = numbers.setdefault(_environment(record), len(numbers) + 1)
            counts[number] += 1
        folder = path.relative_to(results_root) if path.is_relative_to(results_root) else path
        facts = (folder, number or "", record.get("commit") or "", run.stored.marker.get("finished") or "")
        runs.append((run.name, run.state, *map(str, facts)))
    return {"runs": runs, "environments": [(number, counts[number], facts) for facts, number in numbers.items()]}


def _environment(record: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    facts = {
        **{name: record.get(name) for name in ("device", "threads", "host", "platform")},
        **(record.get("versions") or {}),
    }
    return tuple((name, str(value)) for name, value in facts.items() if value not in (None, ""))


def row_settings(planned: Iterable[PlannedRun]) -> list[tuple[str, str, str]]:
    """Return (label, method, settings) of each row and each configuration of its runs."""
    lines: dict[tuple[str, str, str], None] = {}
    for run in planned:
        if run.stored is None:
            continue
        spec, row = run.stored.spec, run.row
        config = ", ".join(f"{name} = {value}" for name, value in spec.method_config.items()) or "none"
        own = ", ".join(f"{k} = {v}" for k, v in row.settings.items() if not k.startswith("method."))
        text = f"{config}; {own}" if own else config
        lines[row.label, f"{row.method}, version {spec.method_version}", text] = None
    return list(lines)


def shared_settings(sections: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the settings of a protocol's sections as name and value, "training.epochs" and "60"."""
    lines = []
    for section, values in sections.items():
        for name, value in asdict(values).items():
            text = "x".join(map(str, value)) if isinstance(value, tuple) else "none" if value is None else str(value)
            lines.append((f"{section}.{name}", text))
    return lines


def _device(run: StoredRun) -> str:
    record = run.environment
    device = str(record.get("device") or "device not recorded")
    threads = record.get("threads")
    return f"{device}, {threads} thread{'' if threads == 1 else 's'}" if device == "cpu" and threads else device
