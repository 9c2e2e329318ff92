"""What methods rely on holds on every network, and the networks are MONAI's."""

import copy

import pytest
import torch
from monai.networks import nets
from torch import nn

from ssdg.methods.networks import NETWORKS, load_network

CASES = [(name, n) for name, entry in NETWORKS.items() for n in entry.ndims]
EVERYWHERE = pytest.mark.parametrize(("name", "ndim"), [case for case in CASES if case != ("flexibleunet", 3)])
"""Without volumes of 64³, the smallest that FlexibleUNet sees, for the sake of time."""

IN_2D = pytest.mark.parametrize("name", NETWORKS)


def make(name, ndim=2, filters=8, channels=2, classes=3):
    torch.manual_seed(0)
    return load_network(name)(ndim, channels, classes, filters).eval()


def images(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


STOCK = {
    "segresnet": lambda ndim: nets.SegResNet(ndim, 8, 2, 3, blocks_down=(1, 2, 2, 4), blocks_up=(1, 1, 1)),
    "dynunet": lambda ndim: nets.DynUNet(ndim, 2, 3, [3] * 4, [1, 2, 2, 2], [2] * 3, filters=[8, 16, 32, 64]),
    "flexibleunet": lambda ndim: nets.FlexibleUNet(2, 3, "efficientnet-b0", spatial_dims=ndim),
}


@EVERYWHERE
def test_equal_seeds_give_monais_network(name, ndim):
    network = make(name, ndim, filters=32 if name == "flexibleunet" else 8).train()
    torch.manual_seed(0)
    theirs = STOCK[name](ndim)
    for block in theirs.modules():
        if hasattr(block, "drop_connect_rate"):
            block.drop_connect_rate = 0.0
    x = images(2, 2, *((64, 96) if ndim == 2 else (16, 24, 32)))
    with torch.no_grad():
        assert torch.equal(network(x).logits, theirs(x))


@pytest.mark.parametrize(("name", "ndim"), CASES)
@pytest.mark.parametrize("sides", [(16, 16, 16), (40, 24, 16)])
def test_sides_are_multiples_of_8_and_maps_have_the_documented_shapes(name, ndim, sides):
    network, sides = make(name, ndim), sides[:ndim]
    with torch.no_grad():
        features = network(images(1, 2, *sides))
    assert features.logits.shape == (1, 3, *sides)
    assert features.decoder.shape == (1, network.levels[-1].output, *sides)
    assert features.bottleneck.shape[:2] == (1, network.widths[-1])
    least = 64 if name == "flexibleunet" else 16
    assert features.bottleneck.shape[2:] == tuple(-(-max(s, least) // network.stride) for s in sides)


@EVERYWHERE
def test_logits_are_float32_under_autocast_and_the_heads_own_without(name, ndim):
    network, x = make(name, ndim), images(1, 2, *[16] * ndim)
    with torch.no_grad():
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits, decoder, _ = network(x)
        assert logits.dtype == torch.float32
        assert torch.equal(logits, network.head(decoder.float()))
        plain = network(x)
        assert torch.equal(plain.logits, network.conv_final(plain.decoder))
        assert network.double()(x.double()).logits.dtype == torch.float64


@pytest.mark.parametrize(("ndim", "widest"), [(2, 512), (3, 320)])
def test_widths_of_dynunet_are_capped_as_nnunets(ndim, widest):
    with torch.device("meta"):
        assert make("dynunet", ndim, 32).widths == (32, 64, 128, 256)
        assert make("dynunet", ndim, 64).widths == (64, 128, 256, min(512, widest))
        assert make("dynunet", ndim, 128).widths == (128, 256, min(512, widest), widest)


@IN_2D
def test_bottleneck_slot_changes_the_deepest_map_and_leaves_the_skips(name):
    network, x = make(name).train(), images(1, 2, 64, 64)
    plain = network(x)

    class One(nn.Module):
        def forward(self, x):
            return torch.ones_like(x)

    network.bottleneck = One()
    cut = network(x)
    assert torch.count_nonzero(cut.bottleneck - 1) == 0
    assert not torch.allclose(cut.logits, plain.logits)
    assert cut.decoder.std() > 0  # the skip connections still carry the image


@IN_2D
def test_a_module_after_a_stage_feeds_the_next_stage_and_the_skip(name):
    for stage, width in enumerate(make(name).widths):
        network, x, seen = make(name), images(1, 2, 64, 64), []
        names = set(network.state_dict())
        with torch.no_grad():
            deepest, skips = network.encode(x)

        class Negative(nn.Module):
            def forward(self, x):
                seen.append(x)  # noqa: B023 - of this stage
                return -1 - x

        network.after(stage, Negative())
        with torch.no_grad():
            changed, after = network.encode(x)
        [own] = seen
        assert own.shape[1] == width
        maps, changed_maps = [*skips, deepest], [*after, changed]
        at = stage + len(maps) - len(network.widths)
        assert torch.equal(maps[at], own)
        assert torch.equal(changed_maps[at], -1 - own)
        assert all(torch.equal(a, b) for a, b in zip(maps[:at], changed_maps[:at], strict=True))
        assert not any(torch.equal(a, b) for a, b in zip(maps[at:], changed_maps[at:], strict=True))
        assert set(network.state_dict()) == names


@EVERYWHERE
def test_levels_say_the_channels_at_each_level_and_join_takes_the_place_of_the_networks_own(name, ndim):
    network, seen = make(name, ndim), []
    with torch.no_grad():
        deepest, skips = network.encode(images(1, 2, *[24] * ndim))

        def join(level, upsampled, skip):
            joined = network.join(upsampled, skip)
            seen.append((level, upsampled.shape[1], joined.shape[1]))
            return joined

        maps = network.decode(deepest, skips, join)
        assert torch.equal(maps[-1], network.decode(deepest, skips)[-1])
        zero = network.decode(deepest, skips, lambda *a: torch.zeros_like(network.join(*a[1:])))
    assert not torch.equal(maps[-1], zero[-1])
    assert [(*channels, m.shape[1]) for channels, m in zip(seen, maps, strict=True)] == [
        (level, *sizes) for level, sizes in enumerate(network.levels)
    ]


@EVERYWHERE
def test_a_new_decoder_is_the_networks_own_with_other_weights(name, ndim):
    network = make(name, ndim)
    decoder = network.new_decoder(5).eval()
    for part in ("up_samples", "up_layers"):
        own, other = getattr(network, part).state_dict(), getattr(decoder, part).state_dict()
        assert {n: v.shape for n, v in own.items()} == {n: v.shape for n, v in other.items()}
        weights = [n for n, v in own.items() if n.endswith("weight") and v.ndim > 1]
        assert not weights or any(not torch.equal(own[n], other[n]) for n in weights)
    with torch.no_grad():
        deepest, skips = network.encode(images(1, 2, *[16] * ndim))
        assert decoder.head(decoder(deepest, skips)[-1]).shape == (1, 5, *[16] * ndim)
        decoder.up_samples, decoder.up_layers = network.up_samples, network.up_layers
        assert torch.equal(decoder(deepest, skips)[-1], network.decode(deepest, skips)[-1])


@IN_2D
def test_training_draws_nothing_from_the_global_generator(name):
    network, x = make(name).train(), images(2, 2, 32, 32)
    other = copy.deepcopy(network)
    state = torch.get_rng_state()
    logits = network(x).logits
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    assert torch.equal(other(x).logits, logits)


@IN_2D
def test_the_bottleneck_is_the_last_of_the_parameters(name):
    network = make(name)
    network.bottleneck = nn.Conv2d(network.widths[-1], network.widths[-1], 1)
    assert [n for n, _ in network.named_parameters()][-2:] == ["bottleneck.weight", "bottleneck.bias"]


def test_running_statistics_are_those_of_training_after_a_short_run():
    network, x = make("flexibleunet").train(), images(2, 2, 64, 64)
    with torch.no_grad():
        for _ in range(100):
            trained = network(x).logits
        predicted = network.eval()(x).logits
    assert (trained - predicted).std() < 0.2 * trained.std()
