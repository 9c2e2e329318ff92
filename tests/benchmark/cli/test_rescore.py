"""`bench rescore` and the tables of its metrics, on runs of the phantom in 2D and 3D; and other conventions."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from ssdg.benchmark.launching.local import BENCH
from ssdg.benchmark.scoring import rescore as rescoring
from ssdg.benchmark.scoring.metrics import METRICS
from ssdg.benchmark.scoring.shapes import compute_classes
from ssdg.benchmark.spec import PreprocessConfig
from ssdg.datasets import TASKS

from ...conftest import TINY, TINY_3D, Bench
from ...processes import Process
from ...suites import suite_file
from ..metric_values import EXAMPLE, installing

SETTINGS = {2: TINY, 3: TINY_3D}

FROM_MASKS = ("cldice", "nsd", "hd95")
FILES = {"cldice": "cldice-v2.csv", "nsd": "nsd-v2.csv", "hd95": "hd95-v1.csv"}

METHODS = {2: ("erm", "randconv"), 3: ("erm",)}


@pytest.fixture(scope="module")
def trained(phantom_data, tmp_path_factory):
    """Suites in 2D and 3D with their finished runs: nothing writes there."""
    root = tmp_path_factory.mktemp("trained")
    bench = Bench(phantom_data, root / "results")
    for ndim, settings in SETTINGS.items():
        suite_file(root / f"small{ndim}d.toml", ("erm", "randconv"), [f"phantom{ndim}d-b"])
        for method in METHODS[ndim]:
            result = bench("run", "--method", method, "--target", f"phantom{ndim}d-b", "--device", "cpu", *settings)
            assert result.exit_code == 0, result.output
    return root


class Rescored(Bench):
    """``bench`` on results of its own, and what is there of them."""

    def suite(self, ndim=2):
        return str(self.results.parent / f"small{ndim}d.toml")

    def rescore(self, *arguments, ndim=2):
        return self("rescore", self.suite(ndim), "--jobs", "1", *arguments)

    def folder(self, method="erm", ndim=2, domain="phantom{}d-b"):
        [path] = self.run_path(method, f"phantom{ndim}d").glob(f"evaluations/{domain.format(ndim)}-*")
        return path

    def rows(self, method="erm", ndim=2, metric="hd95"):
        with (self.folder(method, ndim) / "metrics" / FILES[metric]).open(newline="") as stream:
            return list(csv.DictReader(stream))

    def cases(self, method="erm", ndim=2):
        """Return the cases that have a value."""
        return sorted({row["case"] for row in self.rows(method, ndim)})

    def files(self):
        """Return every metric file with its text and time."""
        return {path: (path.read_text(), path.stat().st_mtime_ns) for path in self.results.rglob("metrics/*")}


@pytest.fixture
def bench(trained, phantom_data, tmp_path):
    """A copy of the trained runs and of the data, to do anything with."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    shutil.copytree(phantom_data, tmp_path / "data")
    return Rescored(tmp_path / "data", tmp_path / "results")


@pytest.mark.parametrize(("ndim", "cases"), [(2, "4 evaluations: 12 cases"), (3, "2 evaluations: 3 cases")])
def test_every_metric_has_a_table_after_rescoring(bench, ndim, cases):
    first = bench.rescore(ndim=ndim)
    assert first.exit_code == 0, first.output
    assert f"{cases} computed, 0 were there" in first.output
    for name, metric in METRICS.items():
        result = bench("table", bench.suite(ndim), "--metric", name, "--held-out", "--format", "json")
        assert result.exit_code == 0, result.output
        cells = json.loads(result.output)["rows"][0]["cells"]
        asked_for = name == "cldice" and ndim == 3
        assert [cell["reason"] == "not rescored" for cell in cells] == [asked_for] * 2
        assert {cell["unit"] for cell in cells} == {metric.unit_in(ndim)}
    before = bench.files()
    again = bench.rescore(ndim=ndim)
    assert (again.exit_code, "0 cases computed" in again.output) == (0, True)
    assert bench.files() == before
    if ndim == 3:
        assert bench.rescore("--metrics", "cldice", ndim=3).exit_code == 0
        assert {path.name for path in (bench.folder(ndim=3) / "metrics").iterdir()} == set(FILES.values())


