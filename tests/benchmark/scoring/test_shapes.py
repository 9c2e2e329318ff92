"""Surface distances and clDice: against brute force over all pairs of surface voxels, by hand, and beside MONAI."""

import itertools
import subprocess
import sys
import warnings

import nibabel as nib
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ssdg.benchmark.scoring.metrics import METRICS, Metric
from ssdg.benchmark.scoring.shapes import compute_classes, skeleton, surface

FROM_MASKS = [metric for metric in METRICS.values() if metric.source == "masks"]

FLAT, ANISOTROPIC = (1.0, 1.0), (0.5, 0.5, 3.0)


def compute(name, prediction, label, spacing=None):
    prediction, label = np.asarray(prediction, dtype=bool), np.asarray(label, dtype=bool)
    return METRICS[name].of_masks(prediction, label, spacing or (1.0,) * label.ndim)


def monai(name, prediction, label, spacing, **options):
    """Return a metric of MONAI's for whole masks, neither of which is empty."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import monai.metrics
        import torch

        tensors = [torch.from_numpy(mask)[None, None] for mask in (prediction, label)]
        return float(getattr(monai.metrics, name)(*tensors, include_background=True, spacing=spacing, **options))


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


def brute_force(prediction, label, spacing):
    """Return the HD95 of two masks that are not empty."""
    predicted, true = surface_voxels(prediction), surface_voxels(label)
    return max(np.percentile(directed(*pair, spacing), 95) for pair in ((predicted, true), (true, predicted)))


masks = hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=5).flatmap(
    lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape))
)
spacings = st.tuples(*[st.sampled_from([0.5, 0.8, 1.0, 3.0])] * 3)


@given(masks, spacings)
def test_distances_equal_brute_force(case, spacing):
    prediction, label = case
    spacing = spacing[: label.ndim]
    distance = compute("hd95", prediction, label, spacing)
    if prediction.any() and label.any():
        assert distance == pytest.approx(brute_force(prediction, label, spacing))
    else:
        assert np.isnan(distance)


@given(masks)
def test_surfaces_equal_brute_force(case):
    for mask in case:
        assert list(map(tuple, np.argwhere(surface(mask)))) == surface_voxels(mask)


@given(masks)
@example((np.ones((1, 4, 4), dtype=bool), np.ones((1, 4, 4), dtype=bool) & (np.arange(16).reshape(1, 4, 4) == 0)))
def test_cropping_and_padding_change_nothing_where_the_border_is_free(case):
    prediction, label = (np.pad(mask, 1) for mask in case)
    wide = [np.pad(mask, 3).astype(np.uint8) for mask in (prediction, label)]
    [cropped] = compute_classes(*wide, [(1,)], (1.0,) * label.ndim, FROM_MASKS)
    assert cropped == pytest.approx({m.name: compute(m.name, prediction, label) for m in FROM_MASKS}, nan_ok=True)


LABELLED, NOTHING = box((9, 9), (2, 7), (2, 7)), np.zeros((9, 9), dtype=bool)
EMPTY = {
    "no label": (LABELLED, NOTHING, dict.fromkeys(("cldice", "nsd", "hd95"), np.nan)),
    "no prediction": (NOTHING, LABELLED, {"cldice": 0.0, "nsd": 0.0, "hd95": np.nan}),
    "neither": (NOTHING, NOTHING, dict.fromkeys(("cldice", "nsd", "hd95"), np.nan)),
    "identical": (LABELLED, LABELLED, {"cldice": 1.0, "nsd": 1.0, "hd95": 0.0}),
}


@pytest.mark.parametrize("depth", [None, 4])
@pytest.mark.parametrize(("prediction", "label", "expected"), EMPTY.values(), ids=EMPTY)
def test_empty_and_identical_masks(prediction, label, expected, depth):
    if depth is not None:
        prediction, label = (np.repeat(mask[..., None], depth, axis=2) for mask in (prediction, label))
    maps = (mask.astype(np.uint8) for mask in (prediction, label))
    [found] = compute_classes(*maps, [(1,)], (1.0,) * label.ndim, FROM_MASKS)
    assert found == pytest.approx(expected, nan_ok=True)


def test_one_voxel_each_is_the_distance_between_them():
    masks = box((9, 9, 9), (1, 2), (1, 2), (1, 2)), box((9, 9, 9), (3, 4), (4, 5), (2, 3))
    assert compute("hd95", *masks, ANISOTROPIC) == pytest.approx((1.0**2 + 1.5**2 + 3.0**2) ** 0.5)
    assert compute("nsd", *masks, ANISOTROPIC) == 0.0


def test_a_shift_by_a_voxel_is_measured_in_mm():
    label = box((12, 12, 12), (3, 9), (3, 9), (3, 9))
    for axis, size in enumerate(ANISOTROPIC):
        masks = np.roll(label, 1, axis), label
        assert compute("hd95", *masks, ANISOTROPIC) == pytest.approx(size)
        # 1 mm: half a millimetre is close enough, three are not
        assert (compute("nsd", *masks, ANISOTROPIC) == 1.0) == (size <= 1.0)


def test_the_border_of_the_image_is_a_surface():
    label = np.ones((5, 5), dtype=bool)
    assert surface(label).sum() == 16
    # The left half has its right side at column 2, two to the left of the label's.
    prediction = box((5, 5), (0, 5), (0, 3))
    assert compute("hd95", prediction, label) == pytest.approx(brute_force(prediction, label, FLAT))
    # Elements lie where four pixels meet and have the length of the line through them: 1, or half a diagonal at the
    # corners. Too far are the label's right side with its corners, and of the prediction's the middle two of four.
    corner = 0.5**0.5
    whole = (16 + 4 * corner) + (12 + 4 * corner)
    far = (4 + 2 * corner) + 2
    assert compute("nsd", prediction, label) == pytest.approx(1 - far / whole, rel=1e-6)


def test_the_percentile_by_hand_and_the_larger_direction():
    label = box((30, 30), (10, 15), (10, 15))
    prediction = label | box((30, 30), (28, 29), (10, 11))
    # Of 17 distances 16 are 0 and one is 14: 95 % of the way from the first to the last is 15.2, a fifth beyond 15.
    assert compute("hd95", prediction, label) == compute("hd95", label, prediction) == pytest.approx(14 / 5)


def test_a_tolerance_of_one_voxel_survives_the_header_s_single_precision():
    label = box((9, 9, 9), (3, 6), (3, 6), (3, 6))
    side = float(np.nextafter(np.float32(1.0), np.float32(2.0)))
    assert compute("nsd", np.roll(label, 1, 0), label, (side,) * 3) == 1.0
    assert compute("nsd", np.roll(label, 1, 0), label, (1.01,) * 3) < 1.0


def ellipsoid(shape, centre, radii):
    axes = zip(np.indices(shape), centre, radii, strict=True)
    return sum(((index - middle) / radius) ** 2 for index, middle, radius in axes) <= 1


def drawn(shape, first, second):
    return tuple(ellipsoid(shape, *part) for part in (first, second))


PLANE = (40, 36)
RINGS = [drawn(PLANE, ((18, 17), (11, 8)), ((18, 17), (8, 5))), drawn(PLANE, ((19, 18), (11, 8)), ((19, 18), (7, 5)))]
DRAWN = {
    "disc": (*drawn(PLANE, ((18, 17), (11, 8)), ((20, 18), (9, 10))), FLAT),
    "ring": (*(outer & ~inner for outer, inner in RINGS), FLAT),
    "corner": (*drawn((20, 20), ((2, 3), (9, 7)), ((1, 5), (8, 8))), FLAT),
    "ball": (*drawn((24, 26, 20), ((11, 12, 9), (8, 7, 6)), ((12, 13, 9), (7, 8, 6))), (0.8, 0.8, 0.8)),
    "slab": (*drawn((24, 26, 12), ((11, 12, 5), (8, 7, 3)), ((12, 13, 5), (7, 8, 4))), ANISOTROPIC),
    "border": (*drawn((16, 16, 16), ((2, 3, 14), (8, 7, 6)), ((3, 1, 15), (7, 8, 6))), (0.8, 0.8, 0.8)),
}
"""Prediction, label and spacing; "corner" and "border" are cut by the image."""

# Of the package surface-distance 0.1 (DeepMind), and the same at commit 1f805ce of google-deepmind/surface-distance:
#     found = compute_surface_distances(label, prediction, spacing)
#     compute_surface_dice_at_tolerance(found, 1.0), compute_robust_hausdorff(found, 95)
# MONAI 1.6.1, compute_surface_dice(prediction, label, [1.0], spacing=spacing, use_subvoxels=True), gives the same to
# seven digits. HD95 is unweighted here and weighted by area there, which is the second number in the comment.
NSD = {
    "disc": 0.5208979888821984,  # 3.606
    "ring": 0.9012025968296873,  # 1.414
    "corner": 0.6589424846946116,  # 2.828
    "ball": 0.8707031491323615,  # 1.386
    "slab": 0.8863474057119927,  # 2.5
    "border": 0.9426249385811178,  # 1.131
}
HD95 = {
    "disc": 3.7830532015051923,
    "ring": 1.4142135623730951,
    "corner": 2.8284271247461903,
    "ball": 1.6,
    "slab": 2.692582403567252,
    "border": 1.1313708498984762,
}


@pytest.mark.parametrize("name", DRAWN)
def test_golden_shapes(name):
    prediction, label, spacing = DRAWN[name]
    maps = prediction.astype(np.uint8), label.astype(np.uint8)
    [computed] = compute_classes(*maps, [(1,)], spacing, [METRICS["nsd"], METRICS["hd95"]])
    assert computed == pytest.approx({"nsd": NSD[name], "hd95": HD95[name]}, rel=1e-6)


# HarvardSTA21, 0.8 mm, its labels moved by two voxels along the second axis, in the same way. Class -> NSD of
# DeepMind's code and of MONAI's, and HD95, whose weighted values are 1.386, 1.131 and 1.131.
PARCELLATION = {3: (0.823737, 1.6), 5: (0.944848, 1.131369), 1: (0.916967, 1.131369)}


@pytest.mark.real_data
def test_golden_parcellation(real_data):
    image = nib.load(real_data / "atlases/Neurotypical_Gholipour2017/HarvardSTA21_Study1/parcellation.nii.gz")
    label = np.asarray(image.dataobj).astype(np.uint8)
    spacing = tuple(float(size) for size in image.header.get_zooms())
    computed = compute_classes(
        np.roll(label, 2, axis=1), label, zip(range(1, 9)), spacing, [METRICS["nsd"], METRICS["hd95"]]
    )
    for index, (share, distance) in PARCELLATION.items():
        assert computed[index - 1] == pytest.approx({"nsd": share, "hd95": distance}, rel=2e-6)


def test_centre_lines_by_hand():
    # Lines one pixel wide are their own centre lines: 4 of the prediction's 6 pixels are right, 4 of 10 are found.
    label = box((7, 14), (3, 4), (2, 12))
    prediction = box((7, 14), (3, 4), (2, 6)) | box((7, 14), (6, 7), (11, 13))
    np.testing.assert_array_equal(skeleton(label), label)
    assert compute("cldice", prediction, label) == pytest.approx(2 * (4 / 6) * (4 / 10) / (4 / 6 + 4 / 10))
    assert compute("cldice", box((7, 14), (6, 7), (1, 5)), label) == 0.0
    # All of the prediction's line is in a label three pixels wide, and of that one's what lies in the same row.
    wide = box((7, 14), (2, 5), (2, 12))
    shared, length = skeleton(wide)[3].sum(), skeleton(wide).sum()
    assert shared >= 6
    assert compute("cldice", label, wide) == pytest.approx(2 * shared / (length + shared))


def test_width_matters_to_dice_and_not_to_centre_lines():
    label, thick = box((9, 20), (4, 5), (2, 18)), box((9, 20), (3, 6), (1, 19))
    assert compute("cldice", thick, label) > 0.9 > 0.5 > 2 * label.sum() / (label.sum() + thick.sum())


def test_what_thinning_leaves_nothing_of_stands_for_itself():
    block = box((8, 8, 8), (2, 4), (2, 4), (2, 4))
    bar = box((8, 8, 8), (6, 7), (6, 7), (0, 8))
    assert skeleton(block).sum() == 8
    assert skeleton(block | bar).sum() == 16
    assert compute("cldice", block, block) == 1.0


def test_classes_are_computed_apart():
    label = np.zeros((8, 8), dtype=np.uint8)
    label[1:3, 1:3], label[5:7, 5:7] = 1, 3
    prediction = np.roll(label, 1, axis=0)
    first, second, third = compute_classes(prediction, label, zip(range(1, 4)), FLAT, [METRICS["hd95"]])
    assert first["hd95"] == third["hd95"] == 1.0
    assert np.isnan(second["hd95"])


def test_the_surface_of_a_region_is_that_of_the_union():
    label = np.zeros((12, 12), dtype=np.uint8)
    label[2:9, 2:9], label[4:7, 4:7] = 1, 2
    prediction = np.roll(label, 1, axis=1)
    prediction[prediction == 2] = 1  # the disc is right but for the shift, and there is no cup
    disc, cup = compute_classes(prediction, label, [(1, 2), (2,)], FLAT, [METRICS["hd95"]])
    [union] = compute_classes(np.minimum(prediction, 1), np.minimum(label, 1), [(1,)], FLAT, [METRICS["hd95"]])
    assert disc == union == {"hd95": 1.0}
    assert np.isnan(cup["hd95"])


@pytest.mark.parametrize("spacing", [FLAT, (1.0, 1.0, 1.0), ANISOTROPIC, (0.8, 0.8, 0.8)])
@pytest.mark.parametrize("seed", range(3))
def test_values_equal_monais_of_the_whole_image(seed, spacing):
    rng = np.random.default_rng(seed)
    shape = (16, 14, 12)[: len(spacing)]
    label, prediction = (rng.random(shape) < 0.05 for _ in range(2))
    label[4:9, 3:11], prediction[5:11, 2:9] = True, True
    theirs = {
        "hd95": monai("compute_hausdorff_distance", prediction, label, spacing, percentile=95),
        "nsd": monai("compute_surface_dice", prediction, label, spacing, class_thresholds=[1.0], use_subvoxels=True),
    }
    assert {name: compute(name, prediction, label, spacing) for name in theirs} == pytest.approx(theirs, rel=1e-6)


def test_a_metric_that_fails_is_named():
    def broken(prediction, label, spacing):
        raise ZeroDivisionError("no voxels")

    metric = Metric(name="broken", short="", label="", definition="", from_masks=broken)
    label = LABELLED.astype(np.uint8)
    with pytest.raises(ValueError, match="metric broken fails: ZeroDivisionError: no voxels"):
        compute_classes(label, label, [(1,)], FLAT, [metric])


def test_importing_it_loads_neither_torch_nor_scikit_image():
    code = (
        "import ssdg.benchmark.scoring.shapes, ssdg.benchmark.scoring.rescore, sys\n"
        "assert not {'torch', 'monai', 'skimage', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True)
