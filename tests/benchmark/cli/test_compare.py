"""``bench compare``, ``bench rank`` and ``bench table --conventions`` on results of a phantom suite made by hand."""

import csv
import io
import json
import re
import shutil
import subprocess

import pytest

from ssdg.benchmark.storage.csv_text import to_csv
from ssdg.benchmark.storage.files import write_text
from ssdg.benchmark.storage.run_folder import CASE_COLUMNS

from ...suites import suite_file
from ..stored import planned_runs, write_run

ROWS = (
    {"id": "erm", "label": "w/o SSDG"},
    {"id": "randconv", "label": "RandConv"},
    {"id": "cutmix", "label": "CutMix", "access": "uda"},
)
COLUMNS = ({"target": "phantom2d-b", "label": "B"}, {"target": "phantom2d-c", "label": "C"})

EASY, HARD = ("easy", 80), ("hard", 60)


def counts(case, stratum, tp, fp, fn, outside=0):
    where = {"case": case, "stratum": stratum, "class_index": 1, "class_name": "vessel"}
    return {**where, "tp": tp, "fp": fp, "fn": fn, "tp_outside": 0, "fp_outside": outside, "fn_outside": 0}


def conventional(row, target, seed):
    """Return counts that no two conventions agree on, on B; and plain ones on C.

    B: w/o SSDG has 0.8 and 0.6 inside and much outside; RandConv has 0.7 and 0.5. The third label is empty, and
    RandConv alone finds something in it.
    """
    shift = {"erm": 0, "randconv": 10, "cutmix": -10}[row]
    if target == "phantom2d-c":
        dice = [70 - shift + 2 * i * (-1) ** seed for i in range(4)]
        return [counts(f"c-{i}", "all", tp, 100 - tp, 100 - tp) for i, tp in enumerate(dice)]
    outside = 1000 if row == "erm" else 0
    return [
        counts("b-0", "easy", 80 - shift, 20 + shift, 20 + shift, outside),
        counts("b-1", "hard", 60 - shift, 40 + shift, 40 + shift, outside),
        counts("b-2", "hard", 0, 10 if row == "randconv" else 0, 0),
    ]


@pytest.fixture
def suite(tmp_path):
    return suite_file(tmp_path / "mine.toml", ROWS, COLUMNS, title="Two rows & one", seeds=(0, 1))


@pytest.fixture
def results(bench, suite):
    """Every run of the suite."""
    fill(bench.results, suite)
    return bench


def fill(root, suite, leave_out=lambda planned: False):
    for planned in planned_runs(suite):
        if leave_out(planned):
            continue
        made = {
            column.target: conventional(planned.row.id, column.target, planned.request.seed)
            for column in planned.columns
        }
        described = {t: {line["case"]: (line["stratum"], (0.5,)) for line in lines} for t, lines in made.items()}
        run = write_run(root, planned.request, described)
        for target, lines in made.items():
            (folder,) = run.glob(f"evaluations/{target}-*")
            write_text(folder / "cases.csv", to_csv(CASE_COLUMNS, lines))


def conventions(bench, suite, *arguments):
    result = bench("table", str(suite), "--conventions", "--format", "json", *arguments)
    assert result.exit_code == 0, result.output
    data = json.loads(result.output)
    return {target["target"]: target for target in data["targets"]}


def means(target, row):
    """Return a row's mean under each convention of a target."""
    found = {}
    for one in target["conventions"]:
        (line,) = (line for line in one["rows"] if line["row"] == row)
        found[one["region"], one["empty"], one["average"]] = line["mean"]
    return found


def test_conventions_are_recomputed_from_counts(results, suite):
    target = conventions(results, suite)["phantom2d-b"]
    assert target["varies"] == ["region", "empty", "average"]
    first = target["conventions"][0]
    assert (first["region"], first["empty"], first["average"]) == ("foreground", "zero-fp", "cases")
    assert [one["in_force"] for one in target["conventions"]] == [True] + [False] * 11
    outside = (160 / 1200, 120 / 1200)  # 2 tp / (2 tp + fp + fn) of w/o SSDG with what it finds outside
    erm, randconv = means(target, "erm"), means(target, "randconv")
    expected = {
        ("foreground", "zero-fp", "cases"): (0.7, 0.4),
        ("foreground", "skip", "cases"): (0.7, 0.6),
        ("foreground", "one", "cases"): (0.8, 0.4),
        ("foreground", "zero-fp", "strata"): (0.7, (0.7 + 0.25) / 2),
        ("foreground", "one", "strata"): (0.8, (0.7 + 0.25) / 2),
        ("image", "zero-fp", "cases"): (sum(outside) / 2, 0.4),
        ("image", "one", "cases"): ((1 + sum(outside)) / 3, 0.4),
    }
    for convention, (one, other) in expected.items():
        assert erm[convention] == pytest.approx(100 * one, abs=1e-3)
        assert randconv[convention] == pytest.approx(100 * other, abs=1e-3)


