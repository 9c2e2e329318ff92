"""The crossed interval against numbers by hand and a simulation, Holm's method, and degenerate input."""

import numpy as np
import pytest
from scipy import stats

from ssdg.benchmark.resampling import DRAWS, drawn_means
from ssdg.benchmark.statistics import TargetScores, compare, holm, mean_difference, mean_difference_over

FLAT = np.full((2, 3), 0.5)


def p_of_two(t):
    """Return the two-sided p of Student's t with two degrees of freedom, in closed form."""
    return 1 - abs(t) / np.sqrt(2 + t**2)


def test_over_cases_alone_it_is_the_paired_t_interval():
    found = compare([[0.6, 0.7, 0.8]], [[0.5, 0.5, 0.5]])
    assert found.level == "cases"
    assert (found.cases, found.seeds, found.df) == (3, (1, 1), pytest.approx(2))
    assert found.difference == pytest.approx(0.2)
    error = np.sqrt(0.01 / 3)  # differences 0.1, 0.2, 0.3
    assert found.p == pytest.approx(p_of_two(0.2 / error))
    assert (found.low, found.high) == (pytest.approx(0.2 - 4.302653 * error), pytest.approx(0.2 + 4.302653 * error))
    assert (found.median, found.wins, found.ties, found.losses) == (pytest.approx(0.2), 3, 0, 0)
    assert found.wilcoxon_p == pytest.approx(0.25)  # all three signs alike: 2 of 8


def test_with_several_seeds_runs_add_their_variance():
    """Cases: 0.01 / 3 with 2 degrees of freedom. Runs of A: means 0.8 and 0.6, 0.02 / 2 with 1. Runs of B: none."""
    found = mean_difference([[0.7, 0.8, 0.9], [0.5, 0.6, 0.7]], FLAT)
    assert found.level == "runs and cases"
    assert found.seeds == (2, 2)
    variance = 0.01 / 3 + 0.01
    assert found.df == pytest.approx(32 / 19)
    assert found.p == pytest.approx(2 * stats.t.sf(0.2 / np.sqrt(variance), 32 / 19))
    half = stats.t.ppf(0.975, 32 / 19) * np.sqrt(variance)
    assert (found.low, found.high) == (pytest.approx(0.2 - half), pytest.approx(0.2 + half))


def test_one_seed_of_either_leaves_cases_alone():
    several = [[0.7, 0.8, 0.9], [0.5, 0.6, 0.7]]
    found = mean_difference(several, FLAT[:1])
    assert (found.level, found.seeds, found.df) == ("cases", (2, 1), pytest.approx(2))
    assert found.p == pytest.approx(mean_difference(FLAT[:1], several).p)


def test_strata_weigh_equally_and_each_brings_its_own_variance():
    a, strata = [[0.6, 0.8, 1.0, 0.6]], ["x", "x", "y", "y"]
    found = mean_difference(a, [[0.5, 0.5, 0.5, 0.5]], strata)  # differences 0.1, 0.3; 0.5, 0.1
    variance = (0.02 / 2 + 0.08 / 2) / 4
    assert found.difference == pytest.approx(0.25)
    assert found.df == pytest.approx(variance**2 / ((0.01 / 4) ** 2 + (0.04 / 4) ** 2))
    assert found.p == pytest.approx(2 * stats.t.sf(0.25 / np.sqrt(variance), found.df))
    uneven = mean_difference([[0.6, 0.8, 0.6, 0.8, 1.0, 0.6]], [[0.5] * 6], ["x", "x", "x", "x", "y", "y"])
    assert uneven.difference == pytest.approx((0.2 + 0.3) / 2)


def test_a_run_is_good_or_bad_in_all_strata_at_once():
    """Runs of A are 0.1 apart in both strata: their variance is that of the mean over strata, not a half of it."""
    a = np.array([[0.6, 0.8, 0.9, 0.7], [0.7, 0.9, 1.0, 0.8]])
    found = mean_difference(a, np.full((2, 4), 0.5), ["x", "x", "y", "y"])
    cases = (0.02 / 2 + 0.02 / 2) / 4
    runs = 0.005 / 2
    assert found.p == pytest.approx(2 * stats.t.sf(0.3 / np.sqrt(cases + runs), found.df))


def test_signs_and_orders_do_not_matter():
    rng = np.random.default_rng(3)
    a, b = rng.normal(0.7, 0.1, (3, 9)), rng.normal(0.68, 0.1, (4, 9))
    one, other = compare(a, b), compare(b, a)
    assert (one.difference, one.low, one.high) == pytest.approx((-other.difference, -other.high, -other.low))
    assert (one.p, one.df, one.wilcoxon_p) == pytest.approx((other.p, other.df, other.wilcoxon_p))
    assert (one.wins, one.losses) == (other.losses, other.wins)
    cases = rng.permutation(9)
    mixed = compare(a[rng.permutation(3)][:, cases], b[rng.permutation(4)][:, cases])
    assert (mixed.difference, mixed.p, mixed.median) == pytest.approx((one.difference, one.p, one.median))


