"""The command line: what it does, and that bad input is one clear line, exit code 2, and nothing lost."""

import json
import os
import shutil
import stat

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from ssdg.benchmark.data import images

from ...conftest import TINY, TINY_3D, Bench


def test_a_run_trains_scores_and_is_left_alone_afterwards(bench):
    first = bench("run", "--method", "erm", "--target", "phantom2d-b", *TINY)
    assert first.exit_code == 0, first.output
    assert "phantom2d-b: DSC" in first.output
    run = bench.run_path()
    for name in ("spec.json", "environment.json", "history.csv", "DONE", "checkpoints/final.pt"):
        assert (run / name).exists()
    [evaluation] = run.glob("evaluations/phantom2d-b-*")
    predictions = sorted(p.name for p in (evaluation / "predictions").iterdir())
    assert len(predictions) == 4
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file()}
    again = bench("run", "--method", "erm", "--target", "phantom2d-b", *TINY)
    assert "already done" in again.output
    assert {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file()} == before


def test_a_second_target_does_not_train_again(bench):
    bench("run", "--method", "erm", "--target", "phantom2d-b", *TINY)
    weights = bench.run_path() / "checkpoints" / "final.pt"
    before = weights.stat().st_mtime_ns
    result = bench("run", "--method", "erm", "--target", "phantom2d-c", *TINY)
    assert result.exit_code == 0, result.output
    assert "phantom2d-c: DSC" in result.output
    assert weights.stat().st_mtime_ns == before


def test_a_scoring_switch_does_not_train_again(bench, monkeypatch):
    bench("run", "--method", "erm", "--target", "phantom2d-b", *TINY)
    monkeypatch.delattr(images, "picture_intensities")  # nor decode images that are prepared
    result = bench("run", "--method", "erm", "--target", "phantom2d-b", *TINY, "--set=evaluation.resample=nearest")
    assert result.exit_code == 0, result.output
    assert len(list(bench.run_path().glob("evaluations/phantom2d-b-*"))) == 2
    assert result.output.count("phantom2d-b: DSC") == 1, "that of the other switch is not asked for"


def test_scores_are_printed_by_the_conventions_of_this_command(bench):
    def printed(*options):
        output = bench("run", "--method", "erm", "--target", "phantom2d-b", *TINY, *options).output
        return output.rpartition("phantom2d-b: DSC ")[2]

    first = printed("--set", "evaluation.region=image")
    assert printed() != first, "those that the run was started with"
    assert printed("--set", "evaluation.region=image") == first


def test_training_reads_no_target(bench, tmp_path):
    """With the targets gone, training and the held-out score are the same: nothing of a target enters."""
    alone = Bench(tmp_path / "source-only", tmp_path / "other")
    shutil.copytree(bench.data / "phantom2d" / "a", alone.data / "phantom2d" / "a")
    bench("run", "--method", "ras4dg", "--target", "phantom2d-b", *TINY)
    result = alone("run", "--method", "ras4dg", "--task", "phantom2d", *TINY)
    assert result.exit_code == 0, result.output
    one, other = bench.run_path("ras4dg"), alone.run_path("ras4dg")
    assert one.name == other.name
    assert (one / "checkpoints" / "final.pt").read_bytes() == (other / "checkpoints" / "final.pt").read_bytes()


def test_three_dimensions(bench):
    result = bench("run", "--method", "ras4dg", "--target", "phantom3d-b", *TINY_3D)
    assert result.exit_code == 0, result.output
    [prediction, *_] = bench.run_path("ras4dg", "phantom3d").glob("evaluations/phantom3d-b-*/predictions/*.nii.gz")
    name = prediction.name
    [image] = (bench.data / "phantom3d" / "b" / "image").glob(name)
    assert nib.load(prediction).shape == nib.load(image).shape
    assert np.allclose(nib.load(prediction).affine, nib.load(image).affine)


@pytest.mark.parametrize("protocol", ["clean", "paper"])
def test_both_protocols(bench, protocol):
    result = bench("run", "--method", "erm", "--target", "phantom2d-b", "--protocol", protocol, *TINY)
    assert result.exit_code == 0, result.output