def test_ranks_turn_round_with_the_convention(results, suite):
    target = conventions(results, suite)["phantom2d-b"]
    ranks = {
        (one["region"], one["empty"], one["average"]): (
            [line["rank"] for line in one["rows"]],
            one["kendall_tau"],
        )
        for one in target["conventions"]
    }
    assert ranks["foreground", "zero-fp", "cases"] == ([1, 2, None], 1)
    assert ranks["image", "zero-fp", "cases"] == ([2, 1, None], -1)
    assert ranks["image", "one", "cases"] == ([1, 2, None], 1)


def test_conventions_that_cannot_differ_are_one_line(results, suite):
    target = conventions(results, suite)["phantom2d-c"]
    assert target["varies"] == []
    assert len(target["conventions"]) == 1
    assert target["notes"] == [
        "region: foreground and image give the same scores",
        "empty: zero-fp, skip, one give the same scores, because no label lacks a class",
        "average: the cases are of one stratum",
    ]


def test_the_numbers_are_those_of_the_table_under_the_same_settings(results, suite):
    own = means(conventions(results, suite)["phantom2d-b"], "randconv")["image", "skip", "cases"]
    settings = ("--set", "evaluation.region=image", "--set", "evaluation.empty=skip")
    text = results("table", str(suite), "--format", "csv", "--no-published", *settings).output
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [float(x["mean"]) for x in lines if (x["row"], x["target"]) == ("randconv", "phantom2d-b")] == [own]
    first = conventions(results, suite, *settings)["phantom2d-b"]["conventions"][0]
    assert (first["region"], first["empty"], first["in_force"]) == ("image", "skip", True)
    assert {x["reason"] for x in lines} == {row["reason"] for row in first["rows"]} == {""}


def test_conventions_are_printed_in_every_format(results, suite, tmp_path):
    markdown = results("table", str(suite), "--conventions").output
    assert "| in force: foreground, zero-fp, cases | foreground, zero-fp, strata |" in markdown
    assert "**B, by region, empty, average**" in markdown
    assert "| 70.00 (1)" in markdown
    assert "| in force, and any other |" in markdown
    text = results("table", str(suite), "--conventions", "--format", "csv").output
    lines = list(csv.DictReader(io.StringIO(text)))
    assert len(lines) == (12 + 1) * 3
    (line,) = (x for x in lines if x["target"] == "phantom2d-c" and x["row"] == "erm")
    assert (line["region"], line["empty"], line["rank"], line["in_force"]) == ("foreground", "zero-fp", "1", "true")
    latex = results("table", str(suite), "--conventions", "--format", "latex").output
    assert latex.count(r"\begin{tabular}") == 2
    assert "Two rows \\& one" in latex
    assert re.findall(r"\\label\{(.*?)\}", latex) == ["tab:mine-conventions", "tab:mine-conventions-2"]
    assert "sidewaystable" in latex  # for the twelve conventions of B
    if shutil.which("pdflatex"):
        page = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n%s\\end{document}\n"
        write_text(tmp_path / "page.tex", page % latex)
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
        assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0


def test_a_matrix_has_no_place_for_failures_but_its_lines_for_programs_have(bench, suite):
    refused = bench("table", str(suite), "--matrix", "--failures")
    assert refused.exit_code == 2
    assert "--matrix and --failures: leave one of them out, or take --format csv" in refused.output
    lines = bench("table", str(suite), "--matrix", "--failures", "--format", "csv")
    assert lines.exit_code == 0
    assert ",cases_below_half,worst_5_percent" in lines.output


def test_conventions_without_results(bench, suite):
    result = bench("table", str(suite), "--conventions")
    assert result.exit_code == 0
    assert "* not scored yet." in result.output
    final = bench("table", str(suite), "--conventions", "--final")
    assert final.exit_code == 3
    assert "RandConv on B: 0 of 2 seeds (not run)" in final.stderr