def test_values_are_those_of_the_files_in_both_regions(bench):
    bench.rescore()
    rows = [row | {"metric": metric} for metric in FROM_MASKS for row in bench.rows(metric=metric)]
    assert len(rows) == 3 * 4 * 2  # metrics, cases of one class, regions
    for row in rows:
        name = f"{row['case']}.png"
        prediction = np.asarray(Image.open(bench.folder() / "predictions" / name))
        label, mask = (
            (np.asarray(Image.open(bench.data / "phantom2d" / "b" / kind / name)) > 0).astype(np.uint8)
            for kind in ("label", "mask")
        )
        inside = {"image": np.ones_like(mask), "foreground": mask}[row["region"]]
        metric = METRICS[row["metric"]]
        [expected] = compute_classes(prediction * inside, label * inside, [(1,)], (1.0, 1.0), [metric])
        assert float(row["value"]) == pytest.approx(expected[metric.name], rel=1e-5, nan_ok=True)
    assert len({row["value"] for row in bench.rows()}) > 4  # the regions differ


def test_distances_in_3d_are_in_mm(bench):
    """With voxels twice as long every distance doubles."""
    bench.rescore(ndim=3)
    case = bench.rows(ndim=3)[0]["case"]
    prediction = bench.folder(ndim=3) / "predictions" / f"{case}.nii.gz"
    for path in (
        prediction,
        *(bench.data / "phantom3d" / "b" / kind / prediction.name for kind in ("label", "mask")),
    ):
        image = nib.load(path)
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj), image.affine @ np.diag([2.0, 2.0, 2.0, 1.0])), path)
    task = TASKS["phantom3d"]
    domain = task.domain("phantom3d-b")(bench.data)
    [found] = [one for one in domain.cases if one.id == case]
    work = rescoring.CaseWork(
        found, prediction, domain, replace(task, sources={}, targets={}), PreprocessConfig(), ("hd95",)
    )
    result = rescoring.compute_case(work)
    assert result.error == ""
    once = [float(row["value"]) for row in bench.rows(ndim=3) if row["case"] == case]
    assert [values["hd95"] for values in result.values["image"]] == pytest.approx(
        [2 * distance for distance in once], rel=1e-5, nan_ok=True
    )
    assert np.isfinite(once).any()


def test_processes_give_what_one_gives(bench):
    bench.rescore()
    one = {path: text for path, (text, _) in bench.files().items()}
    for path in one:
        path.unlink()
    result = bench("rescore", bench.suite(), "--jobs", "2")
    assert result.exit_code == 0, result.output
    assert {path: text for path, (text, _) in bench.files().items()} == one


def test_two_at_once_do_no_harm(bench):
    processes = [bench.start("rescore", bench.suite(), "--jobs", "1") for _ in range(2)]
    for process in processes:
        process.finish()
    assert len(bench.cases()) == 4
    assert "0 cases computed" in bench.rescore().output


def test_one_that_ends_late_adds_to_what_another_saved(bench, monkeypatch):
    compute = rescoring.compute_case

    def meanwhile(work):
        monkeypatch.setattr(rescoring, "compute_case", compute)
        assert bench.rescore().exit_code == 0
        raise KeyboardInterrupt

    monkeypatch.setattr(rescoring, "compute_case", meanwhile)
    assert bench.rescore().exit_code == 130
    assert "0 cases computed" in bench.rescore().output


KILLED = """
import os, sys
from ssdg.benchmark.scoring import rescore
from ssdg.benchmark.cli import main

compute, computed = rescore.compute_case, []

def dying(work):
    computed.append(work)
    if len(computed) > {cases}:
        os._exit(9)
    return compute(work)

rescore.compute_case, rescore.SAVE_INTERVAL = dying, 0.0
main({arguments!r})
"""


