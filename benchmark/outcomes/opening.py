"""Opening the results of a suite, from a results folder or from an export of one: the Python API."""

import csv
import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

from ssdg.datasets import TASKS
from ssdg.datasets.base import Task
from ssdg.datasets.grammar import task_from_toml
from ssdg.methods import MethodEntry, registry

from ..digests import flatten, to_json
from ..errors import UsageError
from ..scoring.case_file import CaseFile, parse_cases
from ..scoring.metric_file import MaskValues
from ..scoring.metrics import REGIONS, Metric, mask_metrics
from ..spec import SECTIONS, RunSpec
from ..storage.results_reader import VERSIONS, StoredEvaluation, StoredRun
from ..storage.run_folder import CASE_COLUMNS, VALIDATION, State, to_csv
from ..suites.suite import Column, Filters, Inventory, Plan, Row, Suite
from ..suites.suite_file import PROVENANCE, is_export, renamed
from .convergence import judging_row
from .counts import EvaluationFiles
from .external import as_planned, inventory_with, open_suite, scan_plan
from .frames import RUN_KEY, fold_text
from .results import SuiteResults

CONVENTIONS = frozenset({"evaluation.region", "evaluation.average", "evaluation.empty"})
"""Settings that need nothing but counts."""

DOMAIN = ("task", "source", "target", "scored", "manifest")
"""What provenance says of a domain besides the counts of its cases."""


def open_results(  # noqa: PLR0913 - keyword arguments, each a filter of its own
    suite: str | Path,
    results_root: str | Path = "results",
    *,
    methods: Sequence[str] | None = None,
    targets: Sequence[str] | None = None,
    sources: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    protocol: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    tasks: Sequence[str | Path] = (),
) -> SuiteResults:
    """Return the results of a suite as data frames: ``.scores``, ``.table``, ``.runs`` and ``.history``.

    Args:
        suite: name of a suite, path of its TOML file, or the folder that `bench export` wrote.
        results_root: folder with the suite's runs; not needed for an export.
        methods: rows, or methods for all their rows; None: all.
        targets: ids; None: all.
        sources: ids, or ``["all"]``: each against every other domain of its task; None: the suite's own columns.
        seeds: None: all.
        protocol: instead of the suite's own.
        overrides: settings on top of the suite's, as ``--set`` takes them: ``{"evaluation.region": "image"}``; an
            export takes no others than evaluation.region, .average and .empty, and neither protocol nor sources.
        tasks: TOML files of tasks of your own that the suite names.

    Raises:
        UsageError: no such suite or name, runs on different data, or a damaged results file.
    """
    listed = {"methods": methods, "targets": targets, "seeds": seeds}
    chosen: dict[str, Any] = {name: tuple(values) for name, values in listed.items() if values is not None}
    choice = Filters(protocol=protocol, overrides=overrides or {}, **chosen)
    if is_export(suite):
        export = Export(Path(suite), sources)
        return export.results(export.suite.plan(choice, export.inventory))
    inventory, root = inventory_with(task_from_toml(Path(file)) for file in tasks), Path(results_root)
    plan = open_suite(str(suite), sources, inventory, root).plan(choice, inventory)
    return SuiteResults(plan, *scan_plan(plan, root), root)


