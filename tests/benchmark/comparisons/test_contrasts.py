"""Comparisons of a suite's rows, from a hand-made results folder."""

from dataclasses import replace

import numpy as np
import pytest

from ssdg.benchmark.comparisons.contrasts import (
    contrast_contenders,
    contrast_rows,
    contrast_suites,
    find_baseline,
    find_row,
    misses_notes,
    not_compared,
    rank_rows,
)
from ssdg.benchmark.errors import UsageError
from ssdg.benchmark.outcomes.headings import overall_headings, stratum_headings
from ssdg.benchmark.scoring.metrics import METRICS
from ssdg.benchmark.statistics import compare, holm
from ssdg.benchmark.suites.suite import Filters, Suite

from ..stored import (
    CUTMIX,
    ERM,
    FEDDG,
    FETAL,
    INTRA,
    INVENTORY,
    IOSTAR,
    LESAV,
    RAS4DG,
    MadeResults,
    cases,
    results_of,
    row_scores,
    write_run,
)

SUITE = Suite(name="small", title="Small", columns=(LESAV, IOSTAR), rows=(ERM, RAS4DG, CUTMIX), seeds=(0, 1, 2))

DICE = {
    ("erm", 0): (0.5, 0.7, 0.6),
    ("erm", 1): (0.6, 0.7, 0.5),
    ("erm", 2): (0.6, 0.7, 0.6),
    ("ras4dg", 0): (0.7, 0.8, 0.8),
    ("ras4dg", 1): (0.7, 0.9, 0.8),
    ("ras4dg", 2): (0.8, 0.9, 0.8),
    ("cutmix", 0): (0.9, 0.8, 0.8),
    ("cutmix", 1): (0.9, 0.9, 0.9),
    ("cutmix", 2): (0.9, 0.9, 0.9),
}


def fill(root, suite, dice=DICE):
    """Write every run of a suite; targets differ by a thousandth."""
    for planned in suite.plan(Filters(), INVENTORY).runs:
        values = dice[planned.row.id, planned.request.seed]
        scores = {c.target: cases(*(v + 0.001 * i for v in values)) for i, c in enumerate(planned.columns)}
        write_run(root, planned.request, scores)


def test_every_row_is_compared_with_the_baseline_on_every_target(tmp_path):
    fill(tmp_path, SUITE)
    found = results_of(tmp_path, SUITE)
    family = contrast_rows(found, SUITE.rows, find_baseline(SUITE, None), overall_headings(found))
    assert [(c.row.id, c.other.id, c.heading.column.target) for c in family.contrasts] == [
        ("ras4dg", "erm", "lesav"),
        ("cutmix", "erm", "lesav"),
        ("ras4dg", "erm", "iostar"),
        ("cutmix", "erm", "iostar"),
    ]
    assert family.missing == ()
    a, b = (np.array([DICE[name, seed] for seed in (0, 1, 2)]) for name in ("ras4dg", "erm"))
    first = family.contrasts[0]
    assert first.comparison.difference == pytest.approx((a - b).mean())
    assert first.comparison.p == pytest.approx(compare(a, b).p)
    assert [c.adjusted for c in family.contrasts] == holm([c.comparison.p for c in family.contrasts])


def test_cells_without_all_seeds_are_left_out_and_named(tmp_path):
    fill(tmp_path, replace(SUITE, rows=(ERM, RAS4DG)))
    fill(tmp_path, replace(SUITE, rows=(CUTMIX,), seeds=(0,)))
    found = results_of(tmp_path, SUITE)
    family = contrast_rows(found, SUITE.rows, ERM, overall_headings(found))
    assert {c.row.id for c in family.contrasts} == {"ras4dg"}
    assert family.missing == (
        "CutMix on LES-AV: 1 of 3 seeds (not run)",
        "CutMix on IOSTAR: 1 of 3 seeds (not run)",
    )
    without_baseline = contrast_rows(found, [RAS4DG], CUTMIX, overall_headings(found))
    assert without_baseline.contrasts == ()
    assert len(without_baseline.missing) == 2


