"""``bench report``: one page that holds what the table holds, loads nothing, and says what is not there."""

import base64
import io
import itertools
import json
import re
import shutil
import warnings

import numpy as np
import pytest
from PIL import Image

from ssdg.benchmark.durations import duration
from ssdg.benchmark.report.charts import _apart, forest_chart, kept_apart, strip_chart
from ssdg.benchmark.storage.files import write_json
from ssdg.benchmark.suites.suite import Filters
from ssdg.benchmark.suites.suite_file import load_suite

from ...conftest import TINY, TINY_3D, Bench
from ...suites import suite_file
from ..stored import cases, planned_runs, write_run
from .report_page import Page

HOSTILE = '</td><script>alert("1")</script> & $x$'
BASELINE = {"id": "erm", "label": "w/o SSDG"}


def write_suite(path, targets, rows, seeds=(0,)):
    columns = [{"target": target, "label": f"camera {target[-1]}"} for target in targets]
    settings = {"training.validation_interval": 1}
    return suite_file(path, rows, columns, seeds=seeds, settings=settings, title="A & B <i>report</i>")


def train(bench, method, seed, task="phantom2d", targets=("b", "c")):
    tiny = TINY if task == "phantom2d" else TINY_3D
    named = [part for letter in targets for part in ("--target", f"{task}-{letter}")]
    options = ("--set=training.validation_interval=1", "--seed", str(seed))
    result = bench("run", "--method", method, *named, *tiny, *options)
    assert result.exit_code == 0, result.output


@pytest.fixture(scope="module")
def pictures(phantom_data, tmp_path_factory):
    """Two methods of two seeds on 2D phantoms, one adapting method that is half there, one that failed."""
    folder = tmp_path_factory.mktemp("pictures")
    bench = Bench(phantom_data, folder / "results")
    for seed in (0, 1):
        train(bench, "erm", seed)
        train(bench, "freesdg", seed)
    train(bench, "cutmix", 0, targets=("b",))
    rows = [
        BASELINE,
        {"id": "freesdg", "label": "FreeSDG"},
        {"id": "cutmix", "label": "CutMix", "access": "uda"},
        {"id": "broken", "label": HOSTILE, "method": "bigaug"},
    ]
    suite = write_suite(folder / "suite.toml", ("phantom2d-b", "phantom2d-c"), rows, (0, 1))
    planned = planned_runs(suite, methods=("broken",))
    failed = write_run(bench.results, planned[0].request, {}, state="FAILED")
    write_json(failed / "FAILED", {"type": "MemoryError", "message": "out of <b>memory</b>"})
    return bench, suite


@pytest.fixture(scope="module")
def volumes(phantom_data, tmp_path_factory):
    """Two methods of one seed on 3D phantoms with several classes."""
    folder = tmp_path_factory.mktemp("volumes")
    bench = Bench(phantom_data, folder / "results")
    for method in ("erm", "randconv"):
        train(bench, method, 0, "phantom3d", ("b",))
    rows = [BASELINE, {"id": "randconv", "label": "RandConv"}]
    return bench, write_suite(folder / "suite.toml", ["phantom3d-b"], rows)


def report(made, output, *arguments, data=None):
    bench, suite = made
    roots = ("--results-root", str(bench.results), "--data-root", str(data or bench.data))
    return bench("report", str(suite), *roots, "--output", str(output), *arguments)


def page_of(made, output, *arguments, data=None, code=0):
    result = report(made, output, *arguments, data=data)
    assert result.exit_code == code, result.output
    return Page(output.read_text())


