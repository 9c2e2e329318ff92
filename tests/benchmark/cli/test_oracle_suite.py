"""Checkpoints chosen on the target, from the command line to the table, on the phantom."""

import csv
import json

import pytest
import torch

from ssdg.benchmark.data.loader import Batches, pool
from ssdg.benchmark.storage.results_reader import read_run, scan
from ssdg.benchmark.training import streams

from ...conftest import TINY
from ...suites import suite_file
from ..report.report_page import Page

EPOCHS = ("--set=training.epochs=4", "--set=training.validation_interval=1")
RUN = ("run", "--method", "ras4dg", *TINY, *EPOCHS)
TARGET = ("--target", "phantom2d-b")


def refused(result, *words):
    assert result.exit_code == 2, result.output
    assert result.output.startswith("bench: ") or "Error: " in result.output, result.output
    assert "Traceback" not in result.output
    assert all(word in result.output for word in words), result.output
    return True


def dashes(drawing):
    return sum("stroke-dasharray" in one.attributes.get("style", "") for one in drawing.everything())


def history(run):
    with (run / "history.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def runs_by_selection(bench):
    runs, problems = scan(bench.results)
    assert not problems
    return {(run.spec.request.training.selection, run.spec.request.target): run for run in runs}


@pytest.fixture
def watched(monkeypatch):
    """Every stream of batches that a run makes, the cases of its pools, and each batch drawn from it."""
    made, pools = [], []

    def watched_pool(domain, ids, *args, **options):
        pools.append((pool(domain, ids, *args, **options), tuple(ids)))
        return pools[-1][0]

    class Watched(Batches):
        def __init__(self, *args):
            super().__init__(*args)
            self.source_ids, self.target_ids = (
                next((ids for images, ids in pools if images is each), None) for each in (self.source, self.target)
            )
            self.drawn = []
            made.append(self)

        def at(self, step):
            batch = super().at(step)
            self.drawn.append(batch)
            return batch

    monkeypatch.setattr(streams, "pool", watched_pool)
    monkeypatch.setattr(streams, "Batches", Watched)
    return made


def test_a_run_selected_on_the_target_trains_as_one_that_is_not(bench, watched):
    """Only the choice of the epoch differs: losses, held-out scores and batches are those of the ordinary run."""
    ordinary = bench(*RUN, *TARGET)
    marked = bench(*RUN, *TARGET, "--selection", "oracle")
    assert (ordinary.exit_code, marked.exit_code) == (0, 0), marked.output
    found = runs_by_selection(bench)
    assert set(found) == {("last", None), ("oracle", "phantom2d-b")}
    plain, oracle = history(found["last", None].path), history(found["oracle", "phantom2d-b"].path)
    assert "oracle_dsc" not in plain[0]
    assert [{k: v for k, v in row.items() if k not in ("oracle_dsc", "seconds")} for row in oracle] == [
        {k: v for k, v in row.items() if k != "seconds"} for row in plain
    ]
    first, second = watched
    assert second.target is None
    assert first.source_ids
    assert second.source_ids == first.source_ids
    assert len(second.drawn) == len(first.drawn) > 0
    for one, other in zip(first.drawn, second.drawn, strict=True):
        assert other.target is None
        assert torch.equal(one.image, other.image)


def test_the_best_epoch_on_the_target_is_kept_and_recorded(bench):
    assert bench(*RUN, *TARGET, "--selection", "oracle").exit_code == 0
    run = bench.run_path("ras4dg")
    scores = [float(row["oracle_dsc"]) for row in history(run)]
    done = json.loads((run / "DONE").read_text())
    assert scores[done["best_epoch"]] == pytest.approx(max(scores), abs=1e-4)
    assert len(scores) == 4


def test_each_target_has_a_run_of_its_own_and_only_its_own_score(bench):
    for target in ("phantom2d-b", "phantom2d-c"):
        assert bench(*RUN, "--target", target, "--selection", "oracle").exit_code == 0
    found = runs_by_selection(bench)
    assert set(found) == {("oracle", "phantom2d-b"), ("oracle", "phantom2d-c")}
    for (_, target), run in found.items():
        assert {one.domain for one in run.evaluations} == {"held-out", target}
        assert {one.selection for one in run.evaluations} == {"oracle"}
        assert run.spec.target_manifest is not None


def test_the_result_carries_the_mark_and_a_spec_repeats_the_run(bench):
    result = bench(*RUN, *TARGET, "--selection", "oracle")
    last = result.stdout.splitlines()[-1]
    assert "ras4dg † s0 phantom2d-b: DSC" in last
    assert "† checkpoint chosen on the labels of phantom2d-b: an upper bound, not a method" in last
    assert "target DSC †" in result.stdout
    again = bench("run", str(bench.run_path("ras4dg") / "spec.json"))
    assert "already done" in again.output
    assert "ras4dg † s0" in again.output
    assert refused(bench("run", str(bench.run_path("ras4dg") / "spec.json"), "--selection", "oracle"), "--selection")


def test_a_method_that_adapts_sees_images_without_labels_as_ever(bench, watched):
    result = bench("run", "--method", "cutmix", *TARGET, *TINY, "--selection", "oracle")
    assert result.exit_code == 0, result.output
    [stream] = watched
    assert stream.target.label is None
    assert stream.target_ids == ("b-00", "b-01", "b-02", "b-03")
    assert read_run(bench.run_path("cutmix")).spec.request.training.selection == "oracle"
    assert "oracle_dsc" in history(bench.run_path("cutmix"))[-1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--selection", "oracle"), ["exactly one --target"]),
        ((*TARGET, "--target", "phantom2d-c", "--selection", "oracle"), ["exactly one --target"]),
        ((*TARGET, "--set=training.selection=oracle"), ["--selection oracle", "†"]),
        ((*TARGET, "--selection", "target"), ["oracle"]),
    ],
)
def test_mistakes_on_the_command_line(bench, options, words):
    task = () if "--target" in options else ("--task", "phantom2d")
    refused(bench("run", "--method", "erm", *task, *TINY, *options), *words)
    assert not (bench.results / "runs").exists()


