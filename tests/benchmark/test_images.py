"""Reading: what is accepted means what it should, what cannot be used says so; writing: the source's grid."""

import re

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ssdg.benchmark.files import StorageError
from ssdg.benchmark.images import NativeImage, read_image, read_label, read_mask, read_prediction, write_prediction
from ssdg.datasets.base import DataError

AFFINE = np.array([[0.8, 0.1, 0, -5], [-0.1, 0.8, 0, 3], [0, 0, 1.2, 7], [0, 0, 0, 1.0]])


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def flat(shape, affine=None):
    return NativeImage(np.zeros((1, *shape), np.float32), affine, (1.0,) * len(shape))


def save_volume(path, array, affine=AFFINE, **header):
    image = nib.Nifti1Image(array, affine)
    for name, value in header.items():
        image.header[name] = value
    nib.save(image, path)
    return path


def save_picture(path, array, mode=None):
    Image.fromarray(array).convert(mode).save(path) if mode else Image.fromarray(array).save(path)
    return path


@pytest.mark.parametrize("suffix", ["png", "tif", "gif"])
def test_grey_pictures_fill_the_channels(tmp_path, rng, suffix):
    array = rng.integers(0, 256, (7, 9), dtype=np.uint8)
    image = read_image(save_picture(tmp_path / f"a.{suffix}", array), 2, 3)
    assert image.array.shape == (3, 7, 9)
    assert image.array.dtype == np.float32
    assert image.shape == (7, 9)
    assert image.affine is None
    assert image.spacing == (1.0, 1.0)
    for channel in image.array:
        assert np.allclose(channel, array / 255)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bits_are_scaled_by_their_depth(tmp_path, rng, suffix):
    array = rng.integers(0, 65536, (5, 6), dtype=np.uint16)
    image = read_image(save_picture(tmp_path / f"a.{suffix}", array), 2, 1)
    assert np.allclose(image.array[0], array / 65535)


def test_colour_alpha_palette_and_jpeg(tmp_path, rng):
    array = rng.integers(0, 256, (6, 5, 4), dtype=np.uint8)
    image = read_image(save_picture(tmp_path / "a.png", array), 2, 3)
    assert np.allclose(image.array, np.moveaxis(array[..., :3], 2, 0) / 255)
    few = np.repeat(np.repeat(array[:2, :2, :3], 3, 0), 3, 1)
    image = read_image(save_picture(tmp_path / "b.gif", few, "P"), 2, 3)
    assert np.abs(image.array - np.moveaxis(few, 2, 0) / 255).max() < 0.2
    smooth = np.tile(np.arange(0, 160, 10, dtype=np.uint8), (16, 1))
    image = read_image(save_picture(tmp_path / "c.jpg", smooth), 2, 3)
    assert np.abs(image.array[0] - smooth / 255).max() < 0.05


def test_a_colour_picture_of_a_grey_task_is_refused_unless_its_channels_agree(tmp_path, rng):
    grey = rng.integers(0, 256, (6, 5, 1), dtype=np.uint8)
    path = save_picture(tmp_path / "grey.png", np.repeat(grey, 3, axis=2))
    assert np.allclose(read_image(path, 2, 1).array[0], grey[..., 0] / 255)
    path = save_picture(tmp_path / "colour.png", rng.integers(0, 256, (6, 5, 3), dtype=np.uint8))
    with pytest.raises(DataError, match=r"colour\.png is in colour .*channels = 1"):
        read_image(path, 2, 1)


@pytest.mark.parametrize("kind", [">i2", "<f8", ">f4", "u1"])
@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
def test_volumes_of_any_type_and_byte_order(tmp_path, rng, kind, suffix):
    array = rng.integers(0, 200, (4, 5, 6)).astype(kind)
    path = tmp_path / f"a.{suffix}"
    nib.Nifti1Image(array, AFFINE, nib.Nifti1Header(endianness=">" if kind.startswith(">") else "<")).to_filename(
        path
    )
    image = read_image(path, 3, 1)
    assert image.array.shape == (1, 4, 5, 6)
    assert image.array.dtype == np.float32
    assert image.array.dtype.isnative
    assert np.allclose(image.array[0], array.astype(float))
    assert np.allclose(image.affine, AFFINE, atol=1e-6)
    assert np.allclose(image.spacing, np.linalg.norm(AFFINE[:3, :3], axis=0), atol=1e-6)


