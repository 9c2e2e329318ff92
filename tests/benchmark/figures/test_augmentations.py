"""Figures: files of the asked kind, every method in it, no blank panel, letters that can be read, equal bytes."""

import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from ssdg.benchmark.figures.augmentations import displayed, load_batch
from ssdg.benchmark.figures.style import OKABE_ITO, lines_of, wrapped
from ssdg.benchmark.spec import PreprocessConfig
from ssdg.datasets.grammar import task_from_toml
from ssdg.methods import registry


def first(bench, folder):
    return str(min((bench.data / folder).iterdir()))


def test_augmentations_of_a_picture(bench, tmp_path):
    output = tmp_path / "figure.png"
    result = bench(
        "figure",
        "augmentations",
        *("--image", first(bench, "phantom2d/a/image"), "--label", first(bench, "phantom2d/a/label")),
        *("--task", "phantom2d", "--draws", "2", "--output", str(output)),
    )
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"{sum(entry.works_on(2, True) for entry in registry().values())} methods")
    assert output.stat().st_size > 5000
    with Image.open(output) as picture:
        assert picture.width == 7.2 * 400
        assert np.asarray(picture).std() > 20


def test_augmentations_of_a_volume(bench, tmp_path):
    output = tmp_path / "figure.png"
    image = first(bench, "phantom3d/a/image")
    result = bench("figure", "augmentations", "--image", image, "--task", "phantom3d", "--output", str(output))
    assert result.exit_code == 0, result.output


def test_a_volume_of_a_task_on_slices_is_shown_by_its_slice_with_most_of_the_label(bench, tmp_path):
    values = np.random.default_rng(0).random((24, 24, 5)).astype(np.float32)
    label = np.zeros((24, 24, 5), np.uint8)
    label[4:9, 4:9, 1], label[4:20, 4:20, 3] = 1, 1
    for name, array in (("image", values + 1), ("label", label)):
        nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / f"{name}.nii.gz")
    task = tmp_path / "heart.toml"
    task.write_text(
        'name = "heart"\nndim = 2\nchannels = 1\nclasses = ["background", "organ"]\nshape = [24, 24]\n'
        '[domain.heart]\nimages = "heart/{case}.nii.gz"\nslices = { axis = 2 }\n'
    )
    batch = load_batch(
        [(tmp_path / "image.nii.gz", tmp_path / "label.nii.gz")], task_from_toml(task), PreprocessConfig()
    )
    assert (tuple(batch.image.shape), int(batch.label[0].sum())) == ((2, 1, 24, 24), 16 * 16)
    files = ("--image", str(tmp_path / "image.nii.gz"), "--methods", "erm,slaug")
    result = bench("figure", "augmentations", *files, "--task", str(task), "--output", str(tmp_path / "a.png"))
    assert result.exit_code == 0, result.output


def test_a_ct_is_read_by_the_window_of_the_tasks_source(bench, tmp_path):
    units = np.full((24, 24, 24), -1000, np.int16)
    units[4:20, 4:20, 4:20] = np.arange(16) * 10
    nib.save(nib.Nifti1Image(units, np.eye(4)), tmp_path / "ct.nii.gz")
    task = tmp_path / "ct.toml"
    task.write_text(
        'name = "ct"\nndim = 3\nchannels = 1\nclasses = ["background", "organ"]\nshape = [16, 16, 16]\n'
        '[domain.ct]\nimages = "ct/{case}.nii.gz"\nintensity = { window = [-160, 240] }\n'
    )
    arguments = "figure", "augmentations", "--image", str(tmp_path / "ct.nii.gz"), "--methods", "erm"
    result = bench(*arguments, "--task", str(task), "--output", str(tmp_path / "a.png"))
    assert result.exit_code == 0, result.output
    bare = bench(*arguments, "--output", str(tmp_path / "b.png"))
    assert bare.exit_code == 2
    assert "window = [-160, 240]" in bare.output


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
    assert bench("figure", "augmentations", "--image", image, "--width", "0.5").exit_code == 2