def test_an_unlabelled_target_cannot_select(bench, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\nndim = 2\nchannels = 3\nclasses = ["background", "vessel"]\nshape = [32, 32]\n'
        '[source.one]\nimages = "phantom2d/a/image/*.png"\nlabels = "phantom2d/a/label/*.png"\n'
        "label_map = { 0 = 0, 255 = 1 }\n"
        '[target.bare]\nimages = "phantom2d/b/image/*.png"\n'
    )
    result = bench("run", "--method", "erm", "--task", str(path), "--target", "bare", *TINY, "--selection", "oracle")
    assert refused(result, "bare", "no label")


@pytest.fixture
def suite(tmp_path):
    rows = [{"id": "erm", "label": "w/o SSDG"}]
    return str(suite_file(tmp_path / "mine.toml", rows, ("phantom2d-b", "phantom2d-c")))


def test_a_suite_from_the_sweep_to_the_table(bench, suite):
    plan = bench("sweep", suite, "--selection", "oracle", "--dry-run")
    assert "3 runs" in plan.output, plan.output
    assert "erm-oracle s0 phantom2d-c: phantom2d-a -> phantom2d-c" in plan.output
    assert bench("sweep", suite, "--selection", "oracle", "--jobs", "2").exit_code == 0
    states = json.loads(bench("status", suite, "--json", "--selection", "oracle").stdout)
    assert [(row["row"], row["state"]) for row in states] == [("erm", "DONE")] + [("erm-oracle", "DONE")] * 2
    assert len(json.loads(bench("status", suite, "--json").stdout)) == 1
    table = bench("table", suite, "--selection", "oracle", "--final")
    assert table.exit_code == 0, table.output
    assert "| w/o SSDG † " in table.output
    assert "an upper bound and not a method" in table.output
    ordinary = bench("table", suite, "--final")
    assert "†" not in ordinary.output
    alone = bench("status", suite, "--json", "--selection", "oracle", "--methods", "erm-oracle")
    assert [row["row"] for row in json.loads(alone.stdout)] == ["erm-oracle"] * 2
    page = bench.results / "report.html"
    where = ("--results-root", str(bench.results), "--no-images", "--output", str(page))
    report = bench("report", suite, "--selection", "oracle", *where)
    assert report.exit_code == 0, report.output
    plain, marked = Page(page.read_text()).section("learning").find_all("svg")
    assert "target and held-out DSC" in marked.text
    assert [dashes(plain), dashes(marked)] == [0, 2]
    assert bench("cancel", suite, "--selection", "oracle").exit_code == 0
    assert "0 to do" in bench("retry", suite, "--selection", "oracle").output


def test_marked_runs_alone_leave_the_ordinary_row_empty(bench, suite):
    for target in ("phantom2d-b", "phantom2d-c"):
        assert bench("run", "--method", "erm", "--target", target, *TINY, "--selection", "oracle").exit_code == 0
    table = bench("table", suite, "--selection", "oracle", "--format", "csv").stdout
    cells = list(csv.DictReader(table.splitlines()))
    assert {(cell["row"], cell["state"], cell["reason"]) for cell in cells} == {
        ("erm", "missing", "not run"),
        ("erm-oracle", "complete", ""),
    }
