"""`bench ensemble`: the mean of the probabilities of a row's seeds, in all that is made of a suite's results."""

import csv
import io
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from ssdg.benchmark import open_results
from ssdg.benchmark.data.prepared import prepare_domain
from ssdg.benchmark.data.run_data import DataSource, find_domain
from ssdg.benchmark.storage.results_reader import read_run
from ssdg.benchmark.training.evaluate import Predictor
from ssdg.datasets import TASKS
from ssdg.methods import METHODS
from ssdg.methods.erm import Erm

from ...conftest import TINY, Bench
from ...suites import suite_file

B, C = "phantom2d-b", "phantom2d-c"


@pytest.fixture(scope="module")
def trained(phantom_data, tmp_path_factory):
    """Results with two seeds of two rows."""
    bench = Bench(phantom_data, tmp_path_factory.mktemp("trained") / "results")
    for method in ("erm", "randconv"):
        for seed in ("0", "1"):
            result = bench("run", "--method", method, "--target", B, "--target", C, "--seed", seed, *TINY)
            assert result.exit_code == 0, result.output
    return bench


@pytest.fixture
def bench(trained, tmp_path):
    shutil.copytree(trained.results, tmp_path / "results")
    return Bench(trained.data, tmp_path / "results")


@pytest.fixture
def suite(tmp_path):
    return str(suite_file(tmp_path / "mine.toml", ("erm", "randconv"), [B, C], seeds=[0, 1]))


@pytest.fixture
def ensemble(bench, suite):
    def call(*arguments, row="erm"):
        roots = ["--data-root", str(bench.data), "--results-root", str(bench.results)]
        return bench("ensemble", suite, "--row", row, *roots, *arguments)

    return call


def folders(bench, row="erm-ensemble", target=B):
    return sorted((bench.results / "ensembles" / "mine" / row / "evaluations").glob(f"{target}-*"))


def seeds(bench, method="erm"):
    return [read_run(path) for path in sorted((bench.results / "runs" / "phantom2d" / method).glob("s*"))]


def table(bench, suite, *arguments):
    result = bench("table", suite, "--format", "json", *arguments)
    assert result.exit_code == 0, result.output
    return {row["row"]: {cell["target"]: cell for cell in row["cells"]} for row in json.loads(result.output)["rows"]}


def test_predictions_are_the_argmax_of_the_mean_of_the_members_probabilities(bench, ensemble):
    result = ensemble()
    assert result.exit_code == 0, result.output
    task, config = TASKS["phantom2d"], seeds(bench)[0].spec.request.preprocess
    located = find_domain(task, B, DataSource(bench.data, bench.results / "prepared"), print)
    domain = prepare_domain(located.domain, task, config, located.manifest.digest, bench.results / "prepared")
    predictors = [Predictor.of_run(run.path, run.spec, task, torch.device("cpu")) for run in seeds(bench)]
    [folder] = folders(bench)
    differing = 0
    for case in domain.ids:
        members = [np.stack(list(p.native_probabilities(domain, case)[1])) for p in predictors]
        mean = np.mean(members, axis=0)
        labels = np.asarray(Image.open(folder / "predictions" / f"{case}.png"))
        clear = np.abs(mean[1] - 0.5) > 1e-6
        assert np.array_equal(labels[clear], mean.argmax(axis=0)[clear])
        differing += (labels != members[0].argmax(axis=0)).sum()
        averaged = np.stack(list(Predictor.of_ensemble(predictors).native_probabilities(domain, case)[1]))
        assert np.allclose(averaged, mean, atol=1e-6)
    assert differing


@pytest.mark.parametrize("resample", ["probabilities", "nearest"])
def test_one_seed_alone_has_exactly_its_scores(bench, ensemble, resample):
    changed = f"--set=evaluation.resample={resample}"
    again = bench("run", "--method", "erm", "--target", B, "--seed", "1", *TINY, changed)
    assert again.exit_code == 0, again.output
    result = ensemble("--seeds", "1", "--targets", B, changed)
    assert result.exit_code == 0, result.output
    [folder] = folders(bench, "erm-ensemble-1")
    [evaluation] = [e for e in seeds(bench)[1].evaluations if (e.domain, e.resample) == (B, resample)]
    assert (folder / "cases.csv").read_bytes() == (evaluation.path / "cases.csv").read_bytes()
    for path in (folder / "predictions").iterdir():
        assert path.read_bytes() == (evaluation.path / "predictions" / path.name).read_bytes()
    assert not folders(bench, "erm-ensemble-1", C)


