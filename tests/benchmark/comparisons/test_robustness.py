"""Effective robustness from hand-made results: the line, what lies above it, and what a point costs."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from ssdg.benchmark.comparisons.robustness import measure_robustness, robustness_document
from ssdg.benchmark.errors import UsageError
from ssdg.benchmark.figures.robustness import robustness_figure
from ssdg.benchmark.figures.style import save_figure
from ssdg.benchmark.outcomes.results import SuiteResults
from ssdg.benchmark.storage.results_reader import scan
from ssdg.benchmark.storage.run_folder import VALIDATION
from ssdg.benchmark.suites.suite import Filters, Row, Suite
from ssdg.benchmark.tables.document import render
from ssdg.benchmark.tables.wording import DASH, MINUS

from ..stored import INVENTORY, IOSTAR, LESAV, cases, write_run

ROWS = (
    Row(id="erm", method="erm", label="w/o SSDG", access="source-only"),
    Row(id="feddg", method="feddg", label="FedDG"),
    Row(id="ras4dg", method="ras4dg", label="RAS4DG"),
    Row(id="cutmix", method="cutmix", label="CutMix", access="uda"),
)
SUITE = Suite(name="mine", title="Mine", columns=(LESAV, IOSTAR), rows=ROWS, seeds=(0, 1))
SOURCE = {"erm": 0.8, "feddg": 0.78, "ras4dg": 0.79, "cutmix": 0.8, "weak": 0.5}
TARGETS = {
    "lesav": {"erm": 0.7, "feddg": 0.68, "ras4dg": 0.84, "cutmix": 0.9, "weak": 0.1},
    "iostar": {"erm": 0.5, "feddg": 0.48, "ras4dg": 0.64, "cutmix": 0.9, "weak": 0.1},
}
SECONDS = {"erm": 60, "feddg": 240, "ras4dg": 90, "cutmix": 60, "weak": 60}


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def measured(root, suite=SUITE, seconds=SECONDS, unscored=()):
    """Write every run, seed 1 a point better everywhere, its second epoch slow, and return what is measured."""
    plan = suite.plan(Filters(), INVENTORY)
    for planned in plan.runs:
        seed, row = planned.request.seed, planned.row.id
        domains = {column.target: cases(TARGETS[column.target][row] + 0.01 * seed) for column in planned.columns}
        if row not in unscored:
            domains[VALIDATION] = cases(SOURCE[row] + 0.01 * seed)
        folder = write_run(root, planned.request, domains)
        if seconds is not None:
            (folder / "history.csv").write_text(
                f"epoch,step,dice,seconds\n0,1,0.5,{seconds[row]}\n1,2,0.5,{5 * seconds[row]}\n"
            )
    return measure_robustness(SuiteResults(plan, scan(root)[0]))


def test_rows_are_measured_against_the_line_of_all_and_adapted_rows_are_not(tmp_path):
    [of] = measured(tmp_path)
    assert [row.row.id for row in of.rows] == ["erm", "feddg", "ras4dg"]
    assert of.baseline.row.id == "erm"
    for position, target in enumerate(("lesav", "iostar")):
        x, y = ([100 * values[row.row.id] + 0.5 for row in of.rows] for values in (SOURCE, TARGETS[target]))
        slope, intercept = np.polyfit(x, y, 1)
        assert (of.lines[position].slope, of.lines[position].intercept) == pytest.approx((slope, intercept))
    # Slope 1 on both: two rows lie on one line, the third 15 points above it, a third of which it moves the line.
    above = {row.row.id: of.above(row) for row in of.rows}
    assert above["ras4dg"].tolist() == pytest.approx([10, 10])
    assert above["erm"].tolist() == pytest.approx([-5, -5])
    assert of.gain(of.rows[2]) == pytest.approx(14)
    assert of.lines[1].text == f"1.00 \N{MULTIPLICATION SIGN} held out {MINUS} 25.0"
    assert f"LES-AV {of.lines[0].text}; IOSTAR {of.lines[1].text})" in render(robustness_document([of]), "markdown")


def test_minutes_are_at_the_pace_of_the_fastest_epoch_and_a_point_has_a_price_where_there_is_a_gain(tmp_path):
    of_suite = measured(tmp_path)
    assert [row.minutes for row in of_suite[0].rows] == [2, 8, 3]
    table = [
        line.split("|")[1:-1]
        for line in render(robustness_document(of_suite), "markdown").splitlines()
        if "|" in line
    ]
    prices = {line[0].strip(): line[-1].strip() for line in table[2:]}
    assert prices == {"w/o SSDG": DASH, "FedDG": DASH, "RAS4DG": "0.1 min"}
    assert table[-1][3].strip() == "+10.00 ± 0.00"


def test_tables_of_several_sources_have_one_title_and_name_their_source(tmp_path):
    [first] = measured(tmp_path)
    headings = tuple(replace(each, column=replace(each.column, source="stare")) for each in first.headings)
    several = robustness_document([first, replace(first, headings=headings)])
    assert [part.heading for part in several.parts] == ["from drive", "from stare"]
    assert render(several, "markdown").count("**Mine: target accuracy") == 1
    assert [part.heading for part in robustness_document([first]).parts] == [""]


def test_two_rows_have_no_line(tmp_path):
    [of] = measured(tmp_path, replace(SUITE, rows=ROWS[:2]), seconds=None)
    assert of.lines == (None, None)
    assert of.above(of.rows[0]) is None
    assert "; the line needs 3 converged rows." in render(robustness_document([of]), "markdown")
    assert of.rows[0].minutes is None


def test_a_row_that_has_not_learned_its_source_is_shown_and_marked_and_moves_no_line(tmp_path):
    [of] = measured(tmp_path / "without")
    weak = Row(id="weak", method="ras4dg", label="Weak", settings={"method.rsd": False})
    [there] = measured(tmp_path / "with", replace(SUITE, rows=(*ROWS, weak)))
    assert there.lines == of.lines
    assert [row.label for row in there.rows] == ["w/o SSDG", "FedDG", "RAS4DG", "Weak ¶"]
    text = render(robustness_document([there]), "markdown")
    assert "the line is least squares over those converged, without Weak ¶, which it says nothing of (" in text
    assert "* ¶ not converged: held-out source DSC below 95 % of w/o SSDG's" in text
    records = json.loads(render(robustness_document([there]), "json"))
    assert [record["converged"] for record in records] == [True] * 3 + [False]
    assert [record["above_line"] for record in records] == [-5, -5, 10, None]
    assert robustness_figure([there], 7.2).axes[0].texts[0].get_text() == "further left: Weak ¶ (50, 10)"
    near = replace(there, rows=(*there.rows[:3], replace(there.rows[3], source=there.rows[0].source)))
    assert legend_of(robustness_figure([near], 7.2))[-1] == "¶ not converged"
    assert legend_of(robustness_figure([of], 7.2))[-1] == "RAS4DG"


def test_a_row_without_held_out_scores_is_left_out_and_none_at_all_is_an_error(tmp_path):
    [of] = measured(tmp_path / "some", unscored=("feddg",))
    assert [row.row.id for row in of.rows] == ["erm", "ras4dg"]
    with pytest.raises(UsageError, match="no row of mine has all targets"):
        measured(tmp_path / "none", unscored=SOURCE)


def test_every_format_has_the_same_numbers(tmp_path):
    of_suite = measured(tmp_path)
    [record] = [line for line in json.loads(render(robustness_document(of_suite), "json")) if line["row"] == "ras4dg"]
    expected = {"held_out": 79.5, "targets": 74.5, "above_line": 10, "over_baseline": 14, "minutes": 3}
    assert {name: record[name] for name in expected} == expected
    lines = list(csv.DictReader(io.StringIO(render(robustness_document(of_suite), "csv"))))
    assert [float(line["above_line"]) for line in lines] == pytest.approx([-5, -5, 10])
    assert r"+10.00 $\pm$ 0.00" in render(robustness_document(of_suite), "latex")


def test_the_figure_has_a_panel_a_target_and_names_rows_that_are_far_left(tmp_path):
    of_suite = measured(tmp_path)
    slow = replace(of_suite[0].rows[1], source=np.array([20.0, 21.0]))
    far = replace(of_suite[0], name="far", rows=(*of_suite[0].rows[::2], slow))
    figure = robustness_figure([*of_suite, far], 7.2)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:4] == ["LES-AV\n(mine)", "IOSTAR\n(mine)", "LES-AV\n(far)", "IOSTAR\n(far)"]
    assert [len(axes.texts) for axes in figure.axes[:4]] == [0, 0, 1, 1]
    assert figure.axes[2].texts[0].get_text() == "further left: FedDG (20, 68)"
    assert len(figure.axes[0].containers) == 3
    for name in ("one", "two"):
        save_figure(robustness_figure(of_suite, 3.5), tmp_path / f"{name}.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
