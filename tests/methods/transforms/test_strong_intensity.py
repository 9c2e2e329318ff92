"""Each change of nnU-Net's stronger augmentation against its formula."""

import math

import numpy as np
import pytest
import scipy.ndimage
import torch

from ssdg.methods.transforms import strong_intensity as strong
from ssdg.methods.transforms.intensity import channel_moments

SHAPES = [(5, 1, 20, 33), (3, 1, 9, 14, 11)]


@pytest.fixture(params=SHAPES, ids=["2d", "3d"])
def maps(request):
    return torch.rand(request.param, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def region(maps):
    region = torch.ones_like(maps, dtype=torch.bool)
    region[..., :3] = False
    return region


def draws(maps, *values):
    return torch.tensor(values, dtype=torch.float32).expand(len(maps), -1)


@pytest.mark.parametrize(("share", "width"), [(0.0, 3), (0.5, 5), (0.99, 7)])
def test_a_median_is_taken_along_one_axis_after_another(maps, region, share, width):
    ndim = maps.ndim - 2
    changed = strong.smooth(maps, draws(maps, 0.1, share, *[0.5] * ndim), region)
    expected = maps[0, 0].numpy()
    for axis in range(ndim):
        size = [width if axis == other else 1 for other in range(ndim)]
        expected = scipy.ndimage.median_filter(expected, size, mode="nearest")
    np.testing.assert_array_equal(changed[0, 0].numpy(), expected)


def test_or_a_blur(maps, region):
    ndim = maps.ndim - 2
    changed = strong.smooth(maps, draws(maps, 0.9, 0.0, *[0.0] * ndim), region)
    expected = scipy.ndimage.gaussian_filter(maps[0, 0].numpy(), 0.3, mode="nearest", radius=4)
    inside = (slice(4, -4),) * ndim
    np.testing.assert_allclose(changed[0, 0].numpy()[inside], expected[inside], atol=1e-5)


def test_brightness_is_shifted_by_a_normal_share_of_the_deviation(maps, region):
    uniform = torch.rand(20_000, 2, generator=torch.Generator().manual_seed(2))
    many = maps[:1].expand(20_000, *maps.shape[1:])[:, :, :2, :2]
    inside = torch.ones_like(many, dtype=torch.bool)
    shift = (strong.shift_brightness(many, uniform, inside) - many).flatten(1)
    shift = shift / channel_moments(many, inside)[1].flatten(1)
    assert shift.std(dim=1).max() < 1e-4
    assert abs(float(shift[:, 0].mean())) < 0.02
    assert abs(float(shift[:, 0].std()) - 0.5) < 0.02
    assert abs(float((shift[:, 0].abs() < 0.5).float().mean()) - 0.6827) < 0.02


@pytest.mark.parametrize(("share", "factor"), [(0.0, 0.5), (0.5, 1.0), (1.0, 2.0)])
@pytest.mark.parametrize("clipped", [True, False])
def test_contrast_is_about_the_mean_and_clipped_half_of_the_times(maps, region, share, factor, clipped):
    changed = strong.stretch_contrast(maps, draws(maps, share, 0.1 if clipped else 0.9), region)[0][region[0]]
    values = maps[0][region[0]]
    expected = values.mean() + factor * (values - values.mean())
    expected = expected.clamp(values.min(), values.max()) if clipped else expected
    torch.testing.assert_close(changed, expected, atol=1e-5, rtol=0)


def test_rectangles_hold_the_mean_of_what_was_there(maps, region):
    ndim = maps.ndim - 2
    # One box as long as can be, in the corner; the others are not drawn.
    one = draws(maps, 0.0, *[1 - 1e-6, 0.0] * ndim, *[0.5] * (2 * ndim * (strong.RECTANGLES - 1)))
    changed = strong.blank_rectangles(maps, one, region)
    box = (slice(None), slice(None), *(slice(0, side // 3) for side in maps.shape[2:]))
    expected = maps.clone()
    expected[box] = maps[box].mean(dim=tuple(range(1, maps.ndim)), keepdim=True)
    torch.testing.assert_close(changed, expected)


def test_one_to_four_rectangles_are_drawn(maps, region):
    ndim = maps.ndim - 2
    for count in range(1, strong.RECTANGLES + 1):
        # Boxes at four places along each axis, a tenth of it long.
        places = [[value for _ in range(ndim) for value in (0.0, k / strong.RECTANGLES)] for k in range(4)]
        some = draws(maps, (count - 0.5) / strong.RECTANGLES, *(value for place in places for value in place))
        changed = strong.blank_rectangles(maps, some, region) != maps
        smallest = math.prod(max(1, side // 10) for side in maps.shape[2:])
        assert int(changed[0].sum()) in ((count * smallest,) if smallest > 1 else (0,))


def test_a_hill_is_a_gaussian_between_0_and_1(maps):
    ndim = maps.ndim - 2
    hill = strong.hill(maps, draws(maps, *[0.5, 0.4] * ndim))[0, 0].numpy()
    expected = np.ones(())
    for axis, side in enumerate(maps.shape[2:]):
        deviation = math.exp((math.log(max(1, side // 6)) + math.log(side)) / 2)
        x = (np.arange(side) + 0.5 - 0.3 * side) / deviation
        expected = expected * np.exp(-x * x / 2).reshape([-1 if axis == other else 1 for other in range(ndim)])
    expected = (expected - expected.min()) / (expected.max() - expected.min())
    np.testing.assert_allclose(hill, expected, atol=1e-5)


@pytest.mark.parametrize(("sign", "share", "height"), [(0.1, 0.0, -1), (0.9, 1.0, 5)])
def test_a_gradient_is_one_to_five_deviations_high(maps, region, sign, share, height):
    ndim = maps.ndim - 2
    added = strong.add_gradient(maps, draws(maps, sign, share, *[0.5, 0.5] * ndim), region) - maps
    expected = height * channel_moments(maps, region)[1].flatten()
    peak = added.flatten(1).amax(1) if height > 0 else added.flatten(1).amin(1)
    torch.testing.assert_close(peak, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("which", "share", "exponent"), [(0.1, 0.0, 0.01), (0.1, 1.0, 0.8), (0.9, 0.0, 1.5), (0.9, 1.0, 4)]
)
def test_a_local_gamma_is_whole_at_the_hills_top(maps, which, share, exponent):
    ndim, everywhere = maps.ndim - 2, torch.ones_like(maps, dtype=torch.bool)
    hill = [0.3, 0.45] * ndim
    changed = strong.bend_locally(maps, draws(maps, which, share, *hill), everywhere)
    low, high = maps[0].min(), maps[0].max()
    weight = strong.hill(maps, draws(maps, *hill))[0]
    curved = ((maps[0] - low) / (high - low)) ** exponent * (high - low) + low
    torch.testing.assert_close(changed[0], weight * curved + (1 - weight) * maps[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("share", "strength"), [(0.0, 0.1), (1.0, 1.0)])
def test_edges_are_sharpened_by_the_laplacian(maps, region, share, strength):
    changed = strong.sharpen_edges(maps, draws(maps, share), region)[0, 0].numpy()
    image, inside = maps[0, 0].numpy(), region[0, 0].numpy()
    expected = image - strength * scipy.ndimage.laplace(image, mode="nearest")
    np.testing.assert_allclose(changed, expected.clip(image[inside].min(), image[inside].max()), atol=1e-5)


def test_images_come_back_into_range_by_one_map_for_all_channels(monkeypatch):
    image = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(4))
    foreground = torch.ones(2, 1, 16, 16, dtype=torch.bool)
    foreground[..., :4] = False
    triple = [(strong.Chance(1.0, 0.0, 1.0), 1, lambda maps, _draws, _region: 3 * maps - 1)]
    monkeypatch.setattr(strong, "steps", lambda _ndim, _rng: triple)
    changed = strong.perturb_strongly(image, foreground, torch.Generator())
    assert torch.equal(changed[..., :4], image[..., :4])
    for before, after in zip(image[..., 4:], changed[..., 4:], strict=True):
        assert (float(after.min()), float(after.max())) == (0, 1)
        torch.testing.assert_close(after, (before - before.min()) / (before.max() - before.min()), atol=1e-5, rtol=0)


def test_what_stays_in_range_is_not_stretched(monkeypatch):
    image = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(4))
    monkeypatch.setattr(strong, "steps", lambda _ndim, _rng: [])
    assert torch.equal(strong.perturb_strongly(image, torch.ones(1, 1, 16, 16) > 0, torch.Generator()), image)
