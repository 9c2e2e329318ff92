"""Cases that fail: their share, the worst of them, and where they are printed."""

import csv
import io
import json

import numpy as np
import pytest

from ssdg.benchmark.suites.suite import Suite
from ssdg.benchmark.tables.build import build_table
from ssdg.benchmark.tables.document import render
from ssdg.benchmark.tables.failures import failures_of, with_failures
from ssdg.benchmark.tables.suite_table import table_document

from ..stored import FETAL, LESAV, RAS4DG, MadeResults, row_scores


def test_shares_and_worst_cases_are_means_over_seeds():
    seeds = [np.linspace(0.1, 1.0, 41), np.full(41, 0.8)]
    failures = failures_of(row_scores(*seeds))
    below = np.mean(seeds[0] < 0.5)
    assert failures.cases_below_half == pytest.approx(below / 2)
    assert failures.worst_5_percent == pytest.approx((np.mean(seeds[0][:2]) + 0.8) / 2)  # 5 % of 41, rounded down


def test_at_least_one_case_is_the_worst_and_half_itself_is_not_below():
    failures = failures_of(row_scores([0.5, 0.9, 0.7]))
    assert (failures.cases_below_half, failures.worst_5_percent) == (0, 0.5)


def test_classes_that_are_not_defined_are_left_out_of_a_case():
    failures = failures_of(row_scores([[0.2, np.nan], [np.nan, np.nan], [0.4, 0.8]]))
    assert failures.cases_below_half == 0.5
    assert failures.worst_5_percent == pytest.approx(0.2)
    assert failures_of(row_scores([[np.nan], [np.nan]])) is None


def test_a_stratum_has_its_own():
    scores = row_scores([0.1, 0.9], strata=("abnormal", "normal"))
    assert failures_of(scores, "normal").cases_below_half == 0
    assert failures_of(scores, "abnormal").cases_below_half == 1


@pytest.fixture
def results():
    suite = Suite(name="small", title="Small", columns=(LESAV, FETAL), rows=(RAS4DG,), seeds=(0,))
    fetal = row_scores([0.3, 0.6, 0.8], strata=("abnormal", "abnormal", "normal"), counts=({"scored": 3},))
    lesav = row_scores([0.25, 0.75], counts=({"scored": 2},))
    return MadeResults(suite, {("ras4dg", LESAV): lesav, ("ras4dg", FETAL): fetal})


def test_every_format_has_them(results):
    table = with_failures(build_table(results), results)
    lines = list(csv.DictReader(io.StringIO(render(table_document(table), "csv"))))
    assert (lines[0]["cases_below_half"], lines[0]["worst_5_percent"]) == ("50", "25")
    [row] = json.loads(render(table_document(table), "json"))["rows"]
    third = pytest.approx(100 / 3, abs=1e-4)
    assert [cell["cases_below_half"] for cell in row["cells"]] == [50, 50, 0, third, third]
    text = render(table_document(table), "markdown")
    assert "| LES-AV | LES-AV cases \\< .50 | LES-AV worst 5 % | FeTA abnormal | FeTA abnormal cases" in text
    assert "share of the cases (%) whose DSC" in text
    latex = render(table_document(table), "latex")
    assert r"\multicolumn{3}{c}{LES-AV}" in latex
    assert "sidewaystable" in latex


def test_without_being_asked_a_table_is_as_before(results):
    table = build_table(results)
    assert "cases_below_half" not in render(table_document(table), "csv")
    assert "worst" not in render(table_document(table), "markdown")