@pytest.fixture(scope="module")
def page(pictures, tmp_path_factory):
    return page_of(pictures, tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture(scope="module")
def volume_page(volumes, tmp_path_factory):
    return page_of(volumes, tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture(params=["page", "volume_page"])
def either(request):
    return request.getfixturevalue(request.param)


def test_every_part_is_there(page, volume_page):
    shared = ["table", "differences", "ranks", "cases", "failures", "learning", "cost", "worst", "metrics", "missing"]
    assert page.sections == [*shared, "provenance"]
    assert volume_page.sections == [*shared[:4], "classes", *shared[4:], "provenance"]
    links = [one.attributes["href"] for one in page.root.find_all("nav")[0].find_all("a")]
    assert links == [f"#{name}" for name in page.sections]


def test_it_loads_nothing(either):
    assert either.loaded() == []
    assert either.root.find_all("link") == []
    assert [one.attributes for one in either.root.find_all("script")] == [{}]


def test_ids_are_unique_and_what_is_referred_to_is_there(either):
    identifiers = [one.attributes["id"] for one in either.elements if "id" in one.attributes]
    assert len(identifiers) == len(set(identifiers))
    wanted = [one.attributes["aria-labelledby"] for one in either.elements if "aria-labelledby" in one.attributes]
    wanted += [one.attributes["data-tools"] for one in either.elements if "data-tools" in one.attributes]
    for one in either.elements:
        wanted += re.findall(r"url\(#([^)]+)\)", " ".join(one.attributes.values()))
        wanted += [one.attributes["href"][1:]] if one.attributes.get("href", "").startswith("#") else []
    assert set(wanted) <= set(identifiers)


def test_drawings_are_named_and_follow_the_theme(either):
    drawings = either.root.find_all("svg")
    assert len(drawings) >= 4
    for drawing in drawings:
        assert drawing.attributes["role"] == "img"
        assert drawing.find_all("title")[0].text
        styles = " ".join(one.attributes.get("style", "") for one in drawing.everything())
        assert not re.search(r"#[0-9a-f]{6}", styles), "a colour that does not follow the theme"
        assert "var(--ink)" in styles


def test_every_picture_decodes_and_says_what_it_shows(either):
    pictures = either.root.find_all("img")
    assert len(pictures) >= 4 * 2, "four of each of at least two cases"
    for picture in pictures:
        kind, _, content = picture.attributes["src"].partition(",")
        assert kind == "data:image/webp;base64"
        image = Image.open(io.BytesIO(base64.b64decode(content, validate=True)))
        size = picture.attributes["width"], picture.attributes["height"]
        assert tuple(map(str, image.size)) == size
        assert "case" in picture.attributes["alt"]
    captions = [one.text for one in either.section("worst").find_all("figcaption")]
    assert captions[:4] == ["Input", "Label", "Prediction", "Errors"]
    assert (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(pictures[0].attributes["src"].partition(",")[2])))).std()
        > 5
    )


def unmarked(rows):
    """Return rows by label without the mark of a row that has not learned its source: two epochs may not do that."""
    return {label.removesuffix(" ¶"): cells for label, cells in rows.items()}


def test_the_numbers_are_those_of_the_table(pictures, page):
    bench, suite = pictures
    table = json.loads(bench("table", str(suite), "--format", "json").output)
    rows = unmarked(page.rows("table"))
    assert len(rows) == len(table["rows"]) == 4
    for row in table["rows"]:
        cells = rows[f"{row['label']} ‡" if row["setting"] == "uda" else row["label"]][1:]
        for cell, expected in zip(cells, row["cells"], strict=True):
            assert cell.attributes["data-value"] == ("" if expected["n"] == 0 else f"{expected['mean']:.4f}")
            assert (cell.find_all("b") != []) == expected["best"]
            if expected["n"]:
                assert cell.text.strip().startswith(f"{expected['mean']:.2f}")
            else:
                assert expected["reason"] in cell.text
    caption = "\n".join(one.text for one in page.section("table").find_all("p"))
    for sentence in table["caption"]:
        assert sentence in caption
    assert "1/2 seeds" in rows["CutMix ‡"][1].text


