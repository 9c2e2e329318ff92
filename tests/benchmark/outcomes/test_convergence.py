"""Rows are judged by their held-out source DSC, at least 95 % of the baseline's, and by their best epochs."""

import json
import math
from dataclasses import replace

import pytest

from ssdg.benchmark import open_results
from ssdg.benchmark.outcomes.convergence import held_out_mean
from ssdg.benchmark.outcomes.results import SuiteResults
from ssdg.benchmark.report.export import export_suite, write_export
from ssdg.benchmark.storage.csv_text import to_csv
from ssdg.benchmark.storage.files import write_json
from ssdg.benchmark.storage.results_reader import scan
from ssdg.benchmark.storage.run_folder import CASE_COLUMNS, VALIDATION
from ssdg.benchmark.suites.suite import Column, Filters, Suite
from ssdg.benchmark.tables.wording import UNCONVERGED

from ...suites import suite_file
from ..stored import (
    CUTMIX,
    ERM,
    FEDDG,
    FETAL,
    INTRA,
    INVENTORY,
    IOSTAR,
    LESAV,
    RAS4DG,
    case_rows,
    cases,
    planned_runs,
    results_of,
    table_of,
    write_run,
)

RULE = "not converged: held-out source DSC below 95 % of w/o SSDG's, over the seeds that both have"
UNJUDGED = "not judged: the suite has no row of erm that saw the source alone, without settings of its own"
SUITE = Suite(name="small", title="Small", columns=(LESAV, IOSTAR), rows=(ERM, RAS4DG), seeds=(0, 1))
STARE = Column(task="fundus", source="chase", target="stare", label="STARE")


def fill(root, runs, held_out):
    """Write runs that score 0.5 on their targets; ``held_out(planned)`` are the held-out Dice values, or none."""
    for planned in runs:
        fold = planned.request.fold
        prefix = "case" if fold is None else f"fold{fold.index}"
        scores = {column.target: cases(0.5, 0.5, prefix=prefix) for column in planned.columns}
        values = held_out(planned)
        write_run(root, planned.request, scores | ({VALIDATION: cases(*values)} if values else {}))


def convergence_of(root, suite, of_row, choice=None):
    """Return the judgement of a suite whose rows have one held-out Dice value each, by row id; None: not scored."""
    fill(
        root,
        suite.plan(choice or Filters(), INVENTORY).runs,
        lambda planned: () if of_row[planned.row.id] is None else (of_row[planned.row.id],),
    )
    return results_of(root, suite, choice).convergence


def by_target(convergence, row):
    return {column.target: converged for (name, column), converged in convergence.verdicts.items() if name == row.id}


@pytest.mark.parametrize(
    ("baseline", "value", "converged"),
    [
        (0.8, 0.76, True),
        (0.8, 0.759, False),
        (0.6, 0.57, True),
        (0.6, 0.569, False),
        (0.4, 0.9, True),
        (0.0, 0.0, True),
    ],
)
def test_a_row_converged_from_exactly_95_percent_of_the_baseline_on(tmp_path, baseline, value, converged):
    convergence = convergence_of(tmp_path, SUITE, {"erm": baseline, "ras4dg": value})
    assert by_target(convergence, RAS4DG) == dict.fromkeys((VALIDATION, "lesav", "iostar"), converged)
    assert by_target(convergence, ERM) == dict.fromkeys((VALIDATION, "lesav", "iostar"), True)
    numbers = f"(RAS4DG {100 * value:.2f} of {100 * baseline:.2f})"
    assert convergence.text == ("" if converged else f"{RULE} {numbers}")


def test_a_rounding_error_is_not_below(tmp_path):
    values = {("erm", 0): 0.1, ("erm", 1): 0.14, ("ras4dg", 0): 0.05, ("ras4dg", 1): 0.178}
    fill(tmp_path, SUITE.plan(Filters(), INVENTORY).runs, lambda p: (values[p.row.id, p.request.seed],))
    assert results_of(tmp_path, SUITE).convergence.text == ""


def test_the_text_names_each_row_once_and_no_seeds_where_there_is_one(tmp_path):
    suite = replace(SUITE, rows=(FEDDG, ERM, RAS4DG), seeds=(0,))
    convergence = convergence_of(tmp_path, suite, {"erm": 0.8, "ras4dg": 0.5, "feddg": 0.1})
    assert convergence.text == (
        "not converged: held-out source DSC below 95 % of w/o SSDG's (FedDG 10.00 of 80.00, RAS4DG 50.00 of 80.00)"
    )