def test_folds_are_paired_by_case(tmp_path):
    suite = replace(SUITE, columns=(LESAV,), rows=(ERM, INTRA), seeds=(0,))
    for planned in suite.plan(Filters(), INVENTORY).runs:
        fold = planned.request.fold
        if fold is None:
            scores = {"case-0": ("all", (0.5,)), "case-1": ("all", (0.6,)), "case-2": ("all", (0.7,))}
        elif fold.index == 0:  # the folds' order is not the domain's
            scores = {"case-2": ("all", (0.9,)), "case-0": ("all", (0.8,))}
        else:
            scores = {"case-1": ("all", (0.7,))}
        write_run(tmp_path, planned.request, {"lesav": scores})
    found = results_of(tmp_path, suite)
    family = contrast_rows(found, [INTRA], ERM, overall_headings(found))
    assert family.contrasts[0].comparison.difference == pytest.approx((0.3 + 0.1 + 0.2) / 3)
    assert family.contrasts[0].comparison.median == pytest.approx(0.2)


def test_a_ranking_holds_the_complete_rows_that_saw_the_source_alone(tmp_path):
    suite = replace(SUITE, rows=(ERM, RAS4DG, FEDDG, CUTMIX), columns=(LESAV,))
    fill(tmp_path, replace(SUITE, columns=(LESAV,)))
    found = results_of(tmp_path, suite)
    (ranking,) = rank_rows(found, overall_headings(found))
    assert [row.id for row in ranking.rows] == ["erm", "ras4dg"]
    assert ranking.stability.ranks == (2, 1)
    alone = results_of(tmp_path, replace(suite, rows=(ERM, CUTMIX)))
    assert rank_rows(alone, overall_headings(alone)) == []


@pytest.mark.parametrize(("protocol", "difference"), [("paper", 0.175), ("clean", 0.1375)])
def test_the_average_is_the_protocols(tmp_path, protocol, difference):
    """Three abnormal cases differ by 0.2, one normal case by 0.5; in 3D, halved by what is outside the foreground."""
    suite = replace(SUITE, columns=(FETAL,), rows=(ERM, RAS4DG), seeds=(0,), protocol=protocol)
    for planned in suite.plan(Filters(), INVENTORY).runs:
        low = planned.row.id == "erm"
        abnormal = cases(*((0.4,) * 3 if low else (0.6,) * 3), stratum="abnormal", prefix="a")
        normal = cases(0.3 if low else 0.8, stratum="normal", prefix="n")
        write_run(tmp_path, planned.request, {"feta2021": {**abnormal, **normal}})
    found = results_of(tmp_path, suite)
    (heading,) = overall_headings(found)
    (overall,) = contrast_rows(found, [RAS4DG], ERM, [heading]).contrasts
    assert overall.comparison.difference == pytest.approx(difference)
    assert [one.stratum for one in stratum_headings(found, FETAL)] == ["abnormal", "normal", "average"]
    by_group = contrast_rows(found, [RAS4DG], ERM, stratum_headings(found, FETAL)).contrasts
    assert [c.comparison.difference for c in by_group[:2]] == pytest.approx([0.1, 0.25])


def tissues(*values):
    """Return scores of one seed and two classes, distances by case; NaN is a class that nothing is predicted of."""
    return row_scores(values, missed=np.isnan(values), classes=("easy", "hard"))


def test_a_row_that_misses_what_is_hard_neither_ranks_nor_gains_by_it(tmp_path):
    """Distances of the easy class are 2 or 3; the row that misses the hard one has the better one of what is left."""
    near, far = ([2.0, np.nan], [2.0, 9.0]), ([3.0, 8.0], [3.0, 8.0])
    suite = replace(SUITE, columns=(LESAV,), rows=(ERM, RAS4DG, FEDDG), seeds=(0,))
    rows = {"erm": far, "ras4dg": near, "feddg": ([3.0, 9.0], [3.0, 9.0])}
    hd95 = METRICS["hd95"]
    found = MadeResults(suite, {(row, LESAV): tissues(*values) for row, values in rows.items()})
    headings = overall_headings(found, hd95)
    (ranking,) = rank_rows(found, headings, hd95)
    assert [row.id for row in ranking.rows] == ["erm", "feddg"]
    (contrast,) = contrast_rows(found, [RAS4DG], ERM, headings, hd95).contrasts
    assert contrast.comparison.difference == pytest.approx((2 - 3 + 9 - 8) / 2)  # of each class over its cases
    assert (contrast.comparison.wins, contrast.comparison.ties) == (1, 1)
    misses, explained = misses_notes(found, headings, hd95)
    assert misses == "Misses on LES-AV, which HD95 leaves out: w/o SSDG 0, RAS4DG 1, FedDG 0"
    assert "NSD counts a miss as 0" in explained
    assert misses_notes(found, headings, METRICS["nsd"]) == []


