"""``bench export``: files that hold all that the tables are made of, and nothing of cases and machines."""

import csv
import functools
import hashlib
import json
import math
import re
import shutil
import statistics
from collections import defaultdict

import numpy as np
import pytest

from ssdg.benchmark.scoring.case_file import read_cases
from ssdg.benchmark.scoring.metrics import METRICS
from ssdg.benchmark.storage.csv_text import to_csv
from ssdg.benchmark.storage.files import write_json, write_text
from ssdg.benchmark.storage.results_reader import read_run, scan
from ssdg.benchmark.storage.run_folder import CASE_COLUMNS, VALIDATION
from ssdg.benchmark.suites.inventory import Inventory
from ssdg.benchmark.suites.sources import suite_across
from ssdg.benchmark.suites.suite import Filters
from ssdg.benchmark.suites.suite_file import load_suite
from ssdg.datasets import TASKS
from ssdg.methods import registry

from ...conftest import TINY
from ...suites import suite_file
from ..metric_values import write_values
from ..stored import planned_runs, write_run

FILES = {"cases.csv", "runs.csv", "table.csv", "table.md", "table.tex", "history.csv", "provenance.json"}
HOST, SYSTEM = "node-17.ward.example", "Linux-6.1-ward"
PICTURES = {
    "targets": ("phantom2d-b", "phantom2d-c"),
    "rows": (
        {"id": "intra", "method": "erm", "folds": 2},
        {"id": "cutmix", "access": "uda"},
        {"id": "erm", "label": "w/o SSDG"},
        {"id": "narrow", "method": "ras4dg", "settings": {"network.init_filters": 16}},
    ),
}
VOLUMES = {
    "targets": [{"target": "phantom3d-b", "strata": ("normal", "abnormal", "average")}],
    "rows": ("erm", "randconv"),
}
TWO = {"pictures": (PICTURES, ("vessel",)), "volumes": (VOLUMES, ("shell", "core, inner"))}


def write_suite(folder, **keys):
    return suite_file(folder / "suite.toml", **{"seeds": (0, 1), **PICTURES, **keys})


def counts(rng, classes, prefix, strata):
    """Return rows of a ``cases.csv`` as random as counts can be: misses, empty classes, errors outside."""
    rows = []
    for number, stratum in enumerate(strata):
        for index, name in enumerate(classes, start=1):
            numbers = [int(value) for value in rng.integers(0, 500, 6) * (rng.random(6) > 0.25)]
            where = {"case": f"{prefix}{number}", "stratum": stratum, "class_index": index, "class_name": name}
            rows.append({**where, **dict(zip(CASE_COLUMNS[4:], numbers, strict=True))})
    return rows


def record(run, index):
    versions = {"torch": "2.9.0", "monai": "1.6.1", "ssdg-bench": "0.1.0"}
    where = {"host": HOST, "platform": SYSTEM, "device": "cpu", "threads": 1, "slurm": {"SLURM_JOB_ID": "job-4711"}}
    started = f"2026-01-02T03:{index:02}:00+00:00"
    write_json(run / "environment.json", {**where, "versions": versions, "commit": "aaa1111", "started": started})
    write_json(run / "DONE", {"epoch": 1, "best_epoch": 0, "finished": f"2026-01-02T04:{index:02}:00+00:00"})
    write_text(run / "history.csv", "epoch,step,dice,seconds,held_out_dsc\n0,2,0.9,1.25,0.5\n1,4,0.8,1.5,0.4\n")


def fill(results, suite, classes, plan=None):
    """Write every run of a suite with random counts, and distances where they are asked for."""
    rng = np.random.default_rng(5)
    for index, planned in enumerate(plan or planned_runs(suite)):
        fold = "" if planned.request.fold is None else f"fold {planned.request.fold.index}, "
        strata = ("normal", "normal", "abnormal") if planned.request.task == "phantom3d" else ("all",) * 3
        domains = {column.target: {str(i): ("all", ()) for i in range(3)} for column in planned.columns}
        run = write_run(results, planned.request, {**domains, VALIDATION: {str(i): ("all", ()) for i in range(3)}})
        record(run, index)
        for one in read_run(run).evaluations:
            rows = counts(rng, classes, f"{fold}case ", strata)
            write_text(one.path / "cases.csv", to_csv(CASE_COLUMNS, rows))
            write_json(one.path / "evaluation.json", {**one.data, "finished": f"2026-01-02T05:{index:02}:00+00:00"})


