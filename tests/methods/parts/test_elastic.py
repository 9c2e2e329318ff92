"""The fields' law against noise filtered at full resolution."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from ssdg.methods.parts.elastic import displacement_deviation, smooth_noise


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


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
