"""The best rows and those not separated from them, on cells and scores made by hand."""

from dataclasses import replace

import numpy as np
import pytest

from ssdg.benchmark.outcomes.headings import Heading
from ssdg.benchmark.outcomes.scores import common_scores
from ssdg.benchmark.scoring.metrics import DSC, METRICS
from ssdg.benchmark.statistics import holm, mean_difference
from ssdg.benchmark.storage.run_folder import VALIDATION
from ssdg.benchmark.suites.inventory import Inventory
from ssdg.benchmark.suites.suite import Column, Row, Suite
from ssdg.benchmark.tables.significance import mark_columns

from ..stored import INVENTORY, MadeResults, row_scores

HERE = Heading(Column(task="fundus", source="drive", target="lesav"), "all")
THERE = Heading(Column(task="fundus", source="drive", target="iostar"), "all")


def rows(*ids, **settings):
    return [Row(id=name, method=name, label=name, **settings) for name in ids]


def marks(rows, scores, headings=(HERE,), seeds=3, metric=DSC):
    """Return the marked rows; ``scores[row id]`` holds the scores of each heading."""
    columns = tuple(dict.fromkeys(heading.column for heading in headings))
    suite = Suite(name="made", title="Made", columns=columns, rows=tuple(rows), seeds=tuple(range(seeds)))
    made = {(r.id, h.column): scores[r.id][position] for r in rows for position, h in enumerate(headings)}
    methods = {row.method: INVENTORY.methods["cutmix" if row.access == "uda" else "erm"] for row in rows}
    results = MadeResults(suite, made, Inventory(methods, INVENTORY.tasks))
    cells = [[results.cell(row, h.column, h.stratum, h.average, metric) for h in headings] for row in rows]
    return mark_columns(results, headings, cells, metric)


def spread(mean, offsets=(0.0, 0.01, -0.01, 0.02, -0.02)):
    return [mean + offset for offset in offsets]


def runs(*cases, shifts=(0.0, 0.001, -0.001)):
    """Return the scores of a row on one target, whose seeds differ by ``shifts``."""
    return row_scores(*[[case + shift for case in cases] for shift in shifts])


def test_the_best_mean_is_bold_and_what_is_not_separated_from_it_is_marked_apart():
    noisy = [0.75, 0.60, 0.72, 0.66, 0.73]
    far = spread(0.5, (0, 0.02, 0.01, 0.01, 0))
    scores = {"good": [runs(*spread(0.7))], "near": [runs(*noisy)], "far": [runs(*far)]}
    made = marks(rows("good", "near", "far"), scores)
    assert made.best == ({"good"},)
    assert made.tied == ({"near"},)
    assert made.comparisons == 2
    assert "≈: not separated from it, which does not mean equal (p over runs and cases above 0.05" in made.rule
    assert made.rule.endswith("after Holm over 2 comparisons)")
    [price] = made.notes
    assert "in 9 to 17 % of simulated tables instead of 5 %" in price
    assert marks(rows("good", "near"), scores).notes == []  # of two rows either may be the best


def test_a_row_that_swings_is_tied_and_not_bold():
    """The table that made a row of 16 ± 22 bold beside 82."""
    swings = runs(0.15, 0.16, 0.17, shifts=(0.6, -0.15, -0.15))
    made = marks(rows("swings", "good"), {"swings": [swings], "good": [runs(0.81, 0.82, 0.83)]})
    assert (made.best, made.tied) == (({"good"},), ({"swings"},))


@pytest.mark.parametrize(("seeds", "words"), [(1, "1 seed"), (2, "2 seeds")])
def test_with_fewer_than_three_seeds_nothing_is_tied_and_the_best_is_bold(seeds, words):
    """The rows' cases overlap so far that any comparison would call them tied."""
    scores = {name: [row_scores(*[spread(0.7 + shift)] * seeds)] for name, shift in (("good", 0.001), ("near", 0.0))}
    made = marks(rows("good", "near"), scores, seeds=seeds)
    assert (made.best, made.tied, made.comparisons) == (({"good"},), (frozenset(),), 0)
    assert made.rule.endswith(f"; with {words} a row nothing can be told apart, 3 are the least")


def test_equal_means_are_both_bold():
    made = marks(
        rows("one", "other", "low"),
        {name: [runs(*spread(0.7))] for name in ("one", "other")} | {"low": [runs(*spread(0.2))]},
    )
    assert (made.best, made.tied) == (({"one", "other"},), (frozenset(),))