def test_a_spec_repeats_its_run(bench, tmp_path):
    bench("run", "--method", "randconv", "--target", "phantom2d-b", *TINY)
    spec = bench.run_path("randconv") / "spec.json"
    other = Bench(bench.data, tmp_path / "elsewhere")
    result = other("run", str(spec), "--target", "phantom2d-b")
    assert result.exit_code == 0, result.output
    one, two = bench.run_path("randconv"), other.run_path("randconv")
    assert one.name == two.name
    assert (one / "checkpoints" / "final.pt").read_bytes() == (two / "checkpoints" / "final.pt").read_bytes()


def test_predict_writes_the_users_images_in_their_grid(bench, tmp_path):
    bench("run", "--method", "erm", "--target", "phantom2d-b", *TINY)
    images = tmp_path / "mine"
    images.mkdir()
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (61, 47, 3), dtype=np.uint8)).save(images / "one.png")
    Image.fromarray(rng.integers(0, 255, (33, 90, 3), dtype=np.uint8)).save(images / "two.jpg")
    result = bench("predict", str(bench.run_path()), "--input", str(images), "--output", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    for name, shape in (("one.png", (61, 47)), ("two.png", (33, 90))):
        labels = np.asarray(Image.open(tmp_path / "out" / name))
        assert labels.shape == shape
        assert set(np.unique(labels)) <= {0, 1}


EYES = """
name = "eyes"
ndim = 2
channels = 3
classes = ["background", "vessel"]
shape = [32, 32]
[source.with-masks]
images = "phantom2d/a/image/{case}.png"
labels = "phantom2d/a/label/{case}.png"
foregrounds = "phantom2d/a/mask/{case}.png"
label_map = { 0 = 0, 255 = 1 }
degrees = 30
[target.without]
images = "phantom2d/b/image/{case}.png"
labels = "phantom2d/b/label/{case}.png"
foregrounds = { threshold = 0.05 }
label_map = { 0 = 0, 255 = 1 }
"""


def test_a_run_scaled_by_the_field_of_view_says_so_and_predicts_where_it_finds_one(bench, tmp_path):
    task, out = tmp_path / "eyes.toml", tmp_path / "out"
    task.write_text(EYES)
    fov = ("--task", str(task), "--target", "without", "--set", "preprocess.scale=fov")
    run = bench("run", "--method", "erm", *TINY, *fov)
    assert run.exit_code == 0, run.output
    path = bench.run_path(task="eyes")
    notes = {
        name: json.loads(next(path.glob(f"evaluations/{name}-*/evaluation.json")).read_text())["counts"]["note"]
        for name in ("held-out", "without")
    }
    assert "scale=fov: the grid spans 45 degrees, the camera 30" in notes["held-out"]
    assert "scale=fov: the grid spans 45 degrees, the camera 45, as none are stated" in notes["without"]
    image = min((bench.data / "phantom2d/b/image").iterdir())
    arguments = ("predict", str(path), "--task", str(task), "--input", str(image), "--output", str(out))
    refused = bench(*arguments)
    assert refused.exit_code == 2
    assert "has no mask: give its domain foregrounds" in refused.output
    assert "--like reads it as one of another domain" in refused.output
    assert bench(*arguments, "--like", "without").exit_code == 0
    assert np.asarray(Image.open(out / image.name)).shape == np.asarray(Image.open(image)).shape[:2]


def test_a_method_of_ones_own(bench, tmp_path):
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from dataclasses import replace\n"
        "from ssdg.methods.base import Method\n"
        "class Darker(Method):\n"
        "    'Darkens the mid-tones.'\n"
        "    def augment(self, batch, rng):\n"
        "        return replace(batch, image=batch.image**2)\n"
    )
    checked = bench("check", "darker", "--plugin", str(plugin))
    assert checked.exit_code == 0, checked.output
    result = bench("run", "--method", "darker", "--target", "phantom2d-b", "--plugin", str(plugin), *TINY)
    assert result.exit_code == 0, result.output