def test_other_measures_have_tables_of_their_own(pictures, page):
    bench, suite = pictures
    table = json.loads(bench("table", str(suite), "--format", "json", "--metric", "precision").output)
    [place] = [i for i, one in enumerate(page.section("metrics").find_all("h3")) if "Precision" in one.text]
    shown = unmarked(page.rows("metrics", place))["FreeSDG"][1].attributes["data-value"]
    [row] = [row for row in table["rows"] if row["row"] == "freesdg"]
    assert shown == f"{row['cells'][0]['mean']:.4f}"


def test_differences_and_ranks_are_those_of_rank(pictures, page):
    bench, suite = pictures
    result = bench("rank", str(suite), "--results-root", str(bench.results), "--json")
    ranked = json.loads(result.stdout)
    assert ranked["baseline"] == "erm"
    expected = [one for one in ranked["comparisons"] if one["row"] == "freesdg"]
    for place, one in enumerate(expected):
        cells = page.rows("differences", place)["FreeSDG"]
        assert float(cells[0].attributes["data-value"]) == pytest.approx(one["difference"], abs=1e-3)
        assert one["holm_p"] is None  # two seeds: no verdict
        assert (cells[3].attributes["data-value"], cells[3].find_all("b")) == ("", [])
        assert cells[3].text.strip() == "\N{EN DASH}"
    assert "adjusted for the number of comparisons here, 0; 2 more with fewer" in page.section("differences").text
    assert "Not compared, because they saw target images" in page.section("differences").text
    assert set(page.rows("ranks")) == {"w/o SSDG", "FreeSDG"}


def test_what_is_missing_is_listed_with_its_error(page):
    text = page.section("missing").text
    assert "CutMix on camera c: 0 of 2 seeds" in text
    assert "broken s0 (FAILED): out of <b>memory</b>" in text
    assert page.section("missing").find_all("b") == []


def test_labels_are_text_and_never_markup(page):
    assert page.root.find_all("i") == [
        one for one in page.root.find_all("i") if one.attributes.get("style", "").startswith("background:")
    ]
    assert len(page.root.find_all("script")) == 1
    assert HOSTILE in page.rows("table")
    assert page.root.find_all("h1")[0].text == "A & B <i>report</i>"


def test_hostile_names_of_cases(phantom_data, tmp_path):
    bench = Bench(phantom_data, tmp_path / "results")
    suite = write_suite(tmp_path / "s.toml", ["phantom2d-b"], [{"id": "erm", "label": HOSTILE}])
    [planned] = planned_runs(suite)
    name = '"><img src=x onerror=alert(1)>'
    write_run(bench.results, planned.request, {"phantom2d-b": cases(0.5, 0.25, prefix=name)})
    made = page_of((bench, suite), tmp_path / "report.html")
    assert made.root.find_all("img") == []
    assert f"Case {name}-1" in made.section("worst").text
    assert "no labelled case" in made.section("worst").text


def test_the_best_row_whose_worst_cases_are_shown_is_complete(phantom_data, tmp_path):
    bench = Bench(phantom_data, tmp_path / "results")
    suite = write_suite(tmp_path / "s.toml", ["phantom2d-b"], [BASELINE, "randconv", "freesdg"], (0, 1))
    for planned in planned_runs(suite):
        row, seed = planned.row.id, planned.request.seed
        score = {"erm": 0.5, "randconv": 0.6, "freesdg": 0.9}[row]
        if (row, seed) != ("freesdg", 1):
            write_run(bench.results, planned.request, {"phantom2d-b": cases(score, score)})
    page = page_of((bench, suite), tmp_path / "report.html")
    titles = [element.text for element in page.section("worst").find_all("h4")]
    assert titles == ["randconv highest mean", "w/o SSDG baseline"]
    # What is bold in a table of another metric is said under it.
    [caption, *_] = [part.text for part in page.section("metrics").find_all("p") if part.text.startswith("Sensit")]
    assert "Bold: the best mean among complete rows that saw the source alone" in caption


