"""Suites that name exports: runs of others are read from there, and only what is not in them is run."""

import csv
import errno
import itertools
import json
import os
from dataclasses import replace

import pytest
import torch

from ssdg.benchmark import open_results
from ssdg.benchmark.cli.launch_checks import outdated_lines
from ssdg.benchmark.comparisons.robustness import measure_robustness, robustness_document
from ssdg.benchmark.errors import INCOMPLETE, UsageError
from ssdg.benchmark.outcomes.answering import PresentData
from ssdg.benchmark.report.export import export_suite, write_export
from ssdg.benchmark.settings import weights_digest
from ssdg.benchmark.storage.run_folder import VALIDATION
from ssdg.benchmark.tables.build import build_table
from ssdg.benchmark.tables.document import render
from ssdg.benchmark.tables.suite_table import table_document
from ssdg.benchmark.training.runtime import Runtime
from ssdg.methods import METHODS
from ssdg.methods.erm import Erm

from ...conftest import Bench
from ...suites import TINY, flags, suite_file
from ..stored import cases, fill_suite, planned_runs, write_run

MANIFESTS = ("source_manifest", "target_manifest")


def scores(row, seed):
    """Return the scores of a run on its target and on held-out cases."""
    on_target = cases(0.75 if row == "ras4dg" else 0.5, 0.75 + 0.125 * seed)
    return {"lesav": on_target, VALIDATION: cases(0.8, 0.9, prefix="held")}


def write_runs(root, source, methods=None, **fields):
    """Write the runs of some rows of a suite's file, on data of one version unless the fields say otherwise."""
    for planned in planned_runs(source, methods=methods):
        manifests = {**dict.fromkeys(MANIFESTS, "version-1"), **fields}
        write_run(root, planned.request, scores(planned.row.id, planned.request.seed), **manifests)


def exported(folder, source, name="published"):
    """Write the export of what is stored of a suite and return its folder."""
    write_export(export_suite(open_results(source, folder / "theirs"))[0], folder / name)
    return folder / name


@pytest.fixture
def theirs(tmp_path):
    """The export of two rows with two seeds on a target; of the training they have the held-out scores."""
    source = suite_file(tmp_path / "theirs.toml", ("erm", "feddg"), ["lesav"], seeds=(0, 1))
    write_runs(tmp_path / "theirs", source)
    return exported(tmp_path, source)


@pytest.fixture
def mine(tmp_path, theirs):
    """A suite of those rows and a third, which alone was run here."""
    path = suite_file(
        tmp_path / "mine.toml", ("erm", "feddg", "ras4dg"), ["lesav"], seeds=(0, 1), exports=[theirs.name]
    )
    write_runs(tmp_path / "results", path, ("ras4dg",))
    return path


def test_rows_of_an_export_stand_beside_those_run_here(mine, tmp_path):
    results = open_results(mine, tmp_path / "results")
    assert list(results.holes()) == []
    assert results.table()[["row", "mean"]].values.tolist() == [
        ["erm", 65.625],
        ["feddg", 65.625],
        ["ras4dg", 78.125],
    ]
    assert set(results.runs()["state"]) == {"DONE"}
    assert "from the export published, trained and timed there: erm, feddg" in results.notes()[0]


def test_the_export_of_both_is_that_of_runs_in_one_folder(mine, tmp_path):
    together = tmp_path / "together"
    write_runs(together, mine)
    apart, whole = (export_suite(open_results(mine, root))[0] for root in (tmp_path / "results", together))
    for name in ("cases.csv", "runs.csv", "history.csv", "table.csv"):
        assert apart[name] == whole[name], name


def test_of_a_run_that_is_in_both_the_scores_of_both_are_taken_and_its_own_first(tmp_path):
    source = suite_file(tmp_path / "theirs.toml", ("erm",), ["lesav", "iostar"])
    mine = suite_file(tmp_path / "mine.toml", ("erm",), ["lesav", "iostar"], exports=["published"])
    [planned] = planned_runs(source)
    write_run(tmp_path / "theirs", planned.request, {"lesav": cases(0.5), "iostar": cases(0.3)})
    exported(tmp_path, source)
    write_run(tmp_path / "results", planned.request, {"lesav": cases(0.6)})
    results = open_results(mine, tmp_path / "results")
    assert results.table()["mean"].tolist() == [60, 30]
    assert results.notes() == ["from the export published, trained and timed there: erm"]
    for state, named in (("QUEUED", ["published"]), ("FAILED", [""])):  # a folder alone; one that says something
        write_run(tmp_path / state, planned.request, {}, state=state)
        begun = open_results(mine, tmp_path / state)
        assert begun.table()["mean"].tolist() == [50, 30]
        assert [run.stored.export for run in begun.planned_runs] == named


