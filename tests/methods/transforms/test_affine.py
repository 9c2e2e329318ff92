import dataclasses
import math

import pytest
import torch

from ssdg.benchmark.training.augmentation import moderate_geometry, nnunet_da5_geometry, nnunet_geometry
from ssdg.methods.base import Batch
from ssdg.methods.transforms.affine import AffineRange, deform, draw_affine, rotation

SHAPES = {"2d": (3, 3, 21, 34), "3d": (2, 1, 17, 12, 19)}
FIELDS = ("image", "label", "foreground")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def make_batch(shape):
    rng, single = generator(), (shape[0], 1, *shape[2:])
    image, label = torch.rand(shape, generator=rng), torch.randint(0, 4, single, generator=rng)
    return Batch(image, label, torch.rand(single, generator=rng) > 0.3)


@pytest.fixture(params=SHAPES)
def batch(request):
    return make_batch(SHAPES[request.param])


def test_identity_with_probability_one_and_no_magnitude(batch):
    geometry = AffineRange(
        flip_axes=(0, 1), flip_probability=0.0, rotation_probability=1.0, scaling_probability=1.0, scaling=(1.0, 1.0)
    )
    out = deform(batch, geometry, generator())
    torch.testing.assert_close(out.image, batch.image, atol=1e-5, rtol=0)
    assert torch.equal(out.label, batch.label)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_flips_reverse_exactly_their_axes(shape):
    batch = make_batch(shape)
    for axis in range(len(shape) - 2):
        out = deform(batch, AffineRange(flip_axes=(axis,), flip_probability=1.0), generator())
        torch.testing.assert_close(out.image, batch.image.flip(axis + 2), atol=1e-5, rtol=0)
        assert torch.equal(out.label, batch.label.flip(axis + 2))
        assert torch.equal(out.foreground, batch.foreground.flip(axis + 2))


