"""Surface distances and clDice: against brute force over all pairs of surface voxels, by hand, and beside MONAI."""

import itertools
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ssdg.benchmark.scoring.shapes import MEASURED, Pair, cldice, hd95, measure_classes, nsd, skeleton, surface

FLAT, ANISOTROPIC = (1.0, 1.0), (0.5, 0.5, 3.0)


def pair(prediction, label, spacing=None):
    prediction, label = np.asarray(prediction, dtype=bool), np.asarray(label, dtype=bool)
    return Pair(prediction, label, spacing or (1.0,) * label.ndim)


def box(shape, *sides):
    """Return a mask of a shape with a box in it, given as (start, stop) of each axis."""
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(*side) for side in sides)] = True
    return mask


def surface_voxels(mask):
    """Return the voxels with a face neighbour that is not in the mask, or not in the image: one by one."""
    found = []
    for voxel in itertools.product(*map(range, mask.shape)):
        neighbours = [
            tuple(v + step * (axis == a) for a, v in enumerate(voxel))
            for axis in range(mask.ndim)
            for step in (-1, 1)
        ]
        inside = [all(0 <= v < n for v, n in zip(one, mask.shape, strict=True)) and mask[one] for one in neighbours]
        if mask[voxel] and not all(inside):
            found.append(voxel)
    return found


def directed(voxels, others, spacing):
    """Return the distance of each voxel to the nearest other, over all pairs."""
    return [
        min(sum(((a - b) * s) ** 2 for a, b, s in zip(one, other, spacing, strict=True)) ** 0.5 for other in others)
        for one in voxels
    ]


def brute_force(prediction, label, spacing, tolerance):
    """Return HD95 and NSD of two masks that are not empty."""
    found, true = surface_voxels(prediction), surface_voxels(label)
    there, back = directed(found, true, spacing), directed(true, found, spacing)
    close = [distance <= tolerance for distance in [*there, *back]]
    return max(np.percentile(there, 95), np.percentile(back, 95)), sum(close) / len(close)


masks = hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=5).flatmap(
    lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape))
)
spacings = st.tuples(*[st.sampled_from([0.5, 0.8, 1.0, 3.0])] * 3)


@given(masks, spacings)
def test_distances_equal_brute_force(case, spacing):
    prediction, label = case
    found = pair(prediction, label, spacing[: label.ndim])
    if prediction.any() and label.any():
        distance, share = brute_force(prediction, label, found.spacing, 1.0)
        assert hd95(found) == pytest.approx(distance)
        assert nsd(found, 1.0) == pytest.approx(share)
    else:
        assert np.isnan(hd95(found))


@given(masks)
def test_surfaces_equal_brute_force(case):
    for mask in case:
        assert list(map(tuple, np.argwhere(surface(mask)))) == surface_voxels(mask)


@given(masks)
@example((np.ones((1, 4, 4), dtype=bool), np.ones((1, 4, 4), dtype=bool) & (np.arange(16).reshape(1, 4, 4) == 0)))
def test_cropping_and_padding_change_nothing_where_the_border_is_free(case):
    prediction, label = (np.pad(mask, 1) for mask in case)
    wide = [np.pad(mask, 3).astype(np.uint8) for mask in (prediction, label)]
    [cropped] = measure_classes(*wide, 2, (1.0,) * label.ndim, tuple(MEASURED))
    whole = {name: measure(pair(prediction, label)) for name, measure in MEASURED.items()}
    assert cropped == pytest.approx(whole, nan_ok=True)


LABELLED, NOTHING = box((9, 9), (2, 7), (2, 7)), np.zeros((9, 9), dtype=bool)
EMPTY = {
    "no label": (LABELLED, NOTHING, dict.fromkeys(MEASURED, np.nan)),
    "no prediction": (NOTHING, LABELLED, {"cldice": 0.0, "nsd": 0.0, "hd95": np.nan}),
    "neither": (NOTHING, NOTHING, dict.fromkeys(MEASURED, np.nan)),
    "identical": (LABELLED, LABELLED, {"cldice": 1.0, "nsd": 1.0, "hd95": 0.0}),
}


@pytest.mark.parametrize("depth", [None, 4])
@pytest.mark.parametrize(("prediction", "label", "expected"), EMPTY.values(), ids=EMPTY)
def test_empty_and_identical_masks(prediction, label, expected, depth):
    if depth is not None:
        prediction, label = (np.repeat(mask[..., None], depth, axis=2) for mask in (prediction, label))
    maps = (mask.astype(np.uint8) for mask in (prediction, label))
    [found] = measure_classes(*maps, 2, (1.0,) * label.ndim, tuple(MEASURED))
    assert found == pytest.approx(expected, nan_ok=True)


def test_one_voxel_each_is_the_distance_between_them():
    found = pair(box((9, 9, 9), (1, 2), (1, 2), (1, 2)), box((9, 9, 9), (3, 4), (4, 5), (2, 3)), ANISOTROPIC)
    assert hd95(found) == pytest.approx((1.0**2 + 1.5**2 + 3.0**2) ** 0.5)
    assert nsd(found) == 0.0


