"""Figures: files of the asked kind, every method in it, and no blank panel."""

import numpy as np
import pytest
from PIL import Image

from ssdg.benchmark.figures import displayed
from ssdg.methods import registry


def first(bench, folder):
    return str(min((bench.data / folder).iterdir()))


@pytest.mark.parametrize("suffix", ["png", "pdf"])
def test_augmentations_of_a_picture(bench, tmp_path, suffix):
    output = tmp_path / f"figure.{suffix}"
    result = bench(
        "figure",
        "augmentations",
        *("--image", first(bench, "phantom2d/a/image"), "--label", first(bench, "phantom2d/a/label")),
        *("--task", "phantom2d", "--draws", "2", "--output", str(output)),
    )
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"{sum(2 in entry.ndims for entry in registry().values())} methods")
    assert output.stat().st_size > 5000
    if suffix == "png":
        assert np.asarray(Image.open(output)).std() > 20


def test_augmentations_of_a_volume(bench, tmp_path):
    output = tmp_path / "figure.png"
    image = first(bench, "phantom3d/a/image")
    result = bench("figure", "augmentations", "--image", image, "--task", "phantom3d", "--output", str(output))
    assert result.exit_code == 0, result.output


def test_other_formats_and_methods_are_refused(bench, tmp_path):
    image = first(bench, "phantom2d/a/image")
    wrong = bench(
        "figure", "augmentations", "--image", image, "--output", str(tmp_path / "a.bmp"), "--methods", "erm"
    )
    assert wrong.exit_code == 2
    assert ".bmp" in wrong.output
    unknown = bench("figure", "augmentations", "--image", image, "--methods", "ram")
    assert unknown.exit_code == 2
    assert "'ram'" in unknown.output


def test_a_view_is_stretched_to_what_a_screen_shows():
    view = np.random.default_rng(0).normal(5, 40, (3, 8, 9)).astype(np.float32)
    shown = displayed(view)
    assert shown.shape == (8, 9, 3)
    assert shown.min() == 0
    assert shown.max() == 1
    assert displayed(np.ones((1, 4, 5, 6), np.float32)).shape == (5, 4, 1)
