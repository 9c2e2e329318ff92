"""Tables of other measures than Dice: units, misses, which is best, and what was not computed yet."""

import csv
import io
import json
import re
from dataclasses import replace

from ssdg.benchmark.comparisons.conventions import build_conventions
from ssdg.benchmark.comparisons.conventions_text import conventions_document
from ssdg.benchmark.scoring.metrics import METRICS
from ssdg.benchmark.storage.results_reader import scan
from ssdg.benchmark.suites.suite import Filters
from ssdg.benchmark.tables.document import render
from ssdg.benchmark.tables.suite_table import table_document

from ..metric_values import write_values
from ..stored import ERM, FEDDG, FETAL, INVENTORY, LESAV, RAS4DG, cases, results_of, table_of, write_run
from .test_build import SMALL, shown

HD95, NSD, SENSITIVITY = METRICS["hd95"], METRICS["nsd"], METRICS["sensitivity"]
NAN = float("nan")


def write_metric(root, metric, values):
    """Write a metric of every evaluation of a results folder; ``values(row, seed)`` has one a case."""
    for run in scan(root)[0]:
        for evaluation in run.evaluations:
            found = values(run.spec.request.method, run.spec.request.seed)
            if found is not None:
                write_values(evaluation, metric, found)


def fill(root, *dice, suite=SMALL):
    """Write every run of a suite with these Dice; 0 is a case of which nothing is predicted."""
    for planned in suite.plan(Filters(), INVENTORY).runs:
        path = write_run(root, planned.request, {column.target: cases(*dice) for column in planned.columns})
        for file in path.glob("evaluations/*/cases.csv"):
            file.write_text(file.read_text().replace(",0,1000,1000,", ",0,0,1000,"))


DISTANCES = {("erm", 0): (2.0, 4.0), ("erm", 1): (3.0, 5.0), ("ras4dg", 0): (5.0, 7.0), ("ras4dg", 1): (9.0, 9.0)}


def test_the_lowest_distance_is_the_best_and_named_with_its_unit(tmp_path):
    suite = replace(SMALL, published="table1")
    fill(tmp_path, *[0.5] * 12)
    base = {"erm": 3.0, "ras4dg": 8.0}
    write_metric(tmp_path, HD95, lambda row, seed: [base[row] + seed + case % 3 for case in range(12)])
    table = table_of(tmp_path, suite, metric=HD95)
    assert shown(table) == {"w/o SSDG": ["**4.50 ± 0.71**"], "RAS4DG": ["9.50 ± 0.71"]}  # nothing published beside it
    text = render(table_document(table), "markdown")
    assert "**Small & tidy: HD95**" in text
    assert "| LES-AV (px) " in text
    assert table.caption[0].startswith(
        "Hausdorff distance, 95th percentile (pixels; lower is better), mean ± sample SD over n = 2 seeds"
    )
    assert "empty classes: a class absent from a case's label is left out of the mean;" in " ".join(table.caption)
    assert any(s.startswith("HD95 (lower is better): the larger of the two 95th") for s in table.protocol)


def test_units_and_counts_are_in_what_programs_read(tmp_path):
    fill(tmp_path, 0.5, 0.0)
    write_metric(tmp_path, HD95, lambda row, seed: (DISTANCES[row, seed][0], NAN))
    [first, _] = csv.DictReader(io.StringIO(render(table_document(table_of(tmp_path, SMALL, metric=HD95)), "csv")))
    assert (first["metric"], first["unit"], first["mean"]) == ("hd95", "px", "2.5")
    assert (first["undefined"], first["missed"], first["published_mean"]) == ("1", "1", "")
    data = json.loads(render(table_document(table_of(tmp_path, SMALL, metric=HD95)), "json"))
    assert (data["metric"], data["better"]) == ("hd95", "lower")
    assert data["rows"][0]["cells"][0]["per_seed"] == [2.0, 3.0]
    dice = next(
        csv.DictReader(io.StringIO(render(table_document(table_of(tmp_path, SMALL, metric=METRICS["dsc"])), "csv")))
    )
    assert (dice["metric"], dice["unit"], dice["mean"], dice["missed"]) == ("dsc", "%", "25", "1")


def test_latex_names_measure_and_unit(tmp_path):
    text = render(table_document(table_of(tmp_path, SMALL, metric=HD95)), "latex")
    assert r"\caption{Small \& tidy: HD95}" in text
    assert r"\label{tab:small-hd95}" in text
    assert r"Method & Setting & (px) \\" in text
    assert text.isascii()


def test_both_units_are_named_where_a_suite_has_2d_and_3d(tmp_path):
    suite = replace(SMALL, columns=(LESAV, replace(FETAL, strata=("abnormal", "average"))))
    table = table_of(tmp_path, suite, metric=HD95)
    assert table.caption[0].startswith("Hausdorff distance, 95th percentile (pixels or mm; lower is better)")
    head = render(table_document(table), "markdown").splitlines()[2]
    assert "LES-AV (px)" in head
    assert "FeTA average of cases (mm)" in head


