"""What a report says of the runs themselves: how they learned, what they cost, where they ran, what went wrong."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from ..outcomes.planned_run import PlannedRun
from ..spec import to_json
from ..storage.results_reader import StoredRun
from ..tables.wording import row_label
from ..training.progress import SCORES
from .charts import Curve, EpochScores

NO_LOSSES = ("epoch", "step", "seconds", *SCORES)
"""Columns of a history; all others are terms of the loss."""

MOST_CURVES = 12
"""Runs of a row whose history is read: they differ in seed, fold and target alone, and more lines look like none."""

KEPT = "its message is kept with the run"
"""Stands for the message of an error in a page that is published."""


@dataclass(frozen=True, slots=True)
class RowCurves:
    """How the runs of one row learned."""

    name: str  # of the chart
    label: str
    curves: tuple[Curve, ...]
    runs: int  # that are done, drawn or not

    @property
    def on_target(self) -> bool:
        """Whether the target's labels choose the epoch."""
        return any(curve.target.epochs for curve in self.curves)


@dataclass(frozen=True, slots=True)
class RowCost:
    """What one run of a row takes to train."""

    seconds: float  # median
    runs: int  # that it is the median of
    device: str


@dataclass(frozen=True, slots=True)
class Learning:
    """How the rows of a suite learned."""

    rows: tuple[RowCurves, ...]
    costs: Mapping[str, RowCost]  # by row id

    @property
    def limits(self) -> tuple[float, float]:
        """What an axis of scores has to span, in percent."""
        curves = [curve for row in self.rows for curve in row.curves]
        scores = [score for one in curves for looks in (one.validation, one.target) for score in looks.scores]
        return (min(scores) - 4, max(scores) + 4) if scores else (0.0, 100.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """One planned run, as listed under provenance."""

    name: str
    state: str
    folder: str = ""  # under the results folder
    environment: int | None = None  # its number in the list of environments
    commit: str = ""
    finished: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Environment:
    """Where runs ran."""

    number: int
    runs: int
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Runs:
    """All runs of a suite."""

    facts: tuple[RunFacts, ...]
    environments: tuple[Environment, ...]
    settings: tuple[tuple[str, str, str], ...]  # row label, method with version, its resolved settings

    @property
    def failed(self) -> list[RunFacts]:
        """Those that failed or diverged."""
        return [run for run in self.facts if run.state in ("FAILED", "DIVERGED")]

    @property
    def states(self) -> Mapping[str, int]:
        """Runs in each state."""
        return dict(sorted(Counter(run.state for run in self.facts).items()))


def learning(runs: Sequence[PlannedRun]) -> Learning:
    """Return how the runs of each row learned and what they cost, from the first of them that are trained."""
    by_row: defaultdict[str, list[PlannedRun]] = defaultdict(list)
    for run in runs:
        if run.trained:
            by_row[run.row.id].append(run)
    curves: list[RowCurves] = []
    costs: dict[str, RowCost] = {}
    for row, trained in by_row.items():
        stored = [run.stored for run in trained[:MOST_CURVES] if run.stored is not None]
        drawn = [(one, learned) for one in stored if (learned := curve(one)) is not None]
        if not drawn:
            continue
        name, label = f"curve-{len(curves)}", row_label(trained[0].row)
        curves.append(RowCurves(name, label, tuple(line for _, line in drawn), len(trained)))
        seconds = [one.training_seconds or 0.0 for one, _ in drawn]
        devices = sorted({_device(one) for one, _ in drawn})
        if all(seconds):
            costs[row] = RowCost(median(seconds), len(seconds), " and ".join(devices))
    return Learning(tuple(curves), costs)


def curve(run: StoredRun) -> Curve | None:
    """Return a run's history as numbers, with the epoch whose weights are scored; None where it is damaged."""
    if not run.history or run.training_seconds is None:
        return None
    try:
        terms = [sum(float(v) for name, v in line.items() if name not in NO_LOSSES and v) for line in run.history]
        return Curve(
            epochs=tuple(float(line["epoch"]) + 1 for line in run.history),
            loss=tuple(terms),
            validation=_looks(run.history, "held_out_dsc"),
            target=_looks(run.history, "oracle_dsc"),
            selected=run.selected_epoch,
        )
    except (ValueError, KeyError, TypeError):
        return None


def _looks(history: Sequence[Mapping[str, str]], column: str) -> EpochScores:
    looked = [line for line in history if line.get(column)]
    epochs = tuple(float(line["epoch"]) + 1 for line in looked)
    return EpochScores(epochs, tuple(100 * float(line[column]) for line in looked))


def survey_runs(planned: Sequence[PlannedRun], results_root: Path, public: bool = False) -> Runs:
    """Return everything that is recorded about a suite's runs.

    Args:
        planned: the suite's runs.
        results_root: folders are named relative to it.
        public: without hosts, their systems, and messages of errors, which may hold paths.
    """
    numbers: dict[tuple[tuple[str, str], ...], int] = {}
    counts: Counter[int] = Counter()
    facts = []
    for run in planned:
        stored = run.stored
        record = {} if stored is None else stored.environment
        number = None
        if record:
            number = numbers.setdefault(_described(record, public), len(numbers) + 1)
            counts[number] += 1
        facts.append(
            RunFacts(
                name=run.name,
                state=run.state,
                folder="" if stored is None else _under(stored.path, results_root),
                environment=number,
                commit=str(record.get("commit") or ""),
                finished="" if stored is None else str(stored.marker.get("finished") or ""),
                error=(KEPT if public else run.error) if run.state in ("FAILED", "DIVERGED") else "",
            )
        )
    environments = [Environment(number, counts[number], described) for described, number in numbers.items()]
    return Runs(tuple(facts), tuple(environments), tuple(_row_settings(planned)))


def _row_settings(planned: Sequence[PlannedRun]) -> list[tuple[str, str, str]]:
    """Return a line for each row and each configuration of its runs."""
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


def flat(sections: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the settings of a protocol's sections as name and value, "training.epochs" and "60"."""
    lines = []
    for section, values in sections.items():
        found = to_json(values)
        assert isinstance(found, dict)
        lines += [(f"{section}.{name}", _text(value)) for name, value in found.items()]
    return lines


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "x".join(map(str, value))
    return "none" if value is None else str(value)


def _described(record: Mapping[str, Any], public: bool) -> tuple[tuple[str, str], ...]:
    """Return what runs of one environment share, as name and value."""
    versions = record.get("versions") or {}
    named = {name: record.get(name) for name in ("device", "threads", *(() if public else ("host", "platform")))}
    return tuple((name, str(value)) for name, value in {**named, **versions}.items() if value not in (None, ""))


def _device(run: StoredRun) -> str:
    record = run.environment
    device = str(record.get("device") or "device not recorded")
    threads = record.get("threads")
    return f"{device}, {threads} thread{'' if threads == 1 else 's'}" if device == "cpu" and threads else device


def _under(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
