"""A run and an evaluation of which an export keeps the records and the counts alone: there is no folder of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..scoring.case_file import CaseFile, parse_cases
from ..scoring.metric_file import MaskValues
from ..scoring.metrics import REGIONS, Metric
from ..storage.csv_text import to_csv
from ..storage.results_reader import VERSIONS, StoredEvaluation, StoredRun
from ..storage.run_folder import CASE_COLUMNS


@dataclass(frozen=True)
class ExportedRun(StoredRun):
    """A run of which an export keeps the record, the history and the counts alone."""

    record: Mapping[str, str]
    epochs: list[dict[str, str]]
    packages: Mapping[str, str]  # versions of those that all runs of the export had in one version

    @property
    def history(self) -> list[dict[str, str]]:
        """Lines of the export's ``history.csv``."""
        return self.epochs

    @property
    def environment(self) -> dict[str, Any]:
        """Device, threads, commit, start and versions, as recorded."""
        names = ("device", "threads", "commit", "started")
        versions = {name: self.record[column] for name, column in VERSIONS.items() if self.record.get(column)}
        return {**{name: self.record.get(name) for name in names}, "versions": {**self.packages, **versions}}

    @property
    def marker(self) -> dict[str, Any]:
        """When it finished."""
        return {"finished": self.record.get("finished")}

    @property
    def selected_epoch(self) -> int | None:
        """Epoch of the scored weights, counted from 1."""
        return int(self.record["best_epoch"]) if self.record.get("best_epoch") else None

    @property
    def recorded(self) -> dict[str, Any]:
        """Records of its training as texts by column of ``runs.csv``; None if empty."""
        return {name: value or None for name, value in self.record.items()}


@dataclass(frozen=True, slots=True)
class ExportedEvaluation(StoredEvaluation):
    """An evaluation of which an export has the counts, and values of metrics of masks."""

    rows: Sequence[Mapping[str, str]] = ()  # of the export's ``cases.csv``
    metrics: frozenset[str] = frozenset()  # columns of metrics of masks, as they are defined today

    def cases(self) -> CaseFile:
        """Return its counts."""
        return parse_cases(to_csv(CASE_COLUMNS, [{name: row[name] for name in CASE_COLUMNS} for row in self.rows]))

    def masks(self, metric: Metric) -> MaskValues:
        """Return a metric of masks for the rows of its counts."""
        values: dict[str, list[float | None]] = {}
        for region in REGIONS:
            name = f"{metric.name}_{region}"
            texts = [row[name] if name in self.metrics else "" for row in self.rows]
            values[region] = [float(text) if text else None for text in texts]
        return MaskValues(values, frozenset())

    @property
    def rescored(self) -> bool:
        """Whether it has values of any metric of masks."""
        return any(row[name] for row in self.rows for name in self.metrics)