def test_data_of_ones_own(bench, tmp_path):
    root = bench.data / "phantom2d"
    task = tmp_path / "mine.toml"
    lines = ['name = "mine"', "ndim = 2", "channels = 3", 'classes = ["background", "vessel"]', "shape = [32, 32]"]
    for table, letter in (("source.here", "a"), ("target.there", "b")):
        folder = root / letter
        lines += [
            f"[{table}]",
            f'images = "{folder}/image/*.png"',
            f'labels = "{folder}/label/*.png"',
            "label_map = { 0 = 0, 255 = 1 }",
        ]
    task.write_text("\n".join(lines))
    result = bench("run", "--method", "erm", "--task", str(task), "--target", "there", *TINY[1:])
    assert result.exit_code == 0, result.output
    assert "there: DSC" in result.output


def test_doctor_and_info_and_lists(bench):
    assert "phantom2d-a" in bench("doctor").output
    assert "method.alpha" in bench("info", "ras4dg").output
    assert "source image: target images, a batch partner\n" in bench("info", "cutmix").output
    assert "source image: -\n" in bench("info", "erm").output
    methods = {row["id"]: row["sees or needs"] for row in json.loads(bench("list", "methods", "--json").output)}
    assert methods["erm"] == []
    assert methods["slaug"] == ["labels in augmentation"]
    lines = bench("list", "methods").output.splitlines()
    assert any("uda   2D 3D  target images, a batch partner  " in line and "cutmix" in line for line in lines)
    for what in ("methods", "tasks", "targets", "suites"):
        rows = json.loads(bench("list", what, "--json").output)
        assert rows


ERRORS = {
    "photographs": (
        ["run", "--method", "synthseg", "--target", "phantom2d-b", *TINY],
        ["'synthseg'", "labels do not explain", "phantom2d"],
    ),
    "no partner": (
        ["run", "--method", "mixstyle", "--target", "phantom2d-b", *TINY, "--set", "training.batch_size=1"],
        ["'mixstyle'", "training.batch_size must be 2 or more"],
    ),
    "no method": (["run", "--target", "phantom2d-b"], ["--method"]),
    "no target": (["run", "--method", "erm"], ["--target"]),
    "unknown method": (["run", "--method", "ras4gd", "--target", "phantom2d-b"], ["ras4gd", "'ras4dg'"]),
    "unknown target": (["run", "--method", "erm", "--target", "lesaw"], ["lesaw", "'lesav'"]),
    "unknown task": (["run", "--method", "erm", "--task", "fundsu"], ["fundsu", "'fundus'"]),
    "unknown source": (
        ["run", "--method", "erm", "--target", "lesav", "--source", "driv"],
        ["driv", "'drive'"],
    ),
    "unknown suite": (["sweep", "tabel1"], ["tabel1", "'table1'"]),
    "unknown setting": (
        ["run", "--method", "erm", "--target", "phantom2d-b", "--set", "training.epoch=3"],
        ["epoch", "'epochs'"],
    ),
    "unknown section": (
        ["run", "--method", "erm", "--target", "phantom2d-b", "--set", "optimiser.lr=3"],
        ["optimiser", "'optimizer'"],
    ),
    "unknown method setting": (
        ["run", "--method", "ras4dg", "--target", "phantom2d-b", "--set", "method.alhpa=3"],
        ["alhpa", "'alpha'"],
    ),
    "not a number": (
        ["run", "--method", "erm", "--target", "phantom2d-b", "--set", "training.epochs=many"],
        ["training.epochs", "many"],
    ),
    "odd grid": (
        ["run", "--method", "erm", "--target", "phantom2d-b", "--set", "preprocess.shape=50,50"],
        ["multiples of 8"],
    ),
    "wrong rank": (
        ["run", "--method", "erm", "--target", "phantom2d-b", "--set", "preprocess.shape=32,32,32"],
        ["preprocess.shape"],
    ),
    "missing data set": (["run", "--method", "erm", "--target", "lesav"], ["DRIVE", "drive.grand-challenge.org"]),
    "no gpu": (
        ["run", "--method", "erm", "--target", "phantom2d-b", "--device", "cuda:7", *TINY],
        ["--device"],
    ),
}


@pytest.mark.parametrize(("arguments", "words"), ERRORS.values(), ids=ERRORS)
def test_wrong_use_is_one_clear_line(bench, arguments, words):
    result = bench(*arguments)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.output


