"""The network's grid and its inverse: the same voxel centres everywhere, nothing lost where nothing is resampled."""

import json
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import resize
from torch.nn import functional as F

from ssdg.benchmark.data.geometry import (
    Geometry,
    crop,
    image_to_grid,
    isotropic,
    labels_to_grid,
    labels_to_native,
    probabilities_to_native,
    spline_weights,
    stretched,
)

SIDES = st.integers(1, 21)
SHAPES = st.one_of(st.tuples(SIDES, SIDES), st.tuples(SIDES, SIDES, SIDES))


def whole(native, shape):
    return stretched(native, tuple(slice(0, side) for side in native), shape)


def ball(shape):
    """Return a smooth phantom of three nested classes."""
    axes = np.meshgrid(*[np.linspace(-1, 1, side) for side in shape], indexing="ij")
    radius = np.sqrt(sum((axis - 0.05 * i) ** 2 for i, axis in enumerate(axes)))
    return ((radius < 0.9).astype(np.uint8) + (radius < 0.65) + (radius < 0.4)).astype(np.uint8)


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def one_hot(labels, classes):
    return torch.from_numpy((labels[None] == np.arange(classes).reshape(-1, *[1] * labels.ndim)).astype(np.float32))


@st.composite
def boxes(draw):
    native = draw(SHAPES)
    box = []
    for side in native:
        start = draw(st.integers(0, side - 1))
        box.append(slice(start, draw(st.integers(start + 1, side))))
    spacing = tuple(draw(st.sampled_from([0.5, 0.8, 1.0, 3.0])) for _ in native)
    shape = tuple(draw(st.sampled_from([8, 16, 24])) for _ in native)
    return native, tuple(box), spacing, shape


@given(boxes())
@settings(max_examples=60, deadline=None)
def test_isotropic_keeps_the_box_in_its_middle_with_cubic_grid_voxels(given_box):
    native, box, spacing, shape = given_box
    geometry = isotropic(native, box, shape, spacing)
    pitches = [n * mm / m for n, mm, m in zip(geometry.extent, spacing, shape, strict=True)]
    needed = max((s.stop - s.start) * mm / m for s, mm, m in zip(box, spacing, shape, strict=True))
    for side, start, extent, mm, m, pitch in zip(
        box, geometry.start, geometry.extent, spacing, shape, pitches, strict=True
    ):
        before, after = side.start - start, start + extent - side.stop
        assert before >= 0
        assert after - before in (0, 1)
        assert abs(pitch - needed) <= 0.5 * mm / m + 1e-9  # extents are whole voxels


@given(boxes())
@settings(max_examples=40, deadline=None)
def test_a_geometry_survives_json(given_box):
    native, box, spacing, shape = given_box
    geometry = isotropic(native, box, shape, spacing)
    assert Geometry.from_json(json.loads(json.dumps(geometry.to_json()))) == geometry


