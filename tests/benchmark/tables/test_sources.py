"""Published numbers of several sources in one cell, in every format; tables of one paper are as they were."""

import csv
import io
import json
from dataclasses import replace

import pytest

from ssdg.benchmark.errors import UsageError
from ssdg.benchmark.suites.inventory import Inventory
from ssdg.benchmark.suites.paper import PublishedScore
from ssdg.benchmark.suites.sources import suite_across
from ssdg.benchmark.suites.suite import Column, Filters
from ssdg.benchmark.suites.suite_file import load_suite
from ssdg.benchmark.tables.build import build_table
from ssdg.benchmark.tables.document import render
from ssdg.benchmark.tables.suite_table import table_document
from ssdg.benchmark.tables.wording import published_text
from ssdg.datasets import TASKS
from ssdg.datasets.grammar import task_from_toml
from ssdg.methods import registry

from ..stored import cases, planned_runs, results_of, table_of, write_run

BOTH = "88.55 (S2S2), 88.63 (SLAug README)"


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """SLAug's runs from CT to MR, in the suite that has two sources for it.

    Volumes are scored whole, and half of what these miss lies outside: the Dice is 45.
    """
    root, suite = tmp_path_factory.mktemp("results"), load_suite("abdomen")
    for planned in planned_runs(suite, methods=("slaug",), targets=("chaos",)):
        write_run(root, planned.request, {"chaos": cases(0.9, 0.9)})
    return build_table(results_of(root, suite, Filters(), Inventory(registry(), TASKS)))


def cells_of(table, row):
    """Return the row's cells as JSON by target."""
    [found] = [each for each in json.loads(render(table_document(table), "json"))["rows"] if each["row"] == row]
    return {cell["target"]: cell for cell in found["cells"]}


def test_all_sources_leave_out_what_has_no_labels_and_need_a_second_domain(tmp_path):
    text = 'name = "own"\nndim = 2\nchannels = 1\nclasses = ["background", "x"]\nshape = [32, 32]\n'
    for name, labels in (("a", 'labels = "a/{case}_l.png"'), ("b", 'labels = "b/{case}_l.png"'), ("bare", "")):
        text += f'[{"domain" if labels else "target"}.{name}]\nimages = "{name}/{{case}}.png"\n{labels}\n'
    (tmp_path / "own.toml").write_text(text)
    (tmp_path / "one.toml").write_text(text.partition("[domain.b]")[0])
    own, one = (task_from_toml(tmp_path / f"{name}.toml") for name in ("own", "one"))
    suite = replace(load_suite("demo"), columns=(Column(task="own", source="a", target="a", label="a"),))
    across = suite_across(suite, ("all",), Inventory({}, {"own": own}))
    assert [(column.source, column.target) for column in across.columns] == [("a", "b"), ("b", "a")]
    with pytest.raises(UsageError, match=r"own has none: add a \[domain\.NAME\].* or leave --sources out"):
        suite_across(suite, ("all",), Inventory({}, {"own": one}))


def test_markdown_and_latex_print_every_source(table):
    markdown = render(table_document(table), "markdown")
    assert f"45.00 ± 0.00 [{BOTH}; \N{MINUS SIGN}43.55]" in markdown
    assert "not run [81.70 (S2S2), 83.05 (SLAug README)]" in markdown
    assert "not in this version [70.50 (S2S2)]" in markdown
    latex = render(table_document(table), "latex")
    assert rf"\scriptsize {BOTH} & \scriptsize 81.70 (S2S2), 83.05 (SLAug README)" in latex
    assert r"\quad\scriptsize difference &  & \scriptsize $-$43.55 & " in latex


def test_csv_has_every_source_in_a_column_of_its_own(table):
    lines = csv.DictReader(io.StringIO(render(table_document(table), "csv")))
    by_cell = {(line["row"], line["target"]): line for line in lines}
    line = by_cell["slaug", "chaos"]
    assert (line["published"], line["published_mean"], line["published_sd"]) == (BOTH, "88.55", "")
    assert line["delta"] == "-43.55"
    assert by_cell["erm", "chaos"]["published"] == by_cell["erm", "chaos"]["published_mean"] == ""


def test_json_has_a_list(table):
    cell = cells_of(table, "slaug")["chaos"]
    assert cell["published"] == [
        {"mean": 88.55, "sd": None, "source": "S2S2"},
        {"mean": 88.63, "sd": None, "source": "SLAug README"},
    ]
    assert (cell["published_mean"], cell["published_sd"], cell["delta"]) == (88.55, None, pytest.approx(-43.55))
    assert cells_of(table, "erm")["chaos"]["published"] == []


def test_the_caption_says_which_source_the_difference_uses_and_cites_each(table):
    assert sum("ours minus the first of them" in line for line in table.lead) == 1
    [position] = [i for i, line in enumerate(table.protocol) if line.startswith("Sources: ")]
    assert "S2S2: Pan et al." in table.protocol[position]
    assert "SLAug README: Su et al." in table.protocol[position]
    assert table.protocol[position + 1] == f"{table.suite.note}."


def test_tables_of_one_paper_are_as_they_were(tmp_path):
    table = table_of(tmp_path, load_suite("table1"))
    header = render(table_document(table), "csv").splitlines()[0]
    assert header.endswith(",best,tied,published_mean,published_sd,delta")
    assert '"published"' not in render(table_document(table), "json")
    assert "[72.88 ± 0.07]" in render(table_document(table), "markdown")
    sentence = "With each number: the published mean ± as printed there, and the difference, ours minus published."
    assert sentence in table.caption
    assert not any(line.startswith("Sources") for line in table.caption)


def test_a_score_says_what_is_printed_of_it():
    scores = PublishedScore(81, 0.5, "A"), PublishedScore(82.345, None, "B"), PublishedScore(83, 1)
    assert published_text(scores) == "81.00 ± 0.50 (A), 82.34 (B), 83.00 ± 1.00"
    assert published_text(()) == ""
