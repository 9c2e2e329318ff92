"""Exports as results: a suite, and of each of its runs the record, the history and the counts that were committed."""

import csv
import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from ssdg.datasets import TASKS
from ssdg.datasets.base import Task
from ssdg.methods import MethodEntry, registry

from ..digests import digest, flatten, to_json
from ..errors import UsageError
from ..scoring.metrics import REGIONS, mask_metrics
from ..spec import SECTIONS, RunSpec
from ..storage.results_reader import StoredEvaluation, StoredRun
from ..storage.run_folder import VALIDATION, State
from ..suites.inventory import Inventory
from ..suites.suite import Column, Filters, Plan, Planned, Row, Suite
from ..suites.suite_file import PROVENANCE, renamed
from .convergence import judging_row
from .exported_run import ExportedEvaluation, ExportedRun
from .external import as_planned
from .frames import RUN_KEY, fold_text
from .results import SuiteResults

CONVENTIONS = frozenset({"evaluation.region", "evaluation.average", "evaluation.empty"})
"""Settings that need nothing but counts."""

DOMAIN = ("task", "source", "target", "scored", "manifest")
"""What provenance says of a domain besides the counts of its cases."""


class Export:
    """What `bench export` wrote: a suite, and the counts and the record of each of its runs.

    Args:
        folder: with the files of the export.
        inventory: methods and tasks that are known here, a user's own among them; None: those of the package.

    Raises:
        UsageError: its provenance is missing or damaged; names the folder.
    """

    def __init__(self, folder: Path, inventory: Inventory | None = None) -> None:
        self.folder, self.name = folder, folder.resolve().name
        with self._whole():
            self._provenance = json.loads((folder / PROVENANCE).read_bytes())
            self.suite, self.inventory = _suite(self._provenance, inventory or Inventory(registry(), TASKS))

    def results(self, plan: Plan) -> SuiteResults:
        """Return the results of its suite, or of a part of it, under any convention that needs counts alone.

        Raises:
            UsageError: the plan asks for runs that the export is not of, or a file is missing or damaged.
        """
        before = {row.id: _settings(self.suite, row) for row in self.suite.rows}
        asked = {row.id: _settings(plan.suite, row) for row in plan.suite.rows}
        if any(_changed(before.get(name, {}), settings) - CONVENTIONS for name, settings in asked.items()):
            conventions = ", ".join(sorted(CONVENTIONS))
            raise UsageError(
                f"{self.folder} is an export: rows, targets and seeds can be chosen, and of settings {conventions}; "
                f"for anything else name the suite, {self.suite.name!r}, and have its runs"
            )
        return SuiteResults(plan, self._runs(_with_judging_row(plan)), root=self.folder)

    def scored_runs(self) -> list[StoredRun]:
        """Return its trained runs that have scores, as finished; UsageError where a file is missing or damaged.

        Rows of other programs and ensembles are of predictions that it does not have: they are its own alone.
        """
        rows = tuple(row for row in self.suite.rows if row.trained_here)
        runs = self._runs(replace(self.suite, rows=rows).plan(Filters(), self.inventory))
        return [replace(run, state="DONE", trained=True) for run in runs if run.evaluations]

    def _runs(self, plan: Plan) -> list[StoredRun]:
        with self._whole():
            runs = (self._run(planned) for planned in plan.runs)
            return [run for run in runs if run is not None]

    def _run(self, planned: Planned) -> StoredRun | None:
        request, target = planned.request, planned.columns[0].target
        place = (request.task, request.source, target, fold_text(request))
        record = self._records.get((planned.row.id, str(request.seed), *place))
        if record is None or not record["train_id"]:
            return None
        train_id, state, path = record["train_id"], cast("State", record["state"]), self.folder / record["train_id"]
        epochs = self._histories.get(_run_key(record), [])
        trained = state == "DONE" or bool(record.get("finished"))
        evaluations = tuple(self._evaluations(planned, record))
        return ExportedRun(
            *(path, self._spec(planned, record), state, evaluations, train_id, trained),
            *(record, epochs, self._versions),
            export=self.name,
        )

    def _spec(self, planned: Planned, record: Mapping[str, str]) -> RunSpec:
        """Return what the export says of a run; of before version 0.1.0 it leaves out what has a default here."""
        request, ran_as = planned.request, self._ran_as[planned.row.id][-1]
        definition = self._definitions.get(request.task, {}).get("definition", planned.task_definition)
        spec = RunSpec.of_record(request, ran_as["settings"], definition, int(record["version"]))
        if not planned.row.trained_here:
            return spec
        held_out, target = _domain(request.source, VALIDATION), request.target or ""
        place = (request.task, request.source, target, record["fold"])
        # Without its split it is that of the source's files and of the held-out cases, which are compared.
        trained_on = self._training.get(place) or {
            "source_manifest": self._data.get((request.task, held_out), {}).get("manifest") or "",
            "target_manifest": self._data.get((request.task, target), {}).get("manifest"),
        }
        return replace(
            spec,
            **trained_on,
            method_changed=tuple(ran_as.get("changed", request.method_settings)),
            pipeline=ran_as.get("pipeline", 1),
            network_weights=ran_as.get("weights", ""),
        )

    def _evaluations(self, planned: Planned, record: Mapping[str, str]) -> Iterator[StoredEvaluation]:
        for domain in (*(column.target for column in planned.columns), VALIDATION):
            key = _key({**record, "target": domain})
            if key not in self._rows:
                continue
            rows = self._rows[key]
            known = self._data.get((planned.request.task, _domain(planned.request.source, domain)), {})
            data = {
                "train_id": record["train_id"],
                "manifest": known.get("manifest"),
                "cases": digest(list(dict.fromkeys(row["case"] for row in rows))),
                "counts": {name: known[name] for name in known if name not in DOMAIN},
                # Of all: not kept for each evaluation.
                "commit": ", ".join(self._provenance.get("commits", {}).get("scored", [])),
                "finished": self._provenance.get("date"),
                **({"trained_on": device} if (device := record.get("trained_on")) else {}),
            }
            regions = self._definitions.get(planned.request.task, {}).get("regions", planned.regions)
            asked = {**as_planned(planned), "regions": regions}
            yield ExportedEvaluation(
                **{"path": self.folder / key, "domain": domain, "data": data, **asked},
                rows=rows,
                metrics=self._metrics,
                export=self.name,
            )

    @cached_property
    def _records(self) -> dict[tuple[str, ...], dict[str, str]]:
        """Lines of ``runs.csv``, by row, seed, task, source, target and fold."""
        return {
            (record["row"], record["seed"], record["task"], record["source"], target, record["fold"]): record
            for record in self._table("runs.csv")
            for target in record["targets"].split(";")
        }

    @cached_property
    def _histories(self) -> dict[tuple[str, ...], list[dict[str, str]]]:
        """Lines of ``history.csv`` by run; exports of before version 0.1.0 have none."""
        histories: defaultdict[tuple[str, ...], list[dict[str, str]]] = defaultdict(list)
        for line in self._table("history.csv") if "history.csv" in self._provenance["files"] else ():
            histories[_run_key(line)].append({name: value for name, value in line.items() if name not in RUN_KEY})
        return dict(histories)

    @cached_property
    def _rows(self) -> dict[Path, list[dict[str, str]]]:
        """Lines of ``cases.csv`` by evaluation."""
        rows: defaultdict[Path, list[dict[str, str]]] = defaultdict(list)
        for row in self._table("cases.csv"):
            rows[_key(row)].append(row)
        return dict(rows)

    @cached_property
    def _metrics(self) -> frozenset[str]:
        """Columns of metrics of masks; a value of an earlier definition is none of today's metric."""
        metrics = [metric for metric in mask_metrics().values() if metric.token in self._provenance["measures"]]
        columns = {f"{metric.name}_{region}" for metric in metrics for region in REGIONS}
        return frozenset(columns & set(next(iter(self._rows.values()), [{}])[0]))

    @cached_property
    def _data(self) -> dict[tuple[str, str], dict[str, Any]]:
        """What is known of each task's domains."""
        return {(d["task"], _domain(d["source"], d["target"])): d for d in self._provenance["data"] if d}

    @cached_property
    def _definitions(self) -> dict[str, dict[str, Any]]:
        """What the columns say of each task: digests of its definition and regions, where they are recorded."""
        return {column["task"]: column for column in self._provenance["suite"]["columns"]}

    @cached_property
    def _training(self) -> dict[tuple[str, ...], dict[str, Any]]:
        """Versions of the data that were trained on, by task, source, adapted target and fold."""
        place = ("task", "source", "target", "fold")
        return {
            tuple(entry[name] for name in place): {
                name: tuple(value) if isinstance(value, list) else value
                for name, value in entry.items()
                if name not in place
            }
            for entry in self._provenance.get("training", [])
        }

    @cached_property
    def _ran_as(self) -> dict[str, list[dict[str, Any]]]:
        return {row["id"]: row["ran_as"] for row in self._provenance["rows"]}

    @cached_property
    def _versions(self) -> dict[str, str]:
        """Packages of which all runs had one version."""
        return {name: of[0] for name, of in self._provenance.get("versions", {}).items() if len(of) == 1}

    def _table(self, name: str) -> "csv.DictReader[str]":
        """Return the rows of a file that is as the export wrote it."""
        content = (self.folder / name).read_bytes()
        if hashlib.sha256(content).hexdigest() != self._provenance["files"][name]:
            raise ValueError(f"{name} has been changed since, or its export was interrupted")
        return csv.DictReader(io.StringIO(content.decode(), newline=""))

    @contextmanager
    def _whole(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise UsageError(
                f"{self.folder} is not a whole export ({type(error).__name__}: {error}): export it again"
            ) from None


def _with_judging_row(plan: Plan) -> Plan:
    """Return a plan with the runs of the row that others are judged by, where it is not among the chosen ones."""
    judging = judging_row(plan.suite)
    if judging is None or judging in plan.suite.rows:
        return plan
    return replace(plan, runs=plan.runs + replace(plan.suite, rows=(judging,)).plan(Filters(), plan.inventory).runs)


def _settings(suite: Suite, row: Row) -> dict[str, Any]:
    sections, of_method = suite.resolved(row)
    return flatten({"protocol": suite.protocol, **to_json(sections), "method": of_method})


def _changed(settings: Mapping[str, Any], others: Mapping[str, Any]) -> set[str]:
    return {name for name in settings.keys() | others.keys() if settings.get(name) != others.get(name)}


def _domain(source: str, target: str) -> str:
    """Return what tells the domains of a task apart: intra-domain runs score the same target from any source."""
    return f"{source}, {VALIDATION}" if target == VALIDATION else target


def _key(row: Mapping[str, str]) -> Path:
    """Return what stands for an evaluation's folder: its row, run and target."""
    return Path(*(row[name] or "-" for name in ("task", "row", "train_id", "seed", "source", "fold", "target")))


def _run_key(record: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(record[name] for name in RUN_KEY)


def _suite(provenance: Mapping[str, Any], known: Inventory) -> tuple[Suite, Inventory]:
    described = provenance["suite"]
    columns = tuple(_made(Column, renamed(column, "groups", "strata")) for column in described["columns"])
    rows = tuple(_made(Row, renamed(row, "setting", "access")) for row in provenance["rows"])
    suite: Suite = _made(Suite, {**described, "columns": columns, "rows": rows})
    # Defaults may have changed since; a field that is not in the export had no effect yet, as at its default.
    defaults = {name: section() for name, section in SECTIONS.items()}
    plain = (to_json(suite.sections()), to_json(defaults), provenance["sections"])
    current, default, stored = map(flatten, plain)
    changed = {name: value for name, value in (default | stored).items() if current.get(name) != value}
    suite = replace(suite, settings={**suite.settings, **changed})
    # Of methods and tasks that are not known here, the export knows as much as a table needs.
    methods = {r.method: MethodEntry("-", "-", r.label, "uda" if r.access == "uda" else "ssdg", (2, 3)) for r in rows}
    tasks = {
        c["task"]: Task(c["task"], c["ndim"], 1, ("background",), (), {}, {}, sliced=c.get("sliced", False))
        for c in described["columns"]
    }
    return suite, Inventory({**methods, **known.methods}, {**tasks, **known.tasks})


def _made(kind: type[Any], values: Mapping[str, Any]) -> Any:
    names = {f.name for f in fields(kind)}
    lists = ("strata", "seeds")
    return kind(**{name: tuple(v) if name in lists else v for name, v in values.items() if name in names})