def test_an_evaluation_of_another_kind_hides_none(tmp_path):
    source = suite_file(tmp_path / "theirs.toml", ("erm",), ["lesav"])
    mine = suite_file(tmp_path / "mine.toml", ("erm",), ["lesav"], exports=["published"])
    [planned] = planned_runs(source)
    write_run(tmp_path / "theirs", planned.request, {"lesav": cases(0.5)})
    exported(tmp_path, source)
    [nearest] = planned_runs(mine, overrides={"evaluation.resample": "nearest"})
    write_run(tmp_path / "results", nearest.request, {"lesav": cases(0.6)})
    assert open_results(mine, tmp_path / "results").table()["mean"].tolist() == [50]


def test_runs_under_other_settings_are_not_taken(mine, tmp_path):
    other = open_results(mine, tmp_path / "results", overrides={"training.epochs": 9})
    assert other.table()["reason"].tolist() == ["not run"] * 3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"target_manifest": "other"}, r"evaluations on 'lesav' differ in manifest .*published"),
        ({"source_manifest": "other"}, r"runs on source 'drive' differ in source_manifest .*published"),
    ],
)
def test_an_export_of_other_data_is_refused(mine, tmp_path, fields, message):
    write_runs(tmp_path / "elsewhere", mine, ("ras4dg",), **fields)
    with pytest.raises(UsageError, match=message):
        open_results(mine, tmp_path / "elsewhere").table()


def test_an_export_of_other_cases_is_refused(mine, tmp_path):
    [first, _] = planned_runs(mine, methods=("ras4dg",))
    write_run(tmp_path / "elsewhere", first.request, {"lesav": cases(0.5)}, **dict.fromkeys(MANIFESTS, "version-1"))
    with pytest.raises(UsageError, match=r"evaluations on 'lesav' differ in cases .*published"):
        open_results(mine, tmp_path / "elsewhere").table()


def test_what_an_export_has_is_not_run_again(tmp_path, bench):
    theirs, folder = str(suite_file(tmp_path / "theirs.toml")), str(tmp_path / "published")
    bench("run", "--method", "erm", "--target", "phantom2d-b", *flags(TINY))
    assert bench("export", theirs, "--output", folder, "--results-root", str(bench.results)).exit_code == 0

    mine = str(suite_file(tmp_path / "mine.toml", ("erm", "ras4dg"), exports=["published"]))
    elsewhere = Bench(bench.data, tmp_path / "mine")
    swept = elsewhere("sweep", mine, "--dry-run").output
    assert "mine: 2 runs (1 DONE, 1 QUEUED); 1 to do" in swept
    assert "no finished run tells the time of ras4dg" in swept  # the export's is another machine's
    assert swept.splitlines()[2:] == ["  ras4dg s0: phantom2d-a -> phantom2d-b"]
    # Another target: the weights are not in it.
    targets = ["phantom2d-b", "phantom2d-c"]
    more = str(suite_file(tmp_path / "more.toml", ("erm",), targets, exports=["published"]))
    assert "1 to do\n1 to train, 1 evaluation;" in elsewhere("sweep", more, "--dry-run").output
    # Nor are predictions: what needs either says so.
    assert "2 evaluations of exports are left out" in elsewhere("rescore", mine, "--methods", "erm").output
    lacking = elsewhere("table", mine, "--metric", "cldice").output
    assert "from the export published, trained and timed there: erm" in lacking
    assert "of an export, rescore where its runs are and export again" in lacking
    assert "stored predictions" not in lacking
    roots = ("--data-root", str(bench.data), "--results-root", str(elsewhere.results))
    refused = elsewhere("ensemble", mine, "--row", "erm", *roots)
    assert refused.exit_code == INCOMPLETE
    assert "erm s0: in the export published, which has no weights" in refused.output


