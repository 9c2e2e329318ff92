"""Scores from counts: the order of means, what is left out, folds, and damaged files."""

import numpy as np
import pytest

from ssdg.benchmark.errors import UsageError
from ssdg.benchmark.outcomes.aggregate import CaseScores, SeedResult, case_scores, make_cell, seed_result
from ssdg.benchmark.scoring.metrics import DSC

from ..stored import case_rows, cases, stored_evaluation


def scores(dice, strata=None):
    dice = np.array(dice, dtype=float)
    names = tuple(f"c{i}" for i in range(len(dice)))
    classes = tuple("ab"[: dice.shape[1]])
    return CaseScores(names, tuple(strata or ["all"] * len(dice)), classes, dice, np.zeros(dice.shape, dtype=bool))


def seeds(*dice):
    return [SeedResult(seed, scores([[value]]), {"scored": 1}) for seed, value in enumerate(dice)]


def test_classes_are_averaged_after_cases():
    # Case first would give ((1 + 0.5) / 2 + 0.2) / 2 = 0.475.
    assert scores([[1.0, 0.5], [0.2, np.nan]]).mean() == pytest.approx(((1.0 + 0.2) / 2 + 0.5) / 2)


def test_a_class_that_is_never_defined_is_left_out_and_nothing_is_nan():
    assert scores([[0.4, np.nan], [0.6, np.nan]]).mean() == pytest.approx(0.5)
    assert np.isnan(scores([[np.nan, np.nan]]).mean())


def test_the_two_averages_differ_where_strata_have_different_sizes():
    found = scores([[0.6], [0.6], [0.6], [0.8]], ["abnormal"] * 3 + ["normal"])
    assert found.mean("abnormal") == pytest.approx(0.6)
    assert found.mean("average", "cases") == found.mean("all") == pytest.approx(0.65)
    assert found.mean("average", "strata") == pytest.approx(0.7)


def test_a_group_that_no_case_has_is_an_error():
    with pytest.raises(UsageError, match=r"'pathological'.*abnormal, normal"):
        scores([[0.6], [0.8]], ["abnormal", "normal"]).mean("pathological")


def test_spread_is_the_sample_standard_deviation_over_seeds():
    cell = make_cell(seeds(0.5, 0.6, 0.9), 3, "all")
    assert cell.mean == pytest.approx(np.mean([0.5, 0.6, 0.9]))
    assert cell.sd == pytest.approx(np.std([0.5, 0.6, 0.9], ddof=1))
    assert (cell.state, cell.n_seeds, cell.n_cases) == ("complete", 3, 1)


def test_one_seed_has_no_spread():
    assert make_cell(seeds(0.5), 1, "all").sd is None


def test_missing_seeds_are_counted():
    cell = make_cell(seeds(0.5, 0.7), 3, "all", reason="diverged")
    assert (cell.state, cell.n_seeds, cell.expected_seeds, cell.reason) == ("partial", 2, 3, "diverged")
    cell = make_cell([], 3, "all", reason="not run")
    assert (cell.state, cell.mean, cell.sd, cell.reason) == ("missing", None, None, "not run")


def test_undefined_scores_are_counted_and_a_cell_without_any_is_an_error():
    results = [SeedResult(0, scores([[0.5, np.nan], [0.5, 0.7]]), {}), SeedResult(1, scores([[0.5, 0.5]] * 2), {})]
    assert make_cell(results, 2, "all").n_undefined == 1
    with pytest.raises(UsageError, match="no defined score"):
        make_cell([SeedResult(0, scores([[np.nan]]), {})], 1, "all")


def test_regions_use_their_own_counts(tmp_path):
    evaluation = stored_evaluation(tmp_path, case_rows(cases(0.8)))
    # Inside: 800 found, 200 too many, 200 missed. Outside: 2000 missed.
    assert case_scores(evaluation, DSC, "foreground", "zero-fp").values == pytest.approx(0.8)
    assert case_scores(evaluation, DSC, "image", "zero-fp").values == pytest.approx(1600 / (1600 + 200 + 2200))


def test_rows_may_come_in_any_order(tmp_path):
    rows = case_rows({"a": ("x", (0.1, 0.2)), "b": ("y", (0.3, 0.4)), "c": ("x", (0.5, 0.6))})
    found = case_scores(stored_evaluation(tmp_path, rows[::-1]), DSC, "foreground", "zero-fp")
    assert found.cases == ("c", "b", "a")
    assert found.strata == ("x", "y", "x")
    assert found.classes == ("class 1", "class 2")
    assert found.values == pytest.approx(np.array([[0.5, 0.6], [0.3, 0.4], [0.1, 0.2]]))


@pytest.mark.parametrize(("rule", "expected"), [("skip", np.nan), ("zero-fp", 0.0), ("one", 0.0)])
def test_the_rule_for_empty_classes_is_applied(tmp_path, rule, expected):
    row = {**case_rows(cases(0.5))[0], "tp": 0, "fp": 9, "fn": 0}
    found = case_scores(stored_evaluation(tmp_path, [row]), DSC, "foreground", rule)
    np.testing.assert_array_equal(found.values, [[expected]])


def test_folds_are_united(tmp_path):
    first = stored_evaluation(tmp_path / "0", case_rows(cases(0.2, 0.4, prefix="a")), scored=2)
    second = stored_evaluation(tmp_path / "1", case_rows(cases(0.9, prefix="b")), scored=1)
    result = seed_result(5, [first, second], DSC, "foreground", "zero-fp")
    assert (result.seed, result.counts["scored"]) == (5, 3)
    assert result.scores.mean() == pytest.approx(0.5)  # of cases, not of folds
    with pytest.raises(UsageError, match="more than one fold"):
        seed_result(5, [first, first], DSC, "foreground", "zero-fp")


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
        case_scores(evaluation, DSC, "foreground", "zero-fp")


def test_names_may_hold_commas_and_quotes(tmp_path):
    rows = [{**row, "class_name": 'a "thing", small'} for row in case_rows({"x, y": ("all", (0.5,))})]
    found = case_scores(stored_evaluation(tmp_path, rows), DSC, "image", "zero-fp")
    assert (found.cases, found.classes) == (("x, y",), ('a "thing", small',))


def test_files_on_the_same_cases_keep_their_own_scores_and_order(tmp_path):
    rows = case_rows(cases(0.2, 0.4))
    means = [
        case_scores(stored_evaluation(tmp_path / str(index), order), DSC, "foreground", "zero-fp").values[:, 0]
        for index, order in enumerate([rows, rows[::-1], case_rows(cases(0.6, 0.8))])
    ]
    np.testing.assert_allclose(means, [[0.2, 0.4], [0.4, 0.2], [0.6, 0.8]])
