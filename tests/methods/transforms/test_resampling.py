"""Sampling grids of matrices and displacements, and one resampling of image, label and foreground."""

import math

import torch

from ssdg.methods.parts.elastic import smooth_noise
from ssdg.methods.transforms.affine import rotation
from ssdg.methods.transforms.resampling import resample, resample_label, sampling_grid


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def identity(count, ndim):
    return torch.eye(ndim).repeat(count, 1, 1)


def still(*shape):
    return torch.zeros(1, len(shape), *shape)


def read(image, matrix, displacement, mode="bilinear", outside=0.0):
    return resample(image, sampling_grid(matrix, displacement), mode, torch.tensor(outside))


def test_a_quarter_turn_moves_voxels_onto_voxels():
    image = torch.rand((1, 2, 12, 12), generator=rng())
    turned = read(image, rotation(torch.tensor([[math.pi / 2]]), 2), still(12, 12))
    candidates = [image.rot90(k, (2, 3)) for k in (1, 3)]
    assert sum(torch.allclose(turned, candidate, atol=1e-5) for candidate in candidates) == 1
    volume = torch.rand((1, 1, 8, 8, 8), generator=rng())
    turned = read(volume, rotation(torch.tensor([[0.0, 0.0, math.pi / 2]]), 3), still(8, 8, 8))
    candidates = [volume.rot90(k, (3, 4)) for k in (1, 3)]
    assert sum(torch.allclose(turned, candidate, atol=1e-5) for candidate in candidates) == 1


def test_displacements_are_voxels_along_the_axes_of_an_oblong_grid():
    image = torch.rand((1, 1, 10, 16), generator=rng())
    displacement = still(10, 16)
    displacement[:, 0], displacement[:, 1] = 2, -3
    moved = read(image, identity(1, 2), displacement, outside=-1.0)
    torch.testing.assert_close(moved[..., :8, 3:], image[..., 2:, :13])
    assert (moved[..., 8:, :] == -1).all()
    assert (moved[..., :3] == -1).all()


def test_matrix_follows_displacement_as_two_resamplings_would():
    """Smooth maps: reading once at M (p + u) is reading at M p, and the result at p + u."""
    line = torch.linspace(0, math.pi, 64)
    image = (line.view(-1, 1).sin() * line.sin()).view(1, 1, 64, 64)
    matrix = rotation(torch.tensor([[0.3]]), 2) / 1.3
    displacement = 2 * smooth_noise((64, 64), torch.tensor([8.0]), 8.0, 24.0, rng())
    fused = read(image, matrix, displacement)
    in_turn = read(read(image, matrix, still(64, 64)), identity(1, 2), displacement)
    middle = (..., slice(12, 52), slice(12, 52))
    torch.testing.assert_close(fused[middle], in_turn[middle], atol=2e-3, rtol=0)


def test_outside_is_a_value_an_image_and_channel_or_the_border():
    image = torch.rand((2, 3, 8, 8), generator=rng())
    outside = torch.arange(6.0).view(2, 3, 1, 1)
    displacement = torch.full((2, 2, 8, 8), 50.0)
    grid = sampling_grid(identity(2, 2), displacement)
    assert torch.equal(resample(image, grid, "bilinear", outside), outside.expand_as(image))
    assert torch.equal(resample(image, grid, "bilinear", "border"), image[..., 7:, 7:].expand_as(image))


def test_label_and_foreground_take_the_nearest_voxel_and_are_background_outside():
    label = torch.randint(0, 5, (1, 1, 9, 12), generator=rng())
    foreground = torch.rand((1, 1, 9, 12), generator=rng(1)) > 0.5
    displacement = still(9, 12)
    displacement[:, 1] = 2.3
    moved, inside = resample_label(label, foreground, sampling_grid(identity(1, 2), displacement))
    assert torch.equal(moved[..., :10], label[..., 2:])
    assert torch.equal(inside[..., :10], foreground[..., 2:])
    assert (moved.dtype, inside.dtype) == (torch.int64, torch.bool)
    assert not moved[..., 10:].any()
    assert not inside[..., 10:].any()
