import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage

from ssdg.methods.base import Batch
from ssdg.methods.transforms import intensity as intensity_module
from ssdg.methods.transforms.intensity import (
    Chance,
    IntensityChanges,
    blur_axes,
    brighten,
    change_contrast,
    change_gamma,
    channel_moments,
    draw_gated,
    lower_resolution,
    perturb,
)

SHAPES = {"2d": (3, 3, 21, 34), "3d": (2, 1, 17, 12, 19)}


def with_probability(probability):
    fields = dataclasses.fields(IntensityChanges)
    return IntensityChanges(**{f.name: dataclasses.replace(f.default, probability=probability) for f in fields})


QUIET, LOUD = with_probability(0.0), with_probability(1.0)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=SHAPES)
def batch(request):
    shape = SHAPES[request.param]
    single = (shape[0], 1, *shape[2:])
    image = torch.rand(shape, generator=generator())
    return Batch(image, torch.zeros(single, dtype=torch.long), torch.rand(single, generator=generator(1)) > 0.3)


def reference_maps(ndim=2, seed=0):
    shape = (3, 1, 19, 26) if ndim == 2 else (3, 1, 11, 14, 9)
    maps = torch.rand(shape, generator=generator(seed))
    return maps, torch.rand(shape, generator=generator(seed + 1)) > 0.3


def test_quiet_changes_nothing(batch):
    assert torch.equal(perturb(batch.image, batch.foreground, QUIET, generator()), batch.image)


def test_nnunet_changes_intensities_inside_the_foreground_alone(batch):
    changed = torch.zeros(1, dtype=torch.bool)
    for seed in range(12):
        out = perturb(batch.image, batch.foreground, IntensityChanges(), generator(seed))
        outside = ~batch.foreground.expand_as(out)
        assert torch.equal(out[outside], batch.image[outside])
        changed = changed | (out != batch.image).any()
    assert changed


def test_empty_foreground_and_constant_images_stay_finite(batch):
    nothing = torch.zeros_like(batch.foreground)
    assert not torch.equal(perturb(batch.image, nothing, LOUD, generator()), batch.image)
    for image in (torch.zeros_like(batch.image), torch.full_like(batch.image, 0.5)):
        for region in (nothing, batch.foreground):
            out = perturb(image, region, LOUD, generator())
            assert torch.isfinite(out).all()


def test_computing_all_maps_equals_computing_the_drawn_ones(batch, monkeypatch):
    # Noise aside, whose draws differ in number.
    intensity = dataclasses.replace(IntensityChanges(), noise=QUIET.noise)
    drawn = [perturb(batch.image, batch.foreground, intensity, generator(seed)) for seed in range(6)]
    monkeypatch.setattr(intensity_module, "selects", lambda _: False)
    monkeypatch.setattr(intensity_module, "add_noise", lambda maps, *_, **__: maps)
    for seed, expected in enumerate(drawn):
        out = perturb(batch.image, batch.foreground, intensity, generator(seed))
        torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("chance", [Chance(0.3, 0.7, 1.5, balanced=True), Chance(0.2, 0.5, 1.0, 0.5)])
def test_draws_have_their_probabilities_and_ranges(chance):
    gate, value = draw_gated(chance, (8000, 3, 2), generator())
    assert gate.shape == (24000,)
    assert value.shape == (24000, 2)
    assert gate.float().mean() == pytest.approx(chance.probability * chance.channel_probability, abs=0.015)
    images = gate.view(8000, 3).any(dim=1).float().mean()
    assert images == pytest.approx(chance.probability * (1 - (1 - chance.channel_probability) ** 3), abs=0.015)
    assert chance.low <= value.min() < chance.low + 0.01
    assert chance.high - 0.01 < value.max() <= chance.high
    # The gate says nothing about the parameters.
    torch.testing.assert_close(value[gate].mean(dim=0), value[~gate].mean(dim=0), atol=0.02, rtol=0)
    if chance.balanced:
        assert (value < 1).float().mean() == pytest.approx(0.5, abs=0.01)


def test_certain_and_impossible_gates():
    assert draw_gated(Chance(1.0, 0.0, 1.0), (50, 3, 1), generator())[0].all()
    assert not draw_gated(Chance(0.0, 0.0, 1.0), (50, 3, 1), generator())[0].any()


