"""From files to the network's grid: both grids, every brain mask, no label opened that is not asked for."""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from ssdg.benchmark.data.geometry import labels_to_native
from ssdg.benchmark.data.images import read_image
from ssdg.benchmark.data.labels import label_map_of, read_label, read_mask
from ssdg.benchmark.data.preprocess import prepare_case
from ssdg.benchmark.errors import UsageError
from ssdg.benchmark.settings import grid_shape
from ssdg.benchmark.spec import PreprocessConfig
from ssdg.datasets.base import Case, DataError, Domain, Task

VESSEL = {0: 0, 255: 1}
TISSUE = {0: 0, 1: 1, 2: 2}
STRETCH = PreprocessConfig(grid="stretch")
ISOTROPIC = PreprocessConfig(grid="isotropic")


def task(shape, channels=1):
    return Task("toy", len(shape), channels, ("background", "a", "b"), shape, {}, {})


def domain(*cases, label_map=TISSUE, **options):
    return Domain("toy", "test", cases, label_map, "nowhere", "none", **options)


def write_picture(folder, shape=(30, 40), mask=True):
    """Write a bright bar on a gradient with its label and, where asked, a disc as field of view."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    label = ((x > shape[1] // 3) & (x < shape[1] // 2) & (y > 3) & (y < shape[0] - 3)).astype(np.uint8) * 255
    image = np.stack([20 + x + label // 3, 10 + y, 30 + 0 * x], axis=2).astype(np.uint8)
    view = (((y - shape[0] / 2) ** 2 + (x - shape[1] / 2) ** 2) < min(shape) ** 2 / 4).astype(np.uint8) * 255
    for name, array in (("image", image), ("label", label), ("mask", view)):
        Image.fromarray(array).save(folder / f"{name}.png")
    return Case("a", folder / "image.png", folder / "label.png", folder / "mask.png" if mask else None)


def write_volume(folder, shape=(20, 26, 18), spacing=(1.0, 1.0, 1.0), background=0.0, seed=0):
    """Write an off-centre ellipsoid of two tissues with a dark hole in it; the label leaves out its outer rim."""
    axes = np.meshgrid(*[np.arange(side) for side in shape], indexing="ij")
    radius = np.sqrt(sum(((axis - 0.45 * side) / (0.3 * side)) ** 2 for axis, side in zip(axes, shape, strict=True)))
    brain = radius < 1
    image = np.random.default_rng(seed).uniform(80, 120, shape) * brain + background
    image[radius < 0.2] = background
    label = (radius < 0.9).astype(np.uint8) + (radius < 0.5)
    affine = np.diag([*spacing, 1.0])
    nib.save(nib.Nifti1Image(image.astype(np.float32), affine), folder / "image.nii.gz")
    nib.save(nib.Nifti1Image(label.astype(np.uint8), affine), folder / "label.nii.gz")
    nib.save(nib.Nifti1Image(brain.astype(np.uint8), affine), folder / "mask.nii.gz")
    return Case("a", folder / "image.nii.gz", folder / "label.nii.gz"), brain


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def bounds(mask):
    found = np.argwhere(mask)
    return [(int(low), int(high) + 1) for low, high in zip(found.min(0), found.max(0), strict=True)]


def test_2d_stretch_takes_the_whole_image(tmp_path):
    case = write_picture(tmp_path)
    prepared = prepare_case(case, domain(case, label_map=VESSEL), task((16, 16), 3), STRETCH)
    assert prepared.image.shape == (3, 16, 16)
    assert prepared.image.dtype == np.uint8
    assert prepared.label.dtype == np.uint8
    assert prepared.foreground.dtype == np.bool_
    assert prepared.geometry.start == (0, 0)
    assert prepared.geometry.extent == (30, 40)
    assert set(np.unique(prepared.label)) == {0, 1}


@pytest.mark.parametrize(("native", "shape"), [((30, 40), (32, 32)), ((41, 23), (32, 32)), ((30, 40), (16, 48))])
def test_2d_isotropic_pads_evenly_and_padding_is_never_foreground(tmp_path, native, shape):
    case = write_picture(tmp_path, native, mask=False)
    prepared = prepare_case(case, domain(case, label_map=VESSEL), task(shape, 3), ISOTROPIC)
    extent = prepared.geometry.extent
    assert abs(extent[0] / shape[0] - extent[1] / shape[1]) * max(shape) <= 1
    assert any(a == b for a, b in zip(extent, native, strict=True))
    middle = [int(np.flatnonzero(prepared.foreground.any(axis=axis)).mean() * 2) for axis in (1, 0)]
    assert all(abs(m - (side - 1)) <= 1 for m, side in zip(middle, shape, strict=True))
    assert not prepared.foreground.all()
    assert not prepared.image[:, ~prepared.foreground].any() or extent == native
    assert not prepared.label[~prepared.foreground].any()
    assert labels_to_native(prepared.foreground, prepared.geometry).all()


def test_an_unresampled_picture_is_kept_to_the_bit(tmp_path):
    case = write_picture(tmp_path, (32, 32))
    prepared = prepare_case(case, domain(case, label_map=VESSEL), task((32, 32), 3), ISOTROPIC)
    assert np.array_equal(prepared.image, np.moveaxis(np.asarray(Image.open(case.image)), 2, 0))
    assert np.array_equal(prepared.label * 255, np.asarray(Image.open(case.label)))
    assert np.array_equal(prepared.foreground, np.asarray(Image.open(case.foreground)) > 0)


@pytest.mark.parametrize("config", [STRETCH, ISOTROPIC])
def test_a_picture_that_is_constant_on_the_grid_is_refused(tmp_path, config):
    case = write_picture(tmp_path, (300, 200))
    array = np.full((300, 200, 3), 7, np.uint8)
    array[150, 100] = 9  # lost on the small grid, and a single pixel on the large one
    for bright in (9, 255):
        array[150, 100] = bright
        Image.fromarray(array).save(case.image)
        for side in (16, 304):
            message = rf"image\.png is constant on the network's grid \({side}, {side}\).*percentiles"
            with pytest.raises(DataError, match=message):
                prepare_case(case, domain(case, label_map=VESSEL), task((side, side), 3), config)
    array[:150] = 14
    Image.fromarray(array).save(case.image)
    with pytest.raises(DataError, match="spans 8 of 256 grey levels"):
        prepare_case(case, domain(case, label_map=VESSEL), task((16, 16), 3), config)
    array[:150, :, 1] = 15  # one channel shows it
    Image.fromarray(array).save(case.image)
    assert prepare_case(case, domain(case, label_map=VESSEL), task((16, 16), 3), config).image.max() == 15


@given(st.integers(24, 60), st.integers(24, 60), st.sampled_from(["stretch", "isotropic"]))
@settings(max_examples=15, deadline=None)
def test_2d_labels_return_to_odd_native_grids(tmp_path_factory, height, width, grid):
    case = write_picture(tmp_path_factory.mktemp("picture"), (height, width))
    prepared = prepare_case(case, domain(case, label_map=VESSEL), task((48, 48), 3), PreprocessConfig(grid=grid))
    native = np.asarray(Image.open(case.label)) > 0
    back = labels_to_native(prepared.label, prepared.geometry)
    assert back.shape == native.shape
    assert dice(back > 0, native) >= 0.85
    assert (
        dice(labels_to_native(prepared.foreground, prepared.geometry), np.asarray(Image.open(case.foreground)) > 0)
        > 0.9
    )


@given(
    st.tuples(st.integers(16, 28), st.integers(16, 28), st.integers(16, 28)),
    st.sampled_from([(1.0, 1.0, 1.0), (0.5, 0.5, 1.5), (2.0, 0.8, 1.0)]),
    st.sampled_from(["stretch", "isotropic"]),
)
@settings(max_examples=12, deadline=None)
def test_3d_labels_return_to_odd_native_grids(tmp_path_factory, shape, spacing, grid):
    pitch = max(n * mm for n, mm in zip(shape, spacing, strict=True)) / 32  # of an isotropic grid's voxel, mm
    assume(grid == "stretch" or pitch <= 2 * min(spacing))  # a coarser grid loses what no way back can restore
    case, _ = write_volume(tmp_path_factory.mktemp("volume"), shape, spacing)
    prepared = prepare_case(case, domain(case), task((32, 32, 32)), PreprocessConfig(grid=grid))
    native = nib.load(case.label).get_fdata()
    back = labels_to_native(prepared.label, prepared.geometry)
    assert prepared.image.dtype == np.float16
    assert 0 <= prepared.image.min() < prepared.image.max() <= 1
    assert np.allclose(prepared.spacing, spacing)
    for k in (1, 2):
        assert dice(back == k, native == k) >= 0.8
    assert dice(back > 0, native > 0) >= 0.9


@pytest.mark.parametrize("background", [0.0, 1e-16])
def test_the_box_of_a_stripped_volume_ignores_a_background_that_is_not_quite_zero(tmp_path, background):
    case, brain = write_volume(tmp_path, background=background)
    prepared = prepare_case(case, domain(case), task((16, 24, 16)), STRETCH)
    expected = bounds(brain)
    assert prepared.geometry.start == tuple(low for low, _ in expected)
    assert prepared.geometry.extent == tuple(high - low for low, high in expected)
    native = labels_to_native(prepared.foreground, prepared.geometry)
    assert dice(native, brain) > 0.9
    assert prepared.foreground[8, 12, 8]  # the hole is filled


def test_the_isotropic_box_is_a_cube_in_mm(tmp_path):
    case, brain = write_volume(tmp_path, (20, 26, 18), (0.5, 1.0, 2.0))
    geometry = prepare_case(case, domain(case), task((16, 16, 16)), ISOTROPIC).geometry
    sides = [n * mm for n, mm in zip(geometry.extent, (0.5, 1.0, 2.0), strict=True)]
    assert max(sides) - min(sides) <= 1.0  # half of the coarsest voxel
    for (low, high), start, extent in zip(bounds(brain), geometry.start, geometry.extent, strict=True):
        assert start <= low
        assert start + extent >= high


def native_box(geometry):
    return [(start, start + extent) for start, extent in zip(geometry.start, geometry.extent, strict=True)]


def test_the_oracle_masks_by_the_label_and_nonzero_does_not(tmp_path):
    case, _ = write_volume(tmp_path, background=60.0)
    label = nib.load(case.label).get_fdata()
    whole_head = domain(case, skull_stripped=False)
    by_label = PreprocessConfig(grid="stretch", brain_mask="label")
    oracle = prepare_case(case, whole_head, task((16, 16, 16)), by_label)
    plain = prepare_case(case, whole_head, task((16, 16, 16)), STRETCH)
    assert native_box(oracle.geometry) == bounds(label)
    assert oracle.image[0, 0, 0, 0] < 0.05
    assert plain.geometry.extent == label.shape  # what surrounds the brain is above the background
    assert plain.image[0, 0, 0, 0] > 0.3
    stripped = prepare_case(case, domain(case), task((16, 16, 16)), by_label)
    assert stripped.geometry == plain.geometry  # a stripped volume never needs the oracle


def test_a_shipped_mask_is_used_and_blanks_what_surrounds_the_brain(tmp_path):
    case, brain = write_volume(tmp_path, background=60.0)
    case = Case("a", case.image, case.label, tmp_path / "mask.nii.gz")
    for config in (STRETCH, PreprocessConfig(grid="stretch", brain_mask="label")):
        prepared = prepare_case(case, domain(case, skull_stripped=False), task((24, 24, 24)), config)
        assert native_box(prepared.geometry) == bounds(brain)
        assert prepared.image[0, 0, 0, 0] < 0.05
    stripped = prepare_case(case, domain(case), task((24, 24, 24)), STRETCH)
    assert stripped.image[0, 0, 0, 0] > 0.3  # its owners decided what is background


@pytest.mark.parametrize("ndim", [2, 3])
def test_without_label_no_label_is_opened(tmp_path, ndim):
    case = write_picture(tmp_path) if ndim == 2 else write_volume(tmp_path)[0]
    toy = domain(case, label_map=VESSEL if ndim == 2 else TISSUE)
    work = task((16, 16), 3) if ndim == 2 else task((16, 16, 16))
    expected = prepare_case(case, toy, work, ISOTROPIC)
    case.label.write_bytes(b"not to be read")
    prepared = prepare_case(case, toy, work, ISOTROPIC, with_label=False)
    assert prepared.label is None
    assert prepared.geometry == expected.geometry
    assert np.array_equal(prepared.image, expected.image)
    assert np.array_equal(prepared.foreground, expected.foreground)
    with pytest.raises(DataError, match="cannot be read"):
        prepare_case(case, toy, work, ISOTROPIC)


def test_the_oracle_without_a_label_names_the_way_out(tmp_path):
    case, _ = write_volume(tmp_path)
    oracle = PreprocessConfig(brain_mask="label")
    bare = Case("a", case.image)
    with pytest.raises(DataError, match=r"image\.nii\.gz has no label .*preprocess\.brain_mask=nonzero"):
        prepare_case(bare, domain(bare, skull_stripped=False), task((16, 16, 16)), oracle)
    prepared = prepare_case(case, domain(case, skull_stripped=False), task((16, 16, 16)), oracle, with_label=False)
    assert prepared.label is None
    assert prepared.foreground.any()


def test_volumes_without_anything_to_see_are_refused(tmp_path):
    array = -np.random.default_rng(0).random((8, 8, 8)).astype(np.float32)
    nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / "a.nii")
    case = Case("a", tmp_path / "a.nii")
    with pytest.raises(DataError, match=r"a\.nii has values from .* window"):
        prepare_case(case, domain(case), task((16, 16, 16)), STRETCH)


def test_an_outlier_does_not_darken_the_volume(tmp_path):
    case, _ = write_volume(tmp_path)
    image = nib.load(case.image)
    array = image.get_fdata()
    array[9, 12, 12] = 1e4
    nib.save(nib.Nifti1Image(array.astype(np.float32), image.affine), case.image)
    prepared = prepare_case(case, domain(case), task((24, 24, 24)), STRETCH)
    assert np.median(prepared.image[0][prepared.foreground].astype(float)) > 0.5


def test_the_grid_and_the_label_map_that_the_settings_choose(tmp_path):
    case = write_picture(tmp_path)
    variants = {"wm": {0: 0, 8: 3}, "gm": {0: 0, 8: 2}}
    toy = domain(case, label_map={0: 0, 8: 1}, label_variants=variants)
    assert label_map_of(toy, PreprocessConfig(corpus_callosum="gm")) == variants["gm"]
    assert label_map_of(domain(case), PreprocessConfig()) == TISSUE
    assert grid_shape(task((16, 16)), PreprocessConfig()) == (16, 16)
    assert grid_shape(task((16, 16)), PreprocessConfig(shape=(32, 24))) == (32, 24)
    with pytest.raises(UsageError, match=r"preprocess\.shape=32,32,32 has 3 sides; task 'toy' needs 2"):
        prepare_case(case, toy, task((16, 16), 3), PreprocessConfig(shape=(32, 32, 32)))


@pytest.fixture(scope="module")
def data_root():
    if not os.environ.get("BENCH_DATA"):
        pytest.skip("BENCH_DATA is not set")
    return Path(os.environ["BENCH_DATA"])


@pytest.mark.real_data
@pytest.mark.parametrize(
    "atlas", ["Neurotypical_Gholipour2017/HarvardSTA30_Study1", "Neurotypical_Wu2021/Chinese30_Study1"]
)
def test_atlases_fill_their_box_and_return(data_root, atlas):
    folder = data_root / "atlases" / atlas
    if not folder.is_dir():
        pytest.skip(f"{atlas} is not there")
    case = Case("a", folder / "srr.nii.gz", folder / "parcellation.nii.gz")
    atlases = domain(case, label_map={0: 0, 4: 1, 5: 2, 1: 3, 2: 4, 3: 5, 6: 6, 7: 7, 8: 3})
    prepared = prepare_case(case, atlases, task((144, 144, 144)), STRETCH)
    image = read_image(case, atlases, task((144, 144, 144)))
    native = read_label(case, atlases, image, STRETCH)
    # A background of 1e-16 taken for brain would make the box 2.5 to 3.3 times the label's.
    sides = [high - low for low, high in bounds(native)]
    assert 1 <= np.prod(prepared.geometry.extent) / np.prod(sides) < 1.4
    back = labels_to_native(prepared.label, prepared.geometry)
    for k in range(1, 8):
        assert dice(back == k, native == k) > 0.97


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["34", "111"])
def test_a_large_picture_returns_to_its_grid(data_root, name):
    folder = data_root / "LES-AV"
    if not folder.is_dir():
        pytest.skip("LES-AV is not there")
    case = Case(
        name,
        folder / f"images/{name}.png",
        folder / f"vessel-segmentations/{name}.png",
        folder / f"masks/{name}_mask.gif",
    )
    lesav = domain(case, label_map=VESSEL)
    image = read_image(case, lesav, task((512, 512), 3))
    native, view = read_label(case, lesav, image, ISOTROPIC), read_mask(case, lesav, image)
    prepared = prepare_case(case, lesav, task((512, 512), 3), ISOTROPIC)
    back = labels_to_native(prepared.label, prepared.geometry)
    assert back.shape == image.shape
    assert dice(back > 0, native > 0) > 0.8
    assert dice(labels_to_native(prepared.foreground, prepared.geometry), view) > 0.99
