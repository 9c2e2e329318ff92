"""Numbers and labels as text."""

import html
import math

import pytest
from markdown_it import MarkdownIt

from ssdg.benchmark.tables.printed import markdown
from ssdg.benchmark.tables.suite_table import rounded
from ssdg.benchmark.tables.wording import MINUS, decimals, percent, signed


def test_no_number_is_a_negative_zero():
    assert (decimals(-0.001), signed(-0.001), str(rounded(-0.00001))) == ("0.00", "+0.00", "0.0")
    assert (decimals(-1.5), signed(-math.inf), signed(math.nan)) == (f"{MINUS}1.50", f"{MINUS}inf", "–")  # noqa: RUF001


def test_a_probability_next_to_certain_is_not_certain():
    shares = (0, 0.0004, 0.012, 0.5, 0.997, 1)
    assert list(map(percent, shares)) == ["", "<1", "1", "50", ">99", "100"]


@pytest.mark.parametrize(
    "label",
    [
        *("_a_", "__a__", "a__b", "x _a_", "training.batch_size", "*a*", "[a](b)", "![a](b)", "~~a~~", "~a~"),
        *("&lt;", "&#60;", "A & B", "<b>", "`a`", "a\\b", "a|b", "81.36 [80.1; +0.2]", "(a) [b] (c)"),
    ],
)
def test_a_label_reads_in_markdown_as_it_was_written(label):
    reader = MarkdownIt("commonmark").enable("strikethrough")
    assert reader.renderInline(markdown(label)) == html.escape(label)
    assert (markdown("training.batch_size"), markdown("A & B [c]")) == ("training.batch_size", "A & B [c]")