def test_a_shift_by_a_voxel_is_measured_in_mm():
    label = box((12, 12, 12), (3, 9), (3, 9), (3, 9))
    for axis, size in enumerate(ANISOTROPIC):
        found = pair(np.roll(label, 1, axis), label, ANISOTROPIC)
        assert hd95(found) == pytest.approx(size)
        assert (nsd(found) == 1.0) == (size <= 1.0)  # 1 mm: half a millimetre is close enough, three are not


def test_the_border_of_the_image_is_a_surface():
    label = np.ones((5, 5), dtype=bool)
    assert surface(label).sum() == 16
    # The left half has its right side at column 2, two to the left of the label's.
    found = pair(box((5, 5), (0, 5), (0, 3)), label)
    assert (hd95(found), nsd(found)) == pytest.approx(brute_force(found.prediction, label, FLAT, 1.0))


def test_the_percentile_by_hand_and_the_larger_direction():
    label = box((30, 30), (10, 15), (10, 15))
    prediction = label | box((30, 30), (28, 29), (10, 11))
    # Of 17 distances 16 are 0 and one is 14: 95 % of the way from the first to the last is 15.2, a fifth beyond 15.
    assert hd95(pair(prediction, label)) == hd95(pair(label, prediction)) == pytest.approx(14 / 5)


def test_a_tolerance_of_one_voxel_survives_the_header_s_single_precision():
    label = box((9, 9, 9), (3, 6), (3, 6), (3, 6))
    side = float(np.nextafter(np.float32(1.0), np.float32(2.0)))
    assert nsd(pair(np.roll(label, 1, 0), label, (side,) * 3)) == 1.0
    assert nsd(pair(np.roll(label, 1, 0), label, (1.01,) * 3)) < 1.0


def test_centre_lines_by_hand():
    # Lines one pixel wide are their own centre lines: 4 of the prediction's 6 pixels are right, 4 of 10 are found.
    label = box((7, 14), (3, 4), (2, 12))
    prediction = box((7, 14), (3, 4), (2, 6)) | box((7, 14), (6, 7), (11, 13))
    np.testing.assert_array_equal(skeleton(label), label)
    assert cldice(pair(prediction, label)) == pytest.approx(2 * (4 / 6) * (4 / 10) / (4 / 6 + 4 / 10))
    assert cldice(pair(box((7, 14), (6, 7), (1, 5)), label)) == 0.0
    # All of the prediction's line is in a label three pixels wide, and of that one's what lies in the same row.
    wide = box((7, 14), (2, 5), (2, 12))
    shared, length = skeleton(wide)[3].sum(), skeleton(wide).sum()
    assert shared >= 6
    assert cldice(pair(label, wide)) == pytest.approx(2 * shared / (length + shared))


def test_width_matters_to_dice_and_not_to_centre_lines():
    label, thick = box((9, 20), (4, 5), (2, 18)), box((9, 20), (3, 6), (1, 19))
    assert cldice(pair(thick, label)) > 0.9 > 0.5 > 2 * label.sum() / (label.sum() + thick.sum())


def test_what_thinning_leaves_nothing_of_stands_for_itself():
    block = box((8, 8, 8), (2, 4), (2, 4), (2, 4))
    bar = box((8, 8, 8), (6, 7), (6, 7), (0, 8))
    assert skeleton(block).sum() == 8
    assert skeleton(block | bar).sum() == 16
    assert cldice(pair(block, block)) == 1.0


def test_classes_are_measured_apart():
    label = np.zeros((8, 8), dtype=np.uint8)
    label[1:3, 1:3], label[5:7, 5:7] = 1, 3
    prediction = np.roll(label, 1, axis=0)
    first, second, third = measure_classes(prediction, label, 4, FLAT, ("hd95",))
    assert first["hd95"] == third["hd95"] == 1.0
    assert np.isnan(second["hd95"])


@pytest.mark.filterwarnings("ignore::FutureWarning")  # MONAI of itself
@pytest.mark.parametrize("spacing", [FLAT, (1.0, 1.0, 1.0), ANISOTROPIC, (0.8, 0.8, 0.8)])
@pytest.mark.parametrize("seed", range(3))
def test_distances_equal_monais(seed, spacing):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch
        from monai.metrics import compute_hausdorff_distance, compute_surface_dice
    rng = np.random.default_rng(seed)
    shape = (16, 14, 12)[: len(spacing)]
    label, prediction = (rng.random(shape) < 0.05 for _ in range(2))
    label[4:9, 3:11], prediction[5:11, 2:9] = True, True
    found = pair(prediction, label, spacing)
    tensors = [torch.from_numpy(mask)[None, None].float() for mask in (prediction, label)]
    theirs = compute_hausdorff_distance(*tensors, include_background=True, percentile=95, spacing=spacing)
    assert hd95(found) == pytest.approx(float(theirs), rel=1e-6)
    theirs = compute_surface_dice(*tensors, class_thresholds=[1.0], include_background=True, spacing=spacing)
    assert nsd(found) == pytest.approx(float(theirs), rel=1e-6)


def test_importing_it_loads_neither_torch_nor_scikit_image():
    code = (
        "import ssdg.benchmark.scoring.shapes, ssdg.benchmark.outcomes.rescore, sys\n"
        "assert not {'torch', 'monai', 'skimage', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True)