def test_rows_without_held_out_scores_are_not_judged(tmp_path):
    convergence = convergence_of(
        tmp_path, replace(SUITE, rows=(ERM, RAS4DG, FEDDG)), {"erm": 0.8, "ras4dg": None, "feddg": 0.9}
    )
    assert {row for row, _ in convergence.verdicts} == {"erm", "feddg"}


@pytest.mark.parametrize(
    "baseline",
    [
        replace(ERM, settings={"training.augmentation": "nnunet"}),
        replace(ERM, access="ssdg"),
        replace(ERM, selection="oracle"),
        replace(RAS4DG, id="erm", access="source-only"),
    ],
    ids=["own settings", "other access", "chosen on the target", "other method"],
)
def test_without_a_baseline_nothing_is_judged_and_said_so(tmp_path, baseline):
    suite = replace(SUITE, rows=(baseline, RAS4DG, FEDDG))
    convergence = convergence_of(tmp_path, suite, {"erm": 0.8, "ras4dg": 0.1, "feddg": 0.8})
    assert (convergence.verdicts, convergence.text) == ({}, UNJUDGED)


def test_rows_chosen_without_the_baseline_are_judged_by_it_also_from_an_export(tmp_path):
    suite = suite_file(tmp_path / "mine.toml", ("erm", "ras4dg", "freesdg"), ["lesav"], seeds=(0,))
    fill(tmp_path / "results", planned_runs(suite), lambda p: (0.2 if p.row.id == "ras4dg" else 0.8,))
    whole = open_results(suite, tmp_path / "results")
    write_export(export_suite(whole)[0], tmp_path / "exported")
    for origin in (suite, tmp_path / "exported"):
        part = open_results(origin, tmp_path / "results", methods=("ras4dg", "freesdg"))
        assert [row.id for row in part.suite.rows] == ["ras4dg", "freesdg"]
        assert part.convergence.text == whole.convergence.text != ""
        verdicts = {(row, column.target): verdict for (row, column), verdict in part.convergence.verdicts.items()}
        assert verdicts["ras4dg", "lesav"] is False
        assert verdicts["freesdg", "lesav"] is True
        assert "erm" not in {row for row, _ in verdicts}


def test_a_baseline_without_held_out_scores_judges_nothing(tmp_path):
    assert convergence_of(tmp_path, SUITE, {"erm": None, "ras4dg": 0.1}).verdicts == {}


def test_the_first_row_without_settings_is_the_baseline(tmp_path):
    strong = replace(ERM, id="strong", label="strong", settings={"training.augmentation": "nnunet"})
    again = replace(ERM, id="again", label="again")
    suite = replace(SUITE, rows=(strong, ERM, again, RAS4DG))
    fill(tmp_path, replace(SUITE, rows=(strong,)).plan(Filters(), INVENTORY).runs, lambda _: (0.9,))
    fill(tmp_path, SUITE.plan(Filters(), INVENTORY).runs, lambda p: (0.4 if p.row.id == "erm" else 0.3,))
    assert results_of(tmp_path, suite).convergence.text == f"{RULE} (RAS4DG 30.00 of 40.00)"


def test_only_seeds_that_both_have_count(tmp_path):
    suite = replace(SUITE, seeds=(0, 1, 2))
    values = {("erm", 0): 0.9, ("erm", 1): 0.5, ("ras4dg", 1): 0.48, ("ras4dg", 2): 0.1}

    def held_out(planned):
        value = values.get((planned.row.id, planned.request.seed))
        return () if value is None else (value,)

    fill(tmp_path, suite.plan(Filters(), INVENTORY).runs, held_out)
    convergence = results_of(tmp_path, suite).convergence
    assert set(by_target(convergence, RAS4DG).values()) == {True}  # seed 1 alone: 48 of 50
    values["erm", 1] = 0.6
    fill(tmp_path / "lower", suite.plan(Filters(), INVENTORY).runs, held_out)
    assert results_of(tmp_path / "lower", suite).convergence.text == f"{RULE} (RAS4DG 48.00 of 60.00)"


def test_no_shared_seed_is_no_judgement(tmp_path):
    only = {"erm": 0, "ras4dg": 1}
    runs = SUITE.plan(Filters(), INVENTORY).runs
    fill(tmp_path, runs, lambda p: (0.5,) if only[p.row.id] == p.request.seed else ())
    assert {row for row, _ in results_of(tmp_path, SUITE).convergence.verdicts} == {"erm"}


