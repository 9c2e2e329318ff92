"""How numbers of a comparison are written, and where intervals are drawn."""

import numpy as np
import pytest

from ssdg.benchmark.comparisons.contrasts import Contrast
from ssdg.benchmark.comparisons.render import WIDTH, aligned, comparison_lines, p_text
from ssdg.benchmark.outcomes.headings import Heading
from ssdg.benchmark.statistics import Comparison
from ssdg.benchmark.suites.suite import Column, Row
from ssdg.benchmark.tables.wording import signed

ROW = Row(id="row", method="erm", label="Row")
HEADING = Heading(Column(task="fundus", source="drive", target="lesav", label="LES-AV"), "all")


def contrast(difference, low, high, p=0.5):
    found = Comparison(difference, low, high, p, 9.0, "cases", 10, (1, 1), 0.25, difference, 6, 1, 3)
    return Contrast(ROW, ROW, HEADING, found, min(1.0, 2 * p))


def drawings(*contrasts):
    header, *lines = comparison_lines(contrasts, ["a row"] * len(contrasts), 100)
    return [line.ljust(len(header))[-WIDTH:] for line in lines]


def test_a_line_has_every_number():
    header, line = comparison_lines([contrast(0.02, -0.01, 0.05)], ["Row"], 100)
    assert line[:-WIDTH].split() == [
        *("Row", "10", "+2.00", "[\N{MINUS SIGN}1.00,", "+5.00]", "0.5000", "1.0000", "0.2500", "6/1/3")
    ]
    assert header.endswith("+5.00")


def test_intervals_are_drawn_on_one_axis_that_holds_0():
    first, second = drawings(contrast(0.10, 0.0, 0.20), contrast(0.30, 0.20, 0.40))
    assert first == "|" + "-" * 9 + "o" + "-" * 10 + " " * 20  # up to the middle of 0 to 40 points
    assert second == "|" + " " * 19 + "-" * 10 + "o" + "-" * 10


@pytest.mark.parametrize(("low", "high"), [(-np.inf, np.inf), (0.0, 0.0)])
def test_an_unknown_or_absent_spread_can_be_drawn(low, high):
    (line,) = drawings(contrast(0.0, low, high, p=1.0))
    assert len(line) == WIDTH
    assert line.count("o") == 1
    assert line.count("-") == (WIDTH - 1 if np.isinf(high) else 0)


def test_numbers_are_written_with_their_sign():
    assert [signed(v) for v in (0.125, -1.0, -0.001, np.inf, -np.inf, np.nan)] == [
        *("+0.12", "\N{MINUS SIGN}1.00", "+0.00", "+inf", "\N{MINUS SIGN}inf", "\N{EN DASH}")
    ]
    assert [p_text(p) for p in (1.0, 0.00012, 0.00001, 0.0)] == ["1.0000", "0.0001", "<0.0001", "<0.0001"]
    assert aligned([["", "n"], ["name", "10"]]) == ["       n", "name  10"]
