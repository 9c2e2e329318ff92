"""Mean ranks over suites: the ranks, their intervals, who is separated, who is left out."""

from dataclasses import replace

import numpy as np
import pytest

from ssdg.benchmark.comparisons.contrasts import contrast_suites
from ssdg.benchmark.comparisons.mean_ranks import mean_ranks, row_pairs
from ssdg.benchmark.comparisons.render import mean_rank_data, mean_rank_lines, separated_lines
from ssdg.benchmark.errors import UsageError
from ssdg.benchmark.scoring.metrics import DSC, METRICS
from ssdg.benchmark.statistics import TargetScores, holm
from ssdg.benchmark.suites.suite import Row, Suite

from ..stored import CUTMIX, ERM, IOSTAR, LESAV, RAS4DG, MadeResults, row_scores

SECOND = Row(id="ras4dg-2", method="ras4dg", label="Second", settings={"method.rsd": False})
ROWS = (ERM, RAS4DG, SECOND)


def results(name, means, columns=None, rows=ROWS, spread=0.002, seeds=3, cases=12):
    """Return results whose rows have these means on each target, by row id; each suite has a source of its own."""
    columns = columns or tuple(replace(column, source=name) for column in (LESAV, IOSTAR))
    rng = np.random.default_rng(sum(map(ord, name)))
    suite = Suite(name=name, title=name, columns=columns, rows=rows, seeds=tuple(range(seeds)))
    shift = {column: rng.normal(0, 0.05, cases) for column in columns}
    made = {
        (row.id, column): row_scores(*(means[row.id] + shift[column] + rng.normal(0, spread, (seeds, cases))))
        for row in rows
        for column in columns
    }
    return MadeResults(suite, made)


APART = {"erm": 0.5, "ras4dg": 0.7, "ras4dg-2": 0.6}


def test_rows_far_apart_are_separated_and_have_their_ranks_on_every_target():
    ranks = mean_ranks([results("one", APART), results("two", APART), results("three", APART)])
    assert [row.id for row in ranks.rows] == ["erm", "ras4dg", "ras4dg-2"]
    assert ranks.ranks.tolist() == [[3, 1, 2]] * 6
    assert (ranks.mean.tolist(), ranks.low.tolist(), ranks.high.tolist()) == ([3, 1, 2], [3, 1, 2], [3, 1, 2])
    assert [(pair.first, pair.second) for pair in ranks.pairs] == [(1, 2), (1, 0), (2, 0)]
    assert all(pair.adjusted < 0.05 for pair in ranks.pairs)
    assert (ranks.level, ranks.missing) == ("runs and cases", ())
    assert mean_rank_lines(ranks)[1].split()[:2] == ["RAS4DG", "1.00"]
    assert separated_lines(ranks, DSC)[0].startswith("Separated are")
    data = mean_rank_data(ranks, DSC)
    assert data["rows"][0]["ranks"][2] == {
        **{"suite": "two", "target": "lesav", "stratum": "all", "average": "cases"},
        "rank": 1,
    }


def test_rows_whose_order_changes_from_suite_to_suite_are_not_separated():
    turned = {"erm": 0.7, "ras4dg": 0.5, "ras4dg-2": 0.6}
    ranks = mean_ranks([results("one", APART), results("two", turned)])
    assert ranks.mean.tolist() == [2, 2, 2]
    assert all(pair.adjusted == 1 for pair in ranks.pairs)
    assert separated_lines(ranks, DSC) == [separated_lines(ranks, DSC)[0]]
    assert separated_lines(ranks, DSC)[0].startswith("No two rows are separated")


def test_no_row_is_separated_where_one_has_fewer_than_three_seeds():
    ranks = mean_ranks([results("one", APART), results("two", APART, seeds=2)])
    assert all(pair.adjusted < 0.05 for pair in ranks.pairs)
    assert ranks.separated == ()
    [line] = separated_lines(ranks, DSC)
    assert line == "No row is separated: with 2 seeds a row nothing can be told apart, 3 are the least."
    assert not any(pair["separated"] for pair in mean_rank_data(ranks, DSC)["pairs"])


