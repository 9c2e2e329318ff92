"""AFA: the waves, their strengths, and two passes of half the weight."""

import math

import pytest
import torch

from ssdg.methods.afa import AFA, AFAConfig, planar_waves
from ssdg.methods.base import Batch, StepContext
from ssdg.methods.losses import soft_dice
from ssdg.methods.networks.segresnet import SegResNet

SIDES = [(24, 20), (6, 24, 20)]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_batch(sides=(16, 16)):
    image = torch.rand((2, 3, *sides), generator=rng())
    label = torch.randint(3, (2, 1, *sides), generator=rng(1))
    return Batch(image, label, torch.ones((2, 1, *sides), dtype=torch.bool))


def make_method(**settings):
    torch.manual_seed(0)
    return AFA(SegResNet(2, 3, 3, init_filters=8), AFAConfig(**settings))


@pytest.mark.parametrize("sides", SIDES)
def test_waves_have_the_norm_asked_for_in_each_plane_and_are_planar(sides):
    frequency, angle = (torch.rand((2, 3, *[1] * len(sides)), generator=rng(seed)) for seed in (0, 1))
    wave = planar_waves(torch.Size(sides), frequency, -math.pi * angle, torch.tensor(0.4))
    assert torch.allclose(wave.norm(dim=(-2, -1)), torch.tensor(24 / 32), rtol=1e-5)
    for sample, channel in ((0, 1), (1, 2)):
        f, p = frequency[sample, channel].item(), -math.pi * angle[sample, channel].item()
        y, x = torch.linspace(-12, 12, 24).double(), torch.linspace(-10, 10, 20).double()
        expected = (2 * math.pi * f * (y[:, None] * math.cos(p) + x * math.sin(p)) - 0.4).sin()
        plane = wave[sample, channel].view(24, 20).double()
        assert torch.allclose(plane, expected * (24 / 32) / expected.norm(), atol=1e-5)


@pytest.mark.parametrize("sides", SIDES)
def test_each_channel_gets_a_wave_of_its_own_the_same_along_the_depth(sides):
    image = torch.randn((2, 3, *sides), generator=rng())
    change = make_method().render(image, torch.zeros(0), rng(3)) - image
    planes = change.flatten(2, -3) if len(sides) == 3 else change.unsqueeze(2)
    assert torch.allclose(planes, planes[:, :, :1], atol=1e-5)
    waves = planes[:, :, 0].flatten(0, 1).flatten(1)
    similarity = torch.corrcoef(waves).fill_diagonal_(0)
    assert similarity.abs().max() < 0.9
    assert waves.norm(dim=1).min() >= 10 * 24 / 32 - 1e-3


def test_strengths_are_the_exponential_law_above_its_floor():
    image = torch.zeros((2000, 2, 8, 8))
    strength = make_method().render(image, torch.zeros(0), rng(3)).norm(dim=(-2, -1)).flatten() / (8 / 32)
    assert strength.min() >= 10 - 1e-3
    assert strength.mean().item() == pytest.approx(30, rel=0.05)
    assert strength.median().item() == pytest.approx(10 + 20 * math.log(2), rel=0.05)


def test_terms_are_half_the_loss_of_the_images_and_half_that_with_waves():
    method, batch = make_method(), make_batch()
    terms = method.training_step(batch, StepContext(rng=rng(9), step=0, total_steps=1, epoch=0, total_epochs=1))
    image = method.prepare(batch.image, batch.foreground)
    waves = method.render(image, batch.label, rng(9))
    for name, view in (("segmentation", image), ("rendering", waves)):
        assert torch.allclose(terms[name], soft_dice(method.network(view).logits, batch.label) / 2)
    assert torch.equal(method.example(batch, rng(9)), waves)


@pytest.mark.parametrize(("name", "value"), [("mean_strength", 0.0), ("min_strength", -1.0)])
def test_impossible_settings_are_errors_that_name_the_field(name, value):
    with pytest.raises(ValueError, match=f"method.{name}"):
        AFAConfig(**{name: value})