def test_a_volumes_scaling_is_applied(tmp_path):
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    image = nib.Nifti1Image(array, AFFINE)
    image.header.set_slope_inter(0.5, 10)
    nib.save(image, tmp_path / "a.nii.gz")
    assert np.allclose(read_image(tmp_path / "a.nii.gz", 3, 1).array[0], nib.load(tmp_path / "a.nii.gz").get_fdata())


def test_channels_of_a_volume_come_last_on_disk(tmp_path, rng):
    array = rng.random((4, 5, 6, 2)).astype(np.float32)
    path = save_volume(tmp_path / "a.nii", array)
    assert np.array_equal(read_image(path, 3, 2).array, np.moveaxis(array, 3, 0))
    with pytest.raises(DataError, match=r"shape \(4, 5, 6, 2\), expected is \(X, Y, Z\)"):
        read_image(path, 3, 1)
    single = save_volume(tmp_path / "b.nii", array[..., :1])
    assert np.array_equal(read_image(single, 3, 1).array[0], array[..., 0])


def test_a_flat_nifti_is_not_a_volume(tmp_path):
    path = save_volume(tmp_path / "a.nii", np.eye(5, dtype=np.float32))
    with pytest.raises(DataError, match=r"a\.nii has shape \(5, 5\)"):
        read_image(path, 3, 1)


@pytest.mark.parametrize(("name", "ndim"), [("a.png", 2), ("a.tif", 2), ("a.jpg", 2), ("a.nii", 3), ("a.nii.gz", 3)])
def test_a_file_cut_short_is_named(tmp_path, rng, name, ndim):
    path = tmp_path / name
    if ndim == 2:
        save_picture(path, rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    else:
        save_volume(path, rng.random((12, 12, 12)).astype(np.float32))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=rf"{re.escape(str(path))} cannot be read as .*copy or download it again"):
        read_image(path, ndim, 1 if ndim == 3 else 3)


@pytest.mark.parametrize(("name", "ndim"), [("a.png", 2), ("a.nii.gz", 3)])
def test_files_that_are_none(tmp_path, name, ndim):
    path = tmp_path / name
    with pytest.raises(DataError, match=r"a\.\S+ does not exist"):
        read_image(path, ndim, 1)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="is an empty file"):
        read_image(path, ndim, 1)
    path.write_bytes(b"certainly no image")
    with pytest.raises(DataError, match="cannot be read as"):
        read_image(path, ndim, 1)
    path.unlink()
    path.mkdir()
    with pytest.raises(DataError, match="is a folder"):
        read_image(path, ndim, 1)