@given(SHAPES, st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_a_grid_of_equal_size_changes_nothing(native, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, native).astype(np.uint8)
    image = rng.random((2, *native)).astype(np.float32)
    geometry = whole(native, native)
    assert np.array_equal(labels_to_grid(labels, geometry), labels)
    assert np.array_equal(labels_to_native(labels, geometry), labels)
    assert np.array_equal(image_to_grid(image, geometry, 3), image)
    assert np.array_equal(probabilities_to_native(one_hot(labels, 4), geometry), labels)


@given(SHAPES, st.integers(0, 2**32 - 1), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_labels_return_from_a_finer_grid_unchanged(native, seed, factor):
    labels = np.random.default_rng(seed).integers(0, 4, native).astype(np.uint8)
    geometry = whole(native, tuple(side * factor for side in native))
    assert np.array_equal(labels_to_native(labels_to_grid(labels, geometry), geometry), labels)


@pytest.mark.parametrize(
    ("native", "shape"), [((37, 51), (32, 48)), ((40, 33), (64, 64)), ((25, 31, 29), (32, 24, 32))]
)
def test_a_smooth_phantom_returns_by_both_ways(native, shape):
    labels = ball(native)
    geometry = isotropic(native, tuple(slice(0, side) for side in native), shape, (1.0,) * len(native))
    grid = labels_to_grid(labels, geometry)
    for back in (labels_to_native(grid, geometry), probabilities_to_native(one_hot(grid, 4), geometry)):
        assert back.shape == native
        assert back.dtype == np.uint8
        for k in (1, 2, 3):
            assert dice(back == k, labels == k) >= 0.9


def test_a_box_beyond_the_image_is_padded_with_zeros_and_cut_on_the_way_back():
    image = np.arange(1, 13, dtype=np.float32).reshape(1, 3, 4)
    geometry = Geometry((3, 4), (-1, 2), (5, 4), (5, 4))
    box = crop(image, geometry)
    assert box.shape == (1, 5, 4)
    assert np.array_equal(box[0, 1:4, :2], image[0, :, 2:])
    assert box.sum() == image[0, :, 2:].sum()
    labels = np.full((5, 4), 2, dtype=np.uint8)
    expected = np.zeros((3, 4), dtype=np.uint8)
    expected[:, 2:] = 2
    assert np.array_equal(labels_to_native(labels, geometry), expected)
    probabilities = torch.stack([torch.zeros(5, 4), torch.zeros(5, 4), torch.ones(5, 4)])
    assert np.array_equal(probabilities_to_native(probabilities, geometry), expected)


@pytest.mark.parametrize(
    ("native", "shape", "order"),
    [
        ((23, 31), (16, 48), 1),
        ((61, 47), (16, 16), 1),
        ((13, 17, 15), (24, 16, 24), 3),
        ((21, 30, 19), (8, 8, 16), 3),
    ],
)
def test_resampling_axis_by_axis_is_the_resize_of_scikit_image(native, shape, order):
    image = np.random.default_rng(0).random((2, *native)).astype(np.float32)
    ours = image_to_grid(image, whole(native, shape), order)
    # Low-pass filtering only along the axes that shrink, as scikit-image's own default sigma does.
    theirs = [resize(c, shape, order=order, mode="edge", anti_aliasing=True, clip=False) for c in image]
    assert np.abs(ours - np.stack(theirs)).max() < 2e-5


@pytest.mark.parametrize(
    ("n", "m"),
    [(1, 8), (2, 8), (2, 1), (3, 2), (100, 1), (15, 16), (17, 16), (48, 16), (131, 48), (300, 37), (37, 300)],
)
def test_linear_weights_are_to_the_last_bit_those_of_unit_vectors(n, m):
    options = {"order": 1, "mode": "edge", "anti_aliasing": m < n, "clip": False}
    assert spline_weights(n, m, 1).tobytes() == resize(np.eye(n), (m, n), **options).astype(np.float32).tobytes()


def test_the_weights_of_a_long_axis_take_no_square_of_it():
    tracemalloc.start()
    spline_weights(1500, 24, 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1500**2


@pytest.mark.parametrize(
    ("shape", "native"), [((16, 24), (37, 51)), ((32, 16), (21, 40)), ((8, 16, 8), (13, 19, 11))]
)
def test_probabilities_are_sampled_at_the_same_centres_as_images(shape, native):
    logits = torch.randn(4, *shape, generator=torch.Generator().manual_seed(1))
    probabilities = logits.softmax(0)
    theirs = np.stack([resize(p.numpy(), native, order=1, mode="edge", anti_aliasing=False) for p in probabilities])
    ours = probabilities_to_native(probabilities, whole(native, shape))
    first, second = np.sort(theirs, axis=0)[[-1, -2]]
    clear = first - second > 1e-5
    assert clear.mean() > 0.99
    assert np.array_equal(ours[clear], theirs.argmax(0)[clear])


def test_a_ramp_keeps_its_place_there_and_back():
    native, shape = (60,), (24,)
    ramp = np.arange(60, dtype=np.float32)[None]
    grid = image_to_grid(ramp, whole(native, shape), 1)
    centres = (np.arange(24) + 0.5) * 60 / 24 - 0.5
    assert np.abs(grid[0] - centres)[2:-2].max() < 1e-4
    back = F.interpolate(torch.from_numpy(grid)[None], size=60, mode="linear")[0, 0].numpy()
    assert np.abs(back - ramp[0])[5:-5].max() < 1e-3


@given(SHAPES, st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_nearest_is_the_exact_nearest_of_torch(native, seed):
    rng = np.random.default_rng(seed)
    shape = tuple(int(side) for side in rng.integers(1, 30, len(native)))
    labels = rng.integers(0, 7, shape).astype(np.uint8)
    theirs = F.interpolate(torch.from_numpy(labels)[None, None].float(), size=native, mode="nearest-exact")[0, 0]
    ours = labels_to_native(labels, whole(native, shape))
    # Where a centre lies exactly between two voxels, torch's float32 may fall on either side.
    ties = np.zeros(native, dtype=bool)
    for axis, (n, m) in enumerate(zip(shape, native, strict=True)):
        on_edge = (2 * np.arange(m) + 1) * n % (2 * m) == 0
        ties |= on_edge.reshape([-1 if i == axis else 1 for i in range(len(native))])
    assert np.array_equal(ours[~ties], theirs.numpy().astype(np.uint8)[~ties])
