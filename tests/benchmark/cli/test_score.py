"""`bench score`: label files of another program as a row of a suite, in everything that is made of its results."""

import csv
import io
import json
import re
import shutil
from importlib import resources

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from ssdg.benchmark import open_results
from ssdg.benchmark.data import images
from ssdg.benchmark.scoring import external
from ssdg.benchmark.scoring.matching import match_predictions
from ssdg.benchmark.storage.lease import Lease
from ssdg.datasets.base import Case, DataError, Domain

from ...suites import suite_file
from ..stored import planned_runs, write_run

B, C = "phantom2d-b", "phantom2d-c"


@pytest.fixture
def suite(tmp_path):
    return str(suite_file(tmp_path / "mine.toml", ("erm", "randconv"), [B, C]))


@pytest.fixture
def predictions(bench, tmp_path):
    """Label files that are right but for a square, with the values of the data set."""
    folder = tmp_path / "predictions"
    folder.mkdir()
    for path in sorted((bench.data / "phantom2d" / "b" / "label").glob("*.png")):
        label = np.array(Image.open(path))
        label[10:30, 10:30] = 255 - label[10:30, 10:30]
        Image.fromarray(label).save(folder / path.name)
    return folder


@pytest.fixture
def score(bench, suite, predictions):
    def call(*arguments, row="nnunet", folder=predictions, label_map="255=vessel", target=B):
        named = ["--row", row, "--seed", "0", "--target", target, "--predictions", str(folder)]
        roots = ["--data-root", str(bench.data), "--results-root", str(bench.results)]
        return bench("score", suite, *named, "--label-map", label_map, *roots, *arguments)

    return call


def folder_of(bench, row="nnunet"):
    return bench.results / "external" / "mine" / row / "s0" / "phantom2d" / "phantom2d-a" / B


def lines_of(bench, row="nnunet"):
    with (folder_of(bench, row) / "cases.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def table(bench, suite, *arguments):
    result = bench("table", suite, "--format", "json", *arguments)
    assert result.exit_code == 0, result.output
    return {row["row"]: row for row in json.loads(result.stdout)["rows"]}


def test_counts_are_those_of_the_files(bench, score, predictions, monkeypatch):
    monkeypatch.delattr(images, "picture_intensities")  # of an image the grid alone is needed
    result = score("--label", "nnU-Net")
    assert result.exit_code == 0, result.output
    for line in lines_of(bench):
        name = f"{line['case']}.png"
        predicted = np.array(Image.open(predictions / name)) > 0
        label, mask = (
            np.array(Image.open(bench.data / "phantom2d" / "b" / kind / name)) > 0 for kind in ("label", "mask")
        )
        expected = [(part & where).sum() for where in (mask, ~mask) for part in split(predicted, label)]
        names = ("tp", "fp", "fn", "tp_outside", "fp_outside", "fn_outside")
        assert [int(line[name]) for name in names] == expected
    stored = np.array(Image.open(folder_of(bench) / "predictions" / name))
    assert (stored == predicted).all()  # as a run's: class indices


def split(predicted, label):
    return predicted & label, predicted & ~label, ~predicted & label


def test_the_same_files_change_nothing_and_others_are_refused(bench, score, predictions):
    assert score().exit_code == 0
    before = {path: path.stat().st_mtime_ns for path in folder_of(bench).rglob("*")}
    again = score()
    assert (again.exit_code, "the same files" in again.output) == (0, True)
    assert {path: path.stat().st_mtime_ns for path in folder_of(bench).rglob("*")} == before
    path = next(predictions.iterdir())
    Image.fromarray(np.zeros_like(np.array(Image.open(path)))).save(path)
    refused = score()
    assert refused.exit_code == 2
    assert f"other files of 1 of 4 cases ({path.stem}" in refused.output
    assert "--replace" in refused.output
    assert {path: path.stat().st_mtime_ns for path in folder_of(bench).rglob("*")} == before
    assert score("--replace").exit_code == 0
    assert [line["tp"] for line in lines_of(bench) if line["case"] == path.stem] == ["0"]


def test_another_command_at_the_same_row_is_waited_for_by_nobody(bench, score):
    assert score().exit_code == 0
    with Lease(folder_of(bench).parent):
        result = score("--replace")
    assert (result.exit_code, "is being worked on by" in result.output) == (3, True)
    assert score("--replace").exit_code == 0
    assert [path.name for path in folder_of(bench).parent.iterdir()] == [folder_of(bench).name]


def test_scores_of_another_command_that_ended_meanwhile_are_not_replaced(bench, score, predictions, monkeypatch):
    assert score().exit_code == 0
    others = folder_of(bench).rename(bench.results / "others")
    path = next(predictions.iterdir())
    Image.fromarray(np.zeros_like(np.array(Image.open(path)))).save(path)

    class Later(Lease):
        def __enter__(self):
            lease = super().__enter__()
            others.rename(folder_of(bench))
            return lease

    monkeypatch.setattr(external, "Lease", Later)
    refused = score()
    assert (refused.exit_code, "other files of 1 of 4 cases" in refused.output) == (2, True), refused.output
    assert next(int(line["tp"]) for line in lines_of(bench) if line["case"] == path.stem) > 0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "lacks 1 of the 4 cases of phantom2d-b: {case};"),
        (lambda path: Image.new("L", (48, 40)).save(path), "has shape (40, 48) and its image (48, 48)"),
        (lambda path: Image.new("L", (48, 48), 7).save(path), "values not in the label map: 7 (2304 times)"),
        (lambda path: path.write_bytes(b"none"), "{case}.png"),
        (lambda path: shutil.copy(path, path.with_suffix(".tif")), "case {case} has several files"),
    ],
)
def test_what_cannot_be_used_is_named_and_nothing_is_kept(bench, suite, score, predictions, spoil, message):
    path = sorted(predictions.iterdir())[2]
    spoil(path)
    result = score()
    assert result.exit_code == 2
    assert message.format(case=path.stem) in result.output
    assert not list((bench.results / "external").rglob("*.csv"))
    assert "nnunet" not in table(bench, suite)


