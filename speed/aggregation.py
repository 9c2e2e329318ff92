"""Readers on a large results folder: whole `bench` processes over 5,000 finished runs, written once."""

import json
import random
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from sampling import median
from sheet import Options, Row
from startup import bench_command, run_process

from ssdg.benchmark.digests import JSON, to_json
from ssdg.benchmark.settings import build
from ssdg.benchmark.spec import EvaluationSpec, RunRequest, RunSpec
from ssdg.benchmark.storage.run_folder import CASE_COLUMNS, VALIDATION, evaluation_path, run_path, to_csv
from ssdg.benchmark.suites.inventory import Inventory
from ssdg.benchmark.suites.suite import Filters
from ssdg.benchmark.suites.suite_file import load_suite
from ssdg.benchmark.task_digests import task_digest
from ssdg.datasets import TASKS
from ssdg.methods import METHODS, load_method

REPEATS = 5
ROWS, SEEDS = 10, 500
CASES = {"lesav": 40, "iostar": 40, VALIDATION: 4}
"""Cases scored in each evaluation of a run."""


def many_runs(options: Options) -> Iterator[Row]:
    """Commands that read, on a suite whose 5,000 runs are all there."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        suite = write_suite(folder / "many.toml")
        write_results(suite, folder / "results")
        roots = ("--results-root", str(folder / "results"))
        for label, budget, words in (
            ("status of 5,000 runs", 1.3, ("status",)),
            ("plan of 5,000 runs", 1.2, ("sweep", "--dry-run")),
            ("table of 5,000 runs x 40 cases", 2.5, ("table",)),
            ("rank of 5,000 runs x 40 cases", 4.0, ("rank",)),
            ("conventions of 5,000 runs x 40 cases", 4.0, ("table", "--conventions")),
            (
                "report of 5,000 runs x 40 cases",
                8.0,
                ("report", "--no-images", "--output", str(folder / "report.html")),
            ),
            ("export of 5,000 runs x 40 cases", 8.0, ("export", "--output", str(folder / "exported"))),
        ):
            command = [*bench_command(), words[0], str(suite), *words[1:], *roots]
            taken = [run_process(command, folder) for _ in range(1 + options.samples(REPEATS))][1:]
            wall = median([seconds for seconds, _ in taken]).value
            note = (
                f"processor time of `bench {words[0]}`, after one that is not counted; {wall:.2f} s of wall time; "
                f"each run has {CASES['lesav']} cases of each of two targets, and held-out ones"
            )
            yield Row(label, median([busy for _, busy in taken]), "s", budget, note)


def write_suite(path: Path) -> Path:
    """Write a suite of source-only training and nine settings of RAS4DG, scored on two targets."""
    rows = ['id = "erm"\nmethod = "erm"\nsetting = "source-only"']
    rows += [
        f'id = "ras4dg-{index}"\nmethod = "ras4dg"\nsettings = {{ method.alpha = {index / 2} }}'
        for index in range(1, ROWS)
    ]
    columns = [f'task = "fundus"\nsource = "drive"\ntarget = "{target}"' for target in CASES if target != VALIDATION]
    tables = [f"seeds = {list(range(SEEDS))}"]
    tables += [f"[[columns]]\n{column}" for column in columns] + [f"[[rows]]\n{row}" for row in rows]
    path.write_text("\n\n".join(tables) + "\n")
    return path


def write_results(suite: Path, root: Path) -> None:
    """Write every run that a suite asks for as the store lays it out, without its safeguards against crashes."""
    rng = random.Random(0)
    # Writing is quick because few files differ: the same scores serve many runs, and no reader can tell.
    scores = {domain: [_case_file(cases, rng) for _ in range(20)] for domain, cases in CASES.items()}
    for planned in load_suite(str(suite)).plan(Filters(), Inventory(METHODS, TASKS)).runs:
        spec = _spec(planned.request)
        run = run_path(root, spec)
        (run / "checkpoints").mkdir(parents=True)
        _write(run / "spec.json", {"train_id": spec.train_id, **_object(to_json(spec))})
        for name in ("environment.json", "DONE"):
            _write(run / name, {})
        for domain, files in scores.items():
            _write_evaluation(run, spec, domain, rng.choice(files))


def _spec(request: RunRequest) -> RunSpec:
    config = build(load_method(request.method).Config, request.method_settings, request.method)
    return RunSpec(
        request=request,
        method_version=METHODS[request.method].version,
        method_config=_object(to_json(config)),
        method_changed=tuple(sorted(request.method_settings)),
        source_manifest="0123456789ab",
        split="123456789abc",
        task_definition=task_digest(TASKS[request.task]),
    )


def _write_evaluation(run: Path, spec: RunSpec, domain: str, cases: str) -> None:
    evaluation = EvaluationSpec(
        train_id=spec.train_id,
        domain=domain,
        manifest="3456789abcde",
        cases="456789abcdef",
        selection=spec.request.training.selection,
        preprocess=spec.request.preprocess,
        resample=spec.request.evaluation.resample,
    )
    folder = evaluation_path(run, evaluation)
    folder.mkdir(parents=True)
    number = CASES[domain]
    found: dict[str, JSON] = {"scored": number, "available": number, "published": number, "missing": []}
    provenance: dict[str, JSON] = {"commit": "56789abcdef0", "finished": "2026-11-23T09:00:00+00:00", "counts": found}
    identity = {**_object(to_json(evaluation)), "eval_id": evaluation.eval_id}
    _write(folder / "evaluation.json", {**identity, **provenance})
    (folder / "cases.csv").write_text(cases)
    _write(folder / "DONE", {"cases": number})


def _case_file(cases: int, rng: random.Random) -> str:
    counted = CASE_COLUMNS[CASE_COLUMNS.index("tp") :]
    rows: list[dict[str, object]] = []
    for index in range(cases):
        described = {"case": f"case-{index:02d}", "stratum": "all", "class_index": 1, "class_name": "vessel"}
        rows.append({**described, **{name: rng.randrange(10_000, 200_000) for name in counted}})
    return to_csv(CASE_COLUMNS, rows)


def _write(path: Path, data: Mapping[str, JSON]) -> None:
    path.write_text(json.dumps(data, indent=2, sort_keys=True) + "\n")


def _object(value: JSON) -> dict[str, JSON]:
    assert isinstance(value, dict)
    return value