def test_lower_is_better_where_the_metric_says_so():
    lower = replace(METRICS["volume-similarity"], better="lower")
    ranks = mean_ranks([results("one", APART), results("two", APART)], lower)
    assert ranks.mean.tolist() == [1, 3, 2]
    assert (ranks.pairs[0].first, ranks.pairs[1].second) == (0, 1)
    assert ranks.pairs[1].interval.difference == pytest.approx(-0.2, abs=0.01)


def test_rows_that_not_all_suites_have_complete_are_left_out_and_named():
    one = results("one", {**APART, "cutmix": 0.9}, rows=(*ROWS, CUTMIX))
    two = results("two", APART)
    three = results("three", APART, rows=(ERM, replace(RAS4DG, settings={"method.rms": False}), SECOND))
    two.made["ras4dg-2", replace(IOSTAR, source="two")] = row_scores(np.full(12, 0.5))
    with pytest.raises(UsageError) as raised:
        mean_ranks([one, two, three])
    assert "Second: not complete on IOSTAR (two)" in str(raised.value)
    assert "RAS4DG: not the same method and settings" in str(raised.value)
    assert "CutMix" not in str(raised.value)
    fewer = results("fewer", APART, rows=(ERM, RAS4DG))
    ranks = mean_ranks([results("one", APART), fewer])
    assert ranks.missing == ("Second: not a row of fewer",)
    assert len(ranks.rows) == 2


def test_a_metric_that_leaves_misses_out_is_refused():
    with pytest.raises(UsageError, match="HD95 leaves misses out"):
        mean_ranks([results("one", APART), results("two", APART)], METRICS["hd95"])


def test_pairs_are_ordered_by_their_means_and_adjusted_over_all_pairs():
    rng = np.random.default_rng(0)
    targets = [
        TargetScores([mean + rng.normal(0, 0.01, (3, 8)) for mean in (0.5, 0.9, 0.7)], None, run) for run in "ab"
    ]
    pairs = list(row_pairs(targets, np.array([0.5, 0.9, 0.7])))
    assert [(pair.first, pair.second) for pair in pairs] == [(1, 2), (1, 0), (2, 0)]
    assert [pair.interval.difference for pair in pairs] == pytest.approx([0.2, 0.4, 0.2], abs=0.02)
    assert [pair.adjusted for pair in pairs] == holm([pair.interval.p for pair in pairs])


def test_a_pair_of_rows_is_compared_alike_whatever_runs_a_third_one_has():
    rng = np.random.default_rng(0)
    means = rng.normal(0.5, 0.02, (3, 3, 1))  # rows, runs
    targets = [TargetScores(list(means + rng.normal(0, 0.002, (3, 3, 8)))) for _ in range(2)]
    order = np.array([0.3, 0.2, 0.1])
    shared, other = (
        list(row_pairs([replace(t, runs=("a", "b", third[i])) for i, t in enumerate(targets)], order))
        for third in ("cc", "cd")
    )
    assert shared[0] == replace(other[0], adjusted=shared[0].adjusted)
    assert shared[1].interval.high > other[1].interval.high


def test_suites_with_a_source_and_target_in_common_are_refused_and_other_sources_share_cases():
    shared = (replace(LESAV, source="drive"), IOSTAR)
    pair = [results("one", APART, (LESAV,)), results("two", APART, shared)]
    message = "one and two both have LES-AV from the same source: .* would count twice; name one of these suites"
    for refusing in (lambda: mean_ranks(pair), lambda: contrast_suites(pair, "erm")):
        with pytest.raises(UsageError, match=message):
            refusing()
    one, other = results("one", APART, (LESAV,)), results("two", APART, (replace(LESAV, source="chase"),))
    other.made = {(row, other.suite.columns[0]): scores for (row, _), scores in one.made.items()}
    alone, both = mean_ranks([one]).pairs[0].interval, mean_ranks([one, other]).pairs[0].interval
    assert both.high - both.low < alone.high - alone.low  # other runs of the same cases
    one.train_ids = other.train_ids = lambda row, column: (row.id,)
    alone, both = mean_ranks([one]).pairs[0].interval, mean_ranks([one, other]).pairs[0].interval
    assert (both.low, both.high) == pytest.approx((alone.low, alone.high))
