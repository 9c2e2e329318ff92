"""Gamma curves: their fixed points, and one power an image."""

import torch

from ssdg.methods.transforms.contrast import extremes, gamma_curve

SHAPES = {2: (2, 3, 20, 17), 3: (2, 1, 12, 9, 10)}
TINY = torch.finfo(torch.float32).tiny


def images(ndim):
    return torch.randn(SHAPES[ndim], generator=torch.Generator().manual_seed(0))


def test_a_constant_image_stays_constant():
    image = torch.full((2, 1, 9, 9, 9), 0.7)
    assert torch.equal(gamma_curve(image, torch.full((2,), 4.5), extremes(image), TINY), image)


def test_extremes_are_those_of_the_region_over_channels_jointly():
    image = images(2)
    region = torch.rand((2, 1, 20, 17), generator=torch.Generator().manual_seed(1)) > 0.9
    low, high = extremes(image, region)
    for i in range(2):
        inside = image[i][region[i].expand(3, -1, -1)]
        assert (float(low[i]), float(high[i])) == (float(inside.min()), float(inside.max()))
    whole = extremes(image, torch.ones_like(region))
    assert all(torch.equal(a, b) for a, b in zip(whole, extremes(image), strict=True))


def test_contrast_keeps_the_extremes_and_follows_the_power():
    image = images(2)
    out = gamma_curve(image, torch.tensor([0.5, 4.5]), extremes(image), TINY)
    torch.testing.assert_close(out.amin((1, 2, 3)), image.amin((1, 2, 3)))
    torch.testing.assert_close(out.amax((1, 2, 3)), image.amax((1, 2, 3)))
    low, high = image[1].min(), image[1].max()
    torch.testing.assert_close(out[1], ((image[1] - low) / (high - low)) ** 4.5 * (high - low) + low)


def test_a_power_of_one_is_the_identity():
    image = images(3)
    torch.testing.assert_close(gamma_curve(image, torch.ones(2), extremes(image), TINY), image)


def test_values_below_the_bounds_take_the_lower_one():
    bounds = torch.full((2, 1, 1, 1), -1.0), torch.full((2, 1, 1, 1), 1.0)
    out = gamma_curve(torch.full((2, 1, 1, 1), -3.0), torch.tensor([0.5, 2.5]), bounds, TINY)
    assert (out == -1).all()
