"""Decoders and critics: shapes, what they are made of, and where their randomness comes from."""

import pytest
import torch
from torch import nn

from ssdg.methods.parts.translation import Critic, ImageDecoder, ResidualBlock, drop_channels


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("ndim", "channels", "parameters"), [(2, 3, 2_238_403), (3, 1, 7_399_361)])
def test_decoder_redraws_an_image_from_an_eighth_of_its_grid(ndim, channels, parameters):
    decoder = ImageDecoder(ndim, 256, channels)
    assert sum(weight.numel() for weight in decoder.parameters()) == parameters
    small = ImageDecoder(ndim, 32, channels)
    assert small(torch.randn((2, 32, *[3] * ndim))).shape == (2, channels, *[24] * ndim)


def test_decoder_has_no_bounds_and_no_weights_in_its_normalisations():
    decoder = ImageDecoder(2, 32, 3)
    with torch.no_grad():
        decoder.layers[-1].weight.mul_(100)
    assert decoder(torch.randn(2, 32, 4, 4)).abs().max() > 5
    normalisations = [layer for layer in decoder.modules() if isinstance(layer, nn.InstanceNorm2d)]
    assert len(normalisations) == 9
    assert not any(layer.affine or layer.track_running_stats for layer in normalisations)


def test_decoder_draws_each_image_by_itself():
    decoder, maps = ImageDecoder(3, 16, 1), torch.randn(2, 16, 2, 2, 2)
    assert torch.allclose(decoder(maps)[:1], decoder(maps[:1]), atol=1e-5)


def test_residual_block_reflects_at_the_border_and_keeps_its_input_in_place():
    block = ResidualBlock(2, 8)
    x = torch.randn(1, 8, 6, 6)
    layers = block.layers
    padded = nn.functional.pad(x, (1, 1, 1, 1), mode="reflect")
    first = nn.functional.leaky_relu(
        nn.functional.instance_norm(nn.functional.conv2d(padded, layers[0].weight, layers[0].bias)), 0.2
    )
    padded = nn.functional.pad(first, (1, 1, 1, 1), mode="reflect")
    second = nn.functional.instance_norm(nn.functional.conv2d(padded, layers[3].weight, layers[3].bias))
    assert torch.allclose(block(x), x + second, atol=1e-5)


@pytest.mark.parametrize(("ndim", "channels", "parameters"), [(2, 3, 690_401), (3, 8, 2_769_633)])
def test_critic_gives_one_number_for_a_whole_image(ndim, channels, parameters):
    critic = Critic(ndim, channels, 32, 0.5)
    assert sum(weight.numel() for weight in critic.parameters()) == parameters
    scores = Critic(ndim, channels, 4, 0.5)(torch.randn((3, channels, *[16] * ndim)), rng())
    assert scores.shape == (3,)
    assert scores.dtype == torch.float32


def test_critic_drops_channels_in_training_only_and_from_its_own_generator():
    critic, x = Critic(2, 3, 8, 0.5), torch.randn(2, 3, 32, 32)
    assert torch.equal(critic(x, rng(1)), critic(x, rng(1)))
    assert not torch.equal(critic(x, rng(1)), critic(x, rng(2)))
    critic.eval()
    assert torch.equal(critic(x, rng(1)), critic(x, rng(2)))
    assert torch.equal(critic(x, rng(1)), Critic.forward(critic.train().eval(), x, rng(3)))


def test_dropped_channels_are_whole_and_the_rest_keeps_the_expected_value():
    x = torch.rand((50, 40, 3, 3), generator=rng()) + 1
    out = drop_channels(x, 0.5, rng(1))
    kept = (out != 0).flatten(2)
    assert (kept.all(2) | ~kept.any(2)).all()
    share = kept[:, :, 0].float().mean().item()
    assert share == pytest.approx(0.5, abs=3 * (0.25 / 2000) ** 0.5)
    assert torch.equal(out[kept.all(2)], 2 * x[kept.all(2)])
    assert torch.equal(drop_channels(x, 0.0, rng(1)), x)
