"""Labels in several files lie over each other; images in several files are channels; a swapped label is noticed."""

import time
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage

from ssdg.benchmark.data import images, labels
from ssdg.benchmark.data.labels import border_is_background
from ssdg.benchmark.data.stored import stored_label
from ssdg.benchmark.spec import PreprocessConfig
from ssdg.datasets.base import Case, DataError, Layer, Slices, Task

from .files import AFFINE, domain, read_image, read_label, read_mask, save_picture, save_volume, task


def disc(radius, side=40):
    return ((np.indices((side, side)) - side / 2) ** 2).sum(axis=0) < radius**2


def layered(paths, layers, image=None, **rules):
    """Read the layers of a label; the image is the first of them unless it is given."""
    case = Case("a", image or paths[0], paths[0], label_layers=tuple(paths[1:]))
    rules = domain(layers=tuple(layers), **rules)
    ndim = 3 if case.image.name.endswith((".nii", ".nii.gz")) else 2
    return labels.read_label(case, rules, images.read_image(case, rules, task(ndim)), PreprocessConfig())


def test_the_last_layer_lies_on_top_and_what_none_marks_is_background(tmp_path):
    shares = np.where(disc(15), 191, 0) + np.where(disc(18) & ~disc(15), 64, 0)
    outer = save_picture(tmp_path / "outer.png", shares.astype(np.uint8))
    inner = save_picture(tmp_path / "inner.png", np.where(disc(6), 255, 0).astype(np.uint8))
    rules = Layer(1, at_least=191), Layer(2, at_least=190.5)
    expected = np.where(disc(6), 2, np.where(disc(15), 1, 0))
    label = layered([outer, inner], rules)
    assert label.dtype == np.uint8
    assert np.array_equal(label, expected)
    assert np.array_equal(layered([inner, outer], rules[::-1]) > 0, expected > 0)
    assert not (layered([inner, outer], rules[::-1]) == 2).any(), "the outer layer lies on top of the inner"


def test_a_layer_of_values_names_the_ones_it_does_not_have(tmp_path):
    values = np.where(disc(15), 7, 0) + np.where(disc(6), 2, 0)
    path = save_picture(tmp_path / "a.png", values.astype(np.uint8))
    assert np.array_equal(layered([path], [Layer(1, values=(7, 9))]), disc(15))
    with pytest.raises(DataError, match=r"a\.png: values not in the label map: 9 \(\d+ times\).*`at_least`"):
        layered([path], [Layer(1, values=(7,))])


@pytest.mark.parametrize("least", [1, 128, 255])
def test_a_layer_of_one_bit_is_0_and_255_or_0_and_1(tmp_path, least):
    path = tmp_path / "a.tif"
    Image.fromarray(disc(9)).save(path)
    with Image.open(path) as picture:
        assert picture.mode == "1"
    assert np.array_equal(layered([path], [Layer(1, at_least=least)]), disc(9))


def test_a_layer_stored_as_jpeg_is_cut_at_the_least_value(tmp_path):
    Image.fromarray(disc(9).astype(np.uint8) * 255).save(tmp_path / "a.jpg", quality=60)
    label = layered([tmp_path / "a.jpg"], [Layer(1, at_least=128)])
    assert (label != disc(9)).sum() < 10


def test_layers_of_volumes_are_read_on_the_images_grid(tmp_path):
    array = np.random.default_rng(0).integers(0, 5, (6, 7, 5)).astype(np.float32)
    image = save_volume(tmp_path / "i.nii", array + 1)
    low, high = (save_volume(tmp_path / f"{k}.nii", array / 4 * (array >= k)) for k in (1, 3))
    label = layered([low, high], [Layer(1, at_least=0.25), Layer(2, at_least=0.75)], image)
    assert np.array_equal(label, np.where(array >= 3, 2, array >= 1))
    moved = save_volume(tmp_path / "moved.nii", array, AFFINE @ nib.affines.from_matvec(np.eye(3), [0, 0, 1]))
    with pytest.raises(DataError, match=r"moved\.nii and its image have different affines"):
        layered([low, moved], [Layer(1, at_least=0.25), Layer(2, at_least=0.75)], image)