def test_a_row_of_the_suite_an_unknown_class_and_another_access_are_refused(score):
    assert "is trained here" in score(row="erm").output
    assert "unknown class of task 'phantom2d' 'vesel'" in score(label_map="255=vesel").output
    assert "takes letters, digits" in score(row="../up").output
    assert "unknown target" in score(target="lesav").output
    assert score("--access", "uda").exit_code == 0
    other = score("--access", "ssdg", target=C)
    assert (other.exit_code, "has access 'uda'" in other.output) == (2, True)


@pytest.fixture
def filled(bench, suite, score):
    """The suite's runs made by hand on the cases of B, and an external row."""
    assert score("--label", "nnU-Net", "--note", "default plans").exit_code == 0
    data = json.loads((folder_of(bench) / "evaluation.json").read_text())
    cases = [(line["case"], "all") for line in lines_of(bench)]
    for planned in planned_runs(suite):
        scores = {case: (stratum, (0.5 + 0.01 * i,)) for i, (case, stratum) in enumerate(cases)}
        run = write_run(bench.results, planned.request, {B: scores, C: scores}, target_manifest=data["manifest"])
        for path in run.glob(f"evaluations/{B}-*/evaluation.json"):
            content = json.loads(path.read_text())
            path.write_text(json.dumps({**content, "cases": data["cases"]}))
        for path in run.glob(f"evaluations/{B}-*/cases.csv"):
            path.write_text(path.read_text().replace("class 1", "vessel"))
    return bench


def test_the_row_is_in_the_table_and_marked(filled, suite):
    rows = table(filled, suite)
    external = rows["nnunet"]
    assert (external["method"], external["setting"], external["label"]) == ("external", "ssdg", "nnU-Net")
    cells = {cell["target"]: cell for cell in external["cells"]}
    tp, fp, fn = (np.array([int(line[name]) for line in lines_of(filled)]) for name in ("tp", "fp", "fn"))
    assert cells[B]["mean"] == pytest.approx(100 * np.mean(2 * tp / (2 * tp + fp + fn)), abs=1e-4)
    assert (cells[C]["state"], cells[C]["reason"]) == ("missing", "not scored")
    text = filled("table", suite).output
    assert "| nnU-Net §" in text
    assert "§ external (label files made by another program, training not seen): nnU-Net." in text
    assert "SSDG, external" in text
    assert "training was not seen by this harness; default plans" in text
    assert "no row trained here sees target images" in text
    assert filled("table", suite, "--final").exit_code == 3
    assert filled("table", suite, "--final", "--targets", B, "--validation").output.count("nnU-Net on") == 0


def test_it_is_compared_and_ranked_with_the_others(filled, suite):
    compared = filled("compare", "nnunet", "erm", "--suite", suite, "--targets", B, "--json")
    assert compared.exit_code == 0, compared.output
    [contrast] = json.loads(compared.output)["comparisons"]
    rows = table(filled, suite)
    [first, second] = [rows[name]["cells"][0]["mean"] for name in ("nnunet", "erm")]
    assert contrast["difference"] == pytest.approx(first - second, abs=1e-3)
    ranked = filled("rank", suite, "--targets", B, "--json")
    assert ranked.exit_code == 0, ranked.output
    assert {row["row"] for row in json.loads(ranked.output)["rankings"][0]["rows"]} == {"erm", "randconv", "nnunet"}


def test_status_shows_it_and_a_sweep_leaves_it_alone(filled, suite):
    lines = {line.split()[0]: line for line in filled("status", suite).output.splitlines() if line}
    assert f"{B} DONE" in lines["nnunet"]
    assert "external: `bench score` adds what is missing" in lines["nnunet"]
    planned = filled("sweep", suite, "--dry-run").output
    assert "nnunet" not in planned
    assert "not in this version" not in planned