def test_default_probabilities_show_in_the_output():
    image = torch.rand(1, 3, 12, 12, generator=generator()).repeat(600, 1, 1, 1) * 0.5 + 0.2
    foreground = torch.ones(600, 1, 12, 12, dtype=torch.bool)
    for name, expected in {"noise": 0.1, "blur": 0.2 * (1 - 0.5**3), "brightness": 0.15, "gamma": 0.3}.items():
        only = dataclasses.replace(QUIET, **{name: getattr(IntensityChanges(), name)})
        out = perturb(image, foreground, only, generator(5))
        changed = (out != image).flatten(1).any(dim=1).float().mean()
        assert changed == pytest.approx(expected, abs=0.05)


def test_noise_is_shared_by_channels_and_scaled_by_their_deviation():
    image = torch.rand(1, 3, 64, 64, generator=generator()) * torch.tensor([0.1, 0.2, 0.4]).view(1, 3, 1, 1) + 0.3
    region = torch.ones(1, 1, 64, 64, dtype=torch.bool)
    only = dataclasses.replace(QUIET, noise=Chance(1.0, 0.1, 0.1))
    noise = perturb(image, region, only, generator(1)) - image
    torch.testing.assert_close(
        channel_moments(noise, region)[1], 0.1 * channel_moments(image, region)[1], rtol=0.05, atol=0
    )
    ratio = noise / channel_moments(image, region)[1]
    torch.testing.assert_close(ratio[:, 1], ratio[:, 0], rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("ndim", [2, 3])
def test_blur_is_a_gaussian_filter(ndim):
    maps, region = reference_maps(ndim)
    sigma = torch.rand(3, ndim, generator=generator()) * 0.5 + 0.5
    out = blur_axes(maps, sigma, region)
    interior = (slice(4, -4),) * ndim
    for index in range(3):
        expected = ndimage.gaussian_filter(maps[index, 0].numpy(), sigma[index].tolist(), radius=4)
        np.testing.assert_allclose(out[index, 0].numpy()[interior], expected[interior], atol=1e-5)
    torch.testing.assert_close(blur_axes(torch.ones_like(maps), sigma, region), torch.ones_like(maps))


@pytest.mark.parametrize("ndim", [2, 3])
def test_low_resolution_is_nearest_down_and_linear_up(ndim):
    maps, region = reference_maps(ndim)
    share = torch.tensor([[0.5], [0.63], [1.0]])
    out = lower_resolution(maps, share, region)
    mode = "bilinear" if ndim == 2 else "trilinear"
    for index in range(3):
        kept = [round(side * float(share[index])) for side in maps.shape[2:]]
        small = F.interpolate(maps[index : index + 1], kept, mode="nearest-exact")
        expected = F.interpolate(small, maps.shape[2:], mode=mode, align_corners=False)
        torch.testing.assert_close(out[index : index + 1], expected, atol=1e-5, rtol=1e-5)


def test_brightness_and_contrast_follow_their_formulas():
    maps, region = reference_maps()
    factor = torch.tensor([[0.75], [1.0], [1.25]])
    torch.testing.assert_close(brighten(maps, factor, region), maps * factor.view(3, 1, 1, 1))
    out = change_contrast(maps, factor, region)
    for index in range(3):
        inside = maps[index][region[index]]
        expected = (inside.mean() + float(factor[index]) * (inside - inside.mean())).clamp(inside.min(), inside.max())
        torch.testing.assert_close(out[index][region[index]], expected)


@pytest.mark.parametrize("invert", [False, True])
def test_gamma_follows_its_formula_and_keeps_mean_and_deviation(invert):
    maps, region = reference_maps()
    exponent = torch.tensor([[0.7], [1.0], [1.5]])
    out = change_gamma(maps, exponent, region, invert=invert)
    for index in range(3):
        inside = maps[index][region[index]].double()
        low, high = inside.min(), inside.max()
        unit = (high - inside if invert else inside - low) / (high - low)
        curved = unit ** float(exponent[index])
        curved = -curved if invert else curved
        expected = (curved - curved.mean()) / curved.std(correction=0) * inside.std(correction=0) + inside.mean()
        torch.testing.assert_close(out[index][region[index]].double(), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(channel_moments(out, region), channel_moments(maps, region), atol=1e-5, rtol=1e-4)