def test_an_export_that_a_suite_adds_to_loses_nothing(mine, theirs, tmp_path, monkeypatch):
    before = (theirs / "cases.csv").read_text()

    def export(*options):
        words = ("export", str(mine), "--output", str(theirs), "--results-root", str(tmp_path / "results"))
        return Bench(tmp_path, tmp_path / "results")(*words, *options)

    part = export("--seeds", "0")
    assert part.exit_code != 0
    assert f"{theirs} would lose 4 evaluations:\n  erm seed 1 on held-out" in part.output
    # A full disk in the middle leaves it as it was.
    sync, count = os.fsync, itertools.count()

    def full(descriptor):
        if next(count) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert "no space left" in export().output
    assert (theirs / "cases.csv").read_text() == before
    assert open_results(theirs).table()["row"].tolist() == ["erm", "feddg"]
    assert export().exit_code == 0
    again = open_results(theirs)
    assert again.table()["row"].tolist() == ["erm", "feddg", "ras4dg"]
    assert (theirs / "table.md").read_text() == render(table_document(build_table(again)), "markdown")
    assert before.splitlines()[1:] == (theirs / "cases.csv").read_text().splitlines()[1 : len(before.splitlines())]


def test_what_a_later_version_of_a_row_scored_replaces_that_of_an_earlier_one(theirs, tmp_path, monkeypatch):
    mine = suite_file(tmp_path / "mine.toml", ("erm", "feddg"), ["lesav"], seeds=(0, 1), exports=[theirs.name])
    monkeypatch.setattr(Erm, "version", Erm.version + 1)
    monkeypatch.setitem(METHODS, "erm", replace(METHODS["erm"], version=Erm.version))
    bench = Bench(tmp_path, tmp_path / "results")
    export = ("export", str(mine), "--output", str(theirs), "--results-root", str(bench.results))
    write_runs(bench.results, mine, ("erm",), version=Erm.version)
    assert f"{theirs} would lose 4 evaluations:\n  erm seed 1 on held-out" in bench(*export, "--seeds", "0").output
    exported = bench(*export)
    assert exported.exit_code == 0, exported.output
    with (theirs / "runs.csv").open(newline="") as stream:
        versions = {(line["row"], line["version"]) for line in csv.DictReader(stream)}
    assert versions == {("erm", str(Erm.version)), ("feddg", "1")}


def test_a_run_of_an_export_under_another_rows_name_is_exported_under_this_one(theirs, tmp_path):
    plain = {"id": "plain", "method": "erm", "access": "source-only"}
    mine = suite_file(tmp_path / "mine.toml", (plain, "feddg"), ["lesav"], seeds=(0, 1), exports=[theirs.name])
    folder = tmp_path / "again"
    write_export(export_suite(open_results(mine, tmp_path / "results"))[0], folder)
    assert [line.split(",")[0] for line in (folder / "runs.csv").read_text().splitlines()[1:]] == (
        ["plain", "plain", "feddg", "feddg"]
    )
    table, again = open_results(mine, tmp_path / "results").table(), open_results(folder).table()
    assert again["mean"].tolist() == table["mean"].tolist() == [65.625, 65.625]


def test_a_damaged_export_leaves_the_own_runs_readable(mine, theirs, tmp_path):
    (theirs / "runs.csv").write_text("")
    status = Bench(tmp_path, tmp_path / "results")("status", str(mine))
    assert "published is not a whole export" in status.output
    assert "ras4dg s0  lesav DONE" in status.output
    assert status.exit_code == INCOMPLETE


def test_rows_of_other_programs_stay_in_their_export(tmp_path, theirs):
    provenance = json.loads((theirs / "provenance.json").read_text())
    provenance["rows"][1] |= {"method": "external"}
    (theirs / "provenance.json").write_text(json.dumps(provenance))
    mine = suite_file(
        tmp_path / "mine.toml", ("erm", {"id": "feddg", "method": "external"}), ["lesav"], exports=["published"]
    )
    assert open_results(mine, tmp_path / "nothing").table()["reason"].tolist() == ["", "not scored"]