def test_a_killed_one_goes_on_where_it_was(bench):
    arguments = bench.arguments("rescore", bench.suite(), "--jobs", "1", "--methods", "erm")
    code = KILLED.format(cases=3, arguments=arguments)
    result = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 9, result.stderr
    table = bench("table", bench.suite(), "--metric", "hd95", "--methods", "erm")
    assert "not rescored" in table.output
    again = bench.rescore("--methods", "erm")
    assert "2 evaluations: 3 cases computed, 3 were there" in again.output
    assert len(bench.cases()) == 4


def interrupt_after(cases, monkeypatch):
    """Have Ctrl-C pressed after so many cases, and return what computes one undisturbed."""
    compute, computed = rescoring.compute_case, []

    def interrupted(work):
        computed.append(work)
        if len(computed) > cases:
            raise KeyboardInterrupt
        return compute(work)

    monkeypatch.setattr(rescoring, "compute_case", interrupted)
    return compute


def test_ctrl_c_keeps_what_was_computed(bench, monkeypatch):
    compute = interrupt_after(2, monkeypatch)
    result = bench.rescore()
    assert (result.exit_code, "give the same command again" in result.output) == (130, True)
    monkeypatch.setattr(rescoring, "compute_case", compute)
    assert "2 were there" in bench.rescore().output


HOLD = """
import sys, time
from pathlib import Path
while "--multiprocessing-fork" in sys.orig_argv and Path({hold!r}).exists():
    time.sleep(0.02)
"""


def test_ctrl_c_while_processes_start_is_one_line(bench, tmp_path):
    hold, site = tmp_path / "hold", tmp_path / "site"
    hold.touch()
    site.mkdir()
    (site / "sitecustomize.py").write_text(HOLD.format(hold=str(hold)))
    command = [*BENCH, *bench.arguments("rescore", bench.suite(), "--jobs", "2", "--again")]
    process = Process(command, {"PYTHONPATH": str(site)})
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        process.kill()
        pytest.skip("the system does not list a process's children")
    process.until(lambda: len(children.read_text().split()) > 1, "workers")
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does: to all of them
    hold.unlink()
    output = process.finish(130)
    assert output.count("give the same command again") == 1
    assert "Traceback" not in output


def test_one_corrupt_prediction_loses_nothing_but_itself(bench):
    broken = sorted((bench.folder() / "predictions").iterdir())[1]
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    result = bench.rescore()
    assert result.exit_code == 1
    assert "1 could not be computed" in result.output
    assert f"erm s0 on phantom2d-b: case {broken.stem}: " in result.output
    assert str(broken) in result.output
    assert len(bench.cases()) == 3
    assert len(bench.cases("randconv")) == 4
    assert "not rescored" in bench("table", bench.suite(), "--metric", "nsd", "--methods", "erm").output
    broken.write_bytes(whole)
    result = bench.rescore()
    assert "1 cases computed" in result.output
    assert result.exit_code == 0


def test_a_prediction_that_is_gone_is_named(bench):
    gone = sorted((bench.folder(ndim=3) / "predictions").iterdir())[0]
    gone.unlink()
    result = bench.rescore(ndim=3)
    assert (result.exit_code, str(gone) in result.output) == (1, True)


def test_counts_that_disagree_are_named(bench):
    other = sorted((bench.folder() / "predictions").iterdir())[0]
    array = np.asarray(Image.open(other)).copy()
    array[20:30, 20:30] = 1 - array[20:30, 20:30]
    Image.fromarray(array).save(other)
    result = bench.rescore()
    assert result.exit_code == 1
    assert f"case {other.stem}, class 1: cases.csv says tp " in result.output
    assert "remove that evaluation's folder and score the run again" in result.output


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [(0, "another", "names cases that phantom2d-b lacks: another"), (2, "4", "has 4 vessel, and the task 1 vessel")],
)
def test_rows_of_no_case_or_class_are_named(bench, column, value, message):
    path = bench.folder() / "cases.csv"
    head, *lines = path.read_text().splitlines()
    rows = [line.split(",") for line in lines]
    for row in rows if column else rows[:1]:
        row[column] = value
    path.write_text("\n".join([head, *map(",".join, rows)]) + "\n")
    result = bench.rescore()
    assert (result.exit_code, message in result.output) == (1, True)
    assert len(bench.cases("randconv")) == 4