def test_misses_are_printed_and_no_way_to_win(tmp_path):
    fill(tmp_path, 0.5, 0.5, suite=replace(SMALL, rows=(ERM,)))
    fill(tmp_path, 0.5, 0.0, suite=replace(SMALL, rows=(RAS4DG,)))
    near = {"erm": (8.0, 9.0), "ras4dg": (1.0, NAN)}
    write_metric(tmp_path, HD95, lambda row, _: near[row])
    table = table_of(tmp_path, SMALL, metric=HD95)
    assert shown(table) == {"w/o SSDG": ["**8.50 ± 0.00**"], "RAS4DG": ["1.00 ± 0.00 (1 miss)"]}
    assert any(sentence.startswith("Misses, classes that a case's label has") for sentence in table.caption)
    assert "up to 1 class scores not defined" in " ".join(table.caption)


def test_misses_are_beside_every_mean_of_a_convention_and_no_way_to_a_rank(tmp_path):
    fill(tmp_path, 0.5, 0.5, suite=replace(SMALL, rows=(ERM,)))
    fill(tmp_path, 0.5, 0.0, suite=replace(SMALL, rows=(RAS4DG,)))
    near = {"erm": (8.0, 9.0), "ras4dg": (1.0, NAN), "feddg": (7.0, 7.0)}
    write_metric(tmp_path, HD95, lambda row, _: near[row])
    suite = replace(SMALL, rows=(ERM, RAS4DG))
    text = render(conventions_document(build_conventions(results_of(tmp_path, suite), HD95)), "markdown")
    assert re.search(r"RAS4DG +\| 1.00 \(1 miss\) +\|", text)
    assert re.search(r"w/o SSDG +\| 8.50 +\|", text)  # alone, it has no rank
    assert "and have the fewest misses, which are not in the mean" in text
    fill(tmp_path, 0.5, 0.5, suite=replace(SMALL, rows=(FEDDG,)))
    write_metric(tmp_path, HD95, lambda row, _: near[row])
    suite = replace(suite, rows=(*suite.rows, FEDDG))
    data = json.loads(render(conventions_document(build_conventions(results_of(tmp_path, suite), HD95)), "json"))
    rows = data["targets"][0]["conventions"][0]["rows"]
    assert [(row["row"], row["rank"], row["missed"]) for row in rows] == [
        ("erm", 2, 0),
        ("ras4dg", None, 1),
        ("feddg", 1, 0),
    ]


def test_a_row_that_predicts_nothing_has_no_distance_and_says_so(tmp_path):
    fill(tmp_path, 0.0, 0.0)
    write_metric(tmp_path, HD95, lambda *_: (NAN, NAN))
    table = table_of(tmp_path, SMALL, metric=HD95)
    assert shown(table) == {row: ["nothing predicted (2 misses)"] for row in ("w/o SSDG", "RAS4DG")}
    assert {entry.cell.state for row in table.rows for entry in row.entries} == {"undefined"}
    assert table.missing == tuple(
        f"{row} on LES-AV: 0 of 2 seeds (nothing predicted)" for row in ("w/o SSDG", "RAS4DG")
    )


def test_a_seed_that_predicts_nothing_makes_the_cell_partial(tmp_path):
    fill(tmp_path, 0.0, 0.0)
    write_metric(tmp_path, HD95, lambda _, seed: (NAN, 4.0) if seed else (NAN, NAN))
    table = table_of(tmp_path, SMALL, metric=HD95)
    assert shown(table)["RAS4DG"] == ["4.00 (1/2 seeds, 2 misses)"]
    assert "RAS4DG on LES-AV: 1 of 2 seeds (nothing predicted)" in table.missing
    assert not json.loads(render(table_document(table), "json"))["complete"]
    assert not results_of(tmp_path, SMALL).is_complete(RAS4DG, LESAV, HD95)
    assert results_of(tmp_path, SMALL).is_complete(RAS4DG, LESAV)


def test_misses_score_0_where_that_is_defined(tmp_path):
    fill(tmp_path, 0.5, 0.0)
    write_metric(tmp_path, NSD, lambda *_: (0.5, 0.0))
    assert shown(table_of(tmp_path, SMALL, metric=NSD))["RAS4DG"] == ["**25.00 ± 0.00**"]
    assert shown(table_of(tmp_path, SMALL, metric=SENSITIVITY))["RAS4DG"] == ["**25.00 ± 0.00**"]


def test_what_was_not_computed_is_named_with_the_way_out(tmp_path):
    fill(tmp_path, 0.5, 0.5)
    table = table_of(tmp_path, SMALL, metric=HD95)
    assert shown(table) == {row: ["not rescored"] for row in ("w/o SSDG", "RAS4DG")}
    assert table.missing == tuple(f"{row} on LES-AV: 0 of 2 seeds (not rescored)" for row in ("w/o SSDG", "RAS4DG"))
    way_out = "`bench rescore --metrics hd95` of this suite, same options, does so from stored predictions."
    assert table.caption[-1] == f"Note: HD95 is not computed yet for any evaluation: {way_out}"
    write_metric(tmp_path, HD95, lambda row, seed: None if (row, seed) == ("erm", 1) else DISTANCES[row, seed])
    table = table_of(tmp_path, SMALL, metric=HD95)
    assert shown(table) == {"w/o SSDG": ["3.00 (1/2 seeds)"], "RAS4DG": ["7.50 ± 2.12"]}
    assert table.caption[-1] == f"Note: HD95 is not computed yet for w/o SSDG on LES-AV (seed 1): {way_out}"
