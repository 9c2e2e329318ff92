"""Checkpoints chosen on the target: runs of their own, rows of their own, and a mark wherever one is printed."""

import csv
import io
import json
from dataclasses import replace

import pytest

from ssdg.benchmark.digests import to_json
from ssdg.benchmark.errors import UsageError
from ssdg.benchmark.launching.job_file import job_name
from ssdg.benchmark.outcomes.planned_run import match_plan
from ssdg.benchmark.progress import summary
from ssdg.benchmark.settings import request_from_json, resolve_sections
from ssdg.benchmark.spec import Fold, RunRequest, RunSpec, TrainingConfig
from ssdg.benchmark.storage.results_reader import scan
from ssdg.benchmark.storage.run_folder import VALIDATION
from ssdg.benchmark.suites.suite import Column, Filters, Suite, selected_on_target
from ssdg.benchmark.suites.suite_file import load_suite, parse_suite
from ssdg.benchmark.tables.build import build_table
from ssdg.benchmark.tables.document import render
from ssdg.benchmark.tables.suite_table import table_document

from ..stored import CUTMIX, ERM, INTRA, INVENTORY, RAS4DG, cases, results_of, table_of, write_run

COLUMNS = tuple(Column(task="fundus", source="drive", target=t, label=t) for t in ("iostar", "lesav"))
SUITE = Suite(name="mine", title="Mine", columns=COLUMNS, rows=(INTRA, CUTMIX, ERM, RAS4DG), seeds=(0,))
ORACLE = Filters(selection="oracle")

FILE = """
[[columns]]
task = "fundus"
source = "drive"
target = "lesav"

[[rows]]
id = "plain"
label = "Plain"
method = "erm"

[[rows]]
id = "best"
label = "Best"
method = "erm"
selection = "oracle"
"""


def spec(selection="last", target=None, target_manifest=None, **changes):
    request = RunRequest(
        task="t", source="s", method="m", target=target, training=TrainingConfig(selection=selection), **changes
    )
    data = {"source_manifest": "a" * 12, "split": "b" * 12, "target_manifest": target_manifest}
    return RunSpec(request=request, method_version=1, method_config={}, method_changed=(), **data)


def test_the_target_and_its_files_are_part_of_the_identity():
    runs = [
        spec(),
        spec("source-val"),
        spec("oracle", "lesav", "v1"),
        spec("oracle", "iostar", "v1"),
        spec("oracle", "lesav", "v2"),
        spec("last", "lesav", "v1"),
    ]
    assert len({run.train_id for run in runs}) == len(runs)


@pytest.mark.parametrize(
    ("place", "words"),
    [({}, "needs the target"), ({"source": "x", "target": "x", "fold": Fold(0, 5)}, "not for intra-domain runs")],
)
def test_a_request_without_a_target_or_with_a_fold_is_refused(place, words):
    asked = {"task": "t", "source": "s", "method": "m", **place}
    with pytest.raises(ValueError, match=words):
        RunRequest(training=TrainingConfig(selection="oracle"), **asked)
    stored = {**asked, "training": {"selection": "oracle"}}
    if "fold" in stored:
        stored["fold"] = to_json(stored["fold"])
    with pytest.raises(UsageError, match=words):
        request_from_json(stored)


def test_it_is_no_setting_and_the_refusal_names_the_flag():
    with pytest.raises(UsageError, match=r"--selection oracle.*a row of a suite.*†"):
        resolve_sections("clean", {"training.selection": "oracle"})
    with pytest.raises(UsageError, match="--selection oracle"):
        replace(SUITE, settings={"training.selection": "oracle"}).plan(Filters(), INVENTORY)
    with pytest.raises(UsageError, match="--selection oracle"):
        SUITE.plan(Filters(overrides={"training.selection": "oracle"}), INVENTORY)
    sections, _ = resolve_sections("paper", {"training.selection": "last"}, oracle=True)
    assert sections["training"].selection == "oracle"


def test_the_flag_adds_a_marked_row_after_each_that_saw_the_source_alone():
    rows = SUITE.narrowed(ORACLE).rows
    assert [row.id for row in rows] == ["intra", "cutmix", "erm", "erm-oracle", "ras4dg", "ras4dg-oracle"]
    assert [row.label for row in rows if row.selection] == ["w/o SSDG †", "RAS4DG †"]
    assert [row.contender for row in rows] == [False, False, True, False, True, False]
    assert SUITE.narrowed(Filters()).rows == SUITE.rows
    assert [row.id for row in SUITE.narrowed(replace(ORACLE, methods=("ras4dg",))).rows] == [
        "ras4dg",
        "ras4dg-oracle",
    ]