def test_a_case_that_is_not_defined_everywhere_is_left_out_of_both():
    rng = np.random.default_rng(4)
    a, b = rng.random((2, 6)), rng.random((2, 6))
    holed_a, holed_b = a.copy(), b.copy()
    holed_a[1, 2] = holed_b[0, 5] = np.nan
    kept = [0, 1, 3, 4]
    strata = np.array(["x", "x", "z", "y", "y", "y"])
    assert compare(holed_a, holed_b) == compare(a[:, kept], b[:, kept])
    assert compare(holed_a, holed_b).cases == 4
    assert compare(holed_a, holed_b, list(strata)) == compare(a[:, kept], b[:, kept], list(strata[kept]))


def test_equal_scores_are_a_tie_with_p_1():
    scores = np.random.default_rng(5).random((1, 8))
    found = compare(scores, scores)
    assert (found.difference, found.low, found.high, found.p, found.wilcoxon_p) == (0, 0, 0, 1, 1)
    assert (found.wins, found.ties, found.losses) == (0, 8, 0)
    repeated = np.repeat(scores, 3, axis=0)
    assert compare(repeated, repeated[:2]).p == 1  # equal runs, whose means differ by rounding


def test_a_constant_difference_has_no_spread():
    scores = np.random.default_rng(6).random((1, 8))
    found = compare(scores + 0.1, scores)
    assert (found.low, found.high) == (pytest.approx(0.1), pytest.approx(0.1))
    assert found.p == 0


@pytest.mark.parametrize("strata", [None, ["x"]])
def test_one_case_says_nothing_of_the_spread(strata):
    found = compare([[0.9], [0.8]], [[0.1], [0.2]], strata)
    assert (found.low, found.high, found.p, found.df) == (-np.inf, np.inf, 1, 0)
    assert (found.difference, found.cases, found.wilcoxon_p) == (pytest.approx(0.7), 1, 1)


def test_one_case_in_a_stratum_says_nothing_of_its_spread():
    found = mean_difference([[0.9, 0.8, 0.7]], [[0.1, 0.2, 0.3]], ["x", "x", "y"])
    assert (found.difference, found.p, found.high) == (pytest.approx((0.7 + 0.4) / 2), 1, np.inf)


def test_sizes_that_differ_by_rounding_alone_share_a_rank():
    """As floats, 0.7 - 0.5 is less than 0.5 - 0.3."""
    even = compare([[0.7, 0.3, 0.7, 0.3]], np.full((1, 4), 0.5))
    assert even.wilcoxon_p == 1  # as much won as lost
    more = compare([[0.7, 0.7, 0.3, 0.9]], np.full((1, 4), 0.5))
    assert more.wilcoxon_p == pytest.approx(8 / 16)  # ranks 2, 2, 2, 4: of 16 sums of ranks won, 8 are >= 8 or <= 2


def test_no_shared_case_is_no_difference_and_no_error():
    found = compare([[np.nan, 0.5]], [[0.5, np.nan]])
    assert np.isnan(found.difference)
    assert (found.p, found.cases, found.wins, found.wilcoxon_p) == (1, 0, 0, 1)


@pytest.mark.parametrize(
    ("a", "b", "strata", "message"),
    [
        ([0.1, 0.2], [[0.1, 0.2]], None, "seeds, cases"),
        (np.empty((0, 2)), [[0.1, 0.2]], None, "at least one seed"),
        ([[0.1, 0.2]], [[0.1]], None, "not 2 and 1"),
        ([[0.1, 0.2]], [[0.1, 0.2]], ["x"], "not 2 and 2 and 1"),
        ([[0.1, np.inf]], [[0.1, 0.2]], None, "infinite"),
    ],
)
def test_scores_that_cannot_be_paired_are_refused(a, b, strata, message):
    with pytest.raises(ValueError, match=message):
        compare(a, b, strata)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def simulated(draws, cases, seeds, run_sd, effect=0.0, seed=20):
    """Return (draws, 2, seeds, cases) scores of two methods whose true means differ by ``effect`` points.

    Method x case has SD 2 points, a run ``run_sd``, and each score noise of 1.
    """
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 2, (draws, 2, 1, cases)) + rng.normal(0, 1, (draws, 2, seeds, cases))
    scores += run_sd * rng.normal(0, 1, (draws, 2, seeds, 1))
    scores[:, 0] += effect
    return scores / 100


def rejected(scores):
    return np.mean([mean_difference(a, b).p < 0.05 for a, b in scores])


@pytest.mark.parametrize("run_sd", [0.0, 1.5])
@pytest.mark.parametrize("seeds", [3, 5])
def test_equal_methods_are_told_apart_at_the_nominal_rate(seeds, run_sd):
    assert 0.03 <= rejected(simulated(2000, 22, seeds, run_sd)) <= 0.07


def test_intervals_hold_the_true_difference_at_the_nominal_rate():
    scores = simulated(1000, 22, 3, 1.5, effect=2.0)
    found = [mean_difference(a, b) for a, b in scores]
    assert 0.93 <= np.mean([one.low <= 0.02 <= one.high for one in found]) <= 0.97