def test_rank_prints_differences_to_the_baseline_and_ranks(results, suite):
    result = results("rank", str(suite))
    assert result.exit_code == 0, result.output
    text = result.output
    assert "every row minus w/o SSDG, DSC in points" in text
    assert "B: 3 cases, 2 seeds a row" in text
    assert "On 3 cases; Kendall's tau" in text  # in the third only RandConv has a score
    assert "C: 4 cases, 2 seeds a row" in text
    assert "crossed, over training runs and cases" in text
    assert "adjusted for the number of comparisons here, 0; 2 more with fewer than 3 seeds a row" in text
    assert "Not compared, because they saw target images or labels, or are an ensemble: CutMix ‡." in text
    assert "in 95 % of 10,000 draws (generator seed 0)" in text
    lines = [line.split() for line in text.splitlines() if line.startswith(("RandConv", "CutMix"))]
    assert [line[0] for line in lines] == ["RandConv"] * 4
    # As the cells: RandConv has 0.7, 0.5 and, for what it finds in an empty label, 0; w/o SSDG 0.8 and 0.6.
    assert [line[:3] for line in lines[:1]] == [["RandConv", "3", "\N{MINUS SIGN}30.00"]]
    assert "0/0/2" in lines[0]


def test_rank_as_json(results, suite):
    result = results("rank", str(suite), "--json", "--targets", "phantom2d-c")
    data = json.loads(result.output)
    assert (data["baseline"], data["metric"], data["missing"]) == ("erm", "dsc", [])
    first = data["comparisons"][0]
    assert (first["row"], first["other"], first["target"], first["level"]) == (
        "randconv",
        "erm",
        "phantom2d-c",
        "runs and cases",
    )
    assert first["difference"] == pytest.approx(-10)
    assert (first["holm_p"], first["separated"]) == (None, False)
    (ranking,) = data["rankings"]
    assert [line["row"] for line in ranking["rows"]] == ["erm", "randconv"]
    assert [sum(line["probabilities"]) for line in ranking["rows"]] == pytest.approx([1, 1])
    against = json.loads(results("rank", str(suite), "--json", "--baseline", "randconv").output)
    assert against["baseline"] == "randconv"
    assert {line["row"] for line in against["comparisons"]} == {"erm"}


def test_one_seed_says_so(results, suite):
    text = results("rank", str(suite), "--seeds", "0").output
    assert "speak of these trained models only" in text
    for line in re.findall(r"^(?:w/o SSDG|RandConv) +[\d.]+ +\d .*$", text, re.MULTILINE):
        assert line.split()[-3:] == ["\N{EN DASH}"] * 3, "no distribution over runs"
    assert "\N{EN DASH}: a row has a single seed" in text
    assert "Kendall" not in text
    data = json.loads(results("compare", "randconv", "erm", "--suite", str(suite), "--seeds", "0", "--json").output)
    assert {line["level"] for line in data["comparisons"]} == {"cases"}


def test_compare_is_the_first_minus_the_second(results, suite):
    result = results("compare", "cutmix", "randconv", "--suite", str(suite))
    assert result.exit_code == 0, result.output
    assert "CutMix minus RandConv, DSC in points" in result.output
    one = json.loads(results("compare", "cutmix", "randconv", "--suite", str(suite), "--json").output)
    other = json.loads(results("compare", "randconv", "cutmix", "--suite", str(suite), "--json").output)
    assert [line["difference"] for line in one["comparisons"]] == pytest.approx(
        [-line["difference"] for line in other["comparisons"]]
    )
    assert one["comparisons"][1]["difference"] == pytest.approx(20)
    assert (one["row"], one["other"]) == ("cutmix", "randconv")


def test_another_measure_can_be_compared(results, suite):
    arguments = ("randconv", "erm", "--suite", str(suite), "--targets", "phantom2d-c", "--json")
    data = json.loads(results("compare", *arguments, "--metric", "sensitivity").output)
    assert data["metric"] == "sensitivity"
    assert data["comparisons"][0]["difference"] == pytest.approx(-10)


