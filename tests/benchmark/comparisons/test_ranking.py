"""Ranks, Kendall's tau, and what the bootstrap says of rankings whose firmness is known."""

import itertools

import numpy as np
import pytest
from scipy import stats

from ssdg.benchmark.comparisons.ranking import competition_ranks, rank_stability
from ssdg.benchmark.statistics import TargetScores, kendall_tau


def stability(*methods, strata=None, sign=1.0):
    return rank_stability(TargetScores(methods, strata), sign)


def test_equal_scores_share_the_better_rank():
    assert competition_ranks([0.3, 0.5, 0.5, 0.1]).tolist() == [3, 1, 1, 4]
    assert competition_ranks([[0.1, 0.2], [0.2, 0.1]]).tolist() == [[2, 1], [1, 2]]


def test_kendall_tau_is_that_of_scipy():
    reference = np.array([0.4, 0.1, 0.4, 0.9, 0.2])
    orders = np.array(list(itertools.permutations([0.1, 0.2, 0.3, 0.3, 0.5])))
    expected = [stats.kendalltau(order, reference).statistic for order in orders]
    assert kendall_tau(orders, reference) == pytest.approx(np.array(expected))
    assert kendall_tau([0.5, 0.5], [0.1, 0.2]) == 0  # nothing but ties


def test_methods_far_apart_keep_their_ranks():
    rng = np.random.default_rng(0)
    methods = [rng.normal(mean, 0.01, (3, 10)) for mean in (0.5, 0.9, 0.7)]
    found = stability(*methods)
    assert found.ranks == (3, 1, 2)
    # Runs are drawn as Student's t: few draws lie very far out.
    assert found.expected == pytest.approx((3, 1, 2), abs=0.001)
    assert found.probabilities == pytest.approx(np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]]), abs=0.001)
    assert (found.tau, found.tau_low, found.tau_high) == (pytest.approx(1, abs=0.001), 1, 1)
    assert found.means == pytest.approx([scores.mean() for scores in methods])
    assert stability(*methods, sign=-1.0).ranks == (1, 3, 2)


def test_probabilities_are_those_of_all_draws_enumerated():
    """One seed, three cases: 27 equally likely draws, spread by sqrt(3 / 2); A is better than B in case 0 alone."""
    a, b = np.array([[0.8, 0.1, 0.1]]), np.array([[0.5, 0.3, 0.3]])
    gains = (a - b)[0]
    drawn = np.array([gains[list(draw)].mean() for draw in itertools.product(range(3), repeat=3)])
    wins = np.mean(gains.mean() + (drawn - gains.mean()) * 1.5**0.5 > 0)
    found = stability(a, b)
    assert found.level == "cases"
    assert found.probabilities[0] == pytest.approx([wins, 1 - wins], abs=0.015)
    assert found.expected[0] == pytest.approx(2 - wins, abs=0.015)


def test_seeds_are_drawn_for_each_method_on_its_own():
    """A's two runs are above and below B's mean, equally in all cases: half of the draws mix them into a tie."""
    a, b = np.array([[0.8, 0.8], [0.4, 0.4]]), np.full((2, 2), 0.6)
    found = stability(a, b)
    assert found.level == "runs and cases"
    assert found.probabilities[0] == pytest.approx([0.75, 0.25], abs=0.015)
    assert found.probabilities[1] == pytest.approx([0.75, 0.25], abs=0.015)  # a tie gives both the better rank


def test_strata_weigh_equally_and_keep_their_size():
    """A wins in the one case of y by more than it loses in those of x: drawn within strata, nothing ever changes."""
    a, b = np.array([[0.5, 0.5, 0.5, 0.9]]), np.array([[0.6, 0.6, 0.6, 0.5]])
    assert stability(a, b, strata=["x", "x", "x", "y"]).probabilities[0].tolist() == [1, 0]
    assert 0 < stability(a, b).probabilities[0, 0] < 1
    assert stability(a, b, strata=["x", "x", "x", "y"]).means == pytest.approx([0.7, 0.55])


def test_a_ranking_printed_twice_is_the_same():
    methods = [np.random.default_rng(seed).random((3, 8)) for seed in range(4)]
    one, other = stability(*methods), stability(*methods)
    assert one.expected == other.expected
    assert one.probabilities.sum(axis=1) == pytest.approx(np.ones(4))


def test_cases_not_defined_for_all_are_left_out():
    methods = [np.random.default_rng(seed).random((2, 6)) for seed in range(3)]
    holed = [scores.copy() for scores in methods]
    holed[1][0, 2] = np.nan
    kept = [0, 1, 3, 4, 5]
    found, expected = stability(*holed), stability(*(scores[:, kept] for scores in methods))
    assert found.cases == 5
    assert found.expected == expected.expected
    with pytest.raises(ValueError, match="no case is defined"):
        stability(np.full((1, 2), np.nan), np.ones((1, 2)))
    with pytest.raises(ValueError, match="need the same cases"):
        stability(np.ones((1, 2)), np.ones((1, 3)))