@pytest.mark.parametrize(
    ("named", "chosen"),
    [
        (("erm-oracle",), ["erm-oracle"]),
        (("ras4dg-oracle", "erm-oracle"), ["erm-oracle", "ras4dg-oracle"]),
        (("ras4dg", "erm-oracle"), ["erm-oracle", "ras4dg", "ras4dg-oracle"]),
        (("erm",), ["erm", "erm-oracle"]),
        (("full",), ["full", "full-oracle"]),
    ],
)
def test_a_marked_row_comes_with_its_row_or_alone_by_its_own_id(named, chosen):
    suite = replace(SUITE, rows=(*SUITE.rows, replace(RAS4DG, id="full", method="freesdg")))
    assert [row.id for row in suite.narrowed(replace(ORACLE, methods=named)).rows] == chosen
    with pytest.raises(UsageError, match="'erm-oracle'"):
        suite.narrowed(Filters(methods=("erm-oracle",)))


def test_a_marked_row_trains_once_a_target_under_every_setting_but_the_selection():
    row = replace(RAS4DG, settings={"training.selection": "source-val", "training.epochs": 9, "method.alpha": 2.0})
    planned = replace(SUITE, rows=(row,)).plan(ORACLE, INVENTORY).runs
    plain, *marked = [p.request for p in planned]
    assert [(p.row.id, [c.target for c in p.columns]) for p in planned] == [
        ("ras4dg", ["iostar", "lesav"]),
        ("ras4dg-oracle", ["iostar"]),
        ("ras4dg-oracle", ["lesav"]),
    ]
    assert [request.target for request in marked] == ["iostar", "lesav"]
    assert all(replace(r, target=None, training=replace(r.training, selection="source-val")) == plain for r in marked)


def test_what_is_set_for_all_rows_reaches_the_marked_ones():
    overrides = {"method.alpha": "1", "training.epochs": "3", "training.selection": "source-val"}
    planned = replace(SUITE, rows=(RAS4DG,)).plan(replace(ORACLE, overrides=overrides), INVENTORY).runs
    assert {(p.request.method_settings["alpha"], p.request.training.epochs) for p in planned} == {("1", 3)}
    assert [p.request.training.selection for p in planned] == ["source-val", "oracle", "oracle"]


def test_a_suite_may_have_such_a_row_and_the_flag_does_not_double_it():
    suite = parse_suite(FILE.replace('"best"', '"plain-oracle"'), "mine", "mine.toml")
    assert [(row.label, row.selection) for row in suite.rows] == [("Plain", None), ("Best †", "oracle")]
    assert suite.narrowed(ORACLE).rows == suite.rows
    named = parse_suite(FILE.replace('"Best"', '"Best †"'), "mine", "mine.toml")
    assert named.rows[1].label == "Best †"


def test_a_method_that_adapts_can_be_selected_on_the_target_too():
    row = selected_on_target(CUTMIX)
    [one, two] = replace(SUITE, rows=(row,)).plan(Filters(), INVENTORY).runs
    assert (one.request.target, two.request.target) == ("iostar", "lesav")
    assert {p.request.training.selection for p in (one, two)} == {"oracle"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.replace('"oracle"', '"last"'), "one of oracle"),
        (lambda t: t + "folds = 5\n", "row 'best': an intra-domain row trains inside the target"),
        (lambda t: t + 'settings = { training.selection = "last" }\n', "leave one of them out"),
        (lambda t: t + "\n[settings]\ntraining.selection = 'oracle'\n", 'selection = "oracle" in a row'),
        (lambda t: t.replace('selection = "oracle"', 'settings = { training.selection = "oracle" }'), "row 'best'"),
    ],
)
def test_mistakes_in_a_file_are_named(change, words):
    with pytest.raises(UsageError, match=words):
        parse_suite(change(FILE), "mine", "mine.toml")


def test_the_flag_needs_a_row_to_go_with_and_a_name_for_its_own():
    with pytest.raises(UsageError, match="saw the source alone, and none is chosen"):
        SUITE.narrowed(replace(ORACLE, methods=("cutmix",)))
    taken = replace(SUITE, rows=(ERM, replace(RAS4DG, id="erm-oracle")))
    with pytest.raises(UsageError, match="'erm-oracle', and the suite has another so named"):
        taken.narrowed(ORACLE)


def test_rows_of_the_paper_whose_method_is_not_there_stay_unavailable():
    table = build_table(results_of([], load_suite("table1"), ORACLE))
    cells = {row.row.id: row.entries[-1] for row in table.rows}
    assert cells["slaug"].cell.state == cells["slaug-oracle"].cell.state == "unavailable"
    assert cells["slaug"].published
    assert not cells["slaug-oracle"].published


