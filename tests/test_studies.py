"""The studies: their intervals and ranks are those of the package, and their tables say what they claim."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from ssdg.benchmark.statistics import mean_difference

FOLDER = Path(__file__).parents[1] / "studies"


def script(name):
    """Return a script as a module."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def study():
    return script("run_variances")


def test_todays_kind_is_the_interval_of_the_package(study):
    scores = study.simulated(study.Setting(1.5, 10, 3, 10, 4), draws=2)
    difference, half = study.intervals(scores, study.plain)
    for table, row in np.ndindex(difference.shape):
        interval = mean_difference(scores[table, row + 1], scores[table, 0])
        assert difference[table, row] == pytest.approx(interval.difference)
        assert half[table, row] == pytest.approx((interval.high - interval.low) / 2)


@pytest.mark.parametrize("df", [2, 4])
def test_the_fits_find_the_prior_that_variances_were_drawn_from(study, df):
    """Inverse chi-squared variances, prior degrees of freedom 6 and scale 3; 4,000 rows leave little to chance."""
    rng = np.random.default_rng(0)
    true = 3.0 * 6 / rng.chisquare(6, (1, 4000))
    variances = true * rng.chisquare(df, true.shape) / df
    for kind in (study.moderated, study.robust):
        posterior, freedom = kind(variances, df)
        assert np.median(freedom) == pytest.approx(df + 6, rel=0.2)
        # Regression of the posterior on the variances: (df s² + 6 · 3) / (df + 6).
        middle = np.argsort(variances[0])[1000:3000]
        expected = (df * variances + 18) / (df + 6)
        assert posterior[0, middle] == pytest.approx(expected[0, middle], rel=0.1)


def test_without_spread_beyond_chance_variances_are_pooled_and_no_more_is_known_than_by_all(study):
    variances = np.array([[1.0, 1.05, 0.95, 1.0, 1.02, 0.98]])
    posterior, freedom = study.moderated(variances, 2)
    assert np.ptp(posterior) < 1e-3
    assert freedom.tolist() == [[12.0] * 6]


def test_an_outlier_that_stands_out_keeps_its_own_variance_in_the_robust_fit(study):
    variances = np.append(np.random.default_rng(1).chisquare(4, (1, 12)) / 4, [[400.0]], axis=1)
    posterior, freedom = study.robust(variances, 4)
    assert posterior[0, -1] > 0.6 * variances[0, -1] > 2 * study.moderated(variances, 4)[0][0, :-1].max()
    assert freedom[0, -1] < freedom[0, :-1].min()


def test_the_table_has_a_line_for_each_setting_and_shows_why_today_stays(study):
    equal, unequal = study.Setting(1.5, 1, 3, 10, 10), study.Setting(1.5, 10, 3, 10, 10)
    lines = list(study.lines([equal, unequal], draws=300))
    assert [line.count("|") for line in lines[2:]] == [10] * 4
    tallies = study.tally(unequal, draws=300)
    assert 0.02 < tallies["today"].error < 0.06
    assert tallies["today"].wide_error < 0.12 < tallies["moderated"].wide_error
    powers = [study.tally(equal, draws=300)[name].power for name in ("today", "moderated", "robust")]
    assert powers[0] < min(powers[1:])


def test_mean_ranks_seldom_separate_equal_rows_and_always_those_far_apart():
    ranks = script("mean_ranks")
    setting = ranks.Setting(suites=4, targets=2, rows=3, seeds=5, widest=1)
    error, _ = ranks.measure(setting, studies=150)
    assert error < 0.12
    rng = np.random.default_rng(0)
    found = [ranks.separated(ranks.simulated(setting, rng, better=30.0)) for _ in range(5)]
    assert all({(0, 1), (0, 2)} <= pairs for pairs in found)
