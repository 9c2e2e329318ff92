"""Volumes in any unit: mapped as the domain says, or refused with the line to write; a hot voxel moves nothing."""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from ssdg.benchmark.data.images import read_image as read_case_image
from ssdg.benchmark.data.preprocess import prepare_case
from ssdg.benchmark.spec import PreprocessConfig
from ssdg.datasets.base import Case, DataError, Intensity, Slices, Task

from .files import domain, read_image, save_volume

SHAPE = (24, 20, 16)
WHOLE = Task("toy", 3, 1, ("background", "a"), SHAPE, {}, {})
STRETCH = PreprocessConfig(grid="stretch")
WINDOW = Intensity(window=(-160, 240))
PERCENTILES = Intensity(percentiles=(0.5, 99.5))


def ellipsoid(scale, shape=SHAPE):
    axes = np.meshgrid(*[np.linspace(-1, 1, side) for side in shape], indexing="ij")
    return sum(axis**2 for axis in axes) < scale**2


def body(seed=0):
    """Return Hounsfield units: fat, an organ in it, a bone, and air around."""
    units = np.full(SHAPE, -1000.0)
    units[ellipsoid(0.9)] = -100
    units[ellipsoid(0.7)] = 40
    units[ellipsoid(0.2)] = 700
    return (units + np.random.default_rng(seed).uniform(-5, 5, SHAPE)).astype(np.float32)


def brain(seed=0):
    return (np.random.default_rng(seed).uniform(80, 120, SHAPE) * ellipsoid(0.7)).astype(np.float32)


def prepare(folder, array, task=WHOLE, **rules):
    case = Case("a", save_volume(folder / "a.nii.gz", array, np.eye(4)))
    return prepare_case(case, domain(**rules), task, STRETCH)


def boxed(array):
    """Return the smallest box that holds a mask, as slices."""
    return ndimage.find_objects(array.astype(np.uint8))[0]


