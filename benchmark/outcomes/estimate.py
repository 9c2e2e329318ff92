"""Training time of planned runs, estimated from the history of finished ones."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from ..spec import RunRequest
from ..storage.results_reader import StoredRun
from .planned_run import PlannedRun

SAMPLES = 3
"""Finished runs that are read for each kind; they differ in the seed alone."""


def estimate_text(planned: Sequence[PlannedRun], stored: Iterable[StoredRun]) -> str:
    """Return the training time of planned runs, one after the other, in words.

    Seconds an epoch come from the histories of finished runs of the same task, method, network, grid, batch size and
    selection, on whatever device.
    """
    finished: defaultdict[tuple[Any, ...], list[StoredRun]] = defaultdict(list)
    for run in stored:
        if run.state == "DONE":
            finished[_kind(run.spec.request)].append(run)
    kinds = {_kind(run.request) for run in planned}
    seconds = {kind: _seconds_an_epoch(finished[kind][:SAMPLES]) for kind in kinds if kind in finished}
    epochs = [(run, seconds.get(_kind(run.request))) for run in planned]
    hours = [each * run.request.training.epochs / 3600 for run, each in epochs if each is not None]
    unknown = dict.fromkeys(run.row.id for run, each in epochs if each is None)
    parts = [f"about {sum(hours):.1f} h of training for {len(hours)} of them"] if hours else []
    if unknown:
        parts.append(f"no finished run tells the time of {', '.join(unknown)}")
    return "; ".join(parts) or "no training"


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


def _seconds_an_epoch(runs: Iterable[StoredRun]) -> float | None:
    seconds = [float(row["seconds"]) for run in runs for row in run.history if row.get("seconds")]
    return median(seconds) if seconds else None