def test_the_family_is_the_whole_table():
    """One comparison has p of about 0.035: enough alone, not beside a second column."""
    good, other = runs(*spread(0.7)), runs(0.680, 0.704, 0.680, 0.719, 0.6652)
    p = mean_difference(other.case_means(), good.case_means()).p
    assert 0.025 < p < 0.05
    alone = marks(rows("good", "other"), {"good": [good], "other": [other]})
    assert alone.tied == (frozenset(),)
    two = marks(rows("good", "other"), {"good": [good] * 2, "other": [other] * 2}, (HERE, THERE))
    assert holm([p, p])[0] > 0.05
    assert two.tied == ({"other"}, {"other"})


def test_runs_that_vary_tie_what_cases_alone_would_separate():
    rng = np.random.default_rng(0)
    cases = rng.normal(0, 0.005, 12)
    made = {}
    for luck in (0.0, 0.03):
        for name, mean in (("good", 0.70), ("other", 0.68)):
            made[name] = [row_scores(*(mean + luck * s + cases + rng.normal(0, 0.002, 12) for s in (-1, 0, 1)))]
        assert marks(rows("good", "other"), made).tied == ({"other"} if luck else frozenset(),)


def test_rows_that_saw_the_target_and_partial_cells_do_not_compete():
    adapted, intra = rows("adapted", access="uda")[0], rows("intra", access="intra", folds=2)[0]
    oracle = rows("oracle", selection="oracle")[0]
    scores = {"good": 0.7, "partial": 0.9, "adapted": 0.9, "intra": 0.9, "oracle": 0.9, "weak": 0.3}
    seeds = {name: [spread(mean, (0, 0.01, 0.02))] * 3 for name, mean in scores.items()}
    seeds["partial"].pop()
    made = {name: [row_scores(*of_row)] for name, of_row in seeds.items()}
    listed = [*rows("good", "weak", "partial"), adapted, intra, oracle]
    marked = marks(listed, made)
    assert (marked.best, marked.tied) == (({"good"},), (frozenset(),))
    assert marked.comparisons == 1
    single = marks([listed[0], adapted], made)
    assert single.best == (frozenset(),)
    assert single.rule.startswith("Bold: none")


def test_the_lowest_distance_wins_among_rows_with_the_fewest_misses():
    nan = np.nan
    hd95 = METRICS["hd95"]
    scores = {
        "short": [row_scores([2.0, 2.5, 2.2, 2.1])],
        "long": [row_scores([9.0, 9.5, 9.1, 9.4])],
        "misses": [row_scores([1.0, nan, 1.1, 1.2], missed=[False, True, False, False])],
    }
    made = marks(rows("long", "short", "misses"), scores, seeds=1, metric=hd95)
    assert made.best == ({"short"},)
    assert "and have the fewest misses" in made.rule


def test_a_case_scores_the_mean_of_its_defined_classes():
    nan = np.nan
    one = row_scores([[0.2, 0.4], [0.6, nan], [nan, nan]])
    other = row_scores(*[[[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]]] * 2)
    made = common_scores([one, other])
    assert made.case_means[0] == pytest.approx(np.array([[0.3, 0.6, nan]]), nan_ok=True)
    assert made.scores[1].tolist() == [[0.5] * 3] * 2
    assert made.strata is None


def test_what_one_row_misses_is_left_out_for_all_and_a_wrong_prediction_is_not():
    """Class 1 is hard. One row misses it in case 0; the label of case 1 lacks it, where the other row finds it."""
    nan = np.nan
    missed = [[True, False], [False, False], [False, False]]
    misses = row_scores([[nan, 2.0], [nan, 2.0], [8.0, 2.0]], missed=missed)
    finds = [[8.0, 3.0], [0.0, 3.0], [8.0, 3.0]]
    made = common_scores([misses, row_scores(finds, finds)])
    assert made.case_means[0].tolist() == [[2.0, 2.0, 5.0]]
    assert made.case_means[1].tolist() == [[3.0, 1.5, 5.5]] * 2
    scored_0 = row_scores([[0.0, 2.0], [0.0, 2.0], [8.0, 2.0]], missed=missed)
    assert common_scores([scored_0, row_scores(finds)]).case_means[1].tolist() == [
        [5.5, 1.5, 5.5]
    ]  # a miss that scores 0 is a score


