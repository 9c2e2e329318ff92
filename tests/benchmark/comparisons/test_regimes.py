"""The order of rows under several regimes, from hand-made results."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from ssdg.benchmark.comparisons.regimes import REGIMES, regimes_document, study_regimes
from ssdg.benchmark.errors import UsageError
from ssdg.benchmark.figures.regimes import regimes_figure
from ssdg.benchmark.figures.style import save_figure
from ssdg.benchmark.outcomes.results import SuiteResults
from ssdg.benchmark.scoring.metrics import find_metric
from ssdg.benchmark.storage.results_reader import scan
from ssdg.benchmark.suites.suite import Filters, Row, Suite
from ssdg.benchmark.tables.document import render

from ..stored import INVENTORY, IOSTAR, LESAV, cases, write_run

PAPER, CLEAN, STRONG = (regime.name for regime in REGIMES)
ROWS = (
    Row(id="erm", method="erm", label="w/o SSDG", access="source-only"),
    Row(id="ras4dg", method="ras4dg", label="RAS4DG"),
    Row(id="feddg", method="feddg", label="FedDG"),
    Row(
        id="nnunet", method="erm", label="nnU-Net", access="source-only", settings={"training.augmentation": "nnunet"}
    ),
)
SUITE = Suite(name="study", title="Study", columns=(LESAV, IOSTAR), rows=ROWS, seeds=(0, 1))


def plans(suite=SUITE):
    return {regime.name: regime.plan(suite.plan(Filters(), INVENTORY)) for regime in REGIMES}


def studied(root, dice, suite=SUITE, skip=(), spread=0.0, metric=None):
    """Write runs of every regime, of a DSC by regime and row, and return their study."""
    for name, plan in plans(suite).items():
        for number, planned in enumerate(plan.runs):
            if (name, planned.row.id) in skip:
                continue
            signs = [(-1) ** ((number >> (i % 3)) + i) for i in range(8)]
            values = [round(dice[name][planned.row.id] + spread * sign, 3) for sign in signs]
            write_run(root, planned.request, {column.target: cases(*values) for column in planned.columns})
    stored, _ = scan(root)
    results = {name: SuiteResults(plan, stored) for name, plan in plans(suite).items()}
    return study_regimes(results, *([] if metric is None else [metric]))


def dice(**regimes):
    names = {"paper": PAPER, "clean": CLEAN, "strong": STRONG}
    return {names[key]: dict(zip(("erm", "ras4dg", "feddg"), values, strict=True)) for key, values in regimes.items()}


SAME = dice(paper=(0.5, 0.7, 0.6), clean=(0.4, 0.6, 0.5), strong=(0.7, 0.6, 0.5))


def test_each_regime_is_a_protocol_of_its_own_and_rows_with_an_augmentation_are_left_out():
    made = plans()
    for name, protocol, augmentation in (
        (PAPER, "paper", "none"),
        (CLEAN, "clean", "geometric"),
        (STRONG, "clean", "nnunet-da5"),
    ):
        assert [row.id for row in made[name].suite.rows] == ["erm", "ras4dg", "feddg"]
        assert made[name].suite.protocol == protocol
        assert {run.request.training.augmentation for run in made[name].runs} == {augmentation}
    assert REGIMES[2].options == "--protocol clean --set training.augmentation=nnunet-da5"


def test_means_ranks_and_agreement(tmp_path):
    study = studied(tmp_path, SAME)
    assert [row.id for row in study.rows] == ["erm", "ras4dg", "feddg"]
    # `paper` scores whole images, outside of whose field of view these predictions are as often wrong as inside.
    np.testing.assert_allclose(study.means, [[0.25, 0.35, 0.3], [0.4, 0.6, 0.5], [0.7, 0.6, 0.5]], atol=1e-3)
    assert study.ranks.tolist() == [[3, 1, 2], [3, 1, 2], [1, 2, 3]]
    taus = {pair.blocks: (pair.tau, pair.low, pair.high) for pair in study.pairs}
    assert taus[PAPER, CLEAN] == pytest.approx((1, 1, 1))
    assert taus[PAPER, STRONG] == pytest.approx((-1 / 3,) * 3)


def test_the_interval_is_wide_where_cases_differ_more_than_rows(tmp_path):
    near = dice(paper=(0.5, 0.501, 0.502), clean=(0.5, 0.501, 0.502), strong=(0.5, 0.501, 0.502))
    first, again = (studied(tmp_path, near, spread=0.2).pairs for _ in range(2))
    assert first == again
    assert all(pair.low <= -1 / 3 < 1 / 3 <= pair.high for pair in first)


def test_a_row_that_some_regime_lacks_is_left_out_and_named(tmp_path):
    study = studied(tmp_path, SAME, skip={(STRONG, "feddg")})
    assert [row.id for row in study.rows] == ["erm", "ras4dg"]
    assert study.missing == (f"FedDG: not complete under {STRONG} on LES-AV; {STRONG} on IOSTAR",)


def test_one_row_is_no_order(tmp_path):
    with pytest.raises(UsageError, match="two rows that every regime has complete:\n  RAS4DG: not complete"):
        studied(tmp_path, SAME, skip={(CLEAN, "ras4dg"), (CLEAN, "feddg")})


def test_a_metric_that_leaves_misses_out_is_refused(tmp_path):
    with pytest.raises(UsageError, match="leaves misses out"):
        studied(tmp_path, SAME, metric=find_metric("hd95"))


def test_every_form_of_the_table(tmp_path):
    study = studied(tmp_path, SAME)
    text = render(regimes_document(study), "markdown")
    assert "| w/o SSDG | 25.00 [3] | 40.00 [3] | **70.00 [1]** |" in re.sub(" +", " ", text)
    assert f"Kendall's tau between {PAPER} and {CLEAN} 1.00 [1.00, 1.00]" in text
    assert "n = 2 seeds" in text
    assert r"\begin{tabular}" in render(regimes_document(study), "latex")
    assert render(regimes_document(study), "csv").splitlines()[1] == f"erm,w/o SSDG,{PAPER},25,3"
    data = json.loads(render(regimes_document(study), "json"))
    assert data["agreement"][0]["blocks"] == [PAPER, CLEAN]
    assert len(data["rows"]) == 9


def test_one_seed_is_not_resampled_and_said_so(tmp_path):
    assert "the one seed is not resampled" in render(
        regimes_document(studied(tmp_path, SAME, replace(SUITE, seeds=(0,)))), "markdown"
    )


def test_the_figure_shows_every_row_at_every_regime(tmp_path):
    study = studied(tmp_path, SAME)
    drawn = regimes_figure(study, 7.2)
    [axes] = drawn.axes
    assert len(axes.lines) == 3
    assert [line.get_ydata().tolist() for line in axes.lines] == [[2, 2, 0], [0, 0, 1], [1, 1, 2]]
    texts = [text.get_text() for text in axes.texts]
    assert texts.count("RAS4DG") == 2
    assert "70.0" in texts
    save_figure(drawn, tmp_path / "regimes.png")
    assert (tmp_path / "regimes.png").stat().st_size > 5_000