def test_a_layer_with_nan_is_refused(tmp_path):
    array = np.random.default_rng(0).random((4, 5, 6)).astype(np.float32)
    image = save_volume(tmp_path / "i.nii", array)
    array[1, 2, 3] = np.nan
    with pytest.raises(DataError, match=r"l\.nii has 1 NaN"):
        layered([save_volume(tmp_path / "l.nii", array)], [Layer(1, at_least=0.5)], image)


def read_channels(paths, ndim, channels, **rules):
    return images.read_image(Case("a", paths[0], channels=tuple(paths[1:])), domain(**rules), task(ndim, channels))


def test_grey_pictures_are_stacked_to_channels(tmp_path):
    rng = np.random.default_rng(0)
    arrays = rng.integers(0, 256, (3, 6, 5), dtype=np.uint8)
    paths = [save_picture(tmp_path / f"{k}.png", array) for k, array in enumerate(arrays)]
    assert np.allclose(read_channels(paths, 2, 3).array, arrays / 255)
    with pytest.raises(DataError, match=r"0\.png and its other channels are 2 files.*channels = 3"):
        read_channels(paths[:2], 2, 3)
    colour = save_picture(tmp_path / "c.png", rng.integers(0, 256, (6, 5, 3), dtype=np.uint8))
    with pytest.raises(DataError, match=r"c\.png is in colour"):
        read_channels([paths[0], colour], 2, 2)
    small = save_picture(tmp_path / "s.png", arrays[0, :5])
    with pytest.raises(DataError, match=r"s\.png has shape \(5, 5\) and its image \(6, 5\)"):
        read_channels([paths[0], small], 2, 2)
    flat = save_picture(tmp_path / "f.png", arrays[0] * 0)
    with pytest.raises(DataError, match=r"f\.png is constant"):
        read_channels([paths[0], flat], 2, 2)


def test_volumes_are_stacked_to_channels_on_the_grid_of_the_first(tmp_path):
    first, second = np.random.default_rng(0).random((2, 4, 5, 6)).astype(np.float32)
    turned = nib.Nifti1Image(second, AFFINE).as_reoriented(np.array([[2, -1], [0, 1], [1, -1.0]]))
    nib.save(turned, tmp_path / "b.nii")
    paths = [save_volume(tmp_path / "a.nii", first), tmp_path / "b.nii"]
    for rules in ({}, {"orientation": "stored"}):
        image = read_channels(paths, 3, 2, **rules)
        assert np.array_equal(image.array, [first, second])
        assert np.allclose(image.affine, AFFINE)
    moved = save_volume(tmp_path / "m.nii", second, AFFINE + np.eye(4, k=3))
    with pytest.raises(DataError, match=r"m\.nii and its image have different affines"):
        read_channels([paths[0], moved], 3, 2)
    both = save_volume(tmp_path / "both.nii", np.stack([first, second], axis=-1))
    with pytest.raises(DataError, match=r"both\.nii has shape"):
        read_channels([paths[0], both], 3, 2)


def test_most_of_a_labels_border_is_background():
    def bar(*shape):
        return np.zeros(shape, np.uint8)

    inverted = 2 - disc(15).astype(np.uint8) - disc(6)
    assert border_is_background(disc(15).astype(np.uint8))
    assert not border_is_background(inverted)
    vessels = bar(40, 40)
    vessels[::5] = 1  # from edge to edge: two borders of four see every fifth pixel, one is all vessel
    assert border_is_background(vessels)
    half = bar(40, 40)
    half[:19] = 1
    assert border_is_background(half)
    assert not border_is_background(1 - bar(7, 9))
    stack = np.repeat(disc(15)[..., None], 4, axis=2).astype(np.uint8)
    for axes in ((0, 1, 2), (2, 0, 1), (0, 2, 1)):  # the organ shows in the first and last slice
        assert border_is_background(stack.transpose(axes))
        assert not border_is_background(1 - stack.transpose(axes))
    assert border_is_background(bar(1, 40))