def test_members_that_are_missing_are_named(bench, ensemble):
    result = ensemble("--seeds", "0-2")
    assert result.exit_code == 3
    assert "  erm s2: QUEUED" in result.output
    assert "erm s1" not in result.output
    assert not (bench.results / "ensembles").exists()
    assert "unknown row of suite 'mine' 'emr': did you mean 'erm'?" in ensemble(row="emr").output


def test_it_is_in_the_table_and_neither_bold_nor_ranked_nor_compared(bench, suite, ensemble):
    assert ensemble().exit_code == 0
    assert ensemble("--targets", B, row="randconv").exit_code == 0
    rows = table(bench, suite)
    assert list(rows) == ["erm", "randconv", "erm-ensemble", "randconv-ensemble"]
    cell = rows["erm-ensemble"][B]
    [counts] = [list(csv.DictReader(io.StringIO((folder / "cases.csv").read_text()))) for folder in folders(bench)]
    tp, fp, fn = (np.array([int(line[name]) for line in counts]) for name in ("tp", "fp", "fn"))
    assert cell["mean"] == pytest.approx(100 * np.mean(2 * tp / (2 * tp + fp + fn)), abs=1e-3)
    assert (cell["state"], cell["n"], cell["expected_n"], cell["sd"]) == ("complete", 1, 1, None)
    for target in (B, C):
        assert {row for row in rows if rows[row][target]["best"]} == {
            max(("erm", "randconv"), key=lambda row: rows[row][target]["mean"])
        }
        assert not any(rows[row][target]["tied"] for row in rows)
    hole = rows["randconv-ensemble"][C]
    assert (hole["state"], hole["reason"]) == ("missing", "not scored")
    text = bench("table", suite).output
    assert "§ ensemble (mean of the seeds' probabilities): erm, ensemble of 2 seeds, randconv, ensemble" in text
    assert re.search(r"\| erm, ensemble of 2 seeds § +\| source only, ensemble +\|", text)
    assert "mean of the softmax probabilities of erm's seeds 0, 1: one prediction a case" in text
    assert "computes 2 times what a run does" in text
    assert list(table(bench, suite, "--methods", "erm-ensemble")) == ["erm-ensemble"]
    assert "erm-ensemble" not in table(bench, suite, "--protocol", "paper")
    ranked = bench("rank", suite, "--targets", B, "--json")
    assert ranked.exit_code == 0, ranked.output
    data = json.loads(ranked.output)
    assert {row["row"] for row in data["rankings"][0]["rows"]} == {"erm", "randconv"}
    assert {comparison["row"] for comparison in data["comparisons"]} == {"randconv"}
    refused = bench("compare", "erm-ensemble", "erm", "--suite", suite)
    assert (refused.exit_code, "is an ensemble" in refused.output) == (2, True)


def test_status_sweep_rescore_and_export_know_it(bench, suite, ensemble, tmp_path):
    assert ensemble().exit_code == 0
    lines = {line.split()[0]: line for line in bench("status", suite).output.splitlines() if line}
    assert f"{B} DONE" in lines["erm-ensemble"]
    assert "ensemble" not in bench("sweep", suite, "--dry-run").output
    assert "4 runs (4 DONE)" in bench("sweep", suite, "--dry-run").output
    rescored = bench("rescore", suite, "--metrics", "hd95", "--jobs", "1")
    assert rescored.exit_code == 0, rescored.output
    assert table(bench, suite, "--metric", "hd95")["erm-ensemble"][B]["state"] in ("complete", "undefined")
    frame = open_results(suite, bench.results).table().set_index(["row", "target"])
    assert frame.loc[("erm-ensemble", B), "method"] == "ensemble"
    folder = tmp_path / "exported"
    exported = bench("export", suite, "--output", str(folder), "--results-root", str(bench.results))
    assert exported.exit_code == 0, exported.output
    again = open_results(folder).table().set_index(["row", "target"])
    assert again["mean"].to_dict() == pytest.approx(frame["mean"].to_dict(), abs=1e-4)
    assert again["n"].to_dict() == frame["n"].to_dict()
    runs = list(csv.DictReader(io.StringIO((folder / "runs.csv").read_text())))
    assert [run["method"] for run in runs if run["row"] == "erm-ensemble"] == ["ensemble"]
    assert bench("report", str(folder), "--output", str(folder / "report.html")).exit_code == 0
    page = (folder / "report.html").read_text()
    assert "one prediction a case" in page
    assert "6 of 6 cells are complete" in page