def test_each_source_is_judged_apart(tmp_path):
    suite = replace(SUITE, columns=(LESAV, STARE))
    runs = suite.plan(Filters(), INVENTORY).runs
    fill(tmp_path, runs, lambda p: (0.3 if (p.row.id, p.request.source) == ("ras4dg", "chase") else 0.8,))
    convergence = results_of(tmp_path, suite).convergence
    assert {(c.source, c.target): judged for (row, c), judged in convergence.verdicts.items() if row == "ras4dg"} == {
        ("drive", VALIDATION): True,
        ("drive", "lesav"): True,
        ("chase", VALIDATION): False,
        ("chase", "stare"): False,
    }
    assert convergence.text == f"{RULE} (RAS4DG from chase 30.00 of 80.00)"


def test_a_row_that_trains_for_each_target_is_judged_in_each_column_and_an_intra_domain_row_nowhere(tmp_path):
    suite = replace(SUITE, rows=(INTRA, CUTMIX, ERM, RAS4DG))
    bad = {("cutmix", "iostar"), ("intra", "lesav"), ("intra", "iostar")}
    runs = suite.plan(Filters(), INVENTORY).runs
    fill(tmp_path, runs, lambda p: (0.2 if (p.row.id, p.columns[0].target) in bad else 0.8,))
    convergence = results_of(tmp_path, suite).convergence
    assert by_target(convergence, CUTMIX) == {"lesav": True, "iostar": False}
    assert by_target(convergence, INTRA) == {}
    assert convergence.text == f"{RULE} (CutMix for IOSTAR 20.00 of 80.00)"


def test_an_intra_domain_row_is_not_judged_where_its_target_is_a_source_of_the_suite_too(tmp_path):
    back = Column(task="fundus", source="lesav", target="drive", label="DRIVE")
    suite = replace(SUITE, columns=(LESAV, back), rows=(ERM, INTRA))
    convergence = convergence_of(tmp_path, suite, {"erm": 0.8, "intra": 0.1})
    assert {row for row, _ in convergence.verdicts} == {"erm"}


@pytest.mark.parametrize(("average", "mean"), [("cases", 50.0), ("strata", 60.0)])
def test_held_out_cases_are_averaged_as_the_headline_is(tmp_path, average, mean):
    suite = replace(SUITE, columns=(replace(FETAL, strata=("all",)),), seeds=(0,))

    def strata(abnormal, normal):
        return {**cases(*[abnormal] * 3, stratum="abnormal", prefix="a"), **cases(normal, stratum="normal")}

    choice = Filters(overrides={"evaluation.average": average})
    for planned in suite.plan(choice, INVENTORY).runs:
        scores = strata(0.4, 0.8) if planned.row.id == "ras4dg" else strata(1, 1)
        write_run(tmp_path, planned.request, {"feta2021": cases(0.5), VALIDATION: scores})
    text = results_of(tmp_path, suite, choice).convergence.text
    assert f"(RAS4DG {mean / 2:.2f} of 50.00)" in text  # 3D: half of the label is outside of the foreground


def test_an_export_tells_the_same(tmp_path):
    rows = ({"id": "cutmix", "access": "uda"}, {"id": "erm", "label": "w/o SSDG"}, "ras4dg")
    suite = suite_file(tmp_path / "mine.toml", rows, ["lesav", "iostar"], seeds=(0, 1))
    value = {("cutmix", "lesav"): 0.5, ("cutmix", "iostar"): 0.9, ("ras4dg", "lesav"): 0.2}
    fill(
        tmp_path / "results",
        planned_runs(suite),
        lambda p: (value.get((p.row.id, p.columns[0].target), 0.8), 0.01 * p.request.seed),
    )
    results = open_results(suite, tmp_path / "results")
    write_export(export_suite(results)[0], tmp_path / "exported")
    exported = open_results(tmp_path / "exported").convergence
    assert exported == results.convergence
    assert by_target(exported, CUTMIX) == {"lesav": False, "iostar": True}
    assert "cutmix for lesav 25.25 of 40.25, ras4dg 10.25 of 40.25" in exported.text


STOPPED = Filters(protocol="paper", overrides={"training.epochs": 20})
EARLY = "not converged: source-val selection kept an epoch of the first tenth of the schedule"


def fill_with_best_epochs(root, runs, best_epoch, held_out=0.8):
    """Write runs that score well; ``best_epoch(planned)``, from 0, is that of the final weights."""
    fill(root, runs, lambda _: (held_out,))
    for run in scan(root)[0]:
        [planned] = [p for p in runs if p.request == replace(run.spec.request, protocol=p.request.protocol)]
        write_json(run.path / "DONE", {"epoch": 19, "best_epoch": best_epoch(planned)})