def test_an_audit_of_what_is_there_is_asked_for(bench):
    bench.rescore()
    other = sorted((bench.folder() / "predictions").iterdir())[0]
    Image.fromarray(np.zeros_like(np.asarray(Image.open(other)))).save(other)
    assert bench.rescore().exit_code == 0  # nothing is lacking, and nothing is looked at
    assert bench.rescore("--again").exit_code == 1


def test_labels_that_changed_since_are_refused_and_others_are_computed(bench):
    label = sorted((bench.data / "phantom2d" / "b" / "label").iterdir())[0]
    array = np.asarray(Image.open(label)).copy()
    array[:5] = array.max()
    Image.fromarray(array).save(label)
    result = bench.rescore()
    assert result.exit_code == 1
    assert "the files of phantom2d-b have changed since (manifest" in result.output
    assert not (bench.folder() / "metrics").exists()
    assert (bench.folder(domain="held-out") / "metrics").exists()


def test_a_missing_label_is_named(bench):
    label = sorted((bench.data / "phantom2d" / "b" / "label").iterdir())[0]
    label.unlink()
    result = bench.rescore()
    assert result.exit_code == 1
    assert "erm s0 on phantom2d-b: " in result.output
    assert label.stem in result.output or "label" in result.output


def test_a_file_of_another_version_is_left_and_not_read(bench):
    bench.rescore("--methods", "erm")
    path = bench.folder() / "metrics" / "nsd-v2.csv"
    old = path.rename(path.with_name("nsd-v1.csv"))
    other = path.with_name("not-a-metric.txt")
    other.write_text("somebody's")
    before = {one: (one.read_bytes(), one.stat().st_mtime_ns) for one in path.parent.iterdir()}
    assert "not rescored" in bench("table", bench.suite(), "--metric", "nsd", "--methods", "erm").output
    result = bench.rescore("--methods", "erm")
    assert "4 cases computed" in result.output
    assert path.read_text() == old.read_text()
    assert {one: (one.read_bytes(), one.stat().st_mtime_ns) for one in before} == before


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_metric_of_an_installed_package_is_added_and_old_values_stay(bench, tmp_path, monkeypatch, jobs):
    bench.rescore("--methods", "erm")
    before = bench.files()
    shown = [bench("table", bench.suite(), "--metric", name, "--methods", "erm").output for name in FROM_MASKS]
    with installing(tmp_path / "site", monkeypatch) as install:
        install("acme_metrics", EXAMPLE, {"assd": "ASSD"})
        result = bench("rescore", bench.suite(), "--jobs", jobs, "--methods", "erm", "--metrics", "assd")
        assert "2 evaluations: 6 cases computed" in result.output
        assert {path: bench.files()[path] for path in before} == before
        assert {path.name for path in bench.files().keys() - before.keys()} == {"assd-v1.csv"}
        table = json.loads(bench("table", bench.suite(), "--metric", "assd", "--format", "json").output)
        assert (table["metric"], table["rows"][0]["cells"][0]["state"]) == ("assd", "complete")
        again = [bench("table", bench.suite(), "--metric", name, "--methods", "erm").output for name in FROM_MASKS]
        assert again == shown
        assert "0 cases computed, 6 were there" in bench.rescore("--methods", "erm").output  # by default, all of them