class Export:
    """What `bench export` wrote: a suite, and the counts and the record of each of its runs.

    Raises:
        UsageError: a file is missing or damaged, or ``sources`` are asked for; names the folder.
    """

    def __init__(self, folder: Path, sources: Sequence[str] | None = None) -> None:
        self.folder = folder
        with self._whole():
            self._provenance = json.loads((folder / PROVENANCE).read_bytes())
            self.suite, self.inventory = _suite(self._provenance)
            self._records = list(_table(folder, "runs.csv", self._provenance))
            self._histories: defaultdict[tuple[str, ...], list[dict[str, str]]] = defaultdict(list)
            if "history.csv" in self._provenance["files"]:  # not in exports of before version 0.1.0
                for line in _table(folder, "history.csv", self._provenance):
                    epoch = {name: value for name, value in line.items() if name not in RUN_KEY}
                    self._histories[_run_key(line)].append(epoch)
            self._files = _ExportedFiles(_table(folder, "cases.csv", self._provenance), self._provenance)
        if sources is not None:
            raise UsageError(f"{folder} is an export, whose columns are as they are: leave out --sources")

    def results(self, plan: Plan) -> SuiteResults:
        """Return the results of the suite, or of a part of it, under any convention that needs counts alone.

        Raises:
            UsageError: the plan asks for runs that the export is not of, or a file is damaged.
        """
        before = {row.id: _settings(self.suite, row) for row in self.suite.rows}
        asked = {row.id: _settings(plan.suite, row) for row in plan.suite.rows}
        if any(_changed(before.get(name, {}), settings) - CONVENTIONS for name, settings in asked.items()):
            conventions = ", ".join(sorted(CONVENTIONS))
            raise UsageError(
                f"{self.folder} is an export: rows, targets and seeds can be chosen, and of settings {conventions}; "
                f"for anything else name the suite, {self.suite.name!r}, and have its runs"
            )
        with self._whole():
            runs = list(_runs(_with_judging_row(plan), self._provenance, self._records, self._histories, self._files))
        return SuiteResults(plan, runs, files=self._files)

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


def _table(folder: Path, name: str, provenance: Mapping[str, Any]) -> "csv.DictReader[str]":
    """Return the rows of a file that is as the export wrote it."""
    content = (folder / name).read_bytes()
    if hashlib.sha256(content).hexdigest() != provenance["files"][name]:
        raise ValueError(f"{name} has been changed since, or its export was interrupted")
    return csv.DictReader(io.StringIO(content.decode(), newline=""))


@dataclass(frozen=True)
class _ExportedRun(StoredRun):
    """A run of which an export keeps the record, the history and the counts alone."""

    record: Mapping[str, str]
    epochs: list[dict[str, str]]

    @property
    def history(self) -> list[dict[str, str]]:
        return self.epochs

    @property
    def environment(self) -> dict[str, Any]:
        names = ("device", "threads", "commit", "started")
        versions = {name: self.record[column] for name, column in VERSIONS.items() if self.record.get(column)}
        return {**{name: self.record.get(name) for name in names}, "versions": versions}

    @property
    def marker(self) -> dict[str, Any]:
        return {"finished": self.record.get("finished")}

    @property
    def selected_epoch(self) -> int | None:
        return int(self.record["best_epoch"]) if self.record.get("best_epoch") else None

    @property
    def recorded(self) -> dict[str, Any]:
        # What the plan says of a run is typed there; a file has texts.
        return {name: value or None for name, value in self.record.items() if name not in ("seed", "targets")}


class _ExportedFiles(EvaluationFiles):
    """Counts and metrics of all evaluations, from the export's ``cases.csv``."""

    def __init__(self, rows: "csv.DictReader[str]", provenance: Mapping[str, Any]) -> None:
        self.rows: defaultdict[Path, list[dict[str, str]]] = defaultdict(list)
        for row in rows:
            self.rows[_key(row)].append(row)
        # A value of an earlier definition is none of today's metric, as in a run folder.
        metrics = [metric for metric in mask_metrics().values() if metric.token in provenance["measures"]]
        self._columns = {f"{metric.name}_{region}" for metric in metrics for region in REGIONS}
        self._columns &= set(rows.fieldnames or ())

    def cases(self, evaluation: StoredEvaluation) -> CaseFile:
        rows = self.rows[evaluation.path]
        return parse_cases(to_csv(CASE_COLUMNS, [{name: row[name] for name in CASE_COLUMNS} for row in rows]))

    def masks(self, evaluation: StoredEvaluation, _cases: CaseFile, metric: Metric) -> MaskValues:
        rows = self.rows[evaluation.path]
        names = {str(region): f"{metric.name}_{region}" for region in REGIONS}
        texts = {region: [row[n] if n in self._columns else "" for row in rows] for region, n in names.items()}
        values = {region: [float(v) if v else None for v in of_rows] for region, of_rows in texts.items()}
        return MaskValues(values, frozenset())

    def rescored(self, evaluation: StoredEvaluation) -> bool:
        return any(row[name] for row in self.rows[evaluation.path] for name in self._columns)


