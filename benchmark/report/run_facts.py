"""Runs on a page: how they learned, what they cost, where they ran, with which settings."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from markupsafe import Markup

from ..outcomes.planned_run import PlannedRun
from ..progress import SCORES
from ..spec import to_json
from ..storage.results_reader import StoredRun
from ..tables.wording import row_label
from .charts import Curve, EpochValues, curve_chart

NO_LOSSES = ("epoch", "step", "seconds", *SCORES)
"""Columns of a history; all others are terms of the loss."""

MOST_CURVES = 12
"""Runs of a row whose history is read: they differ in seed, fold and target alone, and more lines look like none."""


class LearnedRow(NamedTuple):
    """Histories of a row's runs."""

    row: str  # id
    label: str
    runs: list[StoredRun]
    curves: list[Curve]
    trained: int  # runs, read or not


def learned_rows(planned: Iterable[PlannedRun]) -> list[LearnedRow]:
    """Return the histories of each row's first trained runs; rows without any are left out."""
    by_row: defaultdict[str, list[PlannedRun]] = defaultdict(list)
    for run in planned:
        if run.trained:
            by_row[run.row.id].append(run)
    rows = []
    for row, trained in by_row.items():
        stored = [run.stored for run in trained[:MOST_CURVES] if run.stored is not None]
        read = [(run, history) for run in stored if (history := curve(run)) is not None]
        if read:
            runs, curves = map(list, zip(*read, strict=True))
            rows.append(LearnedRow(row, row_label(trained[0].row), runs, curves, len(trained)))
    return rows


def learning_charts(rows: Sequence[LearnedRow]) -> list[tuple[str, str, Markup]]:
    """Return a chart a row as (caption, aside, drawing), all with the same axis of scores."""
    scores = [score for row in rows for c in row.curves for part in (c.validation, c.target) for score in part.values]
    limits = (min(scores) - 4, max(scores) + 4) if scores else (0.0, 100.0)
    charts = []
    for number, row in enumerate(rows):
        shown = len(row.curves)
        pools = "target and held-out DSC" if is_on_target(row) else "held-out DSC"
        title = f"{row.label}: {pools} and training loss over epochs"
        aside = f"{shown}{f' of {row.trained}' if row.trained > shown else ''} run{'' if shown == 1 else 's'}"
        charts.append((row.label, aside, curve_chart(f"curve-{number}", title, row.curves, limits)))
    return charts


def is_on_target(row: LearnedRow) -> bool:
    """Tell whether the target's labels choose a row's epoch."""
    return any(curve.target.epochs for curve in row.curves)


def training_costs(rows: Iterable[LearnedRow]) -> dict[str, tuple[float, str]]:
    """Return the median seconds of one training and the device, by row id."""
    costs = {}
    for row in rows:
        seconds = [run.training_seconds or 0.0 for run in row.runs]
        if all(seconds):
            costs[row.row] = median(seconds), " and ".join(sorted({_device(run) for run in row.runs}))
    return costs


def curve(run: StoredRun) -> Curve | None:
    """Return a run's history as numbers; None where it is missing or damaged."""
    if not run.history or run.training_seconds is None:
        return None
    try:
        epochs = [float(line["epoch"]) + 1 for line in run.history]
        terms = [sum(float(v) for name, v in line.items() if name not in NO_LOSSES and v) for line in run.history]
        validation, target = (_scores(run.history, column) for column in ("held_out_dsc", "oracle_dsc"))
        return Curve(EpochValues(epochs, terms), validation, target, run.selected_epoch)
    except (ValueError, KeyError, TypeError):
        return None


def _scores(history: Sequence[Mapping[str, str]], column: str) -> EpochValues:
    lines = [line for line in history if line.get(column)]
    return EpochValues([float(line["epoch"]) + 1 for line in lines], [100 * float(line[column]) for line in lines])


def list_runs(planned: Sequence[PlannedRun], results_root: Path, public: bool) -> dict[str, Any]:
    """Return runs and environments as rows of a page.

    Args:
        planned: the suite's runs.
        results_root: folders are named relative to it.
        public: without hosts and their systems.
    """
    numbers: dict[tuple[tuple[str, str], ...], int] = {}
    counts: Counter[int] = Counter()
    runs = []
    for run in planned:
        if run.stored is None:
            runs.append((run.name, run.state, "", "", "", ""))
            continue
        path, record = run.stored.path, run.stored.environment
        number: int | str = ""
        if record:
            number = numbers.setdefault(_environment(record, public), len(numbers) + 1)
            counts[number] += 1
        folder = str(path.relative_to(results_root)) if path.is_relative_to(results_root) else str(path)
        commit, finished = (str(text or "") for text in (record.get("commit"), run.stored.marker.get("finished")))
        runs.append((run.name, run.state, folder, str(number), commit, finished))
    return {"runs": runs, "environments": [(number, counts[number], facts) for facts, number in numbers.items()]}


def _environment(record: Mapping[str, Any], public: bool) -> tuple[tuple[str, str], ...]:
    names = ("device", "threads", *(() if public else ("host", "platform")))
    facts = {**{name: record.get(name) for name in names}, **(record.get("versions") or {})}
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
        settings = to_json(values)
        assert isinstance(settings, dict)
        for name, value in settings.items():
            text = "x".join(map(str, value)) if isinstance(value, list) else "none" if value is None else str(value)
            lines.append((f"{section}.{name}", text))
    return lines


def _device(run: StoredRun) -> str:
    record = run.environment
    device = str(record.get("device") or "device not recorded")
    threads = record.get("threads")
    return f"{device}, {threads} thread{'' if threads == 1 else 's'}" if device == "cpu" and threads else device