@pytest.fixture
def own_copy(phantom_data, tmp_path):
    """A phantom that a test may damage."""
    shutil.copytree(phantom_data, tmp_path / "data")
    return Bench(tmp_path / "data", tmp_path / "results")


def first(folder):
    return min(p for p in folder.iterdir() if p.suffix == ".png")


def truncate(root):
    path = first(root / "b" / "image")
    path.write_bytes(path.read_bytes()[:100])
    return path.name


def unknown_label(root):
    path = first(root / "a" / "label")
    label = np.array(Image.open(path))
    label[0, 0] = 77
    Image.fromarray(label).save(path)
    return path.name, "77"


def no_label(root):
    path = first(root / "a" / "label")
    path.unlink()
    return path.stem, "label"


def other_shape(root):
    path = first(root / "a" / "label")
    Image.fromarray(np.zeros((10, 12), dtype=np.uint8)).save(path)
    return path.name, "10"


def constant(root):
    path = first(root / "a" / "image")
    Image.fromarray(np.full(np.array(Image.open(path)).shape, 9, dtype=np.uint8)).save(path)
    return path.name, "constant"


@pytest.mark.parametrize("damage", [truncate, unknown_label, no_label, other_shape, constant])
def test_a_bad_file_is_named_before_training(own_copy, damage):
    words = damage(own_copy.data / "phantom2d")
    result = own_copy("run", "--method", "erm", "--target", "phantom2d-b", *TINY)
    assert result.exit_code == 2, result.output
    assert "training, " not in result.output
    for word in [words] if isinstance(words, str) else words:
        assert word in result.output


def damaged_volume(kind, image, label):
    if kind == "nan":
        data = image.get_fdata()
        data[0, 0, 0] = np.nan
        return nib.Nifti1Image(data, image.affine), label
    if kind == "constant":
        return nib.Nifti1Image(np.ones(image.shape), image.affine), label
    affine = image.affine.copy()
    affine[0, 3] += 5
    return image, nib.Nifti1Image(np.asarray(label.dataobj), affine)


@pytest.mark.parametrize("kind", ["nan", "constant", "affine", "truncated"])
def test_a_bad_volume_is_named(own_copy, kind):
    folder = own_copy.data / "phantom3d" / "a"
    path = min((folder / "image").iterdir())
    label_path = folder / "label" / path.name
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:200])
    else:
        image, label = damaged_volume(kind, nib.load(path), nib.load(label_path))
        nib.save(nib.as_closest_canonical(image), path)
        nib.save(label, label_path)
    result = own_copy("run", "--method", "erm", "--target", "phantom3d-b", *TINY_3D)
    assert result.exit_code == 2, result.output
    assert path.name in result.output


def test_an_image_missing_for_a_label_is_counted_and_strict_refuses(own_copy):
    gone = first(own_copy.data / "phantom2d" / "b" / "image")
    gone.unlink()
    strict = own_copy("run", "--method", "erm", "--target", "phantom2d-b", "--strict", *TINY)
    assert strict.exit_code == 2
    assert gone.stem in strict.output
    result = own_copy("run", "--method", "erm", "--target", "phantom2d-b", *TINY)
    assert result.exit_code == 0, result.output
    assert "3 of 4" in result.output


def test_a_target_with_a_training_image_is_refused(own_copy):
    root = own_copy.data / "phantom2d"
    for kind in ("image", "label", "mask"):
        source = first(root / "a" / kind)
        shutil.copy(source, first(root / "b" / kind))
    result = own_copy("run", "--method", "erm", "--target", "phantom2d-b", *TINY)
    assert result.exit_code == 2
    assert "identical images" in result.output


def test_a_results_folder_that_cannot_be_written(phantom_data, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    result = Bench(phantom_data, blocked / "results")("run", "--method", "erm", "--target", "phantom2d-b", *TINY)
    assert result.exit_code == 3, result.output
    assert str(blocked) in result.output


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_results_folder(phantom_data, tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    result = Bench(phantom_data, folder)("run", "--method", "erm", "--target", "phantom2d-b", *TINY)
    assert result.exit_code == 3, result.output
    assert "--results-root" in result.output