def test_a_run_whose_best_epoch_lies_in_the_first_tenth_is_not_converged(tmp_path):
    best = {("ras4dg", 0): 1, ("ras4dg", 1): 19, ("erm", 0): 2, ("erm", 1): 19}  # epoch 3 of 20 is late enough
    runs = SUITE.plan(STOPPED, INVENTORY).runs
    fill_with_best_epochs(tmp_path, runs, lambda p: best[p.row.id, p.request.seed])
    convergence = results_of(tmp_path, SUITE, STOPPED).convergence
    assert by_target(convergence, RAS4DG) == dict.fromkeys((VALIDATION, "lesav", "iostar"), False)
    assert set(by_target(convergence, ERM).values()) == {True}
    assert convergence.text == f"{EARLY} (RAS4DG, seed 0: best epoch 2 of 20)"
    table = table_of(tmp_path, SUITE, STOPPED)
    assert [row.unconverged for row in table.rows] == [False, True]
    assert f"{UNCONVERGED} {convergence.text}." in table.caption


def test_an_early_best_epoch_counts_without_a_baseline_and_for_the_target_it_was_trained_for(tmp_path):
    suite = replace(SUITE, rows=(CUTMIX, RAS4DG), seeds=(0,))
    runs = suite.plan(STOPPED, INVENTORY).runs
    fill_with_best_epochs(tmp_path, runs, lambda p: 0 if p.columns == (IOSTAR,) else 19)
    convergence = results_of(tmp_path, suite, STOPPED).convergence
    assert convergence.verdicts == {("cutmix", IOSTAR): False}
    assert convergence.text == f"{UNJUDGED}. Also {EARLY} (CutMix for IOSTAR, seed 0: best epoch 1 of 20)"


def test_both_rules_have_a_sentence(tmp_path):
    suite = replace(SUITE, rows=(ERM, RAS4DG), seeds=(0,))
    runs = suite.plan(STOPPED, INVENTORY).runs
    fill_with_best_epochs(tmp_path, runs, lambda p: 0 if p.row.id == "erm" else 19)
    for run in scan(tmp_path)[0]:
        if run.spec.request.method == "ras4dg":
            [held_out] = [e.path for e in run.evaluations if e.domain == VALIDATION]
            (held_out / "cases.csv").write_text(to_csv(CASE_COLUMNS, case_rows(cases(0.1))))
    convergence = results_of(tmp_path, suite, STOPPED).convergence
    assert not any(convergence.verdicts.values())
    below = "not converged: held-out source DSC below 95 % of w/o SSDG's (RAS4DG"
    assert convergence.text.startswith(below)
    assert convergence.text.endswith(f". Also {EARLY} (w/o SSDG, seed 0: best epoch 1 of 20)")


def test_selection_of_the_last_epoch_has_no_best_one(tmp_path):
    choice = Filters(overrides={"training.epochs": 20})
    runs = SUITE.plan(choice, INVENTORY).runs
    fill_with_best_epochs(tmp_path, runs, lambda _: 0)
    assert results_of(tmp_path, SUITE, choice).convergence.text == ""


def test_status_and_an_export_say_where_an_early_best_epoch_lies(tmp_path, bench):
    rows, settings = ("erm", "ras4dg"), {"training.epochs": 20}
    suite = suite_file(tmp_path / "mine.toml", rows, ["lesav"], settings, seeds=(0,), protocol="paper")
    runs = planned_runs(suite)
    fill_with_best_epochs(bench.results, runs, lambda p: 0 if p.row.id == "ras4dg" else 2)
    lines = bench("status", str(suite)).stdout.splitlines()
    assert ["DONE" in line for line in lines[:2]] == [True, True]
    assert ["not converged: best epoch 1 of 20" in line for line in lines[:2]] == [False, True]
    states = json.loads(bench("status", str(suite), "--json").stdout)
    assert [run["early_best"] for run in states] == ["", "best epoch 1 of 20"]
    results = open_results(suite, bench.results)
    write_export(export_suite(results)[0], tmp_path / "exported")
    assert open_results(tmp_path / "exported").convergence == results.convergence
    assert "best epoch 1 of 20" in results.convergence.text


@pytest.mark.parametrize("row", [RAS4DG, CUTMIX])
def test_held_out_cases_of_runs_that_score_no_target(tmp_path, row):
    suite = replace(SUITE, rows=(row,))
    plan = suite.plan(Filters(), INVENTORY)
    plan = replace(plan, runs=tuple(replace(run, columns=()) for run in plan.runs))
    fill(tmp_path, plan.runs[1:], lambda planned: (0.6 + planned.request.seed / 10,))
    results = SuiteResults(plan, scan(tmp_path)[0])
    first, *others = (held_out_mean(results, run) for run in results.planned_runs)
    assert math.isnan(first)
    assert others == pytest.approx([0.6 + run.request.seed / 10 for run in plan.runs[1:]])