def test_a_window_makes_air_zero_and_keeps_the_units_of_what_is_inside(tmp_path):
    units = np.minimum(body(), 60)  # nothing reaches the window's upper end
    expected = np.clip((units + 160) / 400, 0, 1)
    box = boxed(units > -160)
    image = read_image(tmp_path / save_volume(tmp_path / "a.nii", units), 3, 1, intensity=WINDOW)
    assert np.allclose(image.array[0], expected)
    assert not image.array[0][units < -160].any()
    task = Task("toy", 3, 1, ("background", "a"), tuple(side.stop - side.start for side in box), {}, {})
    prepared = prepare(tmp_path, units, task, intensity=WINDOW)
    assert prepared.geometry.start == tuple(side.start for side in box)
    assert prepared.geometry.extent == task.shape, "air is not in the box"
    assert np.allclose(prepared.image[0], expected[box], atol=1e-3), "nothing is scaled a second time"
    assert prepared.foreground[tuple(side // 2 for side in task.shape)]


def test_percentiles_of_each_channel_become_0_and_1(tmp_path):
    brains = np.stack([brain(0), 1000 * brain(1) - 7], axis=-1)
    scores = ((brains - brains.mean()) / brains.std()).astype(np.float32)
    path = save_volume(tmp_path / "a.nii", scores)
    image = read_image(path, 3, 2, intensity=PERCENTILES)
    for channel, values in zip(image.array, np.moveaxis(scores, 3, 0), strict=True):
        low, high = np.percentile(values, [0.5, 99.5])
        assert np.allclose(channel, np.clip((values - low) / (high - low), 0, 1), atol=1e-4)
    two = Task("toy", 3, 2, ("background", "a"), SHAPE, {}, {})
    prepared = prepare_case(Case("a", path), domain(intensity=PERCENTILES), two, STRETCH)
    extent = tuple(side.stop - side.start for side in boxed(brain(0) > 0))
    assert prepared.geometry.extent == extent, "the least value is background"


def test_bits_in_use_scale_a_volume_and_more_are_refused(tmp_path):
    array = np.random.default_rng(0).integers(0, 4096, SHAPE).astype(np.int16)
    path = save_volume(tmp_path / "a.nii", array)
    assert np.allclose(read_image(path, 3, 1, intensity=Intensity(bits=12)).array[0], array / 4095)
    with pytest.raises(DataError, match=r"a\.nii has values from 0 to 409\d, beyond the 0 to 1023 of .* bits = 10"):
        read_image(path, 3, 1, intensity=Intensity(bits=10))


def test_values_that_a_rule_makes_one_are_refused(tmp_path):
    sparse = np.zeros(SHAPE, np.float32)
    sparse[3, 4, 5] = 8
    path = save_volume(tmp_path / "a.nii", sparse)
    with pytest.raises(DataError, match=r"a\.nii: .*percentiles = \[0\.5, 99\.5\].* value 0: give others"):
        read_image(path, 3, 1, intensity=PERCENTILES)
    with pytest.raises(DataError, match=r"a\.nii is constant \(every value is 1\)"):
        read_image(path, 3, 1, intensity=Intensity(window=(-200, -100)))


@pytest.mark.parametrize(
    "array",
    [
        body(),
        body()[:, :, 7:9] * (body()[:, :, 7:9] > -500),  # the body without the air around
        (brain() - brain().mean()) / brain().std(),
        np.where(brain() > 0, (brain() - 100) / 10, 0),
        2 * brain() / 120 - 1,
        -brain(),
    ],
    ids=["CT", "CT without air", "z-score", "z-score of the brain", "-1 to 1", "negative"],
)
def test_negative_values_are_refused_with_the_line_to_write(tmp_path, array):
    with pytest.raises(DataError, match=r"a\.nii\.gz has values from -.* window = \[-160, 240\].* percentiles = \["):
        prepare(tmp_path, array.astype(np.float32))


@pytest.mark.parametrize(
    "resampled",
    [
        lambda a: ndimage.zoom(a, 1.3, order=3),
        lambda a: ndimage.rotate(a, 20, order=5),
        lambda a: a - 0.02 * (a == 0),
    ],
    ids=["cubic", "quintic", "offset"],
)
def test_what_resampling_leaves_below_zero_is_no_reason_to_refuse(tmp_path, resampled):
    array = resampled(brain()).astype(np.float32)
    assert array.min() < 0
    assert prepare(tmp_path, array).foreground.any()


def test_a_hot_voxel_moves_neither_foreground_nor_box_nor_the_refusal_of_negatives(tmp_path):
    array = brain()
    expected = prepare(tmp_path, array)
    for position in ((12, 10, 8), (11, 9, 7)):
        array[position] = 1e6
    prepared = prepare(tmp_path, array)
    assert prepared.geometry == expected.geometry
    assert np.array_equal(prepared.foreground, expected.foreground)
    units = body()
    units[12, 10, 8] = 1e12
    with pytest.raises(DataError, match=r"window = \[-160, 240\]"):
        prepare(tmp_path, units)
    array[0, 0, 0] = -1e6
    assert prepare(tmp_path, array).geometry == expected.geometry


def test_a_box_that_is_next_to_nothing_is_refused_unless_a_mask_says_so(tmp_path):
    array = np.zeros(SHAPE, np.float32)
    array[3:6, 4:6, 5:7] = 9
    with pytest.raises(
        DataError, match=r"a\.nii\.gz: .* a box of 3x2x2, less than 1% .*percentiles.* foreground mask"
    ):
        prepare(tmp_path, array)
    mask = save_volume(tmp_path / "m.nii.gz", (array > 0).astype(np.uint8), np.eye(4))
    masked = Case("a", tmp_path / "a.nii.gz", None, mask)
    assert prepare_case(masked, domain(), WHOLE, STRETCH).geometry.extent == (3, 2, 2)


@pytest.mark.parametrize("masked", [False, True])
def test_hot_voxels_of_one_channel_are_no_reason_to_make_the_rest_of_it_0(tmp_path, masked):
    array = np.stack([brain(0), brain(1)], axis=-1)
    two = Task("toy", 3, 2, ("background", "a"), SHAPE, {}, {})
    mask = save_volume(tmp_path / "m.nii.gz", ellipsoid(0.7).astype(np.uint8), np.eye(4)) if masked else None
    case = Case("a", save_volume(tmp_path / "a.nii.gz", array, np.eye(4)), None, mask)
    assert np.median(prepare_case(case, domain(), two, STRETCH).image[1]) > 0
    array[11:15, 9:12, 7:10, 1] = 1e6
    save_volume(case.image, array, np.eye(4))
    with pytest.raises(DataError, match=r"a\.nii\.gz: in channel 1 half of .*a few outshine the rest.*percentiles"):
        prepare_case(case, domain(), two, STRETCH)


def test_a_constant_channel_is_refused(tmp_path):
    two = Task("toy", 3, 2, ("background", "a"), SHAPE, {}, {})
    with pytest.raises(DataError, match=r"a\.nii\.gz is constant \(every value of channel 1 is 7\)"):
        prepare(tmp_path, np.stack([brain(), np.full(SHAPE, 7, np.float32)], axis=-1), two)


@pytest.mark.parametrize("rule", [Intensity(window=(-1e6, 1e6)), Intensity(percentiles=(0, 100))])
def test_a_rule_that_leaves_no_grey_levels_is_refused(tmp_path, rule):
    array = brain()
    array[12, 10, 8] = 1e6
    with pytest.raises(DataError, match=r"a\.nii\.gz: by its domain's `intensity` 99\.9 % of a channel are"):
        prepare(tmp_path, array, intensity=rule)
    assert prepare(tmp_path, array, intensity=Intensity(percentiles=(0.5, 99.5))).image.max() == 1


@pytest.mark.parametrize("values", [{0: 0, 1: 1}, {0: 1, 1: 0}])
def test_a_labelled_border_of_a_volume_is_noticed(tmp_path, values):
    label = save_volume(tmp_path / "l.nii.gz", ellipsoid(0.5).astype(np.uint8), np.eye(4))
    case = Case("a", save_volume(tmp_path / "a.nii.gz", brain(), np.eye(4)), label)
    assert prepare_case(case, domain(values), WHOLE, STRETCH).inverted == (values[0] == 1)
    flat = Task("toy", 2, 1, ("background", "a"), SHAPE[:2], {}, {})
    sliced = prepare_case(case, domain(values, slices=Slices()), flat, STRETCH)
    assert (sliced.slices, sliced.inverted) == (SHAPE[2], values[0] == 1)


def test_without_a_rule_a_volume_keeps_the_units_of_its_file(tmp_path):
    case = Case("a", save_volume(tmp_path / "a.nii", body()))
    assert np.array_equal(read_case_image(case, domain(), WHOLE).array[0], body())


@pytest.mark.real_data
@pytest.mark.parametrize(
    "name",
    ["Neurotypical_Gholipour2017/HarvardSTA30_Study1", "SpinaBifida_Fidon2021/fetal_SB_atlas_GA21_notoperated"],
)
def test_a_real_brain_is_refused_as_z_scores_and_read_when_it_is_resampled(tmp_path, name):
    folder = Path(os.environ.get("BENCH_DATA", "nowhere")) / "atlases" / name
    if not folder.is_dir():
        pytest.skip(f"{name} is not under BENCH_DATA")
    array = np.asarray(nib.load(folder / "srr.nii.gz").dataobj).astype(np.float32)
    resampled = ndimage.rotate(array, 17, order=5)
    assert (resampled < 0).mean() > 0.1
    assert prepare(tmp_path, resampled).foreground.any()
    inside = array > 1e-3 * array.max()
    scores = (array - array[inside].mean()) / array[inside].std()
    for wrong in (scores, scores * inside):
        with pytest.raises(DataError, match="would all become 0"):
            prepare(tmp_path, wrong.astype(np.float32))
        prepared = prepare(tmp_path, wrong.astype(np.float32), intensity=PERCENTILES)
        assert 0 <= prepared.image.min() < prepared.image.max() <= 1
