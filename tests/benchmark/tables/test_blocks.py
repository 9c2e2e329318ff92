"""Whether the order of methods is the same in each block, from hand-made results."""

import itertools
from dataclasses import replace

import pytest
from scipy.stats import kendalltau

from ssdg.benchmark.errors import UsageError
from ssdg.benchmark.scoring.metrics import DSC
from ssdg.benchmark.statistics import kendall_tau
from ssdg.benchmark.suites.blocks import blocks_of
from ssdg.benchmark.suites.suite import Filters, Row, Suite
from ssdg.benchmark.suites.suite_file import load_suite, parse_suite
from ssdg.benchmark.tables.blocks import block_notes, compare_blocks
from ssdg.benchmark.tables.build import build_table

from ..stored import INVENTORY, IOSTAR, LESAV, cases, results_of, write_run

METHODS = ("erm", "ras4dg", "feddg")


def row(method, block, **settings):
    return Row(id=f"{method}_{block}", method=method, label=f"{method} {block}", block=block, settings=settings)


def suite_of(blocks, methods=METHODS, seeds=(0, 1), columns=(LESAV, IOSTAR)):
    networks = {"A": {}, "B": {"network.name": "dynunet"}, "C": {"network.name": "flexibleunet"}}
    rows = tuple(row(method, block, **networks[block]) for block in blocks for method in methods)
    return Suite(name="blocks", title="Blocks", columns=columns, rows=rows, seeds=seeds)


def fill(root, suite, dice, spread=0.0, skip=()):
    """Write every run; a case differs from the row's Dice by up to the spread, in another direction in each row."""
    for number, planned in enumerate(suite.plan(Filters(), INVENTORY).runs):
        request = planned.request
        if (planned.row.id, request.seed) in skip:
            continue
        signs = [(-1) ** ((number >> (i % 3)) + i) for i in range(8)]
        values = [round(dice[planned.row.id] + spread * sign, 3) for sign in signs]
        write_run(root, request, {column.target: cases(*values) for column in planned.columns})


def dice(**blocks):
    return {
        f"{method}_{block}": v for block, values in blocks.items() for method, v in zip(METHODS, values, strict=True)
    }


@pytest.mark.parametrize(
    ("second", "tau"), [((0.4, 0.5, 0.6), 1.0), ((0.9, 0.7, 0.5), -1.0), ((0.5, 0.4, 0.6), 1 / 3)]
)
def test_order_that_is_the_same_reversed_or_neither(tmp_path, second, tau):
    suite = suite_of("AB")
    fill(tmp_path, suite, dice(A=(0.5, 0.6, 0.7), B=second))
    compared = compare_blocks(results_of(tmp_path, suite))
    [agreement] = compared.pairs
    assert agreement.blocks == ("A", "B")
    # Cases that do not vary leave no doubt.
    assert (agreement.tau, agreement.low, agreement.high) == pytest.approx((tau,) * 3)
    assert [heading.column for heading in compared.headings] == [LESAV, IOSTAR]


def test_the_interval_is_wide_where_cases_differ_more_than_methods(tmp_path):
    suite = suite_of("AB")
    fill(tmp_path, suite, dice(A=(0.5, 0.501, 0.502), B=(0.5, 0.501, 0.502)), spread=0.2)
    [agreement] = compare_blocks(results_of(tmp_path, suite)).pairs
    assert agreement.low <= -1 / 3 < 1 / 3 <= agreement.high
    assert agreement == compare_blocks(results_of(tmp_path, suite)).pairs[0]  # seeded


def test_cases_that_are_hard_for_every_row_leave_no_doubt(tmp_path):
    suite = suite_of("AB")
    for planned in suite.plan(Filters(), INVENTORY).runs:
        level = dict(zip(METHODS, (0.0, 0.02, 0.04), strict=True))[planned.row.method]
        values = [round(0.3 + 0.08 * i + level, 3) for i in range(8)]
        write_run(tmp_path, planned.request, {column.target: cases(*values) for column in planned.columns})
    [agreement] = compare_blocks(results_of(tmp_path, suite)).pairs
    assert (agreement.tau, agreement.low, agreement.high) == pytest.approx((1, 1, 1))


def test_every_pair_of_blocks_and_the_note_under_the_table(tmp_path):
    suite = suite_of("ABC")
    fill(tmp_path, suite, dice(A=(0.5, 0.6, 0.7), B=(0.4, 0.5, 0.6), C=(0.9, 0.8, 0.7)))
    results = results_of(tmp_path, suite)
    assert [a.blocks for a in compare_blocks(results).pairs] == [("A", "B"), ("A", "C"), ("B", "C")]
    [note] = block_notes(results)
    assert "order of erm A, ras4dg A, feddg A by mean DSC over LES-AV, IOSTAR: Kendall's tau between" in note
    assert "A and B 1.00 [1.00, 1.00]; A and C \N{MINUS SIGN}1.00 [\N{MINUS SIGN}1.00, \N{MINUS SIGN}1.00]" in note
    assert "10,000 draws of each target's cases, the same for all rows, and each row's seeds for itself" in note
    caption = build_table(results, DSC).caption
    assert f"Note: {note}." in caption
    assert any("erm B with network.name = dynunet" in sentence for sentence in caption)