def test_an_export_and_the_python_api_have_it(filled, suite, tmp_path):
    results = open_results(suite, filled.results)
    frame = results.table().set_index(["row", "target"])
    assert frame.loc[("nnunet", B), "method"] == "external"
    folder = tmp_path / "exported"
    exported = filled("export", suite, "--output", str(folder), "--results-root", str(filled.results))
    assert exported.exit_code == 3, exported.output  # C is a hole
    again = open_results(folder).table().set_index(["row", "target"])
    assert again["mean"].dropna().to_dict() == pytest.approx(frame["mean"].dropna().to_dict(), abs=1e-4)
    runs = list(csv.DictReader(io.StringIO((folder / "runs.csv").read_text())))
    assert [run["method"] for run in runs if run["row"] == "nnunet"] == ["external"]
    assert filled("report", str(folder), "--output", str(folder / "report.html")).exit_code == 0
    assert "training was not seen by this harness" in (folder / "report.html").read_text()


def test_rescoring_works_from_the_copied_predictions(bench, suite, score):
    assert score().exit_code == 0
    result = bench("rescore", suite, "--metrics", "hd95", "--jobs", "1")
    assert (result.exit_code, "4 cases computed" in result.output) == (0, True), result.output
    assert table(bench, suite, "--metric", "hd95")["nnunet"]["cells"][0]["mean"] > 0


def test_a_volume_is_read_by_its_own_affine(bench, tmp_path):
    """Also where the published labels are not: `same_grid` is for them."""
    catalogue = (resources.files("ssdg.datasets") / "catalogue" / "phantom3d.toml").read_text()
    same_shape = re.sub(r"(?m)^modality", 'same_grid = "shape"\nmodality', catalogue)
    task = tmp_path / "mine.toml"
    task.write_text(same_shape.replace('name = "phantom3d"', 'name = "mine"'))
    column = {"task": "mine", "source": "phantom3d-a", "target": "phantom3d-b"}
    suite = str(suite_file(tmp_path / "volumes.toml", ("erm",), [column]))
    folder = tmp_path / "turned"
    folder.mkdir()
    for path in sorted((bench.data / "phantom3d" / "b").rglob("*.nii.gz")):
        if "label" in str(path.relative_to(bench.data)):
            image = nib.load(path)
            flip = np.diag([-1.0, -1.0, 1.0, 1.0])
            flip[:2, 3] = np.array(image.shape[:2]) - 1
            turned = np.asarray(image.dataobj)[::-1, ::-1].astype(float)
            nib.save(nib.Nifti1Image(turned, image.affine @ flip), folder / path.name)
    roots = ["--data-root", str(bench.data), "--results-root", str(bench.results), "--task", str(task)]
    named = ["--row", "perfect", "--seed", "0", "--target", "phantom3d-b", "--predictions", str(folder)]
    result = bench("score", suite, *named, *roots)
    assert result.exit_code == 0, result.output
    assert "DSC 100.00" in result.output
    path = next(folder.iterdir())
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), image.affine + np.diag([0, 0, 0.5, 0])), path)
    shifted = bench("score", suite, *named, *roots, "--replace")
    assert (shifted.exit_code, "different affines" in shifted.output) == (2, True)


def test_an_external_lower_bound_is_not_the_baseline(filled, suite, score):
    assert score("--access", "source-only", row="lower").exit_code == 0
    ranked = filled("rank", suite, "--targets", B, "--methods", "erm,lower,nnunet", "--json")
    assert ranked.exit_code == 0, ranked.output
    assert json.loads(ranked.output)["baseline"] == "erm"


def test_folders_of_another_layout_are_matched_by_the_end_of_a_path(tmp_path):
    def case(id, place):
        return Case(id, tmp_path / "data" / place / "image1.tif", tmp_path / "labels" / place / "image1-1.tif")

    cases = (case("x-image1", "x"), case("y-image1", "y"))
    domain = Domain("pairs", "-", cases, {}, "-", "-")
    folder = tmp_path / "predictions"
    for name in ("x/image1.png", "y-image1.png", "notes.txt", "z.png"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    matched, extra = match_predictions(domain, folder, 2)
    assert {case: str(path.relative_to(folder)) for case, path in matched.items()} == {
        "x-image1": "x/image1.png",
        "y-image1": "y-image1.png",
    }
    assert extra == ["z.png"]
    (folder / "image1.png").touch()
    with pytest.raises(DataError, match="may be of x-image1, y-image1 of pairs: name the files by the ids"):
        match_predictions(domain, folder, 2)


def test_a_suite_may_name_the_row_before_there_are_files(bench, score, tmp_path):
    rows = ("erm", {"id": "nnunet", "method": "external", "label": "From elsewhere"})
    suite = str(suite_file(tmp_path / "mine.toml", rows, [B]))
    cell = table(bench, suite)["nnunet"]["cells"][0]
    assert (cell["state"], cell["reason"]) == ("missing", "not scored")
    assert score().exit_code == 0
    row = table(bench, suite)["nnunet"]
    assert (row["label"], row["cells"][0]["state"]) == ("From elsewhere", "complete")