def test_wilcoxon_over_cases_is_not_calibrated_where_runs_vary():
    """Why it is labelled conditional: a run's luck is in every case."""
    steady = np.mean([compare(a, b).wilcoxon_p < 0.05 for a, b in simulated(1000, 22, 3, 0.0)])
    varying = np.mean([compare(a, b).wilcoxon_p < 0.05 for a, b in simulated(1000, 22, 3, 1.5)])
    assert 0.03 <= steady <= 0.07
    assert varying > 0.25


def test_power_grows_with_seeds_and_effect():
    few, more = (rejected(simulated(500, 22, seeds, 1.5, effect=2.0)) for seeds in (3, 5))
    assert 0.15 < few < 0.3 < more < 0.5
    assert rejected(simulated(500, 22, 5, 1.5, effect=6.0)) > 0.95


def test_over_several_targets_runs_vary_together_where_they_are_the_same():
    rng = np.random.default_rng(0)
    first, second = (rng.normal(size=(2, 3, n)) for n in (8, 5))
    together = mean_difference_over([TargetScores(first, runs="x"), TargetScores(second, runs="x")])
    apart = mean_difference_over([TargetScores(first, runs="x"), TargetScores(second, runs="y")])
    means = [(of[0] - of[1]).mean() for of in (first, second)]
    assert together.difference == apart.difference == pytest.approx(np.mean(means))
    assert (together.cases, together.seeds, together.level) == (13, (3, 3), "runs and cases")

    def variance(interval):
        return ((interval.high - interval.difference) / stats.t.ppf(0.975, interval.df)) ** 2

    cases = sum((of[0] - of[1]).mean(axis=0).var(ddof=1) / of.shape[-1] for of in (first, second)) / 4
    runs = np.stack([first.mean(axis=-1), second.mean(axis=-1)])  # (targets, methods, seeds)
    assert variance(together) == pytest.approx(cases + (runs.mean(axis=0).var(axis=-1, ddof=1) / 3).sum())
    assert variance(apart) == pytest.approx(cases + (runs.var(axis=-1, ddof=1) / 3).sum() / 4)


def test_a_target_whose_spread_is_unknown_leaves_the_interval_over_targets_open():
    known = TargetScores(([[0.9, 0.8, 0.7]] * 2, [[0.1, 0.2, 0.3]] * 2))
    interval = mean_difference_over([known, TargetScores(([[0.9]] * 2, [[0.1]] * 2))])
    assert (interval.low, interval.high, interval.p) == (-np.inf, np.inf, 1.0)


def test_cases_that_two_targets_share_vary_together():
    """The same runs and cases twice are no more than once; other runs on the same cases bring no other cases."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 2, 1, 9))
    for strata in (None, ["x"] * 4 + ["y"] * 5):
        once = mean_difference(*first, strata)
        twice = mean_difference_over([TargetScores(first, strata, runs="x", cases="here")] * 2)
        assert (twice.low, twice.high, twice.df) == pytest.approx((once.low, once.high, once.df))
        fresh = mean_difference_over([TargetScores(first, strata, runs="x")] * 2)
        assert fresh.high - fresh.low < 0.8 * (once.high - once.low)
    shared = mean_difference_over(
        [TargetScores(scores, runs=scores is first, cases="here") for scores in (first, second)]
    )
    both = mean_difference((first[0] + second[0]) / 2, (first[1] + second[1]) / 2)
    assert (shared.low, shared.high) == pytest.approx((both.low, both.high))


def test_runs_are_drawn_as_students_t_and_cases_with_the_variance_of_their_mean():
    runs, cases = np.array([1.0, 3.0, 3.5, 0.0, 2.5]), np.array([0.2, 0.9, 0.4, 0.6])
    targets = [TargetScores([np.repeat(runs[:, None], 4, axis=1)]), TargetScores([cases[None]], runs="other")]
    means, drawn = drawn_means(targets, np.random.default_rng(0))
    assert drawn.shape == (2, DRAWS, 1)
    assert means[:, 0] == pytest.approx([runs.mean(), cases.mean()])
    assert drawn.mean(axis=(1, 2)) == pytest.approx(means[:, 0], abs=0.03)
    # The variance of t with 4 degrees of freedom is twice that of the mean.
    assert drawn[0].var() == pytest.approx(2 * runs.var(ddof=1) / 5, rel=0.15)
    assert drawn[1].var() == pytest.approx(cases.var(ddof=1) / 4, rel=0.05)


def test_a_draw_has_the_same_seeds_and_cases_of_targets_that_share_them():
    """Two targets alike: the draws are equal where runs and cases are shared, and not where either is its own."""
    scores = np.random.default_rng(0).normal(size=(2, 3, 6))
    for runs, cases, same in (("x", "here", True), ("y", "here", False), ("x", "there", False), ("x", None, False)):
        targets = [TargetScores(scores, runs="x", cases="here"), TargetScores(scores, runs=runs, cases=cases)]
        _, (first, second) = drawn_means(targets, np.random.default_rng(0))
        assert np.array_equal(first, second) == same