def test_one_seed_is_not_resampled_and_said_so(tmp_path):
    suite = suite_of("AB", seeds=(0,))
    fill(tmp_path, suite, dice(A=(0.5, 0.6, 0.7), B=(0.4, 0.5, 0.6)))
    [note] = block_notes(results_of(tmp_path, suite))
    assert "the one seed is not resampled" in note


def test_targets_that_lack_a_seed_do_not_count_and_without_any_there_is_no_note(tmp_path):
    suite = suite_of("AB")
    part = replace(suite, columns=(LESAV,))
    fill(tmp_path, part, dice(A=(0.5, 0.6, 0.7), B=(0.4, 0.5, 0.6)))
    compared = compare_blocks(results_of(tmp_path, suite))
    assert [heading.column for heading in compared.headings] == [LESAV]
    other = tmp_path / "other"
    fill(other, suite, dice(A=(0.5, 0.6, 0.7), B=(0.4, 0.5, 0.6)), skip={("erm_B", 1)})
    assert block_notes(results_of(other, suite)) == []


@pytest.mark.parametrize("choice", [Filters(methods=("erm",)), Filters(methods=("erm_A", "ras4dg_A", "feddg_A"))])
def test_a_part_of_the_suite_with_one_method_or_one_block_has_no_note(tmp_path, choice):
    suite = suite_of("AB")
    fill(tmp_path, suite, dice(A=(0.5, 0.6, 0.7), B=(0.4, 0.5, 0.6)))
    assert block_notes(results_of(tmp_path, suite, choice)) == []


def test_methods_that_a_part_leaves_out_of_one_block_are_not_compared(tmp_path):
    suite = suite_of("AB")
    fill(tmp_path, suite, dice(A=(0.5, 0.6, 0.7), B=(0.5, 0.4, 0.6)))
    choice = Filters(methods=("erm", "ras4dg", "feddg_A"))
    compared = compare_blocks(results_of(tmp_path, suite, choice))
    assert [row.id for row in compared.rows] == ["erm_A", "ras4dg_A"]
    assert compared.pairs[0].tau == pytest.approx(-1)


def test_tau_of_pairs_of_orders_is_scipys():
    orders = [*itertools.permutations((0.1, 0.2, 0.3, 0.4)), (0.1, 0.1, 0.2, 0.3), (0.2, 0.3, 0.3, 0.3)]
    ours = kendall_tau(orders[1:], orders[:-1])
    assert ours == pytest.approx([kendalltau(a, b).statistic for a, b in itertools.pairwise(orders)])


TEXT = """
[[columns]]
task = "fundus"
source = "drive"
target = "lesav"
"""


def toml(*rows):
    lines = [
        '[[rows]]\nid = "{}"\nmethod = "{}"\nblock = "{}"\nsettings = {{ {} }}\n'.format(*values) for values in rows
    ]
    return TEXT + "".join(lines)


def test_blocks_have_the_same_methods_once_each():
    a, b = ("a", "erm", "A", ""), ("b", "erm", "B", 'network.name = "dynunet"')
    assert len(blocks_of(parse_suite(toml(a, b), "x", "x").rows)) == 2
    with pytest.raises(UsageError, match="block 'B' lacks randconv: blocks have the same methods"):
        parse_suite(toml(a, b, ("c", "randconv", "A", "")), "x", "x")
    with pytest.raises(UsageError, match="rows 'a' and 'c' of block 'A' are the same method"):
        parse_suite(toml(a, b, ("c", "erm", "A", "")), "x", "x")
    settings = "method.gain = 2.0"
    full = (a, b, ("c", "freesdg", "A", settings), ("d", "freesdg", "B", settings))
    assert all(len(block) == 2 for block in blocks_of(parse_suite(toml(*full), "x", "x").rows).values())


def test_the_suite_of_backbones_has_the_same_methods_on_each_network():
    suite = load_suite("backbones")
    blocks = blocks_of(suite.rows)
    networks = {
        block: {suite.resolved(row)[0]["network"].name for row in rows.values()} for block, rows in blocks.items()
    }
    assert networks == {"SegResNet": {"segresnet"}, "DynUNet": {"dynunet"}, "FlexibleUNet": {"flexibleunet"}}
    assert {tuple(rows) for rows in blocks.values()} == {("erm", "randconv", "freesdg", "ras4dg")}
    assert suite.seeds == (0, 1, 2)
    assert [column.target for column in suite.columns] == ["lesav", "chase", "stare"]