@pytest.mark.parametrize("name", ["m.nii", "m.png"])
def test_hot_voxels_of_a_mask_are_refused(tmp_path, name):
    mask = np.zeros((30, 20, 1), np.float32) if name == "m.nii" else np.zeros((30, 20), np.uint8)
    mask[5:25, 3:18] = 100 if name == "m.png" else 0.5
    save = save_volume if name == "m.nii" else save_picture
    image = read_image(save(tmp_path / name, mask), 3 if name == "m.nii" else 2, 1)
    assert np.array_equal(read_mask(tmp_path / name, image), mask > 0)
    mask[10, 10:12] = 255
    save(tmp_path / name, mask)
    with pytest.raises(DataError, match=rf"{name}: of 300 values above 0 only 2 are above half .*255"):
        read_mask(tmp_path / name, image)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32])
def test_a_map_of_tissues_is_no_brain_mask(tmp_path, kind):
    tissues = np.zeros((8, 8, 6), kind)
    tissues[1:7, 1:7], tissues[2:6, 2:6], tissues[3:5, 3:5] = 1, 3, 7
    image = images.NativeImage(np.zeros((1, 8, 8, 6), np.float32), AFFINE)
    with pytest.raises(DataError, match=r"m\.nii: a mask has two values, and this has 4, 0, 1, 3, 7: .* above 0"):
        read_mask(save_volume(tmp_path / "m.nii", tissues), image)
    shares = tissues / np.float32(7)  # of resampling: not whole
    for mask in (shares, np.where(tissues, 7, 0).astype(kind), (tissues > 3) * np.float32(1 - 6e-8)):
        assert np.array_equal(read_mask(save_volume(tmp_path / "m.nii", mask), image), mask > mask.max() / 2)
    picture = save_picture(tmp_path / "m.png", tissues[..., 0].astype(np.uint8))
    assert read_mask(picture, images.NativeImage(image.array[..., 0], None)).sum() == 4


@pytest.mark.parametrize("threshold", [100 / 255, 0.4])
def test_a_threshold_is_that_of_the_median_and_costs_a_fraction_of_it(threshold):
    # Darker from left to right, so that the part's edge lies amid the noise and meets the picture's border.
    grey = np.linspace(120, 80, 300) + np.random.default_rng(0).normal(0, 20, (200, 300))
    image = images.NativeImage((np.rint(grey)[None] / 255).astype(np.float32), None)
    start = time.thread_time()
    parts = ndimage.label(ndimage.median_filter(image.array[0], 5) > threshold)[0]
    middle = time.thread_time()
    mask = labels.read_mask(Case("a", None), domain(field_of_view=threshold), image)
    assert time.thread_time() - middle < (middle - start) / 2
    largest = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
    assert np.array_equal(mask, ndimage.binary_fill_holes(largest))


def test_labels_that_mark_nothing_or_the_border_are_refused():
    cases = tuple(Case(name, None) for name in "abc")
    three = replace(domain(), cases=cases)
    labels.require_plausible_labels(three, 1, 2)
    with pytest.raises(DataError, match=r"none of 3 labels marks anything.*at_least"):
        labels.require_plausible_labels(three, 0, 3)
    with pytest.raises(DataError, match=r"in 2 of 3 labels .*border"):
        labels.require_plausible_labels(three, 2, 0)


def test_labels_of_half_precision_are_read_without_a_warning(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", disc(9).astype(np.float16))
    image = images.NativeImage(np.zeros((1, 40, 40), np.float32), None)
    assert np.array_equal(read_label(tmp_path / "a.tif", {0: 0, 1: 1}, image), disc(9))


def test_neighbouring_slices_are_no_channels_of_the_file(tmp_path):
    path = save_volume(tmp_path / "a.nii", np.random.default_rng(0).random((6, 7, 5)).astype(np.float32))
    sliced = domain(slices=Slices(neighbours=1))
    flat = Task("toy", 2, 3, ("background", "a"), (16, 16), {}, {})
    assert images.file_ndim(flat, sliced) == 3
    assert images.file_ndim(flat, domain()) == 2
    assert images.file_ndim(task(3), domain()) == 3
    assert images.read_image(Case("a", path), sliced, flat).array.shape == (1, 6, 7, 5)


def test_nan_in_a_label_is_named_as_such_when_a_task_is_drafted(tmp_path):
    label = np.zeros((4, 4, 4), np.float32)
    label[1, 1, 1] = np.nan
    with pytest.raises(DataError, match=r"a\.nii has 1 NaN or infinite values of 64"):
        stored_label(save_volume(tmp_path / "a.nii", label))
