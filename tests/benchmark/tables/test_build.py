"""Tables from a hand-made results folder: what is printed, what is refused, what is noted."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from ssdg.benchmark.errors import UsageError
from ssdg.benchmark.outcomes.answering import settings_fit
from ssdg.benchmark.outcomes.planned_run import match_plan
from ssdg.benchmark.report.page import render_page
from ssdg.benchmark.spec import RunRequest, RunSpec
from ssdg.benchmark.storage.results_reader import scan
from ssdg.benchmark.storage.run_folder import VALIDATION
from ssdg.benchmark.suites.paper import load_published
from ssdg.benchmark.suites.suite import Filters, Suite
from ssdg.benchmark.suites.suite_file import load_suite
from ssdg.benchmark.tables.document import render
from ssdg.benchmark.tables.suite_table import table_document
from ssdg.benchmark.training.evaluate import trained_on

from ..stored import CUTMIX, ERM, FETAL, INTRA, INVENTORY, LESAV, RAS4DG, cases, results_of, table_of, write_run

SMALL = Suite(name="small", title="Small & tidy", columns=(LESAV,), rows=(ERM, RAS4DG), seeds=(0, 1))


def fill(root, suite, dice, **kwargs):
    """Write every run of a suite; ``dice(row id, seed)`` gives the Dice of each case."""
    paths = []
    for planned in suite.plan(Filters(), INVENTORY).runs:
        values = dice(planned.row.id, planned.request.seed)
        prefix = f"f{planned.request.fold.index}" if planned.request.fold else "c"
        scores = {column.target: cases(*values, prefix=prefix) for column in planned.columns}
        paths.append(write_run(root, planned.request, scores, **kwargs))
    return paths


def shown(table):
    """Return the text of each cell of a Markdown table without its caption, by row label."""
    lines = [line for line in render(table_document(table), "markdown").splitlines() if line.startswith("| ")]
    parsed = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {line[0]: line[2:] for line in parsed[1:]}


DICE = {("erm", 0): (0.3, 0.5), ("erm", 1): (0.4, 0.5), ("ras4dg", 0): (0.7, 0.8), ("ras4dg", 1): (0.7, 0.9)}


def small_dice(row, seed):
    return DICE[row, seed]


def test_a_row_trained_on_different_kinds_of_device_is_named_under_the_table(tmp_path):
    paths = fill(tmp_path, SMALL, small_dice)
    assert "kinds of device" not in " ".join(table_of(tmp_path, SMALL).caption)
    note = "Note: {} was trained on different kinds of device: seed 0 on cpu in fp32, or not recorded; seed 1 on {}."
    for path, kind in zip(paths[1::2], ("cuda in bf16", "cuda in fp32"), strict=True):
        [file] = path.rglob("evaluation.json")
        precision = kind.removeprefix("cuda in ")
        record = trained_on({"device": "cuda (NVIDIA A100)"}, "auto" if precision == "bf16" else precision)
        file.write_text(json.dumps({**json.loads(file.read_text()), **record}))
    protocol = table_of(tmp_path, SMALL).protocol
    assert {note.format("w/o SSDG", "cuda in bf16"), note.format("RAS4DG", "cuda in fp32")} <= set(protocol)
    assert trained_on({"device": "cpu"}, "auto") == trained_on({}, "auto") == {}


def test_markdown_is_as_expected(tmp_path):
    fill(tmp_path, SMALL, small_dice)
    text = render(table_document(table_of(tmp_path, SMALL)), "markdown")
    head, _, caption = text.partition("\n* ")
    assert head == (
        "**Small & tidy**\n"
        "\n"
        "| Method   | Setting     | LES-AV           |\n"
        "|----------|-------------|------------------|\n"
        "| w/o SSDG | source only | 42.50 ± 3.54     |\n"
        "| RAS4DG   | SSDG        | **77.50 ± 3.54** |\n"
    )
    assert "over n = 2 seeds" in caption
    assert "LES-AV 2 of 2" in caption
    assert "scored at commit abc1234" in caption


def test_latex_is_as_expected(tmp_path):
    fill(tmp_path, SMALL, small_dice)
    text = render(table_document(table_of(tmp_path, SMALL)), "latex")
    head, _, caption = text.partition(r"\begin{minipage}")
    assert head == (
        "% Needs \\usepackage{booktabs}; in a class of two columns, say table*.\n"
        "\\begin{table}\n"
        "\\centering\\footnotesize\\setlength{\\tabcolsep}{3pt}\\renewcommand{\\arraystretch}{0.85}\n"
        "\\caption{Small \\& tidy}\n"
        "\\label{tab:small}\\par\\smallskip\n"
        "\\begin{tabular}{llc}\n"
        "\\toprule\n"
        "Method & Setting & LES-AV \\\\\n"
        "\\midrule\n"
        "w/o SSDG & source only & 42.50 $\\pm$ 3.54 \\\\\n"
        "RAS4DG & SSDG & \\textbf{77.50 $\\pm$ 3.54} \\\\\n"
        "\\bottomrule\n"
        "\\end{tabular}\n"
        "\\par\\smallskip\n"
    )
    assert caption.endswith("\\end{minipage}\n\\end{table}\n")
    assert "(\\%)" in caption
    assert text.isascii()


def test_latex_has_the_published_numbers_under_each_row_and_rules_over_groups(tmp_path):
    text = render(table_document(table_of(tmp_path, load_suite("table1"))), "latex")
    body = text.partition(r"\toprule")[2].partition(r"\bottomrule")[0]
    assert r"\multicolumn{4}{c}{FeTA 2021} & IOSTAR & LES-AV \\" in body
    assert r"\cmidrule(lr){3-6}" in body
    assert r"CutMix $\ddagger$ & UDA & not run" in body
    assert r"\quad\scriptsize published &  & \scriptsize 76.98 $\pm$ 0.17" in body
    rows = [line for line in body.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert {line.count(" & ") for line in rows} == {7}
    assert r"-{}-protocol" not in body
    assert text.count("{") == text.count("}")


def test_csv_has_one_line_a_cell(tmp_path):
    suite = replace(SMALL, published="table1")
    fill(tmp_path, suite, small_dice)
    lines = list(csv.DictReader(io.StringIO(render(table_document(table_of(tmp_path, suite)), "csv"))))
    assert [line["row"] for line in lines] == ["erm", "ras4dg"]
    found = lines[1]
    assert (found["target"], found["stratum"], found["state"], found["n"], found["cases"]) == (
        "lesav",
        "all",
        "complete",
        "2",
        "2",
    )
    assert float(found["mean"]) == pytest.approx(77.5)
    assert float(found["sd"]) == pytest.approx(100 * np.std([0.75, 0.8], ddof=1), abs=1e-3)
    assert (found["published_mean"], found["published_sd"], found["delta"]) == ("72.88", "0.07", "4.62")
    without = csv.DictReader(io.StringIO(render(table_document(table_of(tmp_path, suite, published=False)), "csv")))
    assert {(line["published_mean"], line["delta"]) for line in without} == {("", "")}


def test_json_has_everything(tmp_path):
    fill(tmp_path, SMALL, small_dice)
    data = json.loads(render(table_document(table_of(tmp_path, SMALL)), "json"))
    assert data["rows"][1]["cells"][0]["per_seed"] == pytest.approx([75.0, 80.0])
    assert data["sections"]["training"]["epochs"] == 300
    assert data["complete"] is True
    with pytest.raises(UsageError, match="did you mean 'markdown'"):
        render(table_document(table_of(tmp_path, SMALL)), "markdwon")


def test_a_published_table_without_numbers_on_these_targets_is_not_mentioned(tmp_path):
    sentence = "With each number: the published mean"
    for name, said in (("table2", True), ("ablation-fundus", False), ("ablation-quick", False)):
        table = table_of(tmp_path, load_suite(name))
        assert any(line.startswith(sentence) for line in table.caption) == (table.published is not None) == said


def test_published_numbers_stand_beside_ours_with_the_difference(tmp_path):
    suite = replace(SMALL, published="table1")
    fill(tmp_path, suite, small_dice)
    assert shown(table_of(tmp_path, suite)) == {
        "w/o SSDG": ["42.50 ± 3.54 [59.17 ± 0.21; \N{MINUS SIGN}16.67]"],
        "RAS4DG": ["**77.50 ± 3.54** [72.88 ± 0.07; +4.62]"],
    }
    assert "[" not in "".join(
        cell for row in shown(table_of(tmp_path, suite, published=False)).values() for cell in row
    )


def test_an_empty_folder_gives_the_whole_table_with_its_holes_marked(tmp_path):
    table = table_of(tmp_path, load_suite("table1"))
    cells = shown(table)
    assert len(cells) == 12
    assert cells["RAS4DG"][-1] == "not run [72.88 ± 0.07]"
    assert cells["SLAug"][-1] == "not in this version [68.79 ± 0.29]"
    assert cells["FedDG"][:4] == ["\N{EN DASH}"] * 4
    assert table.missing
    assert "RAS4DG on LES-AV: 0 of 3 seeds (not run)" in table.missing
    assert "SLAug on LES-AV: method 'slaug' is not in this version" in table.missing
    assert not any(line.startswith("FedDG on FeTA") for line in table.missing)  # it does not apply: no hole
    assert len(shown(table_of(tmp_path, load_suite("table2")))) == 8


def test_partial_cells_say_how_many_seeds_and_are_never_bold(tmp_path):
    paths = fill(tmp_path, SMALL, small_dice)
    (paths[3] / "DONE").rename(paths[3] / "DIVERGED")
    for marker in paths[3].glob("evaluations/*/DONE"):
        marker.unlink()
    table = table_of(tmp_path, SMALL)
    assert shown(table) == {"w/o SSDG": ["42.50 ± 3.54"], "RAS4DG": ["75.00 (1/2 seeds)"]}
    assert table.missing == ("RAS4DG on LES-AV: 1 of 2 seeds (diverged)",)


@pytest.mark.parametrize(
    ("state", "text"), [("DIVERGED", "diverged"), ("FAILED", "failed"), ("QUEUED", "queued"), ("DONE", "not scored")]
)
def test_an_empty_cell_says_why(tmp_path, state, text):
    suite = replace(SMALL, rows=(ERM,))
    for planned in suite.plan(Filters(), INVENTORY).runs:
        write_run(tmp_path, planned.request, {}, state=state)
    assert shown(table_of(tmp_path, suite)) == {"w/o SSDG": [text]}


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [("c-1", "c-7", "c-1, c-7"), ("class 1", "thing", "class 1, thing")],
)
def test_rows_with_other_cases_or_classes_than_others_are_refused(tmp_path, old, new, what):
    [file] = fill(tmp_path, SMALL, small_dice)[-1].glob("evaluations/*/cases.csv")
    file.write_text(file.read_text().replace(old, new))
    message = f"RAS4DG, seed 1, and w/o SSDG, seed 0, cannot share a table: their cases.csv differ in {what};"
    with pytest.raises(UsageError, match=message):
        table_of(tmp_path, SMALL)


def test_one_seed_has_no_spread(tmp_path):
    suite = replace(SMALL, seeds=(0,))
    fill(tmp_path, suite, small_dice)
    table = table_of(tmp_path, suite)
    assert shown(table)["RAS4DG"] == ["**75.00**"]
    assert "n = 1 seed, so there is no ±" in table.caption[0]


def test_the_average_is_printed_twice(tmp_path):
    suite = replace(SMALL, columns=(FETAL,), rows=(ERM,), seeds=(0,))
    scores = {"feta2021": {**cases(0.5, 0.5, 0.5, stratum="abnormal", prefix="a"), **cases(0.9, stratum="normal")}}
    for protocol in ("paper", "clean"):
        for planned in suite.plan(Filters(protocol=protocol), INVENTORY).runs:
            write_run(tmp_path, planned.request, scores)
    table = table_of(tmp_path, suite, choice=Filters(protocol="paper"))
    assert [h.label for h in table.headings] == ["abnormal", "normal", "average of strata", "average of cases"]
    assert shown(table)["w/o SSDG"] == ["25.00", "45.00", "35.00", "30.00"]  # 3D: half of what is inside
    assert any("FeTA 4 of 4 (abnormal 3; normal 1)" in sentence for sentence in table.caption)
    clean = table_of(tmp_path, suite, choice=Filters(protocol="clean"))
    assert [h.label for h in clean.headings][2:] == ["average of cases", "average of strata"]
    assert shown(clean)["w/o SSDG"][2:] == ["30.00", "35.00"]


def test_regions_follow_the_protocol_in_2d_only(tmp_path):
    suite = replace(SMALL, rows=(ERM,), seeds=(0,), columns=(LESAV, replace(FETAL, strata=("all",))))
    for protocol in ("paper", "clean"):
        for planned in suite.plan(Filters(protocol=protocol), INVENTORY).runs:
            write_run(tmp_path, planned.request, {planned.columns[0].target: cases(0.8)})
    whole = f"{100 * 1600 / (1600 + 200 + 2200):.2f}"  # 2000 more are missed outside the foreground
    assert shown(table_of(tmp_path, suite))["w/o SSDG"] == ["80.00", whole]
    assert shown(table_of(tmp_path, suite, choice=Filters(protocol="paper")))["w/o SSDG"] == [whole, whole]


def test_intra_needs_every_fold_of_a_seed(tmp_path):
    suite = replace(SMALL, rows=(INTRA,))
    paths = fill(tmp_path, suite, lambda _, seed: (0.6 + seed / 10, 0.8))
    table = table_of(tmp_path, suite)
    assert shown(table) == {"Intra": ["72.50 ± 3.54"]}
    assert any("; no row but the intra-domain ones sees target images" in sentence for sentence in table.caption)
    assert table_of(tmp_path, suite).rows[0].entries[0].cell.n_cases == 4
    for marker in paths[-1].glob("evaluations/*/DONE"):
        marker.unlink()
    assert shown(table_of(tmp_path, suite)) == {"Intra": ["70.00 (1/2 seeds)"]}


def test_rows_that_saw_the_target_or_its_labels_are_marked_and_never_bold(tmp_path):
    suite = replace(SMALL, rows=(INTRA, CUTMIX, ERM, RAS4DG))
    best_first = {"intra": 0.9, "cutmix": 0.8, "erm": 0.5, "ras4dg": 0.6}
    fill(tmp_path, suite, lambda row, _: (best_first[row],) * 5)
    table = table_of(tmp_path, suite)
    assert [row.entries[0].best for row in table.rows] == [False, False, False, True]
    assert "CutMix ‡" in shown(table)
    assert any("‡: domain adaptation" in sentence for sentence in table.lead)


def test_a_note_of_a_row_is_printed_under_the_table_and_marked_in_it(tmp_path):
    suite = replace(SMALL, rows=(replace(CUTMIX, note="reads the target twice."), ERM))
    table = table_of(tmp_path, suite)
    assert list(shown(table)) == ["CutMix ‡ §", "w/o SSDG"]
    assert table.lead[-1].endswith("; §: see the protocol.")
    assert [sentence for sentence in table.protocol if "§" in sentence] == ["§ CutMix: reads the target twice."]


THREE = replace(
    SMALL, seeds=(0, 1, 2), rows=(ERM, RAS4DG, replace(ERM, id="low", label="Low", settings={"optimizer.lr": 1.0}))
)
NEAR = {"erm": (0.7, 0.8, 0.9), "ras4dg": (0.72, 0.79, 0.91), "low": (0.1, 0.2, 0.3)}


def near(row, seed):
    return [value + 0.001 * seed for value in NEAR[row]]


def test_a_row_that_is_not_separated_from_the_best_is_marked_in_every_format(tmp_path):
    fill(tmp_path, THREE, near)
    table = table_of(tmp_path, THREE)
    assert [(row.entries[0].best, row.entries[0].tied) for row in table.rows] == [
        (False, True),
        (True, False),
        (False, False),
    ]
    assert table.lead[1].endswith("above 0.05 after Holm over 2 comparisons).")
    assert list(shown(table).values()) == [["80.10 ± 0.10 ≈"], ["**80.77 ± 0.10**"], ["20.10 ± 0.10"]]
    assert r"& 80.10 $\pm$ 0.10\rlap{$^{\approx}$} \\" in render(table_document(table), "latex")
    lines = list(csv.DictReader(io.StringIO(render(table_document(table), "csv"))))
    assert [(line["best"], line["tied"]) for line in lines] == [("false", "true"), ("true", "false"), ("false",) * 2]
    cells = [row["cells"][0] for row in json.loads(render(table_document(table), "json"))["rows"]]
    assert [(cell["best"], cell["tied"]) for cell in cells] == [(False, True), (True, False), (False, False)]


def test_a_report_has_the_marks_and_folds_the_protocol(tmp_path):
    fill(tmp_path, THREE, near)
    section = render_page(results_of(tmp_path, THREE)).partition('<section id="table">')[2].partition("</section>")[0]
    assert section.count("<b>80.77 ± 0.10</b>") == section.count('80.10 ± 0.10<span class="tied"> ≈</span>') == 1
    assert section.count("<b>") == section.count('class="tied"') == 1
    shown, folded = section.split("<details><summary>Protocol</summary>")
    assert "Bold: the best mean" in shown
    assert "Protocol clean, training" in folded


def test_with_two_seeds_no_row_is_marked_and_the_caption_says_why(tmp_path):
    suite = replace(THREE, seeds=(0, 1))
    fill(tmp_path, suite, near)
    table = table_of(tmp_path, suite)
    assert "≈" not in "".join(render(table_document(table), form) for form in ("markdown", "json"))
    assert table.lead[1].endswith("; with 2 seeds a row nothing can be told apart, 3 are the least.")


def test_what_a_reader_needs_comes_first_and_the_protocol_is_folded(tmp_path):
    fill(tmp_path, THREE, near)
    table = table_of(tmp_path, THREE)
    assert table.lead[0] == (
        "Dice similarity coefficient (%), mean ± sample SD over n = 3 seeds; protocol clean; cases: LES-AV 3 of 3."
    )
    assert len(table.lead) == 2
    assert json.loads(render(table_document(table), "json"))["caption"] == [*table.lead, *table.protocol]
    text = render(table_document(table), "markdown")
    head, folded = text.split("<details><summary>Protocol</summary>\n\n* ")
    assert head.count("\n* ") == 2
    assert folded.endswith("\n\n</details>\n")
    assert folded.count("\n* ") == len(table.protocol) - 1
    first, second = render(table_document(table), "latex").split("\\par\\textit{Protocol.}")
    assert "Bold: the best mean" in first
    assert "Protocol clean, training" in second


def test_held_out_source_cases_are_a_column_where_asked_for(tmp_path):
    suite = replace(SMALL, rows=(ERM, CUTMIX), seeds=(0,))
    for planned in suite.plan(Filters(), INVENTORY).runs:
        write_run(tmp_path, planned.request, {"lesav": cases(0.5), VALIDATION: cases(0.9)})
    cells = shown(table_of(tmp_path, suite, validation=True))
    assert cells == {"w/o SSDG": ["90.00", "50.00"], "CutMix ‡": ["\N{EN DASH}", "50.00"]}
    assert shown(table_of(tmp_path, suite))["w/o SSDG"] == ["50.00"]


def test_captions_state_every_switch_of_the_protocol(tmp_path):
    captions = {
        name: " ".join(table_of(tmp_path, load_suite("table1"), choice=Filters(protocol=name)).caption)
        for name in ("paper", "clean")
    }
    paper = (
        *(
            "at most 300 epochs",
            "Adam at 0.0001",
            "decay 0.9 per step",
            "batch 2, the last odd one filled",
            "soft Dice loss",
        ),
        *(
            "no gradient clipping",
            "shared augmentation: none",
            "stopping after 100 epochs",
            "without a gain of 0.0001, never before half of the epochs",
        ),
        *(
            "stretched",
            "over the whole grid",
            "3D voxels above a threshold",
            "from the label, an oracle",
            "grey matter",
        ),
        *("nearest neighbour", "2D the whole image", "unweighted mean of the strata in front", "empty classes:"),
        *(
            "unlabelled images of the target",
            "best on held-out source cases",
            "5 folds",
            "Bold: none, because no column has two complete rows",
        ),
    )
    clean = (
        *("300 epochs", "shared augmentation: geometric", "the last; held-out source cases", "without distortion"),
        *(
            "over the foreground",
            "never the label",
            "white matter",
            "probabilities resampled",
            "inside the field of view",
        ),
        "the mean of cases in front",
    )
    for name, phrases in (("paper", paper), ("clean", clean)):
        for phrase in phrases:
            assert phrase in captions[name], phrase


def test_captions_name_overridden_values_and_departing_rows(tmp_path):
    row = replace(RAS4DG, settings={"training.augmentation": "nnunet", "method.alpha": 2.0})
    suite = replace(SMALL, rows=(ERM, row))
    caption = " ".join(table_of(tmp_path, suite, choice=Filters(overrides={"training.epochs": "7"})).caption)
    assert "; 7 epochs;" in caption
    assert "Departing from this: RAS4DG with training.augmentation = nnunet." in caption


@pytest.mark.parametrize(
    ("overrides", "phrase"),
    [
        ({"preprocess.scale": "fov"}, "; images scaled by their field of view: the task's grid spans 45 degrees"),
        (
            {"preprocess.spacing": "1,0.5", "training.window": "32,32"},
            "; images resampled to 1x0.5 (2D: pixels; 3D: mm, the foreground's bounding box), each on its own grid;",
        ),
    ],
)
def test_captions_name_the_scale(tmp_path, overrides, phrase):
    assert phrase in " ".join(table_of(tmp_path, SMALL, choice=Filters(overrides=overrides)).caption)


def test_the_other_protocol_is_named_where_it_has_results(tmp_path):
    for planned in SMALL.plan(Filters(protocol="paper"), INVENTORY).runs:
        if planned.row.id == "erm":
            write_run(tmp_path, planned.request, {"lesav": cases(0.5)})
    table = table_of(tmp_path, SMALL)
    assert shown(table)["w/o SSDG"] == ["not run"]
    note = "1 of the 2 empty cells (row and target) have results under the paper protocol"
    assert f"Note: {note}: show them with --protocol paper." in table.caption
    assert r"-{}-protocol paper" in render(table_document(table), "latex")
    assert not any(s.startswith("Note:") for s in table_of(tmp_path, SMALL, choice=Filters(protocol="paper")).caption)


def test_settings_that_are_defaults_match_and_others_do_not(tmp_path):
    explicit = replace(RAS4DG, settings={"method.rass": True})
    fill(tmp_path, replace(SMALL, rows=(RAS4DG,)), small_dice)
    assert shown(table_of(tmp_path, replace(SMALL, rows=(explicit,))))["RAS4DG"] == ["77.50 ± 3.54"]
    switched = replace(RAS4DG, settings={"method.rass": False})
    assert shown(table_of(tmp_path, replace(SMALL, rows=(switched,))))["RAS4DG"] == ["not run"]
    fill(tmp_path, replace(SMALL, rows=(switched,)), lambda *_: (0.1,))
    assert shown(table_of(tmp_path, replace(SMALL, rows=(switched,))))["RAS4DG"] == ["10.00 ± 0.00"]
    assert shown(table_of(tmp_path, SMALL))["RAS4DG"] == ["77.50 ± 3.54"]


@pytest.mark.parametrize(
    ("given", "resolved", "fits"),
    [
        ("2", 2.0, True),
        ("2", 3, False),
        ("no", False, True),
        ("none", None, True),
        ("2", None, False),
        ("1,3", [1, 3], True),
        ("1,x", [1, 3], False),
        ("dice", "dice", True),
        ([1, 3], [1, 3], True),
        ((1, 3), [1, 3], True),
        (2, 2.0, True),
    ],
)
def test_settings_given_as_text_are_compared_by_value(given, resolved, fits):
    request = RunRequest(task="fundus", source="drive", method="m")
    spec = RunSpec(
        request=request,
        method_version=1,
        method_config={"x": resolved, "y": 1},
        method_changed=("x",),
        source_manifest="",
        split="",
    )
    assert settings_fit({"x": given}, spec) is fits
    assert not settings_fit({}, spec)  # x was changed
    assert not settings_fit({"x": given, "z": 1}, spec)


def test_the_newest_version_of_a_method_wins_as_a_whole(tmp_path):
    fill(tmp_path, SMALL, small_dice)
    newer = [p for p in SMALL.plan(Filters(), INVENTORY).runs if (p.row.id, p.request.seed) == ("ras4dg", 1)]
    write_run(tmp_path, newer[0].request, {"lesav": cases(0.3, 0.3, prefix="c")}, version=2)
    table = table_of(tmp_path, SMALL)
    assert shown(table)["RAS4DG"] == ["30.00 (1/2 seeds)"]
    assert "Note: RAS4DG: 2 runs of version 1 left out, version 2 is newer." in table.caption
    write_run(tmp_path, newer[0].request, {"lesav": cases(0.4, 0.4, prefix="c")}, version=1, pipeline=2)
    table = table_of(tmp_path, SMALL)
    assert shown(table)["RAS4DG"] == ["40.00 (1/2 seeds)"]
    assert "Note: RAS4DG: 3 runs of pipeline 1 left out, pipeline 2 is newer." in table.caption


def test_runs_on_different_data_are_refused(tmp_path):
    fill(tmp_path, SMALL, small_dice)
    suite = replace(SMALL, rows=(RAS4DG,), seeds=(0,))
    fill(tmp_path, suite, small_dice, source_manifest="source-2")
    with pytest.raises(UsageError, match=r"differ in source_manifest.*ras4dg/s0-\w+ and .*ras4dg/s0-\w+"):
        table_of(tmp_path, SMALL)


def test_rows_on_different_data_are_refused(tmp_path):
    fill(tmp_path, replace(SMALL, rows=(ERM,)), small_dice)
    fill(tmp_path, replace(SMALL, rows=(RAS4DG,)), small_dice, source_manifest="source-2")
    with pytest.raises(UsageError, match=r"runs on source 'drive' differ in source_manifest"):
        table_of(tmp_path, SMALL)


def test_rows_scored_on_different_data_are_refused(tmp_path):
    fill(tmp_path, replace(SMALL, rows=(ERM,)), small_dice)
    fill(tmp_path, replace(SMALL, rows=(RAS4DG,)), small_dice, target_manifest="target-2")
    with pytest.raises(UsageError, match=r"evaluations on 'lesav' differ in manifest"):
        table_of(tmp_path, SMALL)


def test_rows_scored_on_different_cases_are_refused(tmp_path):
    fill(tmp_path, SMALL, lambda row, _: (0.5,) if row == "erm" else (0.5, 0.6))
    with pytest.raises(UsageError, match=r"evaluations on 'lesav' differ in cases"):
        table_of(tmp_path, SMALL)


def test_runs_of_other_suites_are_ignored(tmp_path):
    fill(tmp_path, SMALL, small_dice)
    fill(tmp_path, replace(SMALL, settings={"training.epochs": 5}), lambda *_: (0.1,))
    assert shown(table_of(tmp_path, SMALL))["RAS4DG"] == ["**77.50 ± 3.54**"]
    plan = SMALL.plan(Filters(), INVENTORY).runs
    chosen, notes = match_plan(plan, scan(tmp_path)[0])
    assert [run.stored.spec.request for run in chosen] == [planned.request for planned in plan]
    assert notes == []


def test_scores_are_kept_by_case_for_statistics(tmp_path):
    fill(tmp_path, SMALL, small_dice)
    dice = results_of(tmp_path, SMALL).row_scores(RAS4DG, LESAV).values[:, :, 0]
    np.testing.assert_allclose(dice, [[0.7, 0.8], [0.7, 0.9]])


def test_the_caption_says_which_average_the_paper_printed(tmp_path):
    suite, table = load_suite("table1"), load_published("table1")
    labels, weights = {row.id: row.label for row in suite.rows}, {}
    for row in labels:
        scores = [table.scores.get((row, "feta2021", stratum)) for stratum in ("abnormal", "normal", "average")]
        if all(scores):
            abnormal, normal, average = (score[0].mean for score in scores)
            weights[row] = (average - normal) / (abnormal - normal)  # of the abnormal cases; 0.5: of two strata
    plain = [label for row, label in labels.items() if abs(weights.get(row, 0) - 0.5) < 0.005]
    of_cases = {labels[row]: weight for row, weight in weights.items() if weight > 0.6}
    assert len(plain) + len(of_cases) == len(weights) == 11
    low, high = min(of_cases.values()), max(of_cases.values())
    caption = " ".join(table_of(tmp_path, suite).caption)
    assert f"the numbers of {', '.join(plain)} are the plain mean of the two strata" in caption
    assert f"those of {', '.join(of_cases)} weigh the abnormal cases {low:.3f} to {high:.3f}, as" in caption
    # SLAug (74.28) is printed ahead of BigAug (74.15); on one statistic it is behind.
    abnormal, normal, average = (
        {row: table.scores[row, "feta2021", stratum][0].mean for row in ("slaug", "bigaug")}
        for stratum in ("abnormal", "normal", "average")
    )
    assert average["slaug"] > average["bigaug"]
    assert average["slaug"] < (abnormal["bigaug"] + normal["bigaug"]) / 2
