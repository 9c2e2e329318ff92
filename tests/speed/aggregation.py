"""A table over many runs: reading a results folder and building the table of its suite."""

import json
import random
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from sampling import median
from sheet import Options, Row

from ssdg.benchmark.settings import build
from ssdg.benchmark.spec import JSON, EvaluationSpec, RunSpec, to_json
from ssdg.benchmark.store import CASE_COLUMNS, HELD_OUT, evaluation_path, run_path, scan, to_csv
from ssdg.benchmark.suite import Choice, Column, Inventory, Planned, Suite
from ssdg.benchmark.suite import Row as SuiteRow
from ssdg.benchmark.tables import TableOptions, build_table
from ssdg.datasets.base import Task
from ssdg.methods import METHODS, load_method

REPEATS = 5
ROWS, SEEDS, CASES = 10, 50, 22
TASK = Task("speed", 2, 3, ("background", "vessel"), (512, 512), {}, {})


def many_runs(options: Options) -> Iterator[Row]:
    """500 runs (10 rows × 50 seeds) scored on 22 target cases and 4 held-out ones."""
    inventory = Inventory(METHODS, {TASK.name: TASK})
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        rng = random.Random(0)
        for planned in suite().requests(Choice(), inventory):
            write_run(root, planned, rng)
        scanning, building = [], []
        for _ in range(1 + options.samples(REPEATS)):
            began = time.perf_counter()
            runs, problems = scan(root)
            scanned = time.perf_counter()
            table = build_table(suite(), runs, TableOptions(), inventory)
            building.append(time.perf_counter() - scanned)
            scanning.append(scanned - began)
            if problems or table.missing or len(runs) != ROWS * SEEDS:
                raise RuntimeError(f"the table has holes: {[*problems, *table.missing][:3]}")
    note = f"{ROWS * SEEDS} runs of {CASES} cases, in one process, the first time not counted; for information"
    yield Row("table of 500 runs: store.scan", median(scanning[1:]), "s", None, note)
    yield Row("table of 500 runs: build_table", median(building[1:]), "s", None, note)


def suite() -> Suite:
    """Return source-only training and nine settings of RAS4DG."""
    rows = [SuiteRow(id="erm", method="erm", setting="source-only")]
    rows += [
        SuiteRow(id=f"ras4dg-{index}", method="ras4dg", settings={"method.alpha": 0.5 * index})
        for index in range(1, ROWS)
    ]
    column = Column(task=TASK.name, source="a", target="b")
    return Suite(name="speed", title="Speed", columns=(column,), rows=tuple(rows), seeds=tuple(range(SEEDS)))


def write_run(root: Path, planned: Planned, rng: random.Random) -> None:
    """Write a finished run and its evaluations as the store lays them out, without its safeguards against crashes."""
    request = planned.request
    config = to_json(build(load_method(request.method).Config, request.method_settings, request.method))
    assert isinstance(config, dict)
    spec = RunSpec(
        request=request,
        method_version=1,
        method_config=config,
        method_changed=tuple(request.method_settings),
        source_manifest="source",
        split="split",
    )
    run = run_path(root, spec)
    _write(run / "spec.json", {"train_id": spec.train_id, **_object(to_json(spec))})
    _write(run / "DONE", {})
    of_target = EvaluationSpec(
        train_id=spec.train_id,
        domain="b",
        manifest="target",
        cases="cases",
        selection=request.training.selection,
        preprocess=request.preprocess,
        resample=request.evaluation.resample,
    )
    for evaluation, cases in ((of_target, CASES), (replace(of_target, domain=HELD_OUT), 4)):
        folder = evaluation_path(run, evaluation)
        counts: dict[str, JSON] = {"scored": cases, "available": cases, "published": cases, "missing": []}
        identity = {**_object(to_json(evaluation)), "eval_id": evaluation.eval_id}
        _write(folder / "evaluation.json", {**identity, "counts": counts, "commit": "0"})
        (folder / "cases.csv").write_text(to_csv(CASE_COLUMNS, [_case(index, rng) for index in range(cases)]))
        _write(folder / "DONE", {"cases": cases})


def _case(index: int, rng: random.Random) -> dict[str, object]:
    names = {"case": f"case-{index:02d}", "stratum": "all", "class_index": 1, "class_name": "vessel"}
    return {**names, **{count: rng.randrange(10_000, 200_000) for count in CASE_COLUMNS[4:]}}


def _write(path: Path, data: Mapping[str, JSON]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=2, sort_keys=True) + "\n")


def _object(value: JSON) -> dict[str, JSON]:
    assert isinstance(value, dict)
    return value