def test_what_is_missing_is_named_with_exit_code_3(bench, suite):
    fill(bench.results, suite, lambda planned: (planned.row.id, planned.request.seed) == ("randconv", 1))
    result = bench("rank", str(suite))
    assert result.exit_code == 3
    assert "bench: left out: RandConv on B: 1 of 2 seeds (not run)" in result.stderr
    assert "CutMix" in result.stdout
    assert "Probability" not in result.stdout  # w/o SSDG alone is no ranking
    result = bench("compare", "randconv", "erm", "--suite", str(suite), "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["comparisons"] == []
    assert len(json.loads(result.stdout)["missing"]) == 2
    assert bench("compare", "randconv", "erm", "--suite", str(suite), "--seeds", "0").exit_code == 0


@pytest.mark.parametrize("verb", [("rank", "{suite}"), ("compare", "randconv", "erm", "--suite", "{suite}")])
def test_nothing_at_all_is_missing_and_no_error(bench, suite, verb):
    result = bench(*(part.format(suite=suite) for part in verb))
    assert result.exit_code == 3
    assert "left out: RandConv on C: 0 of 2 seeds (not run)" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("compare", "randcov", "erm", "--suite", "{suite}"), "did you mean 'randconv'"),
        (("compare", "erm", "erm", "--suite", "{suite}"), "the same row"),
        (("compare", "erm", "randconv", "--suite", "demmo"), "did you mean 'demo'"),
        (("compare", "erm", "randconv"), "Missing option '--suite'"),
        (("compare", "erm", "--suite", "{suite}"), "Missing argument"),
        (("compare", "erm", "randconv", "--suite", "{suite}", "--targets", "lesav"), "target of the suite"),
        (("compare", "erm", "randconv", "--suite", "{suite}", "--metric", "dice"), "unknown metric 'dice'"),
        (("rank", "{suite}", "--baseline", "ermm"), "did you mean 'erm'"),
        (("rank", "{suite}", "--methods", "randconv"), "name the row to compare with by --baseline"),
        (("rank", "{suite}", "--set", "evaluation.empty=two"), "evaluation.empty"),
    ],
)
def test_mistakes_are_named(bench, suite, arguments, message):
    result = bench(*(part.format(suite=suite) for part in arguments))
    assert result.exit_code == 2
    assert message in result.output


@pytest.fixture
def two_suites(bench, tmp_path):
    """Suites of B with two seeds and of C with three, as files."""
    first = suite_file(tmp_path / "first.toml", ROWS, COLUMNS[:1], seeds=(0, 1))
    other = suite_file(tmp_path / "other.toml", ROWS, COLUMNS[1:], seeds=(0, 1, 2))
    for suite in (first, other):
        fill(bench.results, suite)
    return str(first), str(other)


def test_several_suites_are_ranked_together(bench, suite, two_suites):
    text = bench("rank", *two_suites)
    assert text.exit_code == 0, text.output
    lines = text.output.splitlines()
    assert lines[0] == "first, other: mean rank by DSC over 2 targets, 1 is best"
    assert lines[3].split()[:4] == ["w/o", "SSDG", "1.00", "1.00"]
    assert "CutMix" not in text.output  # it saw the targets
    data = json.loads(bench("rank", *two_suites, "--json").output)
    assert [row["mean_rank"] for row in data["rows"]] == [1, 2]
    assert [rank["suite"] for rank in data["rows"][0]["ranks"]] == ["first", "other"]
    for again, options, message in (
        (two_suites[0], (), "name every suite once"),
        (str(suite), (), "first and mine both have B from the same source"),
        (str(suite), ("--baseline", "erm"), "first and mine both have B from the same source"),
    ):
        refused = bench("rank", two_suites[0], again, *options)
        assert (refused.exit_code, message in refused.output) == (2, True)


def test_differences_to_the_baseline_are_one_family_over_suites(bench, two_suites):
    text = bench("rank", *two_suites, "--baseline", "erm")
    assert text.exit_code == 0, text.output
    lines = text.output.splitlines()
    assert (
        lines[0] == "first, other: every row minus erm, DSC: 1 of 1 differences are separated (Holm p at most 0.05)"
    )
    assert [line.split("  ")[0] for line in lines[3:4]] == ["RandConv on C (other)"]
    assert "here, 1; 1 more (first) with fewer than 3 seeds a row, where nothing can be told apart" in text.output
    data = json.loads(bench("rank", *two_suites, "--baseline", "erm", "--json").output)
    alone = json.loads(bench("rank", two_suites[0], "--baseline", "erm", "--json").output)["comparisons"]
    assert [comparison["difference"] for comparison in data["comparisons"][:1]] == [c["difference"] for c in alone]
    assert [(c["suite"], c["separated"]) for c in data["comparisons"]] == [("first", False), ("other", True)]
