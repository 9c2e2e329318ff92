"""Deformable convolutions and the random fields that displace their taps."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn import functional as F

from ssdg.methods.parts.deformable import deformable_convolution, smooth_displacements

SIDES = [(12, 9), (7, 6, 8)]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def subject(sides):
    image = torch.randn((2, 2, *sides), generator=rng())
    return image, torch.randn((3, 2, *[3] * len(sides)), generator=rng(1))


@pytest.mark.parametrize("sides", SIDES)
def test_without_displacements_it_is_the_plain_convolution(sides):
    image, kernel = subject(sides)
    still = torch.zeros((3 ** len(sides), len(sides), *sides))
    expected = {2: F.conv2d, 3: F.conv3d}[len(sides)](image, kernel, padding=1)
    assert torch.allclose(deformable_convolution(image, kernel, still), expected, atol=1e-4)


@pytest.mark.parametrize("sides", SIDES)
def test_each_tap_reads_its_own_displaced_position_linearly(sides):
    image, kernel = subject(sides)
    moved = torch.randn((3 ** len(sides), len(sides), *sides), generator=rng(2))
    expected = np.zeros((2, 3, *sides))
    base = np.indices(sides)
    for tap, index in enumerate(np.ndindex(*[3] * len(sides))):
        position = base + np.reshape(index, (-1, *[1] * len(sides))) - 1 + moved[tap].numpy()
        for sample, channel in np.ndindex(2, 2):
            # Padded by hand: SciPy's own constant mode cuts off abruptly outside the outermost voxels.
            padded = np.pad(image[sample, channel].numpy(), 6)
            read = ndimage.map_coordinates(padded, position + 6, order=1)
            weight = kernel[(slice(None), channel, *index)].numpy()
            expected[sample] += np.multiply.outer(weight, read)
    result = deformable_convolution(image, kernel, moved)
    assert np.allclose(result.numpy(), expected, atol=1e-3)


@pytest.mark.parametrize("shape", SIDES)
def test_fields_have_variance_one_at_every_voxel_and_mean_zero_over_the_grid(shape):
    fields = smooth_displacements(3000, shape, 10.0, rng())
    assert fields.shape == (3000, *shape)
    assert (fields.var(dim=0) - 1).abs().max() < 0.15
    assert fields.flatten(1).mean(dim=1).abs().max() < 1e-5
    correlation = fields[0].flatten() @ fields[1].flatten()
    assert abs(correlation) < 0.99 * fields[0].norm() * fields[1].norm()


def test_power_falls_off_with_the_exponent():
    power = torch.fft.fft(smooth_displacements(4000, (16, 16), 4.0, rng()), dim=2).abs().square()[:, 0].mean(dim=0)
    spectrum = torch.fft.fft2(smooth_displacements(4000, (16, 16), 4.0, rng())).abs().square().mean(dim=0)
    assert spectrum[0, 2] / spectrum[0, 1] == pytest.approx(1 / 16, rel=0.15)
    assert spectrum[1, 1] / spectrum[0, 1] == pytest.approx(1 / 4, rel=0.15)
    assert spectrum[0, 0] < 1e-6
    assert power[4] < 1e-6 * power[1]  # above the cutoff