def test_worst_cases_by_their_mean_as_their_worst_seed_left_them(phantom_data, tmp_path):
    bench = Bench(phantom_data, tmp_path / "results")
    suite = write_suite(tmp_path / "s.toml", ["phantom2d-b"], [BASELINE], (0, 1))
    for one, scores in zip(planned_runs(suite), [(0.5, 0.1, 0.9, 0.8), (0.3, 0.6, 0.9, 0.7)], strict=True):
        write_run(bench.results, one.request, {"phantom2d-b": cases(*scores)})
    made = page_of((bench, suite), tmp_path / "report.html")
    shown = [one.text for one in made.section("worst").find_all("h5")]
    assert [one.text for one in made.section("worst").find_all("h4")] == [
        "w/o SSDG only complete row, and the baseline"
    ]
    assert shown == [
        "Case case-1 DSC 35.00; shown: seed 0, 10.00",
        "Case case-0 DSC 40.00; shown: seed 1, 30.00",
        "Case case-3 DSC 75.00; shown: seed 1, 70.00",
    ]


def test_strata_published_numbers_and_the_rows_of_a_paper(phantom_data, tmp_path):
    bench = Bench(phantom_data, tmp_path / "results")
    choice = Filters(methods=("sansaw", "ras4dg", "freesdg"), targets=("feta2021",))
    suite = load_suite("table1").narrowed(choice)
    for one in planned_runs(suite):
        gain = {"sansaw": 0.0, "ras4dg": 0.2, "freesdg": 0.01}[one.row.id] + 0.004 * one.request.seed
        normal = cases(0.6 + gain, 0.7 + gain, 0.65 + gain, stratum="normal", prefix="n")
        abnormal = cases(0.3 + gain, 0.4 + gain, stratum="abnormal", prefix="a")
        write_run(bench.results, one.request, {"feta2021": {**normal, **abnormal}})
    narrowed = ("--methods", "sansaw,ras4dg,freesdg", "--targets", "feta2021", "--baseline", "sansaw")
    made = page_of((bench, "table1"), tmp_path / "report.html", "--no-images", *narrowed)
    abnormal, normal, strata, mean = made.rows("table")["RAS4DG"][1:]
    # Whole volumes are scored, and what was written by hand misses as much outside as there is: every Dice is halved.
    assert " ".join(abnormal.text.split()) == "27.70 ± 0.20 published 73.52 ± 0.17 Δ \N{MINUS SIGN}45.82"
    assert normal.attributes["data-value"] == "42.7000"
    assert strata.attributes["data-value"] == "35.2000"
    assert mean.attributes["data-value"] == "36.7000"
    assert "published" not in mean.text
    drawn = made.section("cases").find_all("svg")[0].text
    assert "abnormal" in drawn
    assert "normal" in drawn
    [line] = [cells for label, cells in made.rows("differences").items() if label == "RAS4DG"]
    assert line[0].text == "+10.00"
    assert line[3].find_all("b") != []
    assert made.rows("differences")["FreeSDG"][0].text == "+0.50"


def test_without_images_there_is_none(pictures, tmp_path):
    made = page_of(pictures, tmp_path / "report.html", "--no-images")
    text = (tmp_path / "report.html").read_text()
    assert made.root.find_all("img") == []
    assert "data:" not in text
    assert "worst" not in made.sections


def test_without_data_it_says_so_and_is_otherwise_the_same(pictures, page, tmp_path):
    made = page_of(pictures, tmp_path / "report.html", data=tmp_path / "nowhere")
    assert made.root.find_all("img") == []
    assert "the data are not here" in made.section("worst").text
    assert made.section("table").text == page.section("table").text