def test_runs_of_another_task_of_the_name_are_left_out(tmp_path, theirs, mine):
    provenance = json.loads((theirs / "provenance.json").read_text())
    provenance["suite"]["columns"][0]["definition"] = "another"
    (theirs / "provenance.json").write_text(json.dumps(provenance))
    results = open_results(mine, tmp_path / "results")
    assert results.table()["reason"].tolist() == ["not run", "not run", ""]
    assert "4 runs left out, trained on another task of this name" in results.notes()[0]


def test_weights_and_defaults_are_told_by_what_they_are(tmp_path):
    files = [tmp_path / name / "encoder.pt" for name in ("one", "two")]
    for number, file in enumerate(files):
        file.parent.mkdir()
        torch.save({"weight": torch.full((1,), float(number))}, file)
    whole = {"id": "ras4dg", "settings": {"method.rass": True}}
    for file, source in zip(files, ("theirs", "other"), strict=True):
        suite_file(tmp_path / f"{source}.toml", ("erm", whole), ["lesav"], settings={"network.weights": str(file)})
    for planned in planned_runs(tmp_path / "theirs.toml"):
        digest = weights_digest(str(files[0]))
        write_run(tmp_path / "theirs", planned.request, {"lesav": cases(0.5)}, network_weights=digest)
    exported(tmp_path, tmp_path / "theirs.toml")
    for source, reasons in (("theirs", ["", ""]), ("other", ["not run", "not run"])):
        weights = {"network.weights": str(files[source == "other"])}
        suite_file(tmp_path / "mine.toml", ("erm", "ras4dg"), ["lesav"], settings=weights, exports=["published"])
        assert open_results(tmp_path / "mine.toml", tmp_path / "nothing").table()["reason"].tolist() == reasons


def test_prices_compare_no_two_machines(mine, tmp_path):
    for planned in planned_runs(mine, methods=("ras4dg",)):
        [run] = (tmp_path / "results" / "runs" / "fundus" / "ras4dg").glob(f"s{planned.request.seed}-*")
        (run / "history.csv").write_text("epoch,step,dice,held_out_dsc,seconds\n0,3,0.5,0.8,90\n")
    [study] = measure_robustness(open_results(mine, tmp_path / "results"))
    assert [sorted(row.trained_in) for row in study.rows] == [["published"], ["published"], [""]]
    printed = render(robustness_document([study]), "markdown")
    assert "of rows that were trained in one place" in printed


def test_exports_are_named_from_the_folder_of_the_suite(tmp_path):
    path = suite_file(tmp_path / "mine.toml", ("erm",), ["lesav"], exports=["nowhere"])
    with pytest.raises(UsageError, match=r"mine.toml, exports: .*nowhere is no folder that `bench export` wrote"):
        open_results(path)


def test_rows_come_behind_those_of_the_extended_suite(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('extends = "demo"\n[[more_rows]]\nid = "gentle"\nmethod = "ras4dg"\n')
    fill_suite(tmp_path / "results", path, lambda row, seed: cases(0.5))
    rows = open_results(path, tmp_path / "results").table()["row"].drop_duplicates().tolist()
    assert rows[0] == "erm"
    assert rows[-1] == "gentle"
    path.write_text('extends = "demo"\n[[more_rows]]\nid = "erm"\nmethod = "erm"\n')
    with pytest.raises(UsageError, match="row id 'erm' is there twice"):
        open_results(path)
    path.write_text('extends = "demo"\nmore_rows = "erm"\n')
    with pytest.raises(UsageError, match=r"needs more_rows: one \[\[more_rows\]\] table each"):
        open_results(path)


def test_a_sweep_says_which_export_is_of_other_files(tmp_path):
    data = PresentData(lambda _task, _domain: "now")
    runtime = Runtime(data_root=tmp_path, results_root=tmp_path / "results")
    assert not data.agree("fundus", "lesav", "then", tmp_path / "published" / "fundus")
    [line] = outdated_lines(data, runtime, [str(tmp_path / "published")])
    assert "take it out of `exports`" in line
    assert "grep" not in line
    assert not data.agree("fundus", "lesav", "then", tmp_path / "results" / "runs" / "fundus")
    [line] = outdated_lines(data, runtime, [str(tmp_path / "published")])
    assert line.index("`grep -rlZ then") < line.index("take it out of `exports`")