def test_a_figure_has_no_date_embeds_its_fonts_and_is_the_same_each_time(bench, tmp_path):
    given = ("figure", "augmentations", "--image", first(bench, "phantom2d/a/image"), "--task", "phantom2d")
    for suffix in ("pdf", "png"):
        files = [tmp_path / f"{name}.{suffix}" for name in ("one", "two")]
        for file in files:
            assert bench(*given, "--methods", "erm", "--output", str(file)).exit_code == 0
        assert files[0].read_bytes() == files[1].read_bytes()
    content = (tmp_path / "one.pdf").read_bytes()
    assert len(content) > 5000
    assert b"CreationDate" not in content
    assert set(re.findall(rb"/FontType (\d+)|/Subtype /(Type3|Type0|CIDFontType2)", content)) <= {
        (b"", b"Type0"),
        (b"", b"CIDFontType2"),
    }
    assert b"/FontFile2" in content  # TrueType programs inside


def test_the_users_own_settings_of_matplotlib_change_nothing(bench, tmp_path, monkeypatch):
    import matplotlib as mpl

    given = ("figure", "augmentations", "--image", first(bench, "phantom2d/a/image"), "--task", "phantom2d")
    plain, other = tmp_path / "plain.png", tmp_path / "other.png"
    assert bench(*given, "--methods", "erm", "--output", str(plain)).exit_code == 0
    monkeypatch.setitem(mpl.rcParams, "font.size", 30.0)
    monkeypatch.setitem(mpl.rcParams, "savefig.facecolor", "red")
    assert bench(*given, "--methods", "erm", "--output", str(other)).exit_code == 0
    assert plain.read_bytes() == other.read_bytes()
    assert mpl.rcParams["font.size"] == 30.0  # and the user's settings are as they were


def test_a_figure_higher_than_a_page_is_said_to_be(bench, tmp_path):
    given = ("figure", "augmentations", "--image", first(bench, "phantom2d/a/image"), "--task", "phantom2d")
    given += ("--methods", "erm,dsa")
    high = bench(*given, "--draws", "8", "--width", "3.5", "--output", str(tmp_path / "high.png"))
    assert high.exit_code == 0, high.output
    assert "a page about 9.5" in high.output
    assert "page" not in bench(*given, "--draws", "1", "--output", str(tmp_path / "low.png")).output


def test_a_failed_figure_leaves_the_old_file(bench, tmp_path):
    output = tmp_path / "figure.png"
    output.write_bytes(b"old")
    missing = tmp_path / "text.png"
    missing.write_bytes(b"not a picture")
    result = bench("figure", "augmentations", "--image", str(missing), "--output", str(output))
    assert result.exit_code == 2
    assert output.read_bytes() == b"old"
    assert [path.name for path in Path(tmp_path).iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("count", "width", "expected"),
    [(14, 7.2, (2, 7)), (14, 3.5, (4, 4)), (8, 7.2, (1, 8)), (9, 7.2, (2, 5)), (1, 3.5, (1, 1)), (3, 0.5, (3, 1))],
)
def test_pictures_fill_lines_evenly(count, width, expected):
    assert lines_of(count, width) == expected


def test_long_labels_break_and_no_picture_is_too_narrow_for_a_word():
    assert wrapped("RASS + RMS + RSD (RAS4DG)", 0.9).count("\n") == 1
    assert wrapped("w/o SSDG", 0.9) == "w/o SSDG"


def test_colours_are_told_apart_without_hue():
    """Any two differ as seen by people without green receptors (Machado et al. 2009, severity 1)."""
    seen = np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    )
    colours = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in OKABE_ITO])
    converted = np.clip(colours**2.2 @ seen.T, 0, 1) ** (1 / 2.2)
    distances = np.linalg.norm(converted[:, None] - converted[None], axis=-1)
    assert distances[np.triu_indices(len(colours), 1)].min() > 0.12


def test_a_view_is_stretched_to_what_a_screen_shows():
    view = np.random.default_rng(0).normal(5, 40, (3, 8, 9)).astype(np.float32)
    shown = displayed(view)
    assert shown.shape == (8, 9, 3)
    assert shown.min() == 0
    assert shown.max() == 1
    assert displayed(np.ones((1, 4, 5, 6), np.float32)).shape == (5, 4, 1)
