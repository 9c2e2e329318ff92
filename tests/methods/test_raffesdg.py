"""RaffeSDG: filters, views, what the fixed view is, and its terms."""

import math

import pytest
import torch
from torch.nn import functional as F

from ssdg.methods.base import Batch, StepContext
from ssdg.methods.losses import soft_dice
from ssdg.methods.networks.segresnet import SegResNet
from ssdg.methods.parts.boxes import random_box
from ssdg.methods.parts.highpass import butterworth, quantiles
from ssdg.methods.raffesdg import RaffeSDG, RaffeSDGConfig

SIDES = {2: (3, 32, 32), 3: (1, 16, 16, 16)}
DIMENSIONS = pytest.mark.parametrize("ndim", [2, 3])


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def make_batch(ndim=2, size=2):
    channels, *sides = SIDES[ndim]
    image = torch.rand((size, channels, *sides), generator=rng())
    label = torch.randint(3, (size, 1, *sides), generator=rng(1))
    foreground = torch.ones((size, 1, *sides), dtype=torch.bool)
    foreground[..., :3] = False
    return Batch(image * foreground, label, foreground)


def make_method(ndim=2, **settings):
    torch.manual_seed(0)
    return RaffeSDG(SegResNet(ndim, SIDES[ndim][0], 3, init_filters=8), RaffeSDGConfig(**settings))


def every_filter(method, image):
    draws = [method.draw_filters(image, rng(seed)) for seed in range(400)]
    cutoffs, orders = (torch.cat([draw[part].flatten() for draw in draws]) for part in (0, 1))
    return cutoffs, orders


def test_filters_at_512_pixels_are_the_authors():
    cutoffs, orders = every_filter(make_method(), torch.empty(1, 3, 512, 512))
    shares = [0.1 * math.expm1(4.1 * k / 11) / math.expm1(4.1) for k in range(12)]
    assert set(cutoffs.tolist()) == {0.0, *(float(max(int(share * 512 / 2), 1)) for share in shares)}
    assert cutoffs.max() == 25
    assert set(orders.tolist()) == {1, 2, 3}
    assert (cutoffs == 0).float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert not torch.equal(*make_method().draw_filters(torch.empty(1, 3, 8, 8), rng(3))[0])


def test_cutoffs_are_cycles_an_image_whatever_the_grid_unless_told_otherwise():
    small = torch.empty(1, 3, 64, 96)
    assert every_filter(make_method(), small)[0].max() == 25
    assert every_filter(make_method(reference_side=0), small)[0].max() == 3


@DIMENSIONS
def test_a_cutoff_of_0_leaves_an_image_as_it_is(ndim):
    image = make_batch(ndim).image
    zero = torch.zeros((1, image.shape[1]))
    assert torch.allclose(butterworth(image, zero, zero + 2)[0], image, atol=1e-6)


@pytest.mark.parametrize(("order", "cutoff"), [(1, 2.0), (3, 5.0)])
def test_a_wave_is_damped_by_the_transfer_at_its_frequency(order, cutoff):
    position = torch.arange(32) / 32
    wave = torch.cos(2 * math.pi * (3 * position[:, None] + 4 * position))[None, None]
    filtered = butterworth(wave, torch.tensor([[cutoff]]), torch.tensor([[order]]))[0]
    assert torch.allclose(filtered, wave.abs() / (1 + (cutoff / 6) ** (2 * order)), atol=1e-5)


def test_axes_of_different_length_count_cycles_alike():
    wave = torch.cos(2 * math.pi * 5 * torch.arange(16) / 16)
    cutoffs, orders = torch.tensor([[3.0]]), torch.tensor([[1]])
    short = butterworth(wave.view(1, 1, 16, 1).expand(1, 1, 16, 40), cutoffs, orders)
    along = butterworth(wave.view(1, 1, 1, 16).expand(1, 1, 40, 16), cutoffs, orders)
    assert torch.allclose(short, along.transpose(-1, -2), atol=1e-5)
    assert torch.allclose(short[0, 0, 0, :, 0], wave.abs() / (1 + (3 / 6) ** 2), atol=1e-5)


