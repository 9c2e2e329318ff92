"""Rows that have not learned their source are marked in every format, and tables without one are as they were."""

import csv
import io
import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from ssdg.benchmark.cli import main
from ssdg.benchmark.report.page import render_page
from ssdg.benchmark.storage.run_folder import VALIDATION
from ssdg.benchmark.suites.suite import Column, Filters, Suite
from ssdg.benchmark.tables.document import FORMATS, render
from ssdg.benchmark.tables.latex_text import escape
from ssdg.benchmark.tables.suite_table import table_document
from ssdg.benchmark.tables.wording import ours_text

from ...suites import suite_file
from ..stored import (
    CUTMIX,
    ERM,
    INTRA,
    INVENTORY,
    LESAV,
    RAS4DG,
    cases,
    fill_suite,
    planned_runs,
    results_of,
    table_of,
    write_run,
)

STARE = Column(task="fundus", source="chase", target="stare", label="STARE")
SUITE = Suite(name="small", title="Small", columns=(LESAV, STARE), rows=(INTRA, ERM, RAS4DG), seeds=(0,))
SENTENCE = "¶ not converged: held-out source DSC below 95 % of w/o SSDG's ("


def fill(root, suite, low=(), held_out=True):
    """Write the runs of a suite; ``low`` has the (row, source) that have not learned their source."""
    for planned in suite.plan(Filters(), INVENTORY).runs:
        request = planned.request
        prefix = "case" if request.fold is None else f"fold{request.fold.index}"
        scores = {column.target: cases(0.5, 0.6, prefix=prefix) for column in planned.columns}
        value = 0.3 if (planned.row.id, request.source) in low else 0.8
        write_run(root, request, scores | ({VALIDATION: cases(value)} if held_out else {}))


def lines(root, suite, **options):
    """Return the rows of a Markdown table as lists of cells, and its caption."""
    text = render(table_document(table_of(root, suite, **options)), "markdown")
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return rows[2:], [line for line in text.splitlines() if line.startswith("* ")]


def test_a_row_that_fails_on_all_its_sources_has_the_mark_behind_its_label(tmp_path):
    fill(tmp_path, SUITE, {("ras4dg", "drive"), ("ras4dg", "chase")})
    rows, caption = lines(tmp_path, SUITE)
    assert [row[0] for row in rows] == ["Intra", "w/o SSDG", "RAS4DG ¶"]
    assert not any("¶" in cell for row in rows for cell in row[1:])
    told = f"* {SENTENCE}RAS4DG from drive 30.00 of 80.00, RAS4DG from chase 30.00 of 80.00)."
    assert [line for line in caption if "¶" in line] == [told]


def test_a_row_that_fails_on_one_source_has_the_mark_behind_the_numbers_of_that_source(tmp_path):
    fill(tmp_path, SUITE, {("ras4dg", "chase")})
    rows, caption = lines(tmp_path, SUITE, validation=True)
    assert rows[2][0] == "RAS4DG"
    assert [cell.replace("*", "") for cell in rows[2][2:]] == ["80.00", "30.00¶", "55.00", "55.00¶"]
    assert not any("¶" in cell for row in rows[:2] for cell in row)
    assert sum("¶" in line for line in caption) == 1


def test_a_row_trained_for_each_target_is_marked_where_its_runs_fail(tmp_path):
    suite = replace(SUITE, columns=(LESAV, replace(LESAV, target="iostar", label="IOSTAR")), rows=(CUTMIX, ERM))
    for planned in suite.plan(Filters(), INVENTORY).runs:
        low = planned.row is not ERM and planned.columns[0].target == "iostar"
        scores = {column.target: cases(0.5, 0.6) for column in planned.columns}
        write_run(tmp_path, planned.request, {**scores, VALIDATION: cases(0.3 if low else 0.8)})
    rows, caption = lines(tmp_path, suite)
    assert rows[0] == ["CutMix ‡", "UDA", "55.00", "55.00¶"]
    assert any(f"{SENTENCE}CutMix for IOSTAR 30.00 of 80.00)" in line for line in caption)


