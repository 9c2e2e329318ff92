"""Axes turn as the domain says, coordinates and spacing with them, and predictions return to the file's order."""

import itertools
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from ssdg.benchmark.data import images, labels
from ssdg.benchmark.spec import PreprocessConfig
from ssdg.datasets.base import Case, DataError

from .files import domain, read_image, read_label, read_mask, read_prediction, save_volume, task, write_prediction

TURNS = [
    tuple(zip(order, signs, strict=True))
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]
"""Every order and direction of three axes."""


def oblique(degrees, spacing=(0.8, 1.1, 2.5)):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() * spacing
    affine[:3, 3] = 3, -8, 11
    return affine


def rearranged(array, affine, turn):
    """Return a volume whose axis k is an old axis, flipped where the sign is -1, and the affine of the same world."""
    axes, signs = zip(*turn, strict=True)
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    for new, (old, sign) in enumerate(turn):
        matrix[old, new] = sign
        matrix[old, 3] = 0 if sign > 0 else array.shape[old] - 1
    return array.transpose(axes)[tuple(slice(None, None, sign) for sign in signs)], affine @ matrix


def numbered(shape=(4, 5, 6)):
    return np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(shape)


@given(
    st.tuples(*[st.floats(-180, 180)] * 3),
    st.tuples(*[st.sampled_from([0.4, 1.0, 3.0])] * 3),
    st.sampled_from(["ras", "stored"]),
    st.sampled_from([(), *TURNS]),
    st.sampled_from(TURNS),
)
@settings(max_examples=150, deadline=None)
def test_every_voxel_keeps_its_place_and_predictions_return(
    tmp_path_factory, degrees, spacing, orientation, axes, other
):
    folder = tmp_path_factory.mktemp("volume")
    stored, rules = numbered(), {"orientation": orientation, "axes": axes}
    path = save_volume(folder / "a.nii.gz", stored, oblique(degrees, spacing))
    file = nib.load(path)
    image = read_image(path, 3, 1, **rules)
    order = np.argsort(image.array[0], axis=None)
    index = np.array(np.unravel_index(order, image.shape))  # of the voxels in their order on disk
    on_disk = np.indices(stored.shape).reshape(3, -1)
    assert np.allclose(
        nib.affines.apply_affine(image.affine, index.T), nib.affines.apply_affine(file.affine, on_disk.T), atol=1e-3
    )
    assert np.allclose(image.spacing, nib.affines.voxel_sizes(image.affine))
    truth = (image.array[0] % 3).astype(np.uint8)
    write_prediction(truth, path, folder / "p.nii.gz", **rules)
    written = nib.load(folder / "p.nii.gz")
    assert np.array_equal(np.asarray(written.dataobj), stored % 3)
    assert np.array_equal(written.affine, file.affine)
    assert np.array_equal(read_prediction(folder / "p.nii.gz", **rules), truth)
    # A label of the same grid whose axes are stored in another order and direction.
    label = save_volume(folder / "l.nii.gz", *rearranged((stored % 3).astype(np.uint8), file.affine, other))
    assert np.array_equal(read_label(label, {0: 0, 1: 1, 2: 2}, image, **rules), truth)


@given(st.tuples(*[st.floats(-40, 40)] * 3), st.sampled_from(TURNS))
@settings(max_examples=40, deadline=None)
def test_ras_axes_point_right_front_and_top(tmp_path_factory, degrees, turn):
    directions = np.abs(oblique(degrees)[:3, :3])
    directions /= np.linalg.norm(directions, axis=0)
    nearest = np.concatenate([np.sort(directions, axis=axis).swapaxes(0, axis) for axis in (0, 1)], axis=1)
    assume((nearest[-1] - nearest[-2]).min() > 0.02)  # an axis between two directions has no name
    path = save_volume(tmp_path_factory.mktemp("v") / "a.nii", *rearranged(numbered(), oblique(degrees), turn))
    affine = read_image(path, 3, 1).affine
    assert nib.aff2axcodes(affine) == ("R", "A", "S")


def test_axes_name_the_axis_that_becomes_each(tmp_path):
    array = numbered()
    path = save_volume(tmp_path / "a.nii", array, np.diag([-1.0, -2.0, 3.0, 1.0]))
    stored = read_image(path, 3, 1, orientation="stored")
    assert np.array_equal(stored.array[0], array)
    assert stored.spacing == pytest.approx((1, 2, 3))
    assert np.array_equal(read_image(path, 3, 1).array[0], array[::-1, ::-1])
    turned = read_image(path, 3, 1, orientation="stored", axes=((2, 1), (0, -1), (1, 1)))
    assert np.array_equal(turned.array[0], array.transpose(2, 0, 1)[:, ::-1])
    assert turned.spacing == pytest.approx((3, 1, 2))
    after = read_image(path, 3, 1, axes=((2, 1), (0, -1), (1, 1)))
    assert np.array_equal(after.array[0], array[::-1, ::-1].transpose(2, 0, 1)[:, ::-1])


