"""The Python API: results as data frames, from a results folder and from an export of it."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ssdg.benchmark import open_results
from ssdg.benchmark.errors import UsageError
from ssdg.benchmark.outcomes.results import SuiteResults
from ssdg.benchmark.report.export import export_suite, write_export
from ssdg.benchmark.report.page import render_page
from ssdg.benchmark.scoring.metrics import METRICS
from ssdg.benchmark.storage.files import write_json
from ssdg.benchmark.storage.results_reader import scan
from ssdg.benchmark.tables.build import build_table
from ssdg.benchmark.tables.document import render
from ssdg.benchmark.tables.suite_table import table_document

from ...suites import suite_file
from ..metric_values import write_values
from ..stored import cases, fill_suite

EXPORTS = sorted((Path(__file__).parents[3] / "results" / "reproduced").glob("*/provenance.json"))


@pytest.fixture
def suite(tmp_path):
    """A suite of two rows, a target and two seeds, whose runs are all there."""
    path = suite_file(tmp_path / "mine.toml", ("erm", "ras4dg"), ["lesav"], seeds=(0, 1))
    fill_suite(tmp_path / "results", path, lambda row, seed: cases(0.5 + 0.2 * (row == "ras4dg"), 0.6 + 0.1 * seed))
    return path


@pytest.fixture
def results(suite, tmp_path):
    return open_results(suite, tmp_path / "results")


def test_scores_have_a_line_for_each_row_seed_target_case_and_class(results):
    scores = results.scores("dsc")
    of_a_case = ("case", "stratum", "class_name", "value")
    assert list(scores.columns) == ["row", "method", "seed", "source", "target", *of_a_case]
    assert len(scores) == 2 * 2 * 2
    picked = scores.query("row == 'ras4dg' and seed == 1 and case == 'case-1'")
    assert picked["value"].tolist() == pytest.approx([0.7])
    assert set(scores["class_name"]) == {"class 1"}


def test_the_table_is_that_of_the_command(results):
    frame = results.table("dsc")
    entries = [entry for row in build_table(results).rows for entry in row.entries]
    assert frame["mean"].tolist() == pytest.approx([100 * entry.cell.mean for entry in entries])
    assert frame["sd"].tolist() == pytest.approx([100 * entry.cell.sd for entry in entries])
    assert set(frame["unit"]) == {"%"}
    by_hand = 100 * results.scores("dsc").groupby(["row", "seed"])["value"].mean().groupby("row").mean()
    assert frame.set_index("row")["mean"].to_dict() == pytest.approx(by_hand.to_dict())


def test_runs_have_their_settings_state_and_numbers(results):
    runs = results.runs()
    assert runs["state"].tolist() == ["QUEUED"] * 4  # the validation cases are not scored yet
    assert runs["settings"].str.contains("training.epochs=2").all()
    assert pd.api.types.is_numeric_dtype(runs["training_seconds"])


def test_a_history_has_a_line_an_epoch(suite, tmp_path):
    [run] = (tmp_path / "results" / "runs" / "fundus" / "erm").glob("s0-*")
    (run / "history.csv").write_text("epoch,step,dice,held_out_dsc,seconds\n0,3,0.5,,1\n1,6,0.25,0.75,1\n")
    history = open_results(suite, tmp_path / "results").history()
    assert history[["row", "seed", "epoch", "step"]].values.tolist() == [["erm", 0, 1, 3], ["erm", 0, 2, 6]]
    np.testing.assert_array_equal(history["held_out_dsc"], [np.nan, 0.75])


def test_filters_and_overrides_are_those_of_the_command_line(suite, tmp_path):
    picked = open_results(suite, tmp_path / "results", methods=["ras4dg"], seeds=[1, 1])
    assert picked.scores()[["row", "seed"]].drop_duplicates().values.tolist() == [["ras4dg", 1]]
    # Outside of the foreground nothing is found of 2,000 voxels.
    whole = open_results(suite, tmp_path / "results", overrides={"evaluation.region": "image"})
    assert (whole.table()["mean"] < picked.table()["mean"].min()).all()
    with pytest.raises(UsageError, match="did you mean 'ras4dg'"):
        open_results(suite, tmp_path / "results", methods=["ras4dgg"])
    with pytest.raises(UsageError, match="unknown metric 'dcs': did you mean 'dsc'"):
        picked.scores("dcs")


def test_nothing_there_is_an_empty_frame_with_its_columns(suite, tmp_path):
    nothing = open_results(suite, tmp_path / "elsewhere")
    assert nothing.scores().empty
    assert "value" in nothing.scores().columns
    assert nothing.history().empty
    assert nothing.table()["reason"].tolist() == ["not run", "not run"]


def test_an_export_opens_without_its_runs(results, tmp_path):
    [run] = (tmp_path / "results" / "runs" / "fundus" / "erm").glob("s0-*")
    (run / "history.csv").write_text("epoch,step,dice,held_out_dsc,seconds\n0,3,0.5,,1\n1,6,0.25,0.75,1\n")
    write_export(export_suite(results)[0], tmp_path / "exported")
    exported = open_results(tmp_path / "exported")
    pd.testing.assert_frame_equal(exported.scores(), results.scores())
    pd.testing.assert_frame_equal(exported.table(), results.table())
    pd.testing.assert_frame_equal(exported.runs()[["row", "seed"]], results.runs()[["row", "seed"]])
    pd.testing.assert_frame_equal(exported.history(), results.history())
    (tmp_path / "exported" / "cases.csv").write_text("")
    with pytest.raises(UsageError, match=r"exported is not a whole export .*: export it again"):
        open_results(tmp_path / "exported").scores()


def test_an_export_knows_the_devices_and_the_metrics_of_masks_that_its_runs_had(suite, results, tmp_path):
    for run in scan(tmp_path / "results")[0]:
        for evaluation in run.evaluations:
            write_values(evaluation, METRICS["cldice"], [0.5, 0.25])
            if run.spec.request.seed:
                device = {"trained_on": "cuda (NVIDIA A100) in bf16"}
                write_json(evaluation.path / "evaluation.json", {**evaluation.data, **device})
    of_runs = open_results(suite, tmp_path / "results")
    write_export(export_suite(of_runs)[0], tmp_path / "exported")
    printed = [
        render(table_document(build_table(of)), "markdown") for of in (of_runs, open_results(tmp_path / "exported"))
    ]
    assert "was trained on different kinds of device: seed 0 on cpu" in printed[0]
    assert printed[0] == printed[1]
    pages = [render_page(of) for of in (of_runs, open_results(tmp_path / "exported"))]
    tables = [re.findall('aria-label="Table of scores, ([^"]+)"', page) for page in pages]
    assert "clDice" in tables[0]
    assert tables[0] == tables[1]
    # Values of an earlier definition are none of today's metric.
    path = tmp_path / "exported" / "provenance.json"
    path.write_text(path.read_text().replace(METRICS["cldice"].token, "cldice:0"))
    assert "clDice" not in render_page(open_results(tmp_path / "exported"))


def test_an_export_of_before_a_setting_existed_is_told_as_it_ran():
    [folder] = [path.parent for path in EXPORTS if path.parent.name == "fundus-quick-paper"]
    caption = " ".join(build_table(open_results(folder)).caption)
    assert "stopping after 20 epochs without a gain of 0.0001;" in caption
    assert "never before" not in caption
    assert "results scored at commit d02597b8046c" in caption


@pytest.mark.parametrize("provenance", EXPORTS, ids=lambda path: path.parent.name)
def test_committed_exports_give_their_tables(provenance):
    folder = provenance.parent
    printed = (folder / "table.md").read_text()
    table = build_table(open_results(folder), validation="held out)" in printed)
    for form, committed in (("markdown", printed), ("csv", (folder / "table.csv").read_text())):
        # The version that prints is not that of the results.
        now, then = (
            [line for line in text.split("\n") if "* ssdg-bench " not in line]
            for text in (render(table_document(table), form), committed)
        )
        assert now == then, f"bench export {folder} rewrites its tables"


BACKBONES, HEARTS = (str(EXPORTS[0].parents[1] / name) for name in ("backbones", "cardiac-quick"))


def test_a_part_of_an_export_can_be_opened_under_another_convention():
    whole, part = open_results(BACKBONES), open_results(BACKBONES, methods=["erm"], targets=["chase"], seeds=[1])
    expected = whole.scores().query("row == 'erm' and target == 'chase' and seed == 1").reset_index(drop=True)
    pd.testing.assert_frame_equal(part.scores(), expected)
    image = open_results(BACKBONES, overrides={"evaluation.region": "image"})
    assert (image.table()["mean"] < whole.table()["mean"]).all()


@pytest.mark.parametrize(
    "choice",
    [
        {"protocol": "paper"},
        {"overrides": {"training.epochs": 3}},
        {"overrides": {"evaluation.resample": "nearest"}},
        {"methods": ["randconv"], "overrides": {"method.kl_weight": 1}},
        {"sources": ["all"]},
    ],
)
def test_runs_that_an_export_is_not_of_are_refused(choice):
    with pytest.raises(UsageError, match="is an export"):
        open_results(BACKBONES, **choice)


@pytest.mark.parametrize("verb", ["status", "sweep", "rescore", "retry", "cancel", "tune", "score", "predictions"])
def test_commands_that_need_runs_refuse_an_export(bench, tmp_path, verb):
    words = {
        "tune": ("tune", HEARTS, "--row", "erm", "--trials", "2", "--output", tmp_path / "tuned.toml"),
        "score": (
            "score",
            HEARTS,
            "--row",
            "x",
            "--seed",
            "0",
            "--target",
            "mscmr-lge-slices",
            "--predictions",
            tmp_path,
        ),
        "predictions": ("figure", "predictions", HEARTS, "--output", tmp_path / "figure.png"),
    }
    refused = bench(*map(str, words.get(verb, (verb, HEARTS))))
    assert refused.exit_code == 2
    assert "is an export, which has scores and no runs: name its suite, 'cardiac-quick" in refused.output
    assert list(tmp_path.glob("*.*")) == []


@pytest.mark.parametrize(
    "words", [("table",), ("table", "--conventions"), ("table", "--robustness"), ("rank",), ("compare",)]
)
def test_commands_that_read_take_an_export_and_need_no_results_folder(bench, words):
    verb, *options = words
    given = ("ras4dg", "erm", "--suite", HEARTS) if verb == "compare" else (HEARTS,)
    result = bench(verb, *given, *options, "--results-root", "nowhere")
    assert result.exit_code == 0, result.output
    assert "RAS4DG" in result.output


def count_opens(name, arguments, cwd):
    """Return how often a command opens each file of a name in evaluations, in a process of its own."""
    code = (
        "import collections, sys\n"
        "opens = collections.Counter()\n"
        "def hook(event, args):\n"
        "    if event == 'open' and str(args[0]).endswith('/NAME') and '/evaluations/' in str(args[0]):\n"
        "        opens[str(args[0])] += 1\n"
        "sys.addaudithook(hook)\n"
        "from ssdg.benchmark.cli import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit: pass\n"
        "print(*opens.values())\n"
    )
    command = [sys.executable, "-P", "-c", code.replace("NAME", name)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=cwd)
    return [int(count) for count in done.stdout.splitlines()[-1].split()]


@pytest.mark.parametrize(
    "words",
    [
        ["table"],
        ["table", "--conventions"],
        ["rank"],
        ["report", "--no-images", "--output", "page.html"],
        ["export", "--output", "out"],
    ],
    ids=lambda words: words[0] + ("-conventions" if "--conventions" in words else ""),
)
def test_each_file_of_counts_is_read_once(suite, tmp_path, words):
    verb, *rest = words
    arguments = [verb, str(suite), *rest, "--results-root", str(tmp_path / "results")]
    assert count_opens("cases.csv", arguments, tmp_path) == [1] * 4


@pytest.mark.parametrize("verb", ["report", "export"])
def test_each_metric_file_is_read_once(suite, tmp_path, verb):
    for run in scan(tmp_path / "results")[0]:
        for evaluation in run.evaluations:
            write_values(evaluation, METRICS["hd95"], [1.5, 2.5])
    arguments = [verb, str(suite), "--output", str(tmp_path / "out"), "--results-root", str(tmp_path / "results")]
    further = ["--metric", "hd95"] if verb == "export" else ["--no-images"]
    assert count_opens("hd95-v1.csv", [*arguments, *further], tmp_path) == [1] * 4


def test_results_are_the_object_that_commands_use(results):
    assert isinstance(results, SuiteResults)


def test_the_readme_s_example_plots(tmp_path, monkeypatch):
    root = Path(__file__).parents[3]
    [code] = [part for part in (root / "README.md").read_text().split("```python\n") if "open_results(" in part[:200]]
    code = code.partition("```")[0]
    monkeypatch.chdir(root)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    exec(code.replace("lesav.png", str(tmp_path / "lesav.png")), {})
    assert (tmp_path / "lesav.png").stat().st_size > 5000