def test_bold_is_as_it_was(tmp_path):
    fill(tmp_path / "low", SUITE, {("ras4dg", "drive"), ("ras4dg", "chase")})
    fill(tmp_path / "high", SUITE)
    low, high = ([[e.best for e in r.entries] for r in table_of(tmp_path / n, SUITE).rows] for n in ("low", "high"))
    assert low == high == [[False, False], [True, True], [True, True]]


def test_latex_has_the_mark_as_a_command_and_stays_ascii(tmp_path):
    fill(tmp_path, SUITE, {("ras4dg", "chase"), ("ras4dg", "drive")})
    text = render(table_document(table_of(tmp_path, SUITE)), "latex")
    assert r"RAS4DG \P{} & SSDG" in text
    assert r"\P{} not converged: held-out source DSC below 95 \% of" in text
    assert text.isascii()
    assert escape("55.00¶ x") == r"55.00\P{} x"


def test_csv_and_json_say_what_is_converged_what_is_not_and_what_is_not_judged(tmp_path):
    fill(tmp_path, SUITE, {("ras4dg", "chase")})
    table = table_of(tmp_path, SUITE)
    read = list(csv.DictReader(io.StringIO(render(table_document(table), "csv"))))
    expected = {"intra": ("", ""), "erm": ("true", "true"), "ras4dg": ("true", "false")}
    assert [line["converged"] for line in read] == [text for texts in expected.values() for text in texts]
    rows = json.loads(render(table_document(table), "json"))["rows"]
    values = [[cell["converged"] for cell in row["cells"]] for row in rows]
    assert values == [[None, None], [True, True], [True, False]]


@pytest.mark.parametrize("form", FORMATS)
def test_a_table_whose_rows_are_all_converged_is_that_without_held_out_scores(tmp_path, form):
    fill(tmp_path / "judged", SUITE)
    fill(tmp_path / "not judged", SUITE, held_out=False)
    judged, not_judged = (
        render(table_document(table_of(tmp_path / name, SUITE)), form) for name in ("judged", "not judged")
    )
    assert judged == not_judged
    assert "converged" not in judged


def test_the_mark_stands_before_the_notes_of_a_number(tmp_path):
    suite = replace(SUITE, seeds=(0, 1))
    fill(tmp_path, SUITE, {("ras4dg", "chase")})
    cell = table_of(tmp_path, suite).rows[2].entries[1].cell
    assert ours_text(cell, "¶") == "55.00¶ (1/2 seeds)"
    assert lines(tmp_path, suite)[0][2][3] == "55.00¶ (1/2 seeds)"


def test_a_report_marks_rows_and_numbers_and_sorts_by_the_number(tmp_path):
    fill(tmp_path / "one", SUITE, {("ras4dg", "chase")})
    page = render_page(results_of(tmp_path / "one", SUITE))
    assert 'data-value="55.0000"><b>55.00¶</b>' in page
    assert SENTENCE.replace("'", "&#39;") in page
    fill(tmp_path / "both", SUITE, {("ras4dg", "chase"), ("ras4dg", "drive")})
    assert '<th scope="row">RAS4DG ¶</th>' in render_page(results_of(tmp_path / "both", SUITE))


@pytest.mark.parametrize("low", [True, False])
def test_a_ranking_names_the_rows_that_are_not_converged(tmp_path, low):
    suite = suite_file(tmp_path / "mine.toml", ("erm", "ras4dg"), ["lesav"], seeds=(0, 1))
    fill_suite(tmp_path / "results", suite, lambda row, seed: cases(0.5 + 0.01 * seed, 0.6 if row == "erm" else 0.7))
    for planned in planned_runs(suite):
        value = 0.3 if low and planned.row.id == "ras4dg" else 0.8
        write_run(tmp_path / "results", planned.request, {VALIDATION: cases(value)})
    arguments = ["rank", str(suite), "--results-root", str(tmp_path / "results")]
    text = CliRunner().invoke(main, arguments).output
    notes = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).output)["notes"]
    sentence = "Not converged: held-out source DSC below 95 % of erm's, over the seeds that both have"
    assert (f"* {sentence} (ras4dg 30.00 of 80.00).\n" in text) == low
    assert [note for note in notes if "converged" in note] == [f"{sentence} (ras4dg 30.00 of 80.00)"] * low