def test_stacks_of_pictures_are_refused(tmp_path, rng):
    frames = [Image.fromarray(rng.integers(0, 256, (6, 6), dtype=np.uint8)) for _ in range(3)]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match="3 frames"):
        read_image(tmp_path / "a.tif", 2, 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_nan_infinite_and_constant_images_are_named(tmp_path, bad):
    array = np.zeros((4, 4, 4))
    path = save_volume(tmp_path / "a.nii.gz", array)
    with pytest.raises(DataError, match=r"a\.nii\.gz is constant"):
        read_image(path, 3, 1)
    array[1, 2, 3] = bad
    save_volume(path, array)
    with pytest.raises(DataError, match=r"a\.nii\.gz has 1 NaN or infinite values of 64"):
        read_image(path, 3, 1)
    with pytest.raises(DataError, match="is constant"):
        read_image(save_picture(tmp_path / "a.png", np.full((5, 5, 3), 7, np.uint8)), 2, 3)


@given(st.dictionaries(st.integers(0, 255), st.integers(0, 7), min_size=1, max_size=9), st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_labels_become_the_classes_of_the_map(tmp_path_factory, label_map, seed):
    values = np.random.default_rng(seed).choice(sorted(label_map), (5, 4)).astype(np.uint8)
    folder = tmp_path_factory.mktemp("labels")
    expected = np.vectorize(label_map.get)(values)
    label = read_label(save_picture(folder / "a.png", values), label_map, flat((5, 4)))
    assert label.dtype == np.uint8
    assert np.array_equal(label, expected)
    for kind in (np.int16, np.float32):
        path = save_volume(folder / "a.nii", values[..., None].astype(kind) + (6e-8 if kind is np.float32 else 0))
        label = read_label(path, label_map, flat((5, 4, 1), AFFINE))
        assert label.dtype == np.uint8
        assert np.array_equal(label[..., 0], expected)


def test_unknown_label_values_are_named_and_counted(tmp_path):
    values = np.zeros((4, 4), np.uint8)
    values[0] = 255
    values[1, :2] = 9
    path = save_picture(tmp_path / "a.png", values)
    with pytest.raises(
        DataError, match=r"a\.png: values not in the label map: 9 \(2 times\); known values: 0, 255\."
    ):
        read_label(path, {0: 0, 255: 1}, flat((4, 4)))
    volume = np.full((4, 4, 4), 1.5, np.float32)
    with pytest.raises(DataError, match=r"1\.5 \(64 times\)"):
        read_label(save_volume(tmp_path / "a.nii", volume), {0: 0, 1: 1, 2: 2}, flat((4, 4, 4), AFFINE))
    with pytest.raises(DataError, match=r"-3 \(64 times\)"):
        read_label(save_volume(tmp_path / "b.nii", volume - 4.5), {0: 0}, flat((4, 4, 4), AFFINE))
    with pytest.raises(DataError, match=r"1e\+30 \(64 times\)"):
        read_label(save_volume(tmp_path / "c.nii", volume * 0 + 1e30), {0: 0}, flat((4, 4, 4), AFFINE))


def test_a_label_saved_as_jpeg_is_refused(tmp_path):
    disc = ((np.indices((32, 32)) - 16) ** 2).sum(0) < 80
    Image.fromarray((disc * 255).astype(np.uint8)).save(tmp_path / "a.jpg", quality=60)
    with pytest.raises(DataError, match=r"and \d+ more; known values: 0, 255.*JPEG"):
        read_label(tmp_path / "a.jpg", {0: 0, 255: 1}, flat((32, 32)))


@pytest.mark.parametrize("label_map", [{0: 0, 1: 1}, {0: 0, 255: 1}, {0: 0, 1: 1, 255: 1}])
@pytest.mark.parametrize("form", ["one-bit", "palette", "rgb", "rgba"])
def test_binary_labels_in_their_many_forms(tmp_path, rng, form, label_map):
    truth = rng.integers(0, 2, (8, 7), dtype=np.uint8)
    path = tmp_path / "a.png"
    if form == "one-bit":
        path = tmp_path / "a.tif"
        Image.fromarray(truth * 255).convert("1").save(path)
    elif form == "palette":
        picture = Image.fromarray(truth).convert("P")
        picture.putpalette([0, 0, 0, 255, 255, 255])
        picture.save(path)
    else:
        Image.fromarray(truth * max(label_map)).convert(form.upper()).save(path)
    assert np.array_equal(read_label(path, label_map, flat((8, 7))), truth)
    assert np.array_equal(read_mask(path, flat((8, 7))), truth == 1)


def test_a_palette_from_white_to_black_never_swaps_the_classes(tmp_path, rng):
    picture = Image.fromarray(rng.integers(0, 2, (8, 7), dtype=np.uint8)).convert("P")
    picture.putpalette([255, 255, 255, 0, 0, 0])
    picture.save(tmp_path / "a.png")
    assert np.array_equal(read_label(tmp_path / "a.png", {0: 0, 255: 1}, flat((8, 7))), np.asarray(picture) == 0)
    with pytest.raises(DataError, match="255"):
        read_label(tmp_path / "a.png", {0: 0, 1: 1}, flat((8, 7)))


def test_a_coloured_palette_stands_for_its_indices_and_a_coloured_label_is_refused(tmp_path, rng):
    index = rng.integers(0, 3, (8, 7), dtype=np.uint8)
    picture = Image.fromarray(index).convert("P")
    picture.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0])
    picture.save(tmp_path / "a.png")
    assert np.array_equal(read_label(tmp_path / "a.png", {0: 0, 1: 1, 2: 2}, flat((8, 7))), index)
    path = save_picture(tmp_path / "b.png", rng.integers(0, 256, (8, 7, 3), dtype=np.uint8))
    with pytest.raises(DataError, match=r"b\.png is in colour"):
        read_label(path, {0: 0}, flat((8, 7)))


