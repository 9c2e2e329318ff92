"""Labels and masks mean what they should or say what is wrong; predictions are written in the source's grid."""

import gzip

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ssdg.benchmark.data import images
from ssdg.benchmark.data.images import NativeImage
from ssdg.benchmark.errors import StorageError
from ssdg.datasets.base import Case, DataError

from .files import (
    AFFINE,
    domain,
    read_image,
    read_label,
    read_mask,
    read_prediction,
    save_picture,
    save_volume,
    task,
    write_prediction,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def flat(shape, affine=None):
    return NativeImage(np.zeros((1, *shape), np.float32), affine)


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
    assert np.array_equal(np.asarray(nib.as_closest_canonical(written).dataobj), labels)
    assert written.get_data_dtype() == np.uint8
    assert np.array_equal(written.affine, like.affine)
    assert written.header.get_xyzt_units() == like.header.get_xyzt_units()
    for name in ("qform_code", "sform_code"):
        assert written.header[name] == like.header[name]
    assert np.array_equal(read_prediction(tmp_path / "a.nii.gz"), labels)
    write_prediction(labels, tmp_path / "source.nii.gz", tmp_path / "b.nii.gz")
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


@pytest.mark.parametrize(
    "odd",
    [
        {"quatern_b": 1, "quatern_c": 1, "quatern_d": 1},
        {"quatern_b": np.nan},
        {"qform_code": 1, "quatern_b": 1 + 2e-6, "quatern_d": 0},
        {"xyzt_units": 7},
    ],
)
def test_a_prediction_has_every_field_of_its_sources_header_of_use_or_not(tmp_path, odd):
    affine = np.diag([1, -1, -1, 1.0])
    source = save_volume(tmp_path / "source.nii", np.arange(60, dtype=np.int16).reshape(3, 4, 5), affine, **odd)
    image = read_image(source, 3, 1)
    case, maps = Case("a", source), np.full((2, 3, 4, 5), 0.5, np.float32)
    write_prediction(np.ones(image.shape, np.uint8), source, tmp_path / "a.nii.gz")
    images.write_probabilities(maps, 2, case, domain(), tmp_path / "p.nii.gz")
    for name in ("a.nii.gz", "p.nii.gz"):
        written, like = nib.load(tmp_path / name).header, nib.load(source).header
        assert np.array_equal(written["pixdim"][:4], like["pixdim"][:4])
        for field in images.GEOMETRY:
            assert np.array_equal(written[field], like[field], equal_nan=True)
        assert np.array_equal(nib.load(tmp_path / name).affine, affine)


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


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.gif", "a.tif", "a.ppm", "a.ppm.gz", "a.nii", "a.nii.gz"])
def test_the_grid_of_an_image_is_read_from_its_header(tmp_path, rng, name):
    path, ndim = tmp_path / name, 3 if ".nii" in name else 2
    case = Case("a", path)
    if ndim == 3:
        turned = np.array([[0, -0.8, 0, 3], [1.1, 0, 0, 5], [0, 0.1, 2.5, 7], [0, 0, 0, 1]])
        save_volume(path, rng.random((20, 30, 10)).astype(np.float32), turned)
    else:
        plain = save_picture(tmp_path / name.removesuffix(".gz"), rng.integers(0, 256, (30, 40), dtype=np.uint8))
        path.write_bytes(gzip.compress(plain.read_bytes()) if name.endswith(".gz") else plain.read_bytes())
    image = images.read_image(case, domain(), task(ndim))
    if name != "a.ppm.gz":  # which has to be unpacked
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
        with pytest.raises(DataError):
            images.read_image(case, domain(), task(ndim))
    grid = images.image_grid(case, domain(), task(ndim))
    assert (grid.shape, grid.spacing) == (image.shape, image.spacing)
    assert np.array_equal(grid.turn, image.turn)
    assert np.array_equal(grid.affine, image.affine) or ndim == 2
    path.write_bytes(b"\x89PNG and nothing else")
    with pytest.raises(DataError, match=rf"{name} cannot be read"):
        images.image_grid(case, domain(), task(ndim))


def test_stored_order_of_axes_does_not_matter_and_comes_back(tmp_path):
    """The same volume stored RAS and LPS-permuted reads alike, and a prediction returns to the order of its image."""
    rng = np.random.default_rng(0)
    affine = np.diag([0.8, 0.9, 1.1, 1.0])
    ras = nib.Nifti1Image(rng.uniform(1, 9, (5, 6, 7)).astype(np.float32), affine)
    turn = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt("SLP"))
    turned = ras.as_reoriented(turn)
    nib.save(ras, tmp_path / "ras.nii.gz")
    nib.save(turned, tmp_path / "slp.nii.gz")
    one, other = (read_image(tmp_path / name, 3, 1) for name in ("ras.nii.gz", "slp.nii.gz"))
    assert np.array_equal(one.array, other.array)
    assert other.spacing == pytest.approx((0.8, 0.9, 1.1))
    labels = (one.array[0] > 5).astype(np.uint8)
    write_prediction(labels, tmp_path / "slp.nii.gz", tmp_path / "out.nii.gz")
    written = nib.load(tmp_path / "out.nii.gz")
    assert nib.aff2axcodes(written.affine) == ("S", "L", "P")
    assert np.array_equal(np.asarray(written.dataobj), np.asarray(turned.dataobj) > 5)
    assert np.array_equal(read_prediction(tmp_path / "out.nii.gz"), labels)