def test_other_data_than_were_scored_are_not_shown(pictures, phantom_data, tmp_path):
    shutil.copytree(phantom_data / "phantom2d", tmp_path / "data" / "phantom2d")
    for path in (tmp_path / "data" / "phantom2d" / "b" / "label").iterdir():
        label = np.array(Image.open(path))
        label[:, : label.shape[1] // 2] = 0
        Image.fromarray(label).save(path)
    made = page_of(pictures, tmp_path / "report.html", data=tmp_path / "data")
    first, second = made.section("worst").text.split("camera c")[:2]
    assert first.count("No pictures:") >= 2
    assert "No pictures:" not in second


def test_equal_results_make_equal_pages_wherever_they_lie(pictures, tmp_path):
    bench, suite = pictures
    assert report(pictures, tmp_path / "one.html").exit_code == 0
    shutil.copytree(bench.results / "runs", tmp_path / "copied" / "runs")
    copied = Bench(bench.data, tmp_path / "copied"), suite
    assert report(copied, tmp_path / "two.html").exit_code == 0
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def test_no_result_at_all(phantom_data, tmp_path):
    bench = Bench(phantom_data, tmp_path)
    result = report((bench, "table1"), tmp_path / "report.html")
    assert result.exit_code == 3
    assert "nothing that is asked for of suite 'table1' is finished under" in result.output
    assert "`bench sweep table1`" in result.output
    made = Page((tmp_path / "report.html").read_text())
    assert made.sections == ["table", "missing", "provenance"]
    assert "published 72.88" in made.section("table").text
    assert "RAS4DG on LES-AV: 0 of" in made.section("missing").text
    unpublished = report((bench, "table1"), tmp_path / "report.html", "--no-published")
    assert unpublished.exit_code == 3
    assert "72.88" not in (tmp_path / "report.html").read_text()


def test_every_source_of_a_published_number_and_the_suites_note(phantom_data, tmp_path):
    bench = Bench(phantom_data, tmp_path)
    assert report((bench, "abdomen"), tmp_path / "report.html").exit_code == 3
    table = Page((tmp_path / "report.html").read_text()).section("table").text
    assert "published 88.55 (S2S2), 88.63 (SLAug README)" in table
    assert "SLAug README: Su et al." in table
    assert "no failed replication" in table


def test_an_incomplete_baseline_leaves_differences_out_and_says_so(pictures, tmp_path):
    made = page_of(pictures, tmp_path / "report.html", "--no-images", "--seeds", "0-2")
    assert "differences" not in made.sections
    assert "Differences to w/o SSDG are left out" in made.root.find_all("header")[0].text


def test_measures_of_shapes_say_their_unit_once(pictures, tmp_path):
    bench, suite = pictures
    shutil.copytree(bench.results / "runs", tmp_path / "copied" / "runs")
    copied = Bench(bench.data, tmp_path / "copied")
    copied("rescore", str(suite), "--metrics", "hd95", "--jobs", "1", "--methods", "erm")
    made = page_of((copied, suite), tmp_path / "report.html", "--no-images", "--methods", "erm")
    [found] = [one for one in made.section("metrics").find_all("div") if one.text.strip().startswith("HD95")]
    assert [one.text for one in found.find_all("thead")[0].find_all("th")][2:] == ["camera b (px)", "camera c (px)"]


def test_headings_leave_no_level_out(either):
    levels = [int(one.tag[1]) for one in either.elements if re.fullmatch("h[1-6]", one.tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels)), levels


def test_an_output_that_cannot_be_is_refused_before_anything_is_computed(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr("ssdg.benchmark.cli.selection.Selection", None)
    (tmp_path / "file").touch()
    result = report(pictures, tmp_path / "file" / "report.html")
    assert result.exit_code == 2
    assert "--output" in result.output
    assert f"{tmp_path / 'file'} is a file, not a folder" in " ".join(result.output.split())


def test_ctrl_c_leaves_nothing_behind(pictures, tmp_path, monkeypatch):
    def stop(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("ssdg.benchmark.report.page.render_page", stop)
    result = report(pictures, tmp_path / "report.html")
    assert (result.exit_code, result.output) == (130, "bench: stopped\n")
    assert list(tmp_path.iterdir()) == []


def test_unreadable_folders_are_named_and_the_rest_is_shown(pictures, tmp_path):
    bench, suite = pictures
    shutil.copytree(bench.results / "runs", tmp_path / "results" / "runs")
    [broken, *_] = sorted((tmp_path / "results" / "runs" / "phantom2d" / "freesdg").iterdir())
    (broken / "spec.json").write_text("{")
    made = page_of((Bench(bench.data, tmp_path / "results"), suite), tmp_path / "report.html", code=3)
    assert str(broken) in made.section("missing").text
    assert "1/2 seeds" in made.rows("table")["FreeSDG"][1].text


@pytest.mark.parametrize(
    "content", [None, "epoch,step,segmentation,seconds\n0,8,many,1\n", "nothing of the kind\n1\n"]
)
def test_a_history_that_is_gone_costs_its_curve_alone(pictures, content, tmp_path):
    bench, suite = pictures
    shutil.copytree(bench.results / "runs", tmp_path / "results" / "runs")
    for path in (tmp_path / "results" / "runs").rglob("history.csv"):
        path.unlink() if content is None else path.write_text(content)
    for path in (tmp_path / "results" / "runs").rglob("environment.json"):
        path.write_text("[]")
    made = page_of((Bench(bench.data, tmp_path / "results"), suite), tmp_path / "report.html")
    assert "learning" not in made.sections
    assert ("cost" in made.sections) == (content is not None and "seconds" in content)
    assert "differences" in made.sections


def test_without_a_baseline_nothing_is_compared(volumes, tmp_path):
    bench, _ = volumes
    suite = write_suite(tmp_path / "s.toml", ["phantom3d-b"], [{"id": "randconv", "label": "RandConv"}])
    made = page_of((bench, suite), tmp_path / "report.html")
    assert "differences" not in made.sections
    assert "name the row to compare with by --baseline" in made.root.find_all("header")[0].text
    wrong = report((bench, suite), tmp_path / "report.html", "--baseline", "ermm")
    assert wrong.exit_code == 2
    assert "ermm" in wrong.output


def test_provenance_is_complete(page):
    text = page.section("provenance").text
    for name in ("training.epochs", "optimizer.poly_power", "evaluation.empty", "preprocess.corpus_callosum"):
        assert name in text
    assert "torch" in text
    assert len(page.rows("provenance", 1)) == 4 * 2 + 2, "a line a planned run: cutmix trains for each target"


def test_labels_are_kept_apart_and_in_order():
    assert kept_apart([0.5, 0.1, 0.5], 0.2) == pytest.approx([0.5, 0.1, 0.7])
    assert kept_apart([0.95, 0.9, 1.0], 0.1) == pytest.approx([0.9, 0.8, 1.0])
    assert kept_apart([0.2, 0.2, 0.2], 0.9) == pytest.approx([0.0, 0.5, 1.0], abs=0.5)
    assert kept_apart([0.3], 0.1) == [0.3]


@pytest.mark.parametrize(("seconds", "text"), [(45, "45 s"), (90, "1.5 min"), (600, "10 min"), (7200, "2 h")])
def test_durations_are_said_as_people_say_them(seconds, text):
    assert duration(seconds) == text


def test_ticks_keep_their_distance():
    assert _apart([30, 60, 120, 300], 3) == [30, 120]


def test_an_unknown_spread_is_a_mark_without_a_line():
    rows = [("one case", -np.inf, 1.0, np.inf, False), ("known", 0.5, 1.0, 1.5, True)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = forest_chart("n", "t", rows)
    assert "inf" not in drawn
    assert drawn.count("<use ") == 2


def test_a_row_without_any_defined_case_is_a_line_without_dots():
    rows = [("none", np.full(3, np.nan), ("all",) * 3), ("some", np.array([1.0, np.nan, 3.0]), ("all",) * 3)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = strip_chart("n", "t", rows, None)
    assert ">none<" in drawn
    assert drawn.count("<use ") == 2


def test_help_names_the_way_out_of_showing_cases(bench):
    assert "--no-images" in bench("report", "--help").output
