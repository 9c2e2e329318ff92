"""The fields' law against noise filtered at full resolution, and the geometry of one resampling."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from ssdg.methods.elastic import displacement_deviation, resample, rotation, sampling_grid, smooth_noise


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def identity(count, ndim):
    return torch.eye(ndim).repeat(count, 1, 1)


def still(*shape):
    return torch.zeros(1, len(shape), *shape)


def read(image, matrix, displacement, mode="bilinear", outside=0.0):
    return resample(image, sampling_grid(matrix, displacement), mode, torch.tensor(outside))


@pytest.mark.parametrize(("shape", "sigma"), [((160, 160), 4.0), ((40, 40, 40), 2.5)])
def test_deviation_is_that_of_noise_filtered_at_every_voxel(shape, sigma):
    """Twice: the formula against the brute-force filter, and the coarse fields against the formula."""
    amplitude, ndim = 300.0, len(shape)
    formula = float(displacement_deviation(torch.tensor(amplitude), torch.tensor(sigma), ndim))
    noise = np.random.default_rng(0).uniform(-1, 1, size=(8, *shape))
    axes = tuple(range(1, ndim + 1))
    brute = amplitude * gaussian_filter(noise, sigma, mode="wrap", axes=axes)
    assert brute.std() == pytest.approx(formula, rel=0.05)
    fields = smooth_noise(shape, torch.full((8,), sigma), spacing=sigma, reach=3 * sigma, rng=rng())
    assert float((formula * fields).std()) == pytest.approx(formula, rel=0.15)
    assert fields.shape == (8, ndim, *shape)


def test_table_displacements_are_two_to_three_voxels_in_volumes_and_six_times_that_in_planes():
    amplitude, sigma = torch.tensor(1000.0), torch.tensor([10.0, 13.0])
    np.testing.assert_allclose(displacement_deviation(amplitude, sigma, 3), [2.735, 1.845], rtol=0.01)
    np.testing.assert_allclose(displacement_deviation(amplitude, sigma, 2), [16.29, 12.53], rtol=0.01)


def test_variance_is_the_same_everywhere_up_to_the_borders():
    fields = smooth_noise((33, 21), torch.full((1500,), 5.0), spacing=4.0, reach=15.0, rng=rng())
    variance = fields.square().mean(dim=(0, 1))
    assert (variance - 1).abs().max() < 0.15
    assert fields.mean().abs() < 0.05


def test_correlation_falls_as_that_of_a_gaussian_filter():
    sigma, lag = 6.0, 8
    fields = smooth_noise((64, 64), torch.full((200,), sigma), spacing=6.0, reach=18.0, rng=rng())
    measured = (fields[..., lag:] * fields[..., :-lag]).mean()
    assert float(measured) == pytest.approx(math.exp(-(lag**2) / (4 * sigma**2)), abs=0.05)


def test_each_image_has_its_own_width():
    fields = smooth_noise((64, 64), torch.tensor([3.0, 9.0]), spacing=3.0, reach=27.0, rng=rng())
    roughness = fields.diff(dim=-1).square().mean(dim=(1, 2, 3))
    assert float(roughness[0] / roughness[1]) == pytest.approx(9, rel=0.3)


@pytest.mark.parametrize("ndim", [2, 3])
def test_rotations_are_orthogonal_and_zero_is_exactly_the_identity(ndim):
    planes = ndim * (ndim - 1) // 2
    matrix = rotation(torch.rand((4, planes), generator=rng()), ndim)
    torch.testing.assert_close(matrix @ matrix.mT, identity(4, ndim))
    torch.testing.assert_close(torch.linalg.det(matrix), torch.ones(4))
    assert torch.equal(rotation(torch.zeros(4, planes), ndim), identity(4, ndim))


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
    assert torch.equal(resample(image, grid, "bilinear"), image[..., 7:, 7:].expand_as(image))