def _domain(task: str, source: str, target: str) -> tuple[str, str]:
    """Return what tells the domains of an export apart: intra-domain runs score the same target."""
    return task, f"{source}, {VALIDATION}" if target == VALIDATION else target


def _key(row: Mapping[str, str]) -> Path:
    """Return what stands for an evaluation's folder: its row, run and target."""
    return Path(*(row[name] or "-" for name in ("task", "row", "train_id", "seed", "source", "fold", "target")))


def _run_key(record: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(record[name] for name in RUN_KEY)


def _suite(provenance: Mapping[str, Any]) -> tuple[Suite, Inventory]:
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
    # Of methods and tasks that this version does not have, the export knows as much as a table needs.
    methods = {r.method: MethodEntry("-", "-", r.label, "uda" if r.access == "uda" else "ssdg", (2, 3)) for r in rows}
    tasks = {
        c["task"]: Task(c["task"], c["ndim"], 1, ("background",), (), {}, {}, sliced=c.get("sliced", False))
        for c in described["columns"]
    }
    return suite, Inventory({**methods, **registry()}, {**tasks, **TASKS})


def _made(kind: type[Any], values: Mapping[str, Any]) -> Any:
    names = {f.name for f in fields(kind)}
    lists = ("strata", "seeds")
    return kind(**{name: tuple(v) if name in lists else v for name, v in values.items() if name in names})


def _runs(
    plan: Plan,
    provenance: Mapping[str, Any],
    records: Sequence[Mapping[str, str]],
    histories: Mapping[tuple[str, ...], list[dict[str, str]]],
    files: _ExportedFiles,
) -> Iterator[StoredRun]:
    by_key = {
        (r["row"], r["seed"], r["source"], target, r["fold"]): r
        for r in records
        for target in r["targets"].split(";")
    }
    configs = {row["id"]: row["ran_as"] for row in provenance["rows"]}
    data = {_domain(d["task"], d["source"], d["target"]): d for d in provenance["data"] if d}
    scored_at = ", ".join(provenance.get("commits", {}).get("scored", []))  # of all: not kept for each evaluation
    for planned in plan.runs:
        request, targets = planned.request, [column.target for column in planned.columns]
        key = (planned.row.id, str(request.seed), request.source, targets[0], fold_text(request))
        record = by_key.get(key)
        if record is None or not record["train_id"]:
            continue
        config = configs[planned.row.id][-1]["settings"]
        spec = RunSpec.of_record(request, config, planned.task_definition, int(record["version"]))
        evaluations = []
        for domain in (*targets, VALIDATION):
            path = _key({**record, "target": domain})
            if path in files.rows:
                of_domain = data.get(_domain(request.task, request.source, domain), {})
                counts = {name: of_domain[name] for name in of_domain if name not in DOMAIN}
                described = {"manifest": of_domain.get("manifest"), "counts": counts, "commit": scored_at}
                described |= {"trained_on": device} if (device := record.get("trained_on")) else {}
                evaluations.append(as_planned(planned, path, domain, described))
        train_id, state = record["train_id"], cast("State", record["state"])
        epochs = histories.get(_run_key(record), [])
        trained = state == "DONE" or bool(record.get("finished"))
        yield _ExportedRun(Path(train_id), spec, state, tuple(evaluations), train_id, trained, record, epochs)
