"""Every source against every target: the columns, the runs, and the table."""

import csv
import io
import itertools

import numpy as np
import pytest

from ssdg.benchmark.errors import UsageError
from ssdg.benchmark.outcomes.scores import RowScores
from ssdg.benchmark.storage.run_folder import VALIDATION
from ssdg.benchmark.suites.inventory import Inventory
from ssdg.benchmark.suites.sources import suite_across
from ssdg.benchmark.suites.suite import Filters, Suite
from ssdg.benchmark.suites.suite_file import load_suite
from ssdg.benchmark.tables.build import build_table
from ssdg.benchmark.tables.document import render
from ssdg.benchmark.tables.matrix import matrix_document
from ssdg.benchmark.tables.wording import TIED
from ssdg.datasets import TASKS
from ssdg.methods import registry

from ..stored import CUTMIX, ERM, INTRA, RAS4DG, MadeResults, row_scores

INVENTORY = Inventory(registry(), TASKS)
FUNDUS = load_suite("fundus-quick")
DEMO = load_suite("demo")


def test_all_is_every_domain_with_labels_against_every_other():
    columns = suite_across(FUNDUS, ("all",), INVENTORY).columns
    domains = ("drive", "lesav", "iostar", "chase", "stare")  # the owners withhold the labels of drive-test
    assert [(c.source, c.target) for c in columns] == [(s, t) for s in domains for t in domains if s != t]
    assert [c.label for c in columns[:2]] == ["drive → LES-AV", "drive → IOSTAR"]
    assert suite_across(FUNDUS, None, INVENTORY) is FUNDUS
    own = suite_across(FUNDUS, ("drive",), INVENTORY).columns
    assert [(c.task, c.source, c.target) for c in own] == [(c.task, c.source, c.target) for c in FUNDUS.columns]
    with pytest.raises(UsageError, match="unknown source 'driev': did you mean 'drive'"):
        suite_across(FUNDUS, ("driev",), INVENTORY)


def test_names_of_both_ends_are_those_of_the_suite():
    columns = suite_across(load_suite("disc-quick"), ("all",), INVENTORY).columns
    assert {c.label for c in columns} >= {"Drishti → DRIONS", "DRIONS → Drishti"}


def test_a_run_trains_once_a_source_and_folds_once_a_target():
    rows = (ERM, RAS4DG, CUTMIX, INTRA)
    suite = suite_across(
        Suite(name="small", title="", columns=DEMO.columns, rows=rows, seeds=(0,)), ("all",), INVENTORY
    )
    runs = suite.plan(Filters(), INVENTORY).runs
    per_row = {row.id: [run for run in runs if run.row.id == row.id] for row in rows}
    assert {name: len(of) for name, of in per_row.items()} == {"erm": 3, "ras4dg": 3, "cutmix": 6, "intra": 6}
    assert len({(run.request.source, run.request.fold) for run in per_row["intra"]}) == 6
    assert all(len(run.columns) == 2 for run in per_row["erm"] + per_row["intra"])


def made(rows=(ERM, CUTMIX, INTRA)):
    suite = suite_across(
        Suite(name="small", title="Small", columns=DEMO.columns, rows=rows, seeds=(0,)), ("all",), INVENTORY
    )
    results = MadeResults(suite, {}, INVENTORY)
    letters = {f"phantom2d-{letter}": number for number, letter in enumerate("abc", 1)}
    for row in rows:
        for column in results.columns(validation=True):
            held_out = column.target == VALIDATION
            value = 0.9 if held_out else 0.1 * letters[column.source] + 0.01 * letters[column.target]
            if held_out and row.per_target:
                results.made[row.id, column] = RowScores(availability="not-applicable")
            else:
                results.made[row.id, column] = row_scores([value, value], counts=({"scored": 2},))
    return results


def test_a_matrix_has_a_line_a_source_and_held_out_cases_in_brackets():
    table = build_table(made(), validation=True)
    lines = [line for line in render(matrix_document(table), "markdown").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    assert cells[0] == ["Method", "Source", "phantom2d-a", "phantom B", "phantom C", "Mean"]
    assert cells[1] == ["w/o SSDG", "phantom2d-a", "[90.00]", "12.00", "13.00", "12.50"]
    assert cells[3] == ["w/o SSDG", "phantom C", "31.00", "32.00", "[90.00]", "31.50"]
    assert cells[4] == ["CutMix ‡", "phantom2d-a", "–", "12.00", "13.00", "12.50"]  # noqa: RUF001
    assert len(cells) == 1 + 2 * 3  # a row inside the target has no source
    assert "[90.00]" in render(matrix_document(table), "latex").replace("{[}", "[")


def test_rows_of_a_source_that_are_not_separated_are_marked():
    suite = suite_across(
        Suite(name="small", title="Small", columns=DEMO.columns, rows=(ERM, RAS4DG)), ("all",), INVENTORY
    )
    results = MadeResults(suite, {}, INVENTORY)
    noise = np.random.default_rng(0)
    for row, column in itertools.product(suite.rows, results.columns(validation=True)):
        seeds = [0.5 + 0.1 * noise.standard_normal(6) for _ in range(3)]
        results.made[row.id, column] = row_scores(*seeds, counts=({"scored": 6},) * 3)
    text = render(matrix_document(build_table(results, validation=True)), "markdown")
    marks = sum(entry.tied for row in build_table(results, validation=True).rows for entry in row.entries)
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert marks > 5
    assert sum(line.count(TIED) for line in lines) == marks
    assert "Bold and ≈ compare, in each column, the rows of the same source" in text


def test_programs_read_a_cell_a_line():
    table = build_table(made(), validation=True)
    lines = list(csv.DictReader(io.StringIO(render(matrix_document(table), "csv"))))
    erm = {(line["source"], line["target"]): line["mean"] for line in lines if line["row"] == "erm"}
    assert len(erm) == 9
    assert erm["phantom2d-b", "phantom2d-a"] == "21"
    assert erm["phantom2d-b", VALIDATION] == "90"
