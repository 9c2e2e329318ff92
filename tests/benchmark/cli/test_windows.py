"""Runs on windows from the command line: trained, explained, scored, predicted, and refused where they do not fit."""

import json

import pytest
from PIL import Image

from ...conftest import TINY, TINY_3D
from .test_mistakes import refused

WINDOWS = ("--set=preprocess.shape=48,48", "--set=training.window=32,32", "--set=training.windows_per_image=2")
RUN = ("run", "--target", "phantom2d-b", *TINY)

PLUGIN = """
from ssdg.methods.base import Method

class Whole(Method):
    "Needs whole images."
    windows = False

class Predicts(Method):
    "Does something to its predictions."
    def predict(self, image, foreground):
        return 2 * super().predict(image, foreground)
"""


def test_a_run_on_windows_is_scored_and_predicts_images_of_any_size(bench, tmp_path):
    result = bench(*RUN, "--method", "freesdg", *WINDOWS)
    assert result.exit_code == 0, result.output
    run = bench.run_path("freesdg")
    [evaluation] = run.glob("evaluations/phantom2d-b-*/evaluation.json")
    assert json.loads(evaluation.read_text())["overlap"] == 0.5
    more = bench(*RUN, "--method", "freesdg", *WINDOWS, "--set=evaluation.overlap=0.25")
    assert more.exit_code == 0, more.output
    assert len(list(run.glob("evaluations/phantom2d-b-*"))) == 2
    Image.new("RGB", (90, 70), (80, 40, 20)).save(tmp_path / "image.png")
    predicted = bench("predict", str(run), "--input", str(tmp_path / "image.png"), "--output", str(tmp_path / "out"))
    assert predicted.exit_code != 0  # one grey level
    assert "constant" in predicted.output
    [image, *_] = (bench.data / "phantom2d" / "b").rglob("*.png")
    with Image.open(image) as picture:
        picture.resize((90, 70)).save(tmp_path / "image.png")
    predicted = bench("predict", str(run), "--input", str(tmp_path / "image.png"), "--output", str(tmp_path / "out"))
    assert predicted.exit_code == 0, predicted.output
    with Image.open(tmp_path / "out" / "image.png") as labels:
        assert labels.size == (90, 70)


def test_volumes_and_unlabelled_targets(bench):
    windows = ("--set=preprocess.shape=24,24,24", "--set=training.window=16,16,16")
    result = bench("run", "--method", "cutmix", "--target", "phantom3d-b", *TINY_3D, *windows)
    assert result.exit_code == 0, result.output
    assert "windows of 16x16x16" in result.output


def test_explain_measures_a_step_and_leaves_no_run(bench):
    result = bench(*RUN, "--method", "freesdg", *WINDOWS, "--explain")
    assert result.exit_code == 0, result.output
    assert "training images of 48x48" in result.output
    assert "windows of 32x32, with a margin of" in result.output
    assert "s (cpu, " in result.output
    assert "predicts windows that overlap by 50%" in result.output
    assert not (bench.results / "runs").exists()
    whole = bench(*RUN, "--method", "erm", "--explain")
    assert "whole images" in whole.output


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("--set=training.window=32,32,32",), "3 sides"),
        (("--set=training.window=64,64", "--set=preprocess.shape=48,48"), "larger than the grid"),
        (("--set=training.windows_per_image=2",), "training.window"),
        (("--set=training.window=20,20",), "multiples of 8"),
    ],
)
def test_windows_that_do_not_fit(bench, settings, words):
    refused(bench(*RUN, "--method", "erm", *settings), words)


@pytest.mark.parametrize(("method", "words"), [("whole", "needs whole images"), ("predicts", "logits()")])
def test_methods_that_cannot_work_on_windows(bench, tmp_path, method, words):
    plugin = tmp_path / "plugin.py"
    plugin.write_text(PLUGIN)
    windows = ("--plugin", str(plugin), *WINDOWS)
    refused(bench(*RUN, "--method", method, *windows), words)