def rescore(results):
    rng = np.random.default_rng(6)
    for run in scan(results)[0]:
        for one in run.evaluations:
            lines = read_cases(one).lines
            values = [rng.uniform(0, 30, 2) if rng.random() > 0.2 else (math.nan, math.nan) for _ in lines]
            write_values(one, METRICS["hd95"], [tuple(map(float, pair)) for pair in values], "bbb2222")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A function that gives the folder of a suite with all its results, which is written once."""

    @functools.cache
    def write(kind, protocol):
        folder = tmp_path_factory.mktemp(f"{kind}-{protocol}")
        keys, classes = TWO[kind]
        fill(folder / "results", write_suite(folder, **keys, protocol=protocol), classes)
        return folder

    return write


@pytest.fixture
def made(kept, tmp_path, request):
    """A suite with all its results, of the test's own: its file, the results folder."""
    shutil.copytree(kept(*getattr(request, "param", ("pictures", "clean"))), tmp_path, dirs_exist_ok=True)
    return tmp_path / "suite.toml", tmp_path / "results"


def export(bench, made, output, *arguments, code=0):
    suite, results = made
    result = bench("export", str(suite), "--results-root", str(results), "--output", str(output), *arguments)
    assert result.exit_code == code, result.output
    return result


def rows_of(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


# The table again, from cases.csv and the settings alone: no function of the package has a part in this.


def numbers(row, region):
    return [int(row[n]) + (int(row[f"{n}_outside"]) if region == "image" else 0) for n in ("tp", "fp", "fn")]


def missed(row, region):
    tp, fp, fn = numbers(row, region)
    return fn > 0 and tp + fp == 0


def dice(row, region, empty):
    tp, fp, fn = numbers(row, region)
    if tp + fn == 0:
        return {"one": 0.0 if fp else 1.0, "zero-fp": 0.0 if fp else math.nan, "skip": math.nan}[empty]
    return 2 * tp / (2 * tp + fp + fn)


def mean_of(rows, value):
    """Return the mean over classes of the mean over cases, of what is defined."""
    by_class = defaultdict(list)
    for row in rows:
        by_class[row["class_index"]].append(value(row))
    means = [statistics.fmean(found) for c in by_class.values() if (found := [v for v in c if not math.isnan(v)])]
    return statistics.fmean(means)


def seed_score(rows, cell, value):
    if cell["stratum"] == "average" and cell["average"] == "strata":
        strata = sorted({row["stratum"] for row in rows})
        return statistics.fmean(mean_of([r for r in rows if r["stratum"] == one], value) for one in strata)
    return mean_of([r for r in rows if cell["stratum"] in ("all", "average", r["stratum"])], value)


def recomputed(cell, cases, origin):
    rules = origin["sections"]["evaluation"]
    ndim = {column["task"]: column["ndim"] for column in origin["suite"]["columns"]}[cell["task"]]
    region = rules["region"] if ndim == 2 else "image"
    value = {
        "dsc": lambda row: 100 * dice(row, region, rules["empty"]),
        "hd95": lambda row: float(row[f"hd95_{region}"]),
    }[cell["metric"]]
    by_seed = defaultdict(list)
    for row in cases:
        if (row["row"], row["task"], row["target"]) == (cell["row"], cell["task"], cell["target"]):
            by_seed[row["seed"]].append(row)
    scores = [seed_score(rows, cell, value) for rows in by_seed.values()]
    inside = [[r for r in rows if cell["stratum"] in ("all", "average", r["stratum"])] for rows in by_seed.values()]
    return {
        "mean": statistics.fmean(scores),
        "sd": statistics.stdev(scores),
        "n": len(scores),
        "cases": len({row["case"] for row in inside[0]}),
        "undefined": max(sum(math.isnan(value(row)) for row in rows) for rows in inside),
        "missed": max(sum(missed(row, region) for row in rows) for rows in inside),
    }


BOTH = [("pictures", "clean"), ("pictures", "paper"), ("volumes", "clean"), ("volumes", "paper")]


@pytest.mark.parametrize("made", BOTH, ids="-".join, indirect=True)
def test_every_cell_follows_from_the_cases_alone(bench, made, tmp_path):
    rescore(made[1])
    output = tmp_path / "out"
    export(bench, made, output, "--held-out", "--metric", "hd95")
    cases, origin = rows_of(output / "cases.csv"), json.loads((output / "provenance.json").read_text())
    cells = [*rows_of(output / "table.csv"), *rows_of(output / "table-hd95.csv")]
    compared = 0
    for cell in cells:
        if cell["state"] == "not-applicable":  # held-out cases of rows that train once a target
            assert cell["target"] == VALIDATION
            continue
        found = recomputed(cell, cases, origin)
        compared += 1
        for name, value in found.items():
            assert float(cell[name]) == pytest.approx(value, abs=1e-3, rel=1e-5), (cell, name)
    pictures = "phantom2d" in {cell["task"] for cell in cells}
    assert compared == 2 * (4 * 2 + 2 if pictures else 2 * (4 + 1))
    rules = origin["sections"]["evaluation"]
    region = rules["region"] if pictures else "image"
    for row in cases:
        assert float(row["dsc"]) == pytest.approx(dice(row, region, rules["empty"]), abs=1e-6, nan_ok=True)


def test_the_tables_are_those_of_bench_table(bench, made, tmp_path):
    suite, results = made
    export(bench, made, tmp_path / "out")
    for name, form in (("csv", "csv"), ("md", "markdown"), ("tex", "latex")):
        shown = bench("table", str(suite), "--results-root", str(results), "--format", form)
        assert (tmp_path / "out" / f"table.{name}").read_text().strip() == shown.output.strip()


def test_runs_hold_every_run_and_cases_say_which_it_was(bench, made, tmp_path):
    export(bench, made, tmp_path / "out")
    runs, cases = rows_of(tmp_path / "out" / "runs.csv"), rows_of(tmp_path / "out" / "cases.csv")
    assert [(r["row"], r["seed"], r["targets"], r["fold"]) for r in runs[::2]] == [
        ("intra", "0", "phantom2d-b", "1of2"),
        ("intra", "0", "phantom2d-b", "2of2"),
        ("intra", "0", "phantom2d-c", "1of2"),
        ("intra", "0", "phantom2d-c", "2of2"),
        ("cutmix", "0", "phantom2d-b", ""),
        ("cutmix", "0", "phantom2d-c", ""),
        ("erm", "0", "phantom2d-b;phantom2d-c", ""),
        ("narrow", "0", "phantom2d-b;phantom2d-c", ""),
    ]
    assert {(r["row"], r["train_id"]) for r in cases} == {(r["row"], r["train_id"]) for r in runs}
    assert len({r["train_id"] for r in runs}) == 16
    first = runs[0]
    assert first["method"] == "erm"
    assert first["state"] == "DONE"
    assert [first[n] for n in ("epochs", "best_epoch", "steps", "training_seconds")] == ["2", "1", "4", "2.8"]
    assert [first[n] for n in ("device", "threads", "torch", "monai", "ssdg_bench", "commit")] == [
        *("cpu", "1", "2.9.0", "1.6.1", "0.1.0", "aaa1111")
    ]
    assert (first["started"], first["finished"]) == ("2026-01-02T03:00:00+00:00", "2026-01-02T04:00:00+00:00")
    # Four rows on two targets with two seeds: two folds of three cases, or three. Held-out ones: of two rows once a
    # seed, and of the row that trains for each target once a seed and target.
    assert len(cases) == 2 * 2 * (2 * 3 + 3 + 3 + 3) + 2 * 2 * 3 + 2 * 2 * 3


def test_provenance_says_what_made_the_numbers(bench, made, tmp_path):
    export(bench, made, tmp_path / "out")
    origin = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert origin["date"] == "2026-01-02T05:15:00+00:00"
    assert origin["started"] == "2026-01-02T03:00:00+00:00"
    assert origin["wall_seconds"] == 2 * 3600 + 15 * 60
    assert origin["commits"] == {"trained": ["aaa1111"], "scored": ["abc1234"], "rescored": []}
    assert origin["versions"]["torch"] == ["2.9.0"]
    [device] = origin["devices"]
    assert (device["device"], device["runs"]) == ("cpu", 16)
    rows = {row["id"]: row for row in origin["rows"]}
    networks = {name: rows[name]["sections"]["network"] for name in ("narrow", "erm")}
    filters = {name: network["init_filters"] for name, network in networks.items()}
    assert (filters, networks["erm"]["name"]) == ({"narrow": 16, "erm": 8}, "segresnet")
    assert rows["narrow"]["ran_as"][0]["settings"]["rsd"] is True
    assert [(one["target"], one["scored"]) for one in origin["data"]] == [
        *((VALIDATION, 3), ("phantom2d-b", 6), ("phantom2d-c", 6))
    ]
    assert origin["complete"] is True
    for name, digest in origin["files"].items():
        assert hashlib.sha256((tmp_path / "out" / name).read_bytes()).hexdigest() == digest
    assert {"provenance.json", *origin["files"]} == FILES


def test_equal_results_give_equal_bytes_wherever_they_are(bench, made, tmp_path):
    suite, results = made
    export(bench, made, tmp_path / "one")
    moved = tmp_path / "elsewhere" / "results"
    moved.parent.mkdir()
    results.rename(moved)
    export(bench, (suite, moved), tmp_path / "two")
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_nothing_shows_a_case_or_a_machine(bench, made, tmp_path):
    results = made[1]
    [failed, *_] = (results / "runs" / "phantom2d" / "ras4dg").glob("s*")
    write_json(failed / "FAILED", {"type": "OSError", "message": f"cannot open {results}/secret.png on {HOST}"})
    for folder in (failed / "evaluations").iterdir():
        (folder / "DONE").unlink()
    broken = results / "runs" / "phantom2d" / "erm" / "s9-broken"
    write_text(broken / "spec.json", "{")
    result = export(bench, made, tmp_path / "out", code=3)
    assert "s9-broken" in result.output, "the user is told which folder"
    for name in FILES:
        text = (tmp_path / "out" / name).read_text()
        shown = [word for word in (str(tmp_path), HOST, SYSTEM, "job-4711", "secret", "s9-broken") if word in text]
        assert not shown, name
    assert bench("report", str(tmp_path / "out"), "--output", str(tmp_path / "report.html")).exit_code == 0
    page = (tmp_path / "report.html").read_text()
    assert not re.search(r"<img|data:image", page)
    assert page.count('<section id="learning"') == page.count('<section id="cost"') == 1, "from history.csv"
    assert "narrow s0 (FAILED)" in page or "narrow s1 (FAILED)" in page
    assert not any(word in page for word in (str(tmp_path), HOST, SYSTEM, "job-4711", "secret", "s9-broken"))


def test_holes_are_exported_and_listed(bench, tmp_path):
    suite = write_suite(tmp_path)
    some = [
        p
        for p in planned_runs(suite)
        if p.row.id != "narrow" and (p.request.fold is None or p.request.fold.index == 0)
    ]
    fill(tmp_path / "results", suite, ("vessel",), some)
    result = export(bench, (suite, tmp_path / "results"), tmp_path / "out", code=3)
    assert "narrow on phantom2d-b: 0 of 2 seeds (not run)" in result.output
    origin = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert origin["complete"] is False
    assert len(origin["missing"]) == 4
    runs = {(r["row"], r["seed"], r["fold"]): r for r in rows_of(tmp_path / "out" / "runs.csv")}
    assert runs["narrow", "0", ""]["state"] == "QUEUED"
    assert runs["narrow", "0", ""]["train_id"] == ""
    assert runs["intra", "0", "1of2"]["state"] == "DONE"
    scored = {row["row"] for row in rows_of(tmp_path / "out" / "cases.csv")}
    assert scored == {"cutmix", "erm"}, "half a seed is no part of any table"


def test_an_export_of_every_source_prints_what_the_runs_print(bench, tmp_path):
    suite = write_suite(tmp_path, seeds=(0,), rows=({"id": "intra", "method": "erm", "folds": 2}, "erm"))
    inventory = Inventory(registry(), TASKS)
    fill(
        tmp_path / "results",
        suite,
        ("vessel",),
        suite_across(load_suite(str(suite)), ("all",), inventory).plan(Filters(), inventory).runs,
    )
    export(bench, (suite, tmp_path / "results"), tmp_path / "out", "--sources", "all")
    runs, exported = (
        (str(suite), "--sources", "all", "--results-root", str(tmp_path / "results")),
        str(tmp_path / "out"),
    )
    for view in ("--validation", "--matrix"):
        printed = bench("table", exported, view)
        assert printed.exit_code == 0, printed.output
        assert printed.output == bench("table", *runs, view).output
    assert "| phantom2d-b | " in printed.output


def test_a_measure_that_was_not_computed_is_a_hole(bench, made, tmp_path):
    result = export(bench, made, tmp_path / "out", "--metric", "hd95", code=3)
    assert "HD95: w/o SSDG on phantom2d-b: 0 of 2 seeds (not rescored)" in result.output
    assert "hd95_image" not in rows_of(tmp_path / "out" / "cases.csv")[0]


def test_no_results_at_all_are_said_so(bench, tmp_path):
    suite = write_suite(tmp_path)
    (tmp_path / "nothing").mkdir()
    result = export(bench, (suite, tmp_path / "nothing"), tmp_path / "out", code=3)
    assert "8 holes" in result.output
    assert rows_of(tmp_path / "out" / "cases.csv") == []
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES


def test_an_earlier_export_is_replaced_and_nothing_else(bench, made, tmp_path):
    rescore(made[1])
    output = tmp_path / "out"
    output.mkdir()
    (output / "README.md").write_text("what matches, and what does not")
    export(bench, made, output, "--metric", "hd95")
    assert {path.name for path in output.iterdir()} >= {"table-hd95.csv", "table-hd95.md", "table-hd95.tex"}
    export(bench, made, output, "--methods", "narrow")
    assert {path.name for path in output.iterdir()} == {*FILES, "README.md"}
    assert (output / "README.md").read_text() == "what matches, and what does not"
    assert {row["row"] for row in rows_of(output / "table.csv")} == {"narrow"}


def test_the_tables_of_an_export_are_rewritten_without_its_runs(bench, made, tmp_path):
    rescore(made[1])
    output = tmp_path / "out"
    export(bench, made, output, "--metric", "hd95", "--validation")
    (output / "README.md").write_text("mine")
    fresh = {path.name: path.read_bytes() for path in output.iterdir()}
    shutil.rmtree(made[1])
    for table in output.glob("table*"):
        table.write_text(table.read_text().replace(f",{VALIDATION},", f",{VALIDATION},by a former rule,"))
    for name in ("table.md", "table-hd95.tex"):
        (output / name).write_text("by a former rule")
    origin = json.loads(fresh["provenance.json"])
    former = origin | {"files": origin["files"] | {"table.md": "of a former rule"}, "complete": None}
    (output / "provenance.json").write_text(json.dumps(former))
    rewritten = bench("export", str(output))
    assert rewritten.exit_code == 0, rewritten.output
    assert "rewritten from its own counts: table.csv, table.md, table.tex, table-hd95.csv" in rewritten.output
    assert {path.name: path.read_bytes() for path in output.iterdir()} == fresh
    for options in (("--methods", "narrow"), ("--set", "evaluation.region=image"), ("--metric", "hd95")):
        assert "give its folder, and no option" in bench("export", str(output), *options).output
    assert "is an export" in bench("export", str(output), "--output", str(tmp_path / "two")).output


def test_a_file_that_no_export_wrote_is_not_replaced(bench, made, tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    (output / "table.md").write_text("mine")
    result = export(bench, made, output, code=2)
    assert "table.md that no export wrote" in result.output
    assert {path.name for path in output.iterdir()} == {"table.md"}
    # A list somebody wrote does not make other files an export's: nothing outside the folder, no other names.
    (tmp_path / "kept.csv").write_text("kept")
    (output / "README.md").write_text("mine")
    names = dict.fromkeys(("../kept.csv", "README.md", "table.md"), "")
    (output / "provenance.json").write_text(json.dumps({"files": names}))
    export(bench, made, output)
    assert (tmp_path / "kept.csv").exists()
    assert (output / "README.md").read_text() == "mine"


@pytest.mark.parametrize("where", ["file", "file/inside"])
def test_a_folder_that_cannot_be_is_a_clear_error(bench, made, tmp_path, where):
    (tmp_path / "file").write_text("")
    result = export(bench, made, tmp_path / where, code=2)
    assert "--output" in result.output
    assert "Traceback" not in result.output


def test_wrong_names_are_usage_errors(bench, made, tmp_path):
    for arguments, word in (
        (("--metric", "dice"), "hd95"),
        (("--methods", "ermm"), "erm"),
        (("--targets", "nowhere"), "phantom2d-b"),
    ):
        assert word in export(bench, made, tmp_path / "out", *arguments, code=2).output
    assert "--output" in bench("export", str(made[0])).output
    assert not (tmp_path / "out").exists()


def test_real_runs_with_rescored_measures(bench, tmp_path):
    suite = write_suite(tmp_path, rows=["erm"], seeds=(0,))
    targets = ("--target", "phantom2d-b", "--target", "phantom2d-c")
    assert bench("run", "--method", "erm", *targets, *TINY).exit_code == 0
    assert bench("rescore", str(suite), "--metrics", "nsd", "--jobs", "1").exit_code == 0
    export(bench, (suite, bench.results), tmp_path / "out", "--metric", "nsd", "--held-out")
    cases = rows_of(tmp_path / "out" / "cases.csv")
    assert {row["target"] for row in cases} == {VALIDATION, "phantom2d-b", "phantom2d-c"}
    nsd = [100 * float(row["nsd_foreground"]) for row in cases if row["target"] == "phantom2d-b"]
    [cell] = [row for row in rows_of(tmp_path / "out" / "table-nsd.csv") if row["target"] == "phantom2d-b"]
    assert float(cell["mean"]) == pytest.approx(statistics.fmean(nsd), abs=1e-3)
    [run] = rows_of(tmp_path / "out" / "runs.csv")
    assert run["epochs"] == "2"
    assert float(run["training_seconds"]) > 0
