"""Scores from counts: the order of means, what is left out, folds, and damaged files."""

import numpy as np
import pytest

from ssdg.benchmark.errors import UsageError
from ssdg.benchmark.outcomes.scores import RowScores, evaluation_scores, make_cell
from ssdg.benchmark.scoring.case_file import read_cases
from ssdg.benchmark.spec import EvaluationConfig
from ssdg.benchmark.suites.suite import Column, Filters, Row, Suite

from ..stored import INVENTORY, case_rows, cases, results_of, row_scores, stored_evaluation, write_run


def scores(dice, strata=None):
    return row_scores(dice, strata=strata)


def seeds(*dice, **fields):
    return row_scores(*([value] for value in dice), **fields)


def case_scores(evaluation, region, empty):
    return evaluation_scores(read_cases(evaluation), EvaluationConfig(region=region, empty=empty), ndim=2)


def test_classes_are_averaged_after_cases():
    # Case first would give ((1 + 0.5) / 2 + 0.2) / 2 = 0.475.
    assert scores([[1.0, 0.5], [0.2, np.nan]]).means().item() == pytest.approx(((1.0 + 0.2) / 2 + 0.5) / 2)


def test_a_class_that_is_never_defined_is_left_out_and_nothing_is_nan():
    assert scores([[0.4, np.nan], [0.6, np.nan]]).means().item() == pytest.approx(0.5)
    assert np.isnan(scores([[np.nan, np.nan]]).means().item())


def test_the_two_averages_differ_where_strata_have_different_sizes():
    found = scores([[0.6], [0.6], [0.6], [0.8]], ["abnormal"] * 3 + ["normal"])
    assert found.means("abnormal").item() == pytest.approx(0.6)
    assert found.means("average", "cases") == found.means("all") == pytest.approx(0.65)
    assert found.means("average", "strata").item() == pytest.approx(0.7)


def test_a_group_that_no_case_has_is_an_error():
    with pytest.raises(UsageError, match=r"'pathological'.*abnormal, normal"):
        scores([[0.6], [0.8]], ["abnormal", "normal"]).means("pathological")


def test_spread_is_the_sample_standard_deviation_over_seeds():
    cell = make_cell(seeds(0.5, 0.6, 0.9), 3, "all")
    assert cell.mean == pytest.approx(np.mean([0.5, 0.6, 0.9]))
    assert cell.sd == pytest.approx(np.std([0.5, 0.6, 0.9], ddof=1))
    assert (cell.state, cell.n_seeds, cell.n_cases) == ("complete", 3, 1)


def test_one_seed_has_no_spread():
    assert make_cell(seeds(0.5), 1, "all").sd is None


def test_missing_seeds_are_counted():
    cell = make_cell(seeds(0.5, 0.7, reason="diverged"), 3, "all")
    assert (cell.state, cell.n_seeds, cell.expected_seeds, cell.reason) == ("partial", 2, 3, "diverged")
    cell = make_cell(RowScores(reason="not run"), 3, "all")
    assert (cell.state, cell.mean, cell.sd, cell.reason) == ("missing", None, None, "not run")


def test_undefined_scores_are_counted_and_a_seed_without_any_is_none():
    uneven = row_scores([[0.5, np.nan], [0.5, 0.7]], [[0.5, 0.5]] * 2)
    assert make_cell(uneven, 2, "all").n_undefined == 1
    cell = make_cell(scores([[np.nan]]), 1, "all")
    assert (cell.state, cell.mean, cell.reason) == ("undefined", None, "no label has a class")
    # A stratum without the organ: one seed predicts nothing there, another is wrong.
    healthy = row_scores([[np.nan], [np.nan]], [[0.0], [np.nan]])
    cell = make_cell(healthy, 2, "all")
    assert (cell.state, cell.values, cell.reason) == ("partial", (0.0,), "no label has a class")


def test_regions_use_their_own_counts(tmp_path):
    evaluation = stored_evaluation(tmp_path, case_rows(cases(0.8)))
    # Inside: 800 found, 200 too many, 200 missed. Outside: 2000 missed.
    assert case_scores(evaluation, "foreground", "zero-fp").values == pytest.approx(0.8)
    assert case_scores(evaluation, "image", "zero-fp").values == pytest.approx(1600 / (1600 + 200 + 2200))