def test_an_old_file_is_left_and_only_what_it_lacks_is_computed(bench):
    bench.rescore("--methods", "erm")
    old = {}
    for folder in bench.run_path().glob("evaluations/*"):
        texts = {}
        for name, file in FILES.items():
            with (folder / "metrics" / file).open(newline="") as stream:
                texts |= {(row["case"], f"{name}_{row['region']}"): row["value"] for row in csv.DictReader(stream)}
        added = [f"{name}_{region}" for name in FILES for region in ("foreground", "image")]
        head, *lines = (folder / "cases.csv").read_text().splitlines()
        lines = [
            ",".join([line, *(texts[line.split(",")[0], name] for name in added), "cldice:2 hd95:1 nsd:1@1", "abc"])
            for line in lines
        ]
        shutil.rmtree(folder / "metrics")
        old[folder / "shapes.csv"] = "\n".join([",".join([head, *added, "definitions", "commit"]), *lines]) + "\n"
        (folder / "shapes.csv").write_text(old[folder / "shapes.csv"])
    for name, missing in {"hd95": False, "cldice": False, "nsd": True}.items():
        output = bench("table", bench.suite(), "--metric", name, "--methods", "erm").output
        assert ("not rescored" in output) == missing
    assert "6 cases computed" in bench.rescore("--methods", "erm").output
    assert {path.name for path in bench.files()} == {"nsd-v2.csv"}
    assert {path: path.read_text() for path in old} == old
    assert scores(bench, "--metric", "nsd")["state"] == scores(bench, "--metric", "hd95")["state"] == "complete"


def test_an_audit_that_is_stopped_loses_nothing_and_one_that_disagrees_drops_the_value(bench, monkeypatch):
    bench.rescore()
    compute = interrupt_after(5, monkeypatch)
    assert bench.rescore("--again").exit_code == 130
    monkeypatch.setattr(rescoring, "compute_case", compute)
    assert "0 cases computed, 12 were there" in bench.rescore().output
    other = sorted((bench.folder() / "predictions").iterdir())[0]
    Image.fromarray(np.zeros_like(np.asarray(Image.open(other)))).save(other)
    assert bench.rescore("--again").exit_code == 1
    assert other.stem not in bench.cases()
    assert len(bench.cases()) == 3


def test_distances_are_computed_without_torch(bench):
    code = (
        "import sys\nfrom ssdg.benchmark.cli import main\n"
        "try: main({!r})\nexcept SystemExit as end: assert not end.code\n"
        "assert not {{'torch', 'monai', 'pandas'}} & set(sys.modules)\n"
    )
    arguments = bench.arguments("rescore", bench.suite(3), "--jobs", "1", "--metrics", "hd95")
    subprocess.run([sys.executable, "-P", "-c", code.format(arguments)], check=True, env=dict(os.environ))


def test_wrong_use_is_told(bench):
    result = bench.rescore("--metrics", "hd59")
    assert (result.exit_code, "did you mean 'hd95'" in result.output) == (2, True)
    result = bench("table", bench.suite(), "--metric", "hd96")
    assert (result.exit_code, "hd95" in result.output) == (2, True)
    result = bench("rescore", bench.suite(), "--seeds", "5", "--jobs", "1")
    assert (result.exit_code, "0 evaluations" in result.output) == (3, True)
    (bench.folder() / "cases.csv").write_text("nothing\n")
    result = bench.rescore()
    assert (result.exit_code, "cases.csv is damaged" in result.output) == (1, True)


def scores(bench, *arguments):
    result = bench("table", bench.suite(), "--methods", "erm", "--format", "json", *arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.output)["rows"][0]["cells"][0]


def test_other_conventions_come_from_the_counts_without_another_run(bench):
    run = bench.run_path()
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    inside, whole = scores(bench), scores(bench, "--set", "evaluation.region=image")
    assert inside["mean"] != whole["mean"]
    scores(bench, "--set", "evaluation.empty=one", "--set", "evaluation.average=strata")
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_another_resampling_comes_from_the_weights_without_training(bench):
    nearest = ("--set", "evaluation.resample=nearest")
    assert scores(bench, *nearest)["reason"] == "not scored"
    run = bench.run_path()
    trained = {path: path.stat().st_mtime_ns for path in [run / "history.csv", *run.glob("checkpoints/*")]}
    result = bench("sweep", bench.suite(), "--methods", "erm", "--device", "cpu", *nearest)
    assert result.exit_code == 0, result.output
    assert {path: path.stat().st_mtime_ns for path in trained} == trained
    assert bench.run_path() == run
    assert scores(bench, *nearest)["state"] == scores(bench)["state"] == "complete"
    bench.rescore("--methods", "erm", *nearest)
    assert scores(bench, "--metric", "nsd", *nearest)["state"] == "complete"
    assert scores(bench, "--metric", "nsd")["reason"] == "not rescored"
