"""How long runs will take, from the history of those that are done."""

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from ..spec import RunRequest
from ..storage.results_reader import StoredRun
from .plan import Item

SAMPLES = 3
"""Runs looked at for each kind; they differ in the seed alone."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Hours that training takes, one run after the other."""

    hours: float
    runs: int  # that the hours are of
    unknown: tuple[str, ...]  # rows without a finished run to tell from

    @property
    def described(self) -> str:
        """The estimate in words."""
        parts = [f"about {self.hours:.1f} h of training for {self.runs} of them"] if self.runs else []
        if self.unknown:
            parts.append(f"no finished run tells the time of {', '.join(self.unknown)}")
        return "; ".join(parts) or "no training"


def estimate_hours(items: Sequence[Item], runs: Iterable[StoredRun]) -> Estimate:
    """Estimate the training time of items from finished runs.

    Seconds an epoch come from those of the same task, method, network, grid, batch size and selection, on whatever
    device.
    """
    alike: defaultdict[tuple[Any, ...], list[Path]] = defaultdict(list)
    for run in runs:
        if run.state == "DONE":
            alike[_kind(run.spec.request)].append(run.path)
    wanted = [_kind(item.planned.request) for item in items]
    seconds = {kind: _seconds_an_epoch(alike[kind][:SAMPLES]) for kind in set(wanted) if kind in alike}
    hours, known, unknown = 0.0, 0, dict[str, None]()
    for item, kind in zip(items, wanted, strict=True):
        each = seconds.get(kind)
        if each is None:
            unknown[item.planned.row.id] = None
        else:
            hours += each * item.planned.request.training.epochs / 3600
            known += 1
    return Estimate(hours, known, tuple(unknown))


def _kind(request: RunRequest) -> tuple[Any, ...]:
    return (
        request.task,
        request.source,
        request.method,
        request.network,
        request.preprocess.shape,
        request.training.batch_size,
        request.training.selection,
    )


def _seconds_an_epoch(paths: Iterable[Path]) -> float | None:
    found = [float(row["seconds"]) for path in paths for row in read_history(path) if row.get("seconds")]
    return median(found) if found else None


def read_history(run: Path) -> list[dict[str, str]]:
    """Return the rows of a run's ``history.csv``, values as text; none where there is no such file."""
    try:
        with (run / "history.csv").open(newline="") as stream:
            return list(csv.DictReader(stream))
    except OSError:
        return []


def training_seconds(history: Iterable[Mapping[str, str]]) -> float:
    """Return the time of all epochs of a history; ValueError or TypeError where it is damaged."""
    return sum(float(row.get("seconds") or 0) for row in history)
