"""Metric files: guarded by counts, read by column names, older ``shapes.csv``, and metrics of installed packages."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from ssdg.benchmark.cli import main
from ssdg.benchmark.errors import UsageError
from ssdg.benchmark.scoring.case_file import read_cases
from ssdg.benchmark.scoring.metric_file import (
    Stored,
    has_any,
    path_of,
    read_entries,
    stored_values,
    write_entries,
)
from ssdg.benchmark.scoring.metrics import METRICS, find_metric, metrics
from ssdg.benchmark.storage.run_folder import CASE_COLUMNS

from ..metric_values import EXAMPLE, installing, write_values
from ..stored import stored_evaluation

HD95, NSD, CLDICE = METRICS["hd95"], METRICS["nsd"], METRICS["cldice"]
NAN = float("nan")
ROW = {"case": "a, b", "stratum": "all", "class_index": 1, "class_name": 'the "thing"'}
COUNTED = ROW | dict(zip(CASE_COLUMNS[4:], (500, 20, 30, 0, 0, 0), strict=True))


@pytest.fixture
def evaluation(tmp_path):
    return stored_evaluation(tmp_path, [COUNTED, COUNTED | {"case": "other"}])


def values(evaluation, metric, region="image", empty="zero-fp"):
    """Return a metric of each row; None where it was not computed for all of them."""
    file = read_cases(evaluation)
    if metric.source == "counts":
        return metric.of_counts(*file.in_region(region), empty).tolist()
    values = stored_values(evaluation.path, file, metric).by_region[region]
    if None in values:
        return None
    return metric.with_empty_rule(np.array(values), *file.in_region(region), empty).tolist()


def stored(evaluation, *metrics):
    """Return the stored values of the whole image by metric, and the commits of all."""
    of_metric = {metric.name: stored_values(evaluation.path, read_cases(evaluation), metric) for metric in metrics}
    values = {name: of.by_region["image"] for name, of in of_metric.items()}
    return values, set().union(*(of.commits for of in of_metric.values()))


def test_anybody_s_pandas_reads_a_file(evaluation):
    write_values(evaluation, HD95, [(2.5, 3.25), (NAN, 1.0)])
    frame = pd.read_csv(evaluation.path / "metrics" / "hd95-v1.csv")
    assert list(frame) == ["case", "class_index", "class_name", "region", "value", "counts", "commit"]
    assert frame["value"].tolist()[::3] == [2.5, 1.0]
    assert frame["value"].isna().tolist() == [False, False, True, False]
    assert frame.loc[0, ["case", "class_name", "region", "counts"]].tolist() == [
        "a, b",
        'the "thing"',
        "foreground",
        "500 20 30 0 0 0",
    ]
    assert values(evaluation, HD95) == [3.25, 1.0]


def test_columns_are_read_by_name_in_any_order_and_among_others(evaluation):
    write_values(evaluation, HD95, [2.5, 3.5])
    path = path_of(evaluation.path, HD95)
    frame = pd.read_csv(path)
    frame["note"] = "mine"
    frame[sorted(frame)].to_csv(path, index=False)
    assert values(evaluation, HD95) == [2.5, 3.5]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace(",region,", ",place,"),
        lambda text: text[: text.rindex(",")],
        lambda text: text.replace(",2.5,", ",2.x,"),
        lambda text: text.replace("500 20", "501 20"),
        lambda _: "",
    ],
)
def test_values_of_other_counts_or_of_damaged_rows_are_not_taken(evaluation, spoil):
    write_values(evaluation, HD95, [2.5, 2.5])
    path = path_of(evaluation.path, HD95)
    path.write_text(spoil(path.read_text()))
    assert values(evaluation, HD95) is None


def test_a_value_does_not_outlive_its_counts(evaluation):
    write_values(evaluation, HD95, [2.5, 3.5])
    file = evaluation.path / "cases.csv"
    head, first, second = file.read_text().splitlines()
    file.write_text("\n".join([head, first, second.replace(",500,", ",499,")]) + "\n")
    assert stored(evaluation, HD95)[0] == {"hd95": [2.5, None]}
    assert values(evaluation, HD95) is None


def test_the_empty_rule_applies_to_classes_that_a_label_lacks(tmp_path):
    evaluation = stored_evaluation(tmp_path, [ROW | dict.fromkeys(CASE_COLUMNS[4:], 0) | {"fp": 9}])
    for metric in (NSD, HD95):
        write_values(evaluation, metric, [NAN], regions=["image"])
    rules = ("skip", "one", "zero-fp")
    np.testing.assert_array_equal([values(evaluation, NSD, empty=rule)[0] for rule in rules], [NAN, 0.0, 0.0])
    np.testing.assert_array_equal([values(evaluation, HD95, empty=rule)[0] for rule in rules], [NAN] * 3)
    assert values(evaluation, HD95, "foreground", "one") is None  # the whole image was computed


def test_a_file_that_cannot_be_opened_is_named(evaluation):
    path_of(evaluation.path, HD95).mkdir(parents=True)
    with pytest.raises(UsageError, match=r"hd95-v1\.csv cannot be read: Is a directory"):
        values(evaluation, HD95)


OLD = """\
case,stratum,class_index,class_name,tp,fp,fn,tp_outside,fp_outside,fn_outside,cldice_foreground,cldice_image,\
nsd_foreground,nsd_image,hd95_foreground,hd95_image,definitions,commit
"a, b",all,1,"the ""thing""\",500,20,30,0,0,0,0.5,0.625,0.7,0.8,nan,3.25,cldice:{cldice} hd95:1 nsd:1@1,abc1234
other,all,1,"the ""thing""\",500,20,30,0,0,0,0.25,0.375,0.6,0.9,4,5,cldice:2 hd95:1 nsd:1@1,abc1234
"""
"""A ``shapes.csv`` as it was written before there were metric files."""


def test_an_old_file_is_read_where_its_definitions_are_still_current(evaluation):
    (evaluation.path / "shapes.csv").write_text(OLD.format(cldice=2))
    expected = {"cldice": [0.625, 0.375], "hd95": [3.25, 5.0], "nsd": [None, None]}
    assert stored(evaluation, CLDICE, HD95, NSD) == (expected, {"abc1234"})
    assert values(evaluation, HD95) == [3.25, 5.0]
    np.testing.assert_array_equal(values(evaluation, HD95, "foreground"), [NAN, 4.0])
    assert values(evaluation, NSD) is None  # it counted voxels then
    (evaluation.path / "shapes.csv").write_text(OLD.format(cldice=1))
    assert stored(evaluation, CLDICE)[0] == {"cldice": [None, 0.375]}


def test_an_old_file_is_read_by_its_own_columns_and_guarded_by_counts(evaluation):
    text = OLD.format(cldice=2).replace("nsd_foreground,nsd_image", "assd_foreground,assd_image")
    (evaluation.path / "shapes.csv").write_text(text.replace("500,20,30,0,0,0,0.25", "500,20,31,0,0,0,0.25"))
    expected = {"cldice": [0.625, None], "hd95": [3.25, None], "nsd": [None, None]}
    assert stored(evaluation, CLDICE, HD95, NSD)[0] == expected


def test_a_file_of_its_own_takes_the_place_of_the_old_one(evaluation):
    (evaluation.path / "shapes.csv").write_text(OLD.format(cldice=2))
    write_values(evaluation, HD95, [1.0], commit="new")
    values = {"cldice": [0.625, 0.375], "hd95": [1.0, None]}
    assert stored(evaluation, CLDICE, HD95) == (values, {"abc1234", "new"})


def test_nothing_is_stored_where_nothing_was_rescored(evaluation):
    assert not has_any(evaluation.path)
    assert stored(evaluation, HD95) == ({"hd95": [None, None]}, set())


# ---------------------------------------------------------------------------------------------- installed packages


@pytest.fixture
def install(tmp_path, monkeypatch):
    with installing(tmp_path / "site", monkeypatch) as install:
        yield install


def test_a_new_metric_leaves_the_values_of_others_as_they_are(evaluation, install):
    write_values(evaluation, HD95, [2.5, 3.5])
    (evaluation.path / "shapes.csv").write_text(OLD.format(cldice=2))
    before = {path: path.read_bytes() for path in evaluation.path.rglob("*") if path.is_file()}
    install("acme_metrics", EXAMPLE, {"assd": "ASSD"})
    assert list(metrics()) == [*METRICS, "assd"]
    write_values(evaluation, find_metric("assd"), [1.5, NAN])
    assert {path: path.read_bytes() for path in before} == before
    assert stored(evaluation, CLDICE, HD95)[0] == {"cldice": [0.625, 0.375], "hd95": [2.5, 3.5]}
    np.testing.assert_array_equal(stored(evaluation, find_metric("assd"))[0]["assd"], [1.5, NAN])
    assert values(evaluation, HD95) == [2.5, 3.5]


def test_the_example_of_the_docs_is_this_one_and_computes(install):
    page = (Path(__file__).parents[3] / "docs" / "add-a-metric.md").read_text()
    assert EXAMPLE in page
    install("acme_metrics", EXAMPLE, {"assd": "ASSD"})
    label = np.pad(np.ones((3, 3), dtype=bool), 2)
    assert find_metric("assd").of_masks(np.roll(label, 1, 0), label, (1.0, 1.0)) == pytest.approx(0.5)
    assert np.isnan(find_metric("assd").of_masks(~label & label, label, (1.0, 1.0)))


@pytest.mark.parametrize(
    ("module", "entries", "message"),
    [
        (
            "import nowhere",
            {"assd": "ASSD"},
            r"cannot be loaded \(ModuleNotFoundError: No module named 'nowhere'\)",
        ),
        ("ASSD = 1", {"assd": "ASSD"}, "acme_metrics:ASSD is of type int, not a Metric"),
        (EXAMPLE, {"hd95": "ASSD"}, "that name is taken, by a metric that is built in"),
        (EXAMPLE, {"asd": "ASSD"}, "acme_metrics:ASSD calls itself 'assd'"),
    ],
)
def test_a_package_that_offers_no_metric_is_named(install, module, entries, message):
    install("acme_metrics", module, entries)
    with pytest.raises(UsageError, match=message) as caught:
        metrics()
    [name] = entries
    assert str(caught.value).startswith(f"metric '{name}' of package acme_metrics 1.0: ")
    assert "mend or uninstall" in str(caught.value)
    assert find_metric("hd95") is HD95  # built-in metrics ask no package


def test_two_packages_with_one_name_are_refused(install):
    install("acme_metrics", EXAMPLE, {"assd": "ASSD"})
    install("other_metrics", EXAMPLE, {"assd": "ASSD"})
    with pytest.raises(UsageError, match="that name is taken, by a metric that is another package's"):
        metrics()


def test_the_command_line_takes_it_by_name(install, tmp_path):
    install("acme_metrics", EXAMPLE, {"assd": "ASSD"})
    for verb in (["table", "demo"], ["rank", "demo"], ["compare", "erm", "freesdg", "--suite", "demo"]):
        arguments = ["--results-root", str(tmp_path), "--metric"]
        wrong = CliRunner().invoke(main, [*verb, *arguments, "asd"])
        assert (wrong.exit_code, "unknown metric 'asd': did you mean 'assd'?" in wrong.output) == (2, True)
        right = CliRunner().invoke(main, [*verb, *arguments, "assd"])
        assert "unknown" not in right.output
        assert right.exit_code in (0, 3), right.output
    result = CliRunner().invoke(main, ["table", "demo", "--results-root", str(tmp_path), "--metric", "assd"])
    assert "Average symmetric surface distance (pixels" in result.output
    result = CliRunner().invoke(main, ["rescore", "demo", "--results-root", str(tmp_path), "--metrics", "asd"])
    assert (result.exit_code, "did you mean 'assd'" in result.output) == (2, True)


def test_rows_are_written_once_in_the_order_of_the_cases(evaluation):
    rows = read_cases(evaluation).row_keys()
    stale = ((*rows[0][:3], "1 2 3 4 5 6"), "image")
    entries = {(row, "image"): Stored(1 / 3, "c") for row in reversed(rows)} | {stale: Stored(9.0, "old")}
    write_entries(evaluation.path, HD95, rows, entries)
    with path_of(evaluation.path, HD95).open(newline="") as stream:
        written = list(csv.DictReader(stream))
    assert [(row["case"], row["value"]) for row in written] == [("a, b", "0.333333"), ("other", "0.333333")]
    assert read_entries(evaluation.path, HD95).keys() == {(row, "image") for row in rows}