def test_it_is_made_once_and_again_where_members_or_predictions_are_others(bench, suite, ensemble):
    assert ensemble().exit_code == 0
    again = ensemble()
    assert again.exit_code == 0
    assert again.output.count("as before: the same members") == 2
    nearest = "--set=evaluation.resample=nearest"
    assert table(bench, suite, nearest)["erm-ensemble"][B]["reason"] == "not scored"
    assert table(bench, suite, "--set=training.epochs=1")["erm-ensemble"][B]["reason"] == "not scored"
    assert "as before" not in ensemble(nearest).output
    assert len(folders(bench)) == 2
    assert table(bench, suite, nearest)["erm-ensemble"][B]["state"] == "complete"


def test_it_is_no_longer_shown_once_a_member_is_trained_anew(bench, suite, ensemble, monkeypatch):
    assert ensemble().exit_code == 0
    monkeypatch.setattr(Erm, "version", Erm.version + 1)
    monkeypatch.setitem(METHODS, "erm", replace(METHODS["erm"], version=Erm.version))
    for seed in ("0", "1"):
        assert bench("run", "--method", "erm", "--target", B, "--target", C, "--seed", seed, *TINY).exit_code == 0
        assert table(bench, suite)["erm-ensemble"][B]["reason"] == "not scored"
        result = ensemble()
        assert (result.exit_code, "  erm s1: QUEUED" in result.output) == ((3, True) if seed == "0" else (0, False))
    assert table(bench, suite)["erm-ensemble"][B]["state"] == "complete"


def test_other_weights_of_the_same_run_make_it_stale(bench, suite, ensemble):
    assert ensemble().exit_code == 0
    [folder] = folders(bench)
    scored = (folder / "cases.csv").read_bytes()
    stored = json.loads((folder / "evaluation.json").read_text())
    path = seeds(bench)[1].path / "checkpoints" / "final.pt"
    content = torch.load(path, weights_only=True)
    content["weights"] = {name: -value for name, value in content["weights"].items()}
    torch.save(content, path)
    assert table(bench, suite)["erm-ensemble"][B]["reason"] == "not scored"
    (folder / "metrics").mkdir()  # distances of the masks of before
    assert "as before" not in ensemble().output
    assert folders(bench) == [folder]
    assert not (folder / "metrics").exists()
    assert (folder / "cases.csv").read_bytes() != scored
    assert table(bench, suite)["erm-ensemble"][B]["state"] == "complete"
    # Weights that were removed, and an ensemble of an earlier version, tell nothing.
    path.unlink()
    assert table(bench, suite)["erm-ensemble"][B]["state"] == "complete"
    torch.save({}, path)
    del stored["weights"]
    (folder / "evaluation.json").write_text(json.dumps(stored))
    assert table(bench, suite)["erm-ensemble"][B]["state"] == "complete"


def test_a_suite_cannot_name_one_and_its_id_is_its_own(bench, suite, ensemble, tmp_path):
    rows = ("erm", {"id": "mean", "method": "ensemble"})
    refused = bench("table", str(suite_file(tmp_path / "other.toml", rows)))
    assert (refused.exit_code, "bench ensemble SUITE --row ID adds it" in refused.output) == (2, True)
    assert ensemble().exit_code == 0
    suite_file(tmp_path / "mine.toml", ("erm", {"id": "erm-ensemble", "method": "randconv"}), [B, C], seeds=[0, 1])
    assert "has the id of an ensemble" in bench("table", suite).output