def fill(root, suite, choice, dice):
    """Write every run of a suite; ``dice(request)`` is the Dice of each of three cases."""
    for planned in suite.plan(choice, INVENTORY).runs:
        scores = {column.target: cases(*[dice(planned.request)] * 3) for column in planned.columns}
        write_run(root, planned.request, {**scores, VALIDATION: cases(0.9)})


def test_a_marked_run_never_answers_for_an_ordinary_row_nor_the_reverse(tmp_path):
    suite = replace(SUITE, rows=(ERM, CUTMIX, selected_on_target(replace(CUTMIX, id="cutmix-oracle"))))
    plan = suite.plan(ORACLE, INVENTORY).runs
    oracle = [p for p in plan if p.request.training.selection == "oracle"]
    for planned in oracle:
        write_run(tmp_path, planned.request, {column.target: cases(0.5) for column in planned.columns})
    found, _ = match_plan(plan, scan(tmp_path)[0])
    assert [run.stored is not None for run in found] == [p in oracle for p in plan]
    assert len(oracle) == 4
    for planned in plan:
        if planned not in oracle:
            write_run(tmp_path, planned.request, {column.target: cases(0.5) for column in planned.columns})
    found, _ = match_plan(plan, scan(tmp_path)[0])
    assert [run.stored.spec.request for run in found] == [p.request for p in plan]


@pytest.fixture
def table(tmp_path):
    """Two rows with their marked ones, which are the best in every column."""
    suite = replace(SUITE, rows=(ERM, RAS4DG))
    best = {("erm", "last"): 0.5, ("erm", "oracle"): 0.8, ("ras4dg", "last"): 0.6, ("ras4dg", "oracle"): 0.9}
    fill(tmp_path, suite, ORACLE, lambda request: best[request.method, request.training.selection])
    return table_of(tmp_path, suite, ORACLE, validation=True)


def test_markdown_has_the_mark_and_no_bold(table):
    text = render(table_document(table), "markdown")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    assert rows[1:] == [
        ["w/o SSDG", "source only", "**90.00**", "50.00", "50.00"],
        ["w/o SSDG †", "source only", "\N{EN DASH}", "80.00", "80.00"],
        ["RAS4DG", "SSDG", "**90.00**", "**60.00**", "**60.00**"],
        ["RAS4DG †", "SSDG", "\N{EN DASH}", "90.00", "90.00"],
    ]


def test_latex_has_the_mark_and_no_bold(table):
    text = render(table_document(table), "latex")
    assert r"RAS4DG $\dagger$ & SSDG & -- & 90.00 & 90.00 \\" in text
    assert text.isascii()


def test_csv_and_json_have_the_mark_and_the_selection(table):
    lines = list(csv.DictReader(io.StringIO(render(table_document(table), "csv"))))
    assert {(line["label"], line["selection"]) for line in lines} == {
        ("w/o SSDG", "last"),
        ("w/o SSDG †", "oracle"),
        ("RAS4DG", "last"),
        ("RAS4DG †", "oracle"),
    }
    assert not any(line["best"] == "true" for line in lines if line["selection"] == "oracle")
    rows = json.loads(render(table_document(table), "json"))["rows"]
    assert [(row["row"], row["label"], row["selection"]) for row in rows][1] == ("erm-oracle", "w/o SSDG †", "oracle")


def test_the_caption_says_what_the_mark_means_and_how_it_was_chosen(table):
    caption = " ".join(table.caption)
    assert "†: checkpoint chosen on the target's labels, an upper bound and not a method" in caption
    assert "scored every 10 epochs and after the last of 300 epochs" in caption
    assert "no row but those marked † sees target images while training" in caption


def test_captions_without_such_rows_are_silent_about_it(tmp_path):
    suite = replace(SUITE, rows=(ERM, RAS4DG))
    caption = " ".join(table_of(tmp_path, suite, Filters()).caption)
    assert "†" not in caption
    assert "; no row sees target images while training." in caption


def test_holes_and_names_carry_the_mark(tmp_path):
    suite = replace(SUITE, rows=(ERM,))
    assert "w/o SSDG † on lesav: 0 of 1 seeds (not run)" in table_of(tmp_path, suite, ORACLE).missing
    [_, one, two] = suite.plan(ORACLE, INVENTORY).runs
    assert [job_name(p.request, p.row.id) for p in (one, two)] == ["erm-oracle s0 iostar", "erm-oracle s0 lesav"]
    assert job_name(one.request) == "erm-oracle s0 iostar"


def test_progress_tells_both_scores():
    row = {"epoch": 1, "step": 4, "segmentation": 0.5, "held_out_dsc": 0.25, "oracle_dsc": 0.125}
    assert summary(row) == "segmentation 0.5000, held-out DSC 25.00, target DSC † 12.50"