def test_a_difference_is_that_of_the_two_cells_where_a_class_is_not_in_every_case():
    values = {"erm": ([0.5, 0.9], [0.6, np.nan], [0.7, np.nan]), "ras4dg": ([0.6, 0.2], [0.7, np.nan], [0.8, np.nan])}
    suite = replace(SUITE, columns=(LESAV,), rows=(ERM, RAS4DG), seeds=(0,))
    found = MadeResults(suite, {(row, LESAV): row_scores(scores) for row, scores in values.items()})
    (contrast,) = contrast_rows(found, [RAS4DG], ERM, overall_headings(found)).contrasts
    cells = [found.cell(row, LESAV).mean for row in (RAS4DG, ERM)]
    assert contrast.comparison.difference == pytest.approx(cells[0] - cells[1]) == pytest.approx((0.1 - 0.7) / 2)
    (ranking,) = rank_rows(found, overall_headings(found))
    assert ranking.stability.means == pytest.approx(cells[::-1])


def test_only_contenders_are_a_family_and_the_other_rows_are_named(tmp_path):
    fill(tmp_path, SUITE)
    found = results_of(tmp_path, SUITE)
    headings = overall_headings(found)
    family = contrast_contenders(found, ERM, headings)
    assert ([c.row.id for c in family.contrasts], family.size) == (["ras4dg"] * 2, 2)
    assert not_compared(found, ERM) == [
        "Not compared, because they saw target images or labels, or are an ensemble: CutMix ‡"
    ]
    pairs, _ = contrast_suites([found], "erm")
    assert [c.row.id for _, c in pairs] == ["ras4dg"] * 2
    assert {c.row.id for c in contrast_rows(found, [CUTMIX], ERM, headings).contrasts} == {"cutmix"}  # asked for


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_with_fewer_than_three_seeds_there_is_no_verdict_and_no_place_in_the_family(tmp_path, seeds):
    few = replace(SUITE, name="few", rows=(ERM, RAS4DG), columns=(replace(IOSTAR, source="chase"),), seeds=seeds)
    dice = {(row, seed): (0.9 if row == "ras4dg" else 0.1,) * 3 for row in ("erm", "ras4dg") for seed in range(3)}
    fill(tmp_path, few, dice)
    found = results_of(tmp_path, few)
    family = contrast_contenders(found, ERM, overall_headings(found))
    (contrast,) = family.contrasts
    assert contrast.comparison.difference == pytest.approx(0.8)
    assert (contrast.comparison.p, contrast.adjusted, contrast.separated, family.size) == (0, None, False, 0)
    whole = replace(few, name="whole", columns=(LESAV,), seeds=(0, 1, 2))
    fill(tmp_path, whole, dice)
    pairs, _ = contrast_suites([found, results_of(tmp_path, whole)], "erm")
    assert [(c.adjusted, c.separated) for _, c in pairs] == [(None, False), (0, True)]


def test_rows_are_found_by_id_or_by_the_method_of_one():
    both = replace(RAS4DG, id="ras4dg-plain")
    suite = replace(SUITE, rows=(ERM, INTRA, RAS4DG, both, FEDDG))
    assert find_row(suite, "ras4dg-plain") is both
    assert find_row(suite, "erm") is ERM
    with pytest.raises(UsageError, match="several rows of suite 'small' run 'ras4dg'; name one of them: a, b"):
        find_row(replace(suite, rows=(replace(RAS4DG, id="a"), replace(RAS4DG, id="b"))), "ras4dg")
    with pytest.raises(UsageError, match="did you mean 'feddg'"):
        find_row(suite, "fedg")


def test_the_baseline_is_the_plain_source_only_row():
    assert find_baseline(SUITE, None) is ERM
    assert find_baseline(SUITE, "cutmix") is CUTMIX
    stronger = replace(ERM, id="erm_nnunet", settings={"training.augmentation": "nnunet"})
    assert find_baseline(replace(SUITE, rows=(stronger, ERM)), None) is ERM
    with pytest.raises(UsageError, match="has a, b: name the row"):
        find_baseline(replace(SUITE, rows=tuple(replace(stronger, id=name) for name in "ab")), None)
    with pytest.raises(UsageError, match="has no source-only row: name the row to compare with by --baseline"):
        find_baseline(replace(SUITE, rows=(RAS4DG,)), None)
    with pytest.raises(UsageError, match="has erm, other"):
        find_baseline(replace(SUITE, rows=(ERM, replace(ERM, id="other"))), None)