def test_pairs_are_made_by_case_whatever_the_order():
    one = row_scores([0.1, 0.2, 0.3], strata=("x", "y", "x"))
    names = (*one.cases[::-1], "another")
    turned = row_scores([0.9, 0.8, 0.7, 0.0], strata=("x", "y", "x", "x"), cases=names)
    made = common_scores([one, turned], "average", "strata")
    assert made.cases == ("case-0", "case-1", "case-2")
    assert made.strata == ("x", "y", "x")
    assert made.scores[1].tolist() == [[0.7, 0.8, 0.9]]
    assert common_scores([one], "x").cases == ("case-0", "case-2")


@pytest.mark.parametrize(("stratum", "average"), [("all", "cases"), ("average", "strata"), ("x", "cases")])
def test_the_mean_of_what_is_compared_is_the_cell(stratum, average):
    """Classes are absent from some cases, in each row and seed from others; one case has none in any."""
    rng = np.random.default_rng(0)
    strata = ("x", "y") * 6
    rows = []
    for _ in range(2):
        values = rng.random((2, 12, 3))
        values[rng.random(values.shape) < 0.3] = np.nan
        values[:, 4] = np.nan
        rows.append(row_scores(*values, strata=strata))
    made = common_scores(rows, stratum, average)
    for scores, row in zip(made.scores, rows, strict=True):
        weights = (
            [1 / made.strata.count(name) / 2 for name in made.strata] if made.strata else np.ones(len(scores[0]))
        )
        assert np.average(scores, axis=1, weights=weights) == pytest.approx(row.means(stratum, average))
    assert "case-4" not in made.cases
    interval = mean_difference(*made.scores, made.strata)
    means = [row.means(stratum, average).mean() for row in rows]
    assert interval.difference == pytest.approx(means[0] - means[1])


def test_bold_and_separation_are_of_one_quantity():
    """The second class is in 1 of 40 cases. There FedDG is far ahead; in the first class it is 3 points behind."""
    values = {name: np.full((3, 40, 2), np.nan) for name in ("feddg", "ras4dg")}
    rng = np.random.default_rng(0)
    for array, first, second in zip(values.values(), (0.80, 0.832), (0.90, 0.52), strict=True):
        array[..., 0] = first + rng.normal(0, 0.002, (3, 40))
        array[:, 0, 1] = second + rng.normal(0, 0.002, 3)
    made = marks(rows("feddg", "ras4dg"), {name: [row_scores(*array)] for name, array in values.items()})
    assert (made.best, made.tied) == (({"feddg"},), ({"ras4dg"},))


def test_the_marks_of_targets_are_those_without_held_out_columns():
    held_out = replace(HERE, column=replace(HERE.column, target=VALIDATION))
    good, other = runs(*spread(0.7)), runs(0.680, 0.704, 0.680, 0.719, 0.6652)
    alone = marks(rows("good", "other"), {"good": [good], "other": [other]})
    both = marks(rows("good", "other"), {"good": [good] * 2, "other": [other] * 2}, (held_out, HERE))
    assert (both.best[1], both.tied[1], both.comparisons) == (alone.best[0], alone.tied[0], 1)
    assert (both.best[0], both.tied[0]) == ({"good"}, frozenset())
    assert both.rule.endswith("after Holm over 1 comparison; no ≈ on held-out source cases)")


def test_a_single_row_with_the_fewest_misses_is_compared_with_nothing():
    misses = row_scores(*[[np.nan, 1.0, 1.1, 1.2]] * 3, missed=[[True, False, False, False]] * 3)
    scores = {"finds": [row_scores(*[[2.0, 2.5, 2.2, 2.1]] * 3)], "misses": [misses]}
    made = marks(rows("finds", "misses"), scores, metric=METRICS["hd95"])
    assert made.best == ({"finds"},)
    assert made.rule.endswith("; a single row has the fewest misses, so that nothing is compared")


def test_a_row_that_is_better_on_the_cases_of_both_is_not_marked_as_worse():
    """Each row misses a case; the bold one misses the hard case, and is farther on those that both have."""
    bold = [np.nan, 1.0, 2.0, 2.01, 2.02, 2.01]
    other = [9.0, np.nan, 1.5, 1.51, 1.5, 1.52]
    missed = [np.isnan(values).tolist() for values in (bold, other)]
    scores = {
        name: [row_scores(*[values] * 3, missed=[gaps] * 3)]
        for name, values, gaps in zip(("bold", "other"), (bold, other), missed, strict=True)
    }
    made = marks(rows("bold", "other"), scores, metric=METRICS["hd95"])
    assert (made.best, made.tied, made.comparisons) == (({"bold"},), ({"other"},), 1)