@pytest.mark.parametrize("degrees", [(45, 0, 0), (0, 45, 0), (0, 0, 45), (0, 0, -135), (45, 0, 90), (45, 45, 45)])
@pytest.mark.parametrize("seed", range(3))
def test_an_axis_between_two_directions_is_turned_alike_in_image_label_and_prediction(tmp_path, degrees, seed):
    affine = oblique(degrees, (1.0, 1.0, 1.0))
    rounding = np.random.default_rng(seed).uniform(-2e-7, 2e-7, (3, 3))
    near = affine.copy()
    near[:3, :3] += rounding
    array = (numbered((5, 5, 5)) % 3).astype(np.uint8)
    image = nib.Nifti2Image(array + 1.0, affine)  # its header holds 64 bits, a prediction's 32
    nib.save(image, tmp_path / "image.nii")
    nib.save(nib.Nifti2Image(array, near), tmp_path / "label.nii")
    read = read_image(tmp_path / "image.nii", 3, 1)
    label = read_label(tmp_path / "label.nii", {0: 0, 1: 1, 2: 2}, read)
    assert np.array_equal(label, read.array[0] - 1)
    write_prediction(label, tmp_path / "image.nii", tmp_path / "p.nii.gz")
    assert np.array_equal(read_prediction(tmp_path / "p.nii.gz"), label)


@pytest.mark.parametrize("stored", ["ras", "stored"])
def test_a_label_with_a_header_of_its_own_is_turned_by_its_image(tmp_path, stored):
    array = (numbered((5, 5, 5)) % 2).astype(np.uint8)
    path = save_volume(tmp_path / "a.nii", array + 1.0, oblique((92, 3, 88)))
    header = save_volume(tmp_path / "l.nii", array, np.diag([0.8, 1.1, 2.5, 1.0]))
    image = read_image(path, 3, 1, orientation=stored)
    for read in (
        lambda **rule: read_label(header, {0: 0, 1: 1, 2: 2}, image, **rule),
        lambda **rule: read_mask(header, image, **rule),
    ):
        with pytest.raises(DataError, match=r'l\.nii and its image have different affines .* same_grid = "shape"'):
            read(orientation=stored)
        expected = image.array[0] - 1 if read(same_grid="shape").dtype == np.uint8 else image.array[0] > 1
        assert np.array_equal(read(orientation=stored, same_grid="shape"), expected)
    longer = save_volume(tmp_path / "long.nii", np.zeros((5, 4, 5), np.uint8))
    with pytest.raises(DataError, match=r"long\.nii has shape .* must share one grid"):
        read_label(longer, {0: 0}, image, orientation="stored", same_grid="shape")


@pytest.fixture(scope="module")
def data_root():
    if not os.environ.get("BENCH_DATA"):
        pytest.skip("BENCH_DATA is not set")
    return Path(os.environ["BENCH_DATA"])


def hearts(folder, pairs, **rules):
    """Return (id, image, label) of cardiac volumes."""
    if not folder.is_dir():
        pytest.skip(f"{folder.name} is not there")
    hearts = domain({value: value for value in range(4)}, **rules)
    for image, label in pairs:
        case = Case(image.name.partition("_")[0], image, label)
        read = images.read_image(case, hearts, task(3))
        yield case, read, labels.read_label(case, hearts, read, PreprocessConfig())


def mscmr(data_root, leave_out=(), **rules):
    files = sorted((data_root / "MSCMR/images").glob("*.nii.gz"))
    pairs = [(p, data_root / "MSCMR/labels" / p.name.replace("_DE", "_DE_manual")) for p in files]
    return hearts(
        data_root / "MSCMR", [pair for pair in pairs if pair[0].name.partition("_")[0] not in leave_out], **rules
    )


@pytest.mark.real_data
def test_oblique_hearts_in_ras_have_their_slices_along_one_axis_or_another(data_root):
    slices = {int(np.argmax(image.spacing)) for _, image, _ in mscmr(data_root, leave_out=["subject43"])}
    assert slices == {0, 1}
    shapes = [image.shape for _, image, _ in mscmr(data_root, orientation="stored", same_grid="shape")]
    assert all(height == width > depth for height, width, depth in shapes)


@pytest.mark.real_data
def test_a_heart_whose_labels_header_is_bare_is_read_by_its_shape_or_refused(data_root):
    with pytest.raises(DataError, match=r"subject43_DE_manual.* have different affines .*same_grid"):
        list(mscmr(data_root))
    for orientation in ("ras", "stored"):
        [(case, image, label)] = [
            heart
            for heart in mscmr(data_root, orientation=orientation, same_grid="shape")
            if heart[0].id == "subject43"
        ]
        file = np.asarray(nib.load(case.label).dataobj)
        on_disk = image.array[0][label > 0], np.asarray(nib.load(case.image).dataobj)[file > 0]
        assert np.array_equal(*(np.sort(values) for values in on_disk)), "the voxels of the file lie below it"
        assert label.shape == image.shape


def from_base_to_apex(label):
    """Return the correlation of the heart's area in a slice with the slice's index."""
    area = (label > 0).sum(axis=(0, 1))
    index = np.flatnonzero(area)
    return np.corrcoef(index, area[index])[0, 1]


@pytest.mark.real_data
def test_hearts_of_two_data_sets_agree_when_two_axes_are_flipped(data_root):
    found = sorted((data_root / "ACDC/training").glob("*/*_gt.nii.gz"))[:12]
    acdc = hearts(data_root / "ACDC", [(path.with_name(path.name.replace("_gt", "")), path) for path in found])
    assert np.mean([from_base_to_apex(label) for *_, label in acdc]) < -0.6
    rules = {"orientation": "stored", "same_grid": "shape"}
    as_stored = [label for *_, label in mscmr(data_root, **rules)]
    flipped = [label for *_, label in mscmr(data_root, **rules, axes=((0, 1), (1, -1), (2, -1)))]
    assert np.mean([from_base_to_apex(label) for label in as_stored]) > 0.6
    assert np.mean([from_base_to_apex(label) for label in flipped]) < -0.6
    for one, other in zip(as_stored, flipped, strict=True):
        assert np.array_equal(one[:, ::-1, ::-1], other)
