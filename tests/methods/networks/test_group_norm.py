"""Group normalisation is torch's, with a gradient of its own where that one is slow."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ssdg.methods.networks.base import CHANNELS_LAST
from ssdg.methods.networks.group_norm import GroupNorm, group_norm
from ssdg.methods.networks.segresnet import SegResNet


def layer_and_map(channels, shape, dtype=torch.float32, groups=8):
    rng = torch.Generator().manual_seed(0)
    layer = GroupNorm(groups, channels).to(dtype)
    for parameter in layer.parameters():
        parameter.data = torch.randn(channels, generator=rng, dtype=dtype)
    maps = 3 + 2 * torch.randn((2, channels, *shape), generator=rng, dtype=dtype)
    return layer, maps.contiguous(memory_format=CHANNELS_LAST[2 + len(shape)]).requires_grad_()


def ours(output):
    return "GroupNormalisation" in type(output.grad_fn).__name__


def in_double_precision(layer, maps, output, upstream):
    """Yield a layer's output and its gradients (maps, weight, bias), each with the exact one."""
    inputs = (maps, layer.weight, layer.bias)
    exact = [value.detach().double().requires_grad_() for value in inputs]
    expected = F.group_norm(exact[0], layer.num_groups, *exact[1:], layer.eps)
    yield output, expected
    gradients = torch.autograd.grad(output, inputs, upstream)
    yield from zip(gradients, torch.autograd.grad(expected, exact, upstream.double()), strict=True)


@pytest.mark.parametrize("shape", [(12, 20), (5, 7), (4, 6, 8)])
@pytest.mark.parametrize("channels", [8, 16, 24])
def test_output_is_torchs_bit_by_bit_and_gradients_are_up_to_rounding(channels, shape):
    layer, maps = layer_and_map(channels, shape)
    upstream = torch.randn(maps.shape, generator=torch.Generator().manual_seed(1))
    output = layer(maps)
    reference = F.group_norm(maps, 8, layer.weight, layer.bias, layer.eps)
    assert ours(output)
    assert not ours(reference)
    assert torch.equal(output, reference)
    inputs = (maps, layer.weight, layer.bias)
    gradients, expected = (torch.autograd.grad(maps_of, inputs, upstream) for maps_of in (output, reference))
    for gradient, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=1e-5, atol=1e-5 * wanted.abs().max().item())
    assert gradients[0].is_contiguous(memory_format=CHANNELS_LAST[2 + len(shape)])


@pytest.mark.parametrize("shape", [(2, 3), (2, 1, 2)])
def test_first_and_second_derivatives_are_those_of_differences(shape):
    layer, maps = layer_and_map(4, shape, torch.float64, groups=2)

    def normalise(maps, weight, bias):
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (maps,))

    inputs = (maps, *(parameter.detach().requires_grad_() for parameter in (layer.weight, layer.bias)))
    assert ours(normalise(*inputs))
    assert torch.autograd.gradcheck(normalise, inputs)
    assert torch.autograd.gradgradcheck(normalise, inputs)


@pytest.mark.parametrize(
    ("change", "channels"),
    [
        (torch.Tensor.contiguous, 8),
        (lambda maps: maps.to(torch.bfloat16), 8),
        (lambda maps: maps, 32),
    ],
    ids=["contiguous", "bfloat16", "many channels"],
)
def test_torchs_own_gradient_serves_every_other_map(change, channels):
    layer, maps = layer_and_map(channels, (8, 8))
    maps = change(maps)
    assert not ours(layer.to(maps.dtype)(maps))


@pytest.mark.parametrize("shape", [(12, 20), (5, 7), (4, 6, 8)])
@pytest.mark.parametrize(
    ("kind", "rounding"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 4e-3)]
)
def test_large_maps_on_cuda_get_statistics_and_gradients_in_float32_and_keep_their_type(
    kind, rounding, shape, monkeypatch
):
    """The same code on the CPU."""
    layer, maps = layer_and_map(16, shape, torch.promote_types(kind, torch.float32))
    monkeypatch.setattr(GroupNorm, "_slow_on_cuda", lambda layer, x: True)
    maps = maps.detach().to(kind).requires_grad_()
    upstream = torch.randn(maps.shape, generator=torch.Generator().manual_seed(1)).to(kind)
    output = layer(maps)
    assert ours(output)
    assert output.dtype == kind
    assert output.is_contiguous(memory_format=CHANNELS_LAST[2 + len(shape)])
    for found, wanted in in_double_precision(layer, maps, output, upstream):
        # Weights are float32 with bfloat16 maps too, and so are their gradients.
        limit = rounding if found.dtype == kind else 1e-5
        assert (found.double() - wanted).norm() <= limit * wanted.norm()
    torch.relu_(layer(maps))  # as the network does


@pytest.mark.parametrize("frozen", ["maps", "weight", "bias"])
@pytest.mark.parametrize("large", [False, True])
def test_a_second_derivative_with_something_frozen_is_torchs(large, frozen, monkeypatch):
    layer, maps = layer_and_map(8, (4, 6))
    monkeypatch.setattr(GroupNorm, "_slow_on_cuda", lambda layer, x: large)
    (maps if frozen == "maps" else getattr(layer, frozen)).requires_grad_(False)
    inputs = [value for value in (maps, *layer.parameters()) if value.requires_grad]

    def second_derivatives(normalise):
        first = torch.autograd.grad(normalise(maps).pow(3).sum(), inputs, create_graph=True)
        return torch.autograd.grad(sum(gradient.square().sum() for gradient in first), inputs)

    assert ours(layer(maps))
    expected = second_derivatives(lambda maps: F.group_norm(maps, 8, layer.weight, layer.bias, layer.eps))
    for found, wanted in zip(second_derivatives(layer), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4 * wanted.abs().max().item())


@torch.no_grad()
def test_a_large_mean_costs_float32_statistics_nothing():
    layer, maps = layer_and_map(16, (12, 20))
    far = 1000 + maps.detach()
    found = group_norm(far, layer.weight, layer.bias, 8, layer.eps)[0]
    wanted = F.group_norm(far.double(), 8, layer.weight.double(), layer.bias.double(), layer.eps)
    assert (found - wanted).norm() <= 1e-4 * wanted.norm()


def gradients_of(network, image):
    layout = torch.channels_last
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=layout)
    logits = network(image).logits
    return torch.autograd.grad(logits.square().mean(), tuple(network.parameters()))


@pytest.mark.parametrize(("filters", "same"), [(8, False), (32, True)])
def test_gradients_of_the_default_width_are_torchs_bit_by_bit(filters, same, monkeypatch):
    image = torch.rand((2, 1, 32, 32), generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    network = SegResNet(2, 1, 2, filters)
    gradients = gradients_of(network, image)
    monkeypatch.setattr(GroupNorm, "forward", nn.GroupNorm.forward)
    expected = gradients_of(network, image)
    for gradient, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=1e-3, atol=1e-3 * wanted.abs().max().item())
    assert all(map(torch.equal, gradients, expected)) is same