def test_rows_may_come_in_any_order(tmp_path):
    rows = case_rows({"a": ("x", (0.1, 0.2)), "b": ("y", (0.3, 0.4)), "c": ("x", (0.5, 0.6))})
    found = case_scores(stored_evaluation(tmp_path, rows[::-1]), "foreground", "zero-fp")
    assert found.cases == ("c", "b", "a")
    assert found.strata == ("x", "y", "x")
    assert found.classes == ("class 1", "class 2")
    assert found.values[0] == pytest.approx(np.array([[0.5, 0.6], [0.3, 0.4], [0.1, 0.2]]))


@pytest.mark.parametrize(("rule", "expected"), [("skip", np.nan), ("zero-fp", 0.0), ("one", 0.0)])
def test_the_rule_for_empty_classes_is_applied(tmp_path, rule, expected):
    row = {**case_rows(cases(0.5))[0], "tp": 0, "fp": 9, "fn": 0}
    found = case_scores(stored_evaluation(tmp_path, [row]), "foreground", rule)
    np.testing.assert_array_equal(found.values, [[[expected]]])


def test_folds_are_united(tmp_path):
    first, second = cases(0.2, 0.4, prefix="a"), cases(0.9, prefix="b")
    there = fold_scores(tmp_path / "apart", first, second)
    assert (there.seeds, there.counts[0]["scored"]) == ((5,), 3)
    assert there.means().item() == pytest.approx(0.5)  # of cases, not of folds
    with pytest.raises(UsageError, match="more than one fold"):
        fold_scores(tmp_path / "twice", first, first)


def fold_scores(root, *folds):
    """Return the scores of an intra-domain row whose folds scored these cases."""
    row, column = (
        Row(id="intra", method="erm", access="intra", folds=2),
        Column(task="fundus", source="drive", target="lesav"),
    )
    suite = Suite(name="folds", title="Folds", columns=(column,), rows=(row,), seeds=(5,))
    for planned, scores in zip(suite.plan(Filters(), INVENTORY).runs, folds, strict=True):
        write_run(root, planned.request, {"lesav": scores})
    return results_of(root, suite).row_scores(row, column)


def damage_cut(text):
    return text[: text.rindex(",")]


def damage_header(text):
    return text.replace("tp_outside", "outside")


def damage_number(text):
    return text.replace("900", "9e2")


def damage_twice(text):
    return text + text.splitlines()[-1] + "\n"


def damage_lost(text):
    return "\n".join(text.splitlines()[:-1])


def damage_empty(text):
    return text.splitlines()[0]


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (damage_cut, "'class 1' is not a count"),
        (lambda text: text.replace("case-1,all,1", "case-1,all,2"), "a class has two indices"),
        (damage_header, "header is not the expected one"),
        (damage_number, "case-0,all,1,class 1: '9e2' is not a count"),
        (lambda text: text.replace("900,100", "-900,100"), "a count is negative"),
        (lambda text: text.replace("900,100", f"{10**20},100"), "too large"),
        (damage_twice, "it has not for case-1, class 1"),
        (damage_lost, "it should have 2 cases, not 1"),
        (damage_empty, "it has no rows"),
        (lambda _: "", "it has no rows"),
    ],
)
def test_damaged_files_are_named(tmp_path, damage, why):
    evaluation = stored_evaluation(tmp_path, case_rows(cases(0.9, 0.8)), scored=2)
    path = tmp_path / "cases.csv"
    path.write_text(damage(path.read_text().replace("\r\n", "\n")))
    with pytest.raises(UsageError, match=rf"cases\.csv is damaged \(.*{why}.*\); remove that evaluation"):
        case_scores(evaluation, "foreground", "zero-fp")


def test_names_may_hold_commas_and_quotes(tmp_path):
    rows = [{**row, "class_name": 'a "thing", small'} for row in case_rows({"x, y": ("all", (0.5,))})]
    found = case_scores(stored_evaluation(tmp_path, rows), "image", "zero-fp")
    assert (found.cases, found.classes) == (("x, y",), ('a "thing", small',))


def test_files_on_the_same_cases_keep_their_own_scores_and_order(tmp_path):
    rows = case_rows(cases(0.2, 0.4))
    means = [
        case_scores(stored_evaluation(tmp_path / str(index), order), "foreground", "zero-fp").values[0, :, 0]
        for index, order in enumerate([rows, rows[::-1], case_rows(cases(0.6, 0.8))])
    ]
    np.testing.assert_allclose(means, [[0.2, 0.4], [0.4, 0.2], [0.6, 0.8]])