@DIMENSIONS
def test_unfiltered_views_are_the_stretched_image(ndim):
    method, batch = make_method(ndim, unchanged=1.0), make_batch(ndim)
    view, _ = method.views(batch, rng())
    low, high = quantiles(batch.image, batch.foreground, (0.03, 0.97)).view(2, -1, *[1] * ndim, 2).unbind(-1)
    expected = torch.where(batch.foreground, 2 * (batch.image - low) / (high - low) - 1, -1.0)
    assert torch.allclose(view, expected, atol=1e-4)


@DIMENSIONS
@pytest.mark.parametrize("blend", ["smooth", "patch"])
def test_a_view_is_a_mixture_of_two_filtered_images(ndim, blend):
    method, batch = make_method(ndim, blend=blend), make_batch(ndim)
    view, _ = method.views(batch, rng(5))
    replay = rng(5)
    cutoffs, orders = method.draw_filters(batch.image, replay)
    first, second = method.filtered(batch.image, batch.foreground, cutoffs, orders)
    assert not torch.equal(first, second)
    if blend == "patch":
        assert torch.equal(view, torch.where(random_box(batch.image.shape[2:], replay), first, second))
    share = ((view - second) / (first - second))[batch.foreground.expand_as(view)]
    assert share.nanquantile(0.01) > -1e-3
    assert share.nanquantile(0.99) < 1 + 1e-3
    assert (view[~batch.foreground.expand_as(view)] == -1).all()
    assert torch.equal(method.example(batch, rng(5)), view)


@DIMENSIONS
def test_prediction_is_under_the_mildest_filter(ndim):
    method, batch = make_method(ndim), make_batch(ndim)
    ones = torch.ones((1, batch.image.shape[1]))
    assert torch.equal(
        method.prepare(batch.image, batch.foreground), method.filtered(batch.image, batch.foreground, ones, ones)[0]
    )


def test_the_fixed_view_is_a_high_pass_of_the_image_filled_outside():
    method, batch = make_method(reference_side=32, fixed_width=3, fixed_sigma=1.0), make_batch()
    fixed = method.views(batch, rng())[1]
    inside = batch.image[1, 2][batch.foreground[1, 0]].sort().values
    filled = torch.where(batch.foreground[1, 0], batch.image[1, 2], inside[(len(inside) - 1) // 2] + 0.2)
    line = torch.exp(-torch.tensor([1.0, 0.0, 1.0]) / 2)
    kernel = (line[:, None] * line / line.sum() ** 2)[None, None]
    blurred = F.conv2d(F.pad(filled[None, None], (1, 1, 1, 1), mode="replicate"), kernel)[0, 0]
    expected = torch.where(batch.foreground[1, 0], (4 * (filled - blurred)).clamp(-1, 1), -1.0)
    assert torch.allclose(fixed[1, 2], expected, atol=1e-5)


def test_terms_are_supervision_and_squared_reconstruction_of_one_view():
    method, batch = make_method(reconstruction=0.5), make_batch()
    view, fixed = method.views(batch, rng(9))
    logits, decoder = method.decode(view)
    reconstructed = torch.where(batch.foreground, method.reconstruct(decoder), -1.0)
    terms = method.training_step(batch, StepContext(rng=rng(9), step=0, total_steps=1, epoch=0, total_epochs=1))
    assert torch.allclose(terms["reconstruction"], 0.5 * (reconstructed - fixed).square().mean())
    assert torch.equal(terms["segmentation"], soft_dice(method.confine(logits, batch.foreground), batch.label))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"cutoffs": 1}, "method.cutoffs"),
        ({"orders": ()}, "method.orders"),
        ({"unchanged": 1.5}, "method.unchanged"),
        ({"stretch": (0.9, 0.1)}, "method.stretch"),
        ({"blend_points": 2}, "method.blend_points"),
        ({"fixed_width": 4}, "method.fixed_width"),
        ({"gain": 0.0}, "method.gain"),
        ({"reconstruction": -1.0}, "method.reconstruction"),
    ],
)
def test_settings_outside_their_range_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        RaffeSDGConfig(**settings)
