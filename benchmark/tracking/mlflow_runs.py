"""MLflow: an experiment for each task, a run of MLflow for each run, found again by its ``train_id``."""

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from ..progress import Row
from ..storage.lease import Lease
from .observers import End, ObservedRun

TAG = "ssdg.train_id"
STATUS = {"DONE": "FINISHED", "FAILED": "FAILED", "DIVERGED": "FAILED", "INTERRUPTED": "KILLED"}
MOST = {"metrics": 1000, "params": 100, "text": 6000}
"""Limits of MLflow, of one request and of one parameter."""


class MLflow:
    """Logs metrics over epochs, counted from 1.

    A metric of MLflow cannot be unsaid: of an epoch that is trained twice, because its first process was killed
    before a checkpoint, the first values stay.
    """

    def begin(self, run: ObservedRun, history: Sequence[Row]) -> None:
        """Find or create the run, and log the epochs that it lacks."""
        self._client = MlflowClient(tracking_uri=_tracking_uri(run))
        # Two processes that begin at once must not create two experiments, or two runs.
        with Lease(run.tracking / "mlflow-begin", wait=60):
            self._open(run)
        self._log(metric for row in history for metric in _metrics(row))

    def epoch(self, row: Row) -> None:
        """Log an epoch."""
        self._log(_metrics(row))

    def scores(self, dsc: Mapping[str, float]) -> None:
        """Log each domain's DSC at the last epoch, unless it is the value already there."""
        step = max((step for steps in self._logged.values() for step in steps), default=0)
        metrics = [Metric(_key(f"dsc/{domain}"), value, _now(), step) for domain, value in dsc.items()]
        self._send([metric for metric in metrics if self._latest.get(metric.key) != metric.value])

    def end(self, state: End) -> None:
        """Set how the run ended; an interrupted one is RUNNING again once it is continued."""
        self._client.set_terminated(self._id, STATUS[state])

    def _open(self, run: ObservedRun) -> None:
        experiment = self._client.get_experiment_by_name(f"ssdg-bench {run.task}")
        place = experiment.experiment_id if experiment else self._client.create_experiment(f"ssdg-bench {run.task}")
        earlier = self._client.search_runs([place], f"tags.`{TAG}` = '{run.train_id}'", max_results=1)
        self._logged: dict[str, set[int]] = {}
        self._latest: dict[str, float] = {}
        if earlier:
            self._id = earlier[0].info.run_id
            self._latest = dict(earlier[0].data.metrics)
            for key in self._latest:
                self._logged[key] = {m.step for m in self._client.get_metric_history(self._id, key)}
            self._client.update_run(self._id, status="RUNNING")
            return
        tags = {TAG: run.train_id, "ssdg.folder": str(run.folder)}
        self._id = self._client.create_run(place, run_name=run.name, tags=tags).info.run_id
        params = [Param(_key(name), str(value)[: MOST["text"]]) for name, value in run.settings.items()]
        for first in range(0, len(params), MOST["params"]):
            self._client.log_batch(self._id, params=params[first : first + MOST["params"]])

    def _log(self, metrics: Iterator[Metric]) -> None:
        self._send([metric for metric in metrics if metric.step not in self._logged.get(metric.key, ())])

    def _send(self, metrics: Sequence[Metric]) -> None:
        for first in range(0, len(metrics), MOST["metrics"]):
            self._client.log_batch(self._id, metrics=metrics[first : first + MOST["metrics"]])
        for metric in metrics:
            self._logged.setdefault(metric.key, set()).add(metric.step)


def _tracking_uri(run: ObservedRun) -> str:
    """Return the server that the environment names, else a folder below the results root."""
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        return uri
    # One folder a run, which jobs on several nodes can write at once; MLflow asks for this word to use it.
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    return (run.tracking / "mlflow").resolve().as_uri()


def _metrics(row: Row) -> Iterator[Metric]:
    for name, value in row.items():
        if name != "epoch":
            yield Metric(_key(f"history/{name}"), float(value), _now(), int(row["epoch"]) + 1)


def _now() -> int:
    return round(1000 * time.time())


def _key(name: str) -> str:
    return re.sub(r"[^\w\-. :/]", "-", name)