def test_a_label_on_another_grid_than_its_image(tmp_path):
    path = save_picture(tmp_path / "a.png", np.zeros((4, 5), np.uint8))
    with pytest.raises(DataError, match=r"a\.png has shape \(4, 5\) and its image \(5, 4\)"):
        read_label(path, {0: 0}, flat((5, 4)))
    zeros = np.zeros((4, 5, 6), np.uint8)
    nudged, moved = AFFINE.copy(), AFFINE.copy()
    nudged[0, 3] += 5e-4
    moved[0, 3] += 0.1
    path = save_volume(tmp_path / "near.nii", zeros, nudged)
    assert not read_label(path, {0: 0}, flat((4, 5, 6), AFFINE)).any()
    path = save_volume(tmp_path / "far.nii", zeros, moved)
    with pytest.raises(DataError, match=r"far\.nii and its image have different affines"):
        read_label(path, {0: 0}, flat((4, 5, 6), AFFINE))
    with pytest.raises(DataError, match="different affines"):
        read_mask(save_volume(tmp_path / "m.nii", zeros + 1, np.diag([-1, 1, 1, 1])), flat((4, 5, 6), np.eye(4)))


def test_an_empty_mask_is_refused(tmp_path):
    path = save_picture(tmp_path / "a.png", np.zeros((4, 5), np.uint8))
    with pytest.raises(DataError, match=r"a\.png: the mask is empty"):
        read_mask(path, flat((4, 5)))


def test_a_2d_prediction_holds_class_indices(tmp_path, rng):
    labels = rng.integers(0, 4, (9, 7), dtype=np.uint8)
    out = tmp_path / "new" / "a.png"
    write_prediction(labels, tmp_path / "source.jpg", out)
    assert np.array_equal(read_prediction(out), labels)
    assert np.array_equal(np.asarray(Image.open(out)), labels)
    assert [p.name for p in out.parent.iterdir()] == ["a.png"]


@pytest.mark.parametrize("codes", [(1, 1), (0, 2), (1, 0), (0, 0)])
def test_a_3d_prediction_has_the_grid_of_its_source(tmp_path, rng, codes):
    source = nib.Nifti1Image(rng.random((6, 7, 5)).astype(np.float32), AFFINE)
    source.set_qform(AFFINE, codes[0])
    source.set_sform(AFFINE, codes[1])
    source.header.set_xyzt_units("mm", "sec")
    source.header.set_slope_inter(2.0, 1.0)
    nib.save(source, tmp_path / "source.nii.gz")
    labels = rng.integers(0, 8, (6, 7, 5), dtype=np.uint8)
    write_prediction(labels, tmp_path / "source.nii.gz", tmp_path / "a.nii.gz")
    written, like = nib.load(tmp_path / "a.nii.gz"), nib.load(tmp_path / "source.nii.gz")
    assert np.array_equal(np.asarray(written.dataobj), labels)
    assert written.get_data_dtype() == np.uint8
    assert np.array_equal(written.affine, like.affine)
    assert written.header.get_xyzt_units() == like.header.get_xyzt_units()
    for name in ("qform_code", "sform_code"):
        assert written.header[name] == like.header[name]
    assert np.array_equal(read_prediction(tmp_path / "a.nii.gz"), labels)
    write_prediction(labels, tmp_path / "source.nii.gz", tmp_path / "b.nii.gz")
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_a_prediction_off_the_grid_or_in_a_closed_folder(tmp_path, monkeypatch):
    path = save_volume(tmp_path / "source.nii", np.zeros((4, 4, 4), np.uint8))
    with pytest.raises(ValueError, match="is not on the grid"):
        write_prediction(np.zeros((4, 4, 5), np.uint8), path, tmp_path / "a.nii.gz")

    def closed(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.replace", closed)
    with pytest.raises(StorageError, match=r"cannot write .*a\.nii\.gz"):
        write_prediction(np.zeros((4, 4, 4), np.uint8), path, tmp_path / "a.nii.gz")
    assert [p.name for p in tmp_path.iterdir()] == ["source.nii"]


def test_a_damaged_prediction_is_named(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(b"\x1f\x8b half")
    with pytest.raises(DataError, match=r"a\.nii\.gz cannot be read"):
        read_prediction(tmp_path / "a.nii.gz")