@pytest.mark.parametrize("make", [moderate_geometry, nnunet_geometry, nnunet_da5_geometry])
@pytest.mark.parametrize("shape", [(2, 1, 40, 33), (2, 1, 24, 21, 27)])
def test_label_and_foreground_stay_aligned_with_the_image(make, shape):
    label = torch.zeros(shape[0], 1, *shape[2:], dtype=torch.long)
    inner = (slice(None), slice(None), *(slice(s // 4, 3 * s // 4) for s in shape[2:]))
    label[inner] = 1
    batch = Batch(label.float(), label, label.bool())
    geometry = dataclasses.replace(make(shape[2:]), rotation_probability=1.0, scaling_probability=1.0)
    moved = 0
    for seed in range(6):
        out = deform(batch, geometry, generator(seed))
        assert torch.equal(out.label.bool(), out.foreground)
        clear = (out.image - 0.5).abs() > 0.49  # away from the interpolated edge
        assert torch.equal((out.image > 0.5)[clear], out.foreground[clear])
        moved += not torch.equal(out.label, label)
    assert moved >= 5


def test_what_comes_from_outside_is_black_background():
    ones = torch.ones(4, 1, 16, 16)
    geometry = AffineRange(scaling_probability=1.0, scaling=(1.4, 1.4))
    out = deform(Batch(ones, ones.long(), ones.bool()), geometry, generator())
    for name in FIELDS:
        assert not getattr(out, name)[..., 0, :].any()
        assert getattr(out, name)[..., 8, 8].all()
    # A factor above 1 shrinks objects by it.
    assert math.isclose(out.label.float().mean(), 1 / 1.4**2, rel_tol=0.15)


def test_rotation_keeps_shape_and_area_on_oblong_grids():
    label = torch.zeros(1, 1, 32, 64, dtype=torch.long)
    label[..., 12:20, 24:40] = 1
    batch = Batch(label.float(), label, label.bool())
    geometry = AffineRange(rotation_probability=1.0, rotation=180.0)
    for seed in range(6):
        where = deform(batch, geometry, generator(seed)).label[0, 0].nonzero().double()
        assert len(where) == pytest.approx(128, rel=0.1)
        variances = torch.linalg.eigvalsh(torch.cov(where.T))
        # Of a solid 8 x 16 rectangle; a shear would change them.
        assert variances.tolist() == pytest.approx([64 / 12, 256 / 12], rel=0.15)


@pytest.mark.parametrize("shape", [(400, 1, 16, 24), (400, 1, 8, 10, 12)])
def test_affine_maps_are_rotations_times_scales_within_their_ranges(shape):
    ndim = len(shape) - 2
    geometry = dataclasses.replace(nnunet_geometry(shape[2:]), rotation_probability=1.0, scaling_probability=1.0)
    theta = draw_affine(geometry, torch.Size(shape), generator())
    assert not theta[:, :, -1].any()
    sides = torch.tensor(shape[:1:-1], dtype=torch.float32)
    matrix = theta[:, :, :ndim] * sides[:, None] / sides  # back to voxels
    gram = matrix.mT @ matrix
    scale = gram[:, 0, 0].sqrt()
    torch.testing.assert_close(gram, torch.eye(ndim) * scale[:, None, None] ** 2, atol=1e-5, rtol=1e-4)
    assert 0.7 <= scale.min() < 0.72
    assert 1.38 < scale.max() <= 1.4
    turned = torch.linalg.det(matrix) > 0
    assert 0.4 < turned.float().mean() < 0.6  # an odd number of flips in half of the draws


def test_geometry_gates_have_their_probabilities():
    size = torch.Size((4000, 1, 12, 12))
    theta = draw_affine(nnunet_geometry((12, 12)), size, generator())[:, :, :2]
    scaled = ((theta.square().sum(dim=1) - 1).abs() > 1e-4).any(dim=1).float().mean()
    rotated = (theta[:, 0, 1].abs() > 1e-6).float().mean()
    assert scaled == pytest.approx(0.2, abs=0.025)
    assert rotated == pytest.approx(0.2, abs=0.025)
    length = theta.square().sum(dim=1).sqrt()[:, 0]
    factors = length[(length - 1).abs() > 1e-4]  # the gate says nothing about the factor
    assert factors.mean() == pytest.approx(1.05, abs=0.03)
    assert factors.std() == pytest.approx(0.7 / math.sqrt(12), rel=0.1)
    theta = draw_affine(moderate_geometry((12, 12, 12)), torch.Size((4000, 1, 12, 12, 12)), generator())
    first = theta[:, 2, 2]  # the first spatial axis is z
    assert (first < 0).float().mean() == pytest.approx(0.5, abs=0.03)
    assert (theta[:, 0, 0] > 0).all()
    assert (theta[:, 1, 1] > 0).all()
    assert (theta[:, 0, 1].abs() > 1e-6).float().mean() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("ndim", [2, 3])
def test_rotations_are_orthogonal_and_zero_is_exactly_the_identity(ndim):
    planes = ndim * (ndim - 1) // 2
    matrix = rotation(torch.rand((4, planes), generator=generator()), ndim)
    torch.testing.assert_close(matrix @ matrix.mT, torch.eye(ndim).repeat(4, 1, 1))
    torch.testing.assert_close(torch.linalg.det(matrix), torch.ones(4))
    assert torch.equal(rotation(torch.zeros(4, planes), ndim), torch.eye(ndim).repeat(4, 1, 1))


def test_rotations_are_the_product_of_their_planes_in_order():
    angles, planes = torch.tensor([[0.3, -0.7, 1.1]]), ((0, 1), (2, 0), (1, 2))
    product = torch.eye(3)
    for angle, (i, j) in zip(angles[0].tolist(), planes, strict=True):
        turn = torch.eye(3)
        turn[i, i] = turn[j, j] = math.cos(angle)
        turn[i, j], turn[j, i] = -math.sin(angle), math.sin(angle)
        product = product @ turn
    torch.testing.assert_close(rotation(angles, 3, planes)[0], product)


@pytest.mark.parametrize(
    ("sides", "shares"),
    [
        ((8, 8), {(0, 1): 0.625, (1, 0): 0.375}),
        ((8, 9), {(0, 1): 1.0}),
        ((8, 5, 8), {(0, 1, 2): 0.625, (2, 1, 0): 0.375}),
        # A quarter turn swaps one of three pairs; a shuffle leaves each of six orders as often.
        (
            (8, 8, 8),
            {
                (0, 1, 2): 0.5 * (0.75 + 1 / 6),
                **dict.fromkeys(((1, 0, 2), (2, 1, 0), (0, 2, 1)), 0.5 * (0.25 / 3 + 1 / 6)),
                **dict.fromkeys(((1, 2, 0), (2, 0, 1)), 0.5 / 6),
            },
        ),
    ],
)
def test_equal_axes_change_places_as_often_as_turns_and_shuffles_move_them(sides, shares):
    count, affine = 40_000, AffineRange(permutation=True)
    theta = draw_affine(affine, torch.Size((count, 1, *sides[::-1])), generator())[:, :, :-1]
    orders = theta.argmax(dim=1)
    found = {
        tuple(order.tolist()): float((orders == order).all(dim=1).float().mean()) for order in orders.unique(dim=0)
    }
    assert found.keys() == shares.keys()
    assert all(abs(found[order] - share) < 0.01 for order, share in shares.items())


def test_scalings_are_independent_and_half_of_them_below_one():
    affine = AffineRange(scaling_probability=1.0, scaling=(0.7, 1.43), independent_scaling=True)
    theta = draw_affine(affine, torch.Size((20_000, 1, 8, 8)), generator())
    first, second = theta[:, 0, 0], theta[:, 1, 1]
    assert 0.7 <= float(first.min()) < 0.71
    assert 1.42 < float(first.max()) <= 1.43
    assert abs(float((first < 1).float().mean()) - 0.5) < 0.02
    assert abs(float(torch.corrcoef(torch.stack([first, second]))[0, 1])) < 0.03


def test_each_axis_of_a_rotated_volume_turns_with_its_own_probability():
    affine = AffineRange(rotation_probability=1.0, rotation=30.0, rotation_axis_probability=0.5)
    theta = draw_affine(affine, torch.Size((20_000, 1, 8, 8, 8)), generator())[:, :, :3]
    still = (theta == torch.eye(3)).all(dim=(1, 2)).float().mean()
    assert abs(float(still) - 0.125) < 0.01
