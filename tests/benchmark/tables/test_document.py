"""A document: headings, sentences and labels of several tables, in each format."""

import json
import re

import pytest

from ssdg.benchmark.errors import UsageError
from ssdg.benchmark.tables.document import Document, Part, render
from ssdg.benchmark.tables.printed import Printed, PrintedColumn

COLUMNS = (PrintedColumn("Method", str, align="l"), PrintedColumn("Score", lambda row: str(len(row))))


def never():
    raise AssertionError("computed for a format that does not print it")


def document(records=never, data=never, **fields):
    parts = [Part(Printed(COLUMNS, ["a_b"]), "First", ["Of one."]), Part(Printed(COLUMNS, ["c"]))]
    return Document("Title", "label", parts, records, data, sentences=["Of all."], **fields)


def test_markdown_has_a_title_headings_sentences_and_the_protocol_folded():
    table = ["| Method | Score |", "|--------|-------|"]
    first = [*table, "| a_b    | 3     |"]
    second = [*table, "| c      | 1     |"]
    folded = ["<details><summary>Protocol</summary>", "", "* Clean.", "", "</details>"]
    expected = ["**Title**", "", "**First**", "", *first, "", "* Of one.", "", *second, "", "* Of all."]
    assert render(document(), "markdown") == "\n".join([*expected, ""])
    assert render(document(protocol=["Clean."]), "markdown") == "\n".join([*expected, "", *folded, ""])


def test_latex_has_a_label_of_its_own_and_all_sentences_for_each_table():
    latex = render(document(), "latex")
    assert re.findall(r"\\label\{tab:(.*?)\}", latex) == ["label", "label-2"]
    assert re.findall(r"\\caption\{(.*?)\}", latex) == ["Title: First", "Title"]
    assert (latex.count("Of one."), latex.count("Of all."), latex.count("Protocol")) == (1, 2, 0)
    assert latex.splitlines()[:2] == [
        r"% Needs \usepackage{booktabs}; in a class of two columns, say table*.",
        r"\begin{table}",
    ]
    assert "sidewaystable" in render(document(wide=True), "latex")


def test_programs_read_records_and_data_alone():
    assert render(document(records=lambda: [{"row": "a", "n": None}, {"row": "b", "n": 0.5}]), "csv") == (
        "row,n\na,\nb,0.5\n"
    )
    assert json.loads(render(document(data=lambda: {"pairs": (1, 2)}), "json")) == {"pairs": [1, 2]}
    with pytest.raises(UsageError, match="unknown table format 'htlm'"):
        render(document(), "htlm")


def test_latex_headings_in_lines_are_grouped_and_a_heading_of_one_line_is_in_the_last():
    grouped = [PrintedColumn(f"B {name}", str, stacked=("B", name)) for name in ("cases", "strata")]
    lines = render(Document("Title", "label", [Part(Printed([COLUMNS[0], *grouped], ["a"]))], never, never), "latex")
    header = [r" & \multicolumn{2}{c}{B} \\", r"\cmidrule(lr){2-3}", r"Method & cases & strata \\"]
    assert "\n".join([r"\toprule", *header, r"\midrule"]) in lines
