"""RAS4DG: its three parts, each alone, and their absence."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from ssdg.methods.base import Batch, Method, StepContext, standardise
from ssdg.methods.networks.segresnet import SegResNet
from ssdg.methods.ras4dg import (
    RAS4DG,
    ChannelReconstruction,
    RAS4DGConfig,
    Reconstruction,
    SpatialReconstruction,
    channel_shares,
    shuffle_regions,
)

OFF = RAS4DGConfig(rass=False, rms=False, rsd=False)
SIDES = (1 / 8, 1 / 2)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_batch(ndim=2, seed=0):
    channels, sides = (3, (32, 32)) if ndim == 2 else (1, (16, 16, 16))
    image = torch.rand((2, channels, *sides), generator=rng(seed))
    label = torch.randint(3, (2, 1, *sides), generator=rng(seed + 1))
    return Batch(image, label, torch.ones((2, 1, *sides), dtype=torch.bool))


def make_method(cls=RAS4DG, config=None, ndim=2):
    torch.manual_seed(0)
    network = SegResNet(ndim, 3 if ndim == 2 else 1, 3, init_filters=8)
    return cls(network, config)


def train(method, steps=4):
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-3)
    history = []
    for step in range(steps):
        context = StepContext(rng=rng(step), step=step, total_steps=steps, epoch=0, total_epochs=1)
        loss = torch.stack(list(method.training_step(make_batch(seed=step), context).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    return history


def test_with_all_parts_off_it_is_bitwise_source_only_training():
    plain, ablated = make_method(Method), make_method(config=OFF)
    assert train(plain) == train(ablated)
    assert plain.state_dict().keys() == ablated.state_dict().keys()
    assert all(
        torch.equal(a, b) for a, b in zip(plain.state_dict().values(), ablated.state_dict().values(), strict=True)
    )


def test_shared_weights_start_identical_with_and_without_the_module():
    plain, full = make_method(Method).state_dict(), make_method().state_dict()
    assert set(plain) < set(full)
    assert all(torch.equal(value, full[name]) for name, value in plain.items())
    assert all("bottleneck" in name for name in set(full) - set(plain))


@pytest.mark.parametrize(
    "parts", [(a, b, c) for a in (False, True) for b in (False, True) for c in (False, True)], ids=str
)
def test_each_flag_switches_its_own_part_alone(parts, monkeypatch):
    called = set()
    originals = {"randomise_amplitude": "rass", "shuffle_regions": "rms"}
    for name, part in originals.items():
        original = getattr(__import__("ssdg.methods.ras4dg", fromlist=[name]), name)

        def spy(*arguments, original=original, part=part):
            called.add(part)
            return original(*arguments)

        monkeypatch.setattr(f"ssdg.methods.ras4dg.{name}", spy)
    rass, rms, rsd = parts
    method = make_method(config=RAS4DGConfig(rass=rass, rms=rms, rsd=rsd))
    train(method, steps=1)
    assert called == {name for name, on in (("rass", rass), ("rms", rms)) if on}
    assert isinstance(method.network.bottleneck, Reconstruction) == rsd
    called.clear()
    batch = make_batch()
    method.eval()
    with torch.no_grad():
        first = method.predict(batch.image, batch.foreground)
        assert torch.equal(first, method.predict(batch.image, batch.foreground))
    assert not called


@pytest.mark.parametrize("ndim", [2, 3])
def test_augmented_images_stay_in_range_and_labels_are_untouched(ndim):
    batch = make_batch(ndim)
    out = make_method(ndim=ndim).augment(batch, rng())
    assert out.label is batch.label
    assert out.foreground is batch.foreground
    assert not torch.equal(out.image, batch.image)
    assert out.image.shape == batch.image.shape
    assert 0 <= out.image.min() <= out.image.max() <= 1


def test_probability_zero_leaves_images_alone_and_half_changes_half_of_them():
    image = torch.rand((200, 1, 16, 16), generator=rng())
    blank = torch.zeros((200, 1, 16, 16))
    batch = Batch(image, blank.long(), blank.bool())
    never = RAS4DGConfig(probability=0, rms_probability=0, rsd=False)
    assert torch.equal(make_method(config=never).augment(batch, rng()).image, image)
    for config in (replace(never, probability=0.5), replace(never, rms_probability=0.5)):
        out = make_method(config=config).augment(batch, rng()).image
        changed = (out != image).flatten(1).any(dim=1).float().mean()
        assert 0.4 < changed < 0.6


@pytest.mark.parametrize("shape", [(2, 3, 24, 32), (2, 2, 12, 16, 8)])
def test_shuffle_permutes_whole_voxels_inside_one_box(shape):
    """Voxels are numbered, so that the box can be recovered from what moved."""
    channels, sides = shape[1], shape[2:]
    number = torch.arange(torch.tensor(sides).prod(), dtype=torch.float32).view(1, 1, *sides)
    image = torch.cat([number + 1e5 * c for c in range(channels)], dim=1).expand(shape).contiguous()
    out = shuffle_regions(image, 1, SIDES, 1.0, rng(3))
    assert torch.equal(out[:, 1:] - out[:, :1], image[:, 1:] - image[:, :1])  # the channels of a voxel stay together
    for before, after in zip(image[:, 0], out[:, 0], strict=True):
        moved = (before != after).nonzero()
        low, high = moved.min(dim=0).values, moved.max(dim=0).values + 1
        for side, span in zip(sides, (high - low).tolist(), strict=True):
            assert span <= round(side / 2)
        box = tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))
        assert torch.equal(before[box].flatten().sort().values, after[box].flatten().sort().values)


def test_shuffle_keeps_the_multiset_of_values_and_its_input():
    image = torch.rand((2, 3, 32, 32), generator=rng())
    copy = image.clone()
    out = shuffle_regions(image, 16, SIDES, 1.0, rng())
    assert torch.equal(image, copy)
    assert torch.equal(out.flatten(2).sort().values, image.flatten(2).sort().values)
    assert torch.equal(shuffle_regions(image, 16, SIDES, 0.0, rng()), image)


def test_shuffled_boxes_cover_what_the_configuration_says():
    """About 9 % of a 2D image and 7 % of a volume belong to a box; voxels that stay by chance are few."""
    config = RAS4DGConfig()
    for sides, shape, share in (
        (config.rms_sides_2d, (24, 1, 128, 128), 0.09),
        (config.rms_sides_3d, (24, 1, 48, 48, 48), 0.07),
    ):
        image = torch.arange(torch.tensor(shape).prod(), dtype=torch.float32).view(shape)
        moved = (shuffle_regions(image, config.rms_regions, sides, 1.0, rng()) != image).float().mean()
        assert moved.item() == pytest.approx(share, abs=0.012)


def test_every_arrangement_of_a_shuffled_box_is_equally_likely():
    image = torch.arange(3, dtype=torch.float32).view(1, 1, 1, 3).expand(6000, 1, 1, 3)
    out = shuffle_regions(image, 1, (1, 1), 1.0, rng())
    _, counts = out.flatten(1).unique(dim=0, return_counts=True)
    assert counts.tolist() == pytest.approx([1000] * 6, abs=120)


def test_shuffling_before_or_after_normalisation_over_the_grid_is_the_same():
    image = torch.rand((2, 3, 32, 32), generator=rng())
    first = standardise(shuffle_regions(image, 16, SIDES, 1.0, rng(1)), None)
    second = shuffle_regions(standardise(image, None), 16, SIDES, 1.0, rng(1))
    assert torch.allclose(first, second, atol=1e-5)


def feature(ndim=2, channels=64):
    return torch.randn((2, channels, *[6, 4, 5][:ndim]), generator=rng())


@pytest.mark.parametrize("ndim", [2, 3])
def test_gate_is_the_sign_of_the_normalised_feature_at_first(ndim):
    module, x = SpatialReconstruction(64, 16, 0.5), feature(ndim)
    assert torch.equal(module.importance(x) > 0.5, F.group_norm(x, 16) > 0)
    assert (module.importance(x) - 0.5).abs().max() < 0.02


def test_spatial_part_cross_fuses_the_two_parts():
    module, x = SpatialReconstruction(4, 2, 0.5), feature(channels=4)
    with torch.no_grad():
        module.norm.weight.copy_(torch.tensor([3.0, 1.0, 2.0, 2.0]))
        a = torch.sigmoid(torch.tensor([3.0, 1.0, 2.0, 2.0]).view(1, 4, 1, 1) / 8 * module.norm(x))
        above = (a > 0.5).float()
        high, low = (above + (1 - above) * a) * x, (1 - above) * a * x
        expected = torch.cat([high[:, :2] + low[:, 2:], high[:, 2:] + low[:, :2]], dim=1)
        assert torch.allclose(module(x), expected, atol=1e-6)


@pytest.mark.parametrize("offset", [0.0, 1e-6, -1e-6])
def test_scales_that_cancel_do_not_blow_up(offset):
    module, x = SpatialReconstruction(64, 16, 0.5), feature().requires_grad_()
    with torch.no_grad():
        module.norm.weight.copy_(torch.tensor([1.0, -1.0]).repeat(32))
        module.norm.weight[0] += offset
    module(x).square().sum().backward()
    assert torch.isfinite(x.grad).all()
    assert torch.isfinite(module.norm.weight.grad).all()


def test_gate_is_decided_in_float32_under_autocast():
    module, x = SpatialReconstruction(64, 16, 0.5), feature()
    plain = module(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(module(x), plain)


def test_shares_of_a_channel_add_up_to_one():
    first, second = feature(), feature(channels=64).flip(0)
    shares = channel_shares(first, second)
    assert shares.shape == (2, 2, 64, 1, 1)
    assert torch.allclose(shares.sum(0), torch.ones(2, 64, 1, 1))
    ratio = (first.mean((2, 3)) - second.mean((2, 3))).exp()
    assert torch.allclose((shares[0] / shares[1])[..., 0, 0], ratio, rtol=1e-4)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("rich", ["depthwise", "group"])
def test_channel_part_keeps_the_shape_and_has_the_convolutions_of_the_paper(ndim, rich):
    config = RAS4DGConfig(rsd_rich=rich)
    module, x = ChannelReconstruction(ndim, 64, config), feature(ndim)
    assert module(x).shape == x.shape
    # 32 channels up and down, 16 after the squeeze.
    shared = 32 * 16 + 32 * 16 + 16 * 64 + 16 * 48
    enriching = 16 * 3**ndim + 16 * 64 + 64 if rich == "depthwise" else 8 * 64 * 3**ndim + 64
    assert sum(p.numel() for p in module.parameters()) == shared + enriching


@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.75])
def test_channels_are_divided_as_configured(ratio):
    module = ChannelReconstruction(2, 64, RAS4DGConfig(rsd_ratio=ratio))
    assert module.split == [round(64 * ratio), 64 - round(64 * ratio)]
    assert module(feature()).shape == (2, 64, 6, 4)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("rich", ["depthwise", "group"])
def test_reconstruction_does_not_vanish_at_256_channels(ndim, rich):
    torch.manual_seed(0)
    config = RAS4DGConfig(rsd_residual=False, rsd_rich=rich)
    module, x = Reconstruction(ndim, 256, config), feature(ndim, 256)
    with torch.no_grad():
        out = module(x)
        assert out.shape == x.shape
        assert out.std() / x.std() > 0.1
        module.residual = True
        assert torch.equal(module(x), x + out)


def test_every_weight_of_the_module_learns():
    method = make_method()
    train(method, steps=1)
    gradients = {name: p.grad for name, p in method.network.bottleneck.named_parameters()}
    assert all(g is not None and g.abs().max() > 0 for g in gradients.values())


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"probability": 1.5}, "probability"),
        ({"rms_sides_2d": (0.5, 0.1)}, "rms_sides_2d"),
        ({"rms_sides_3d": (0.0, 0.1)}, "rms_sides_3d"),
        ({"rms_regions": 0}, "rms=false"),
        ({"rsd_ratio": 1.0}, "rsd_ratio"),
        ({"rsd_kernel": 2}, "rsd_kernel"),
        ({"gamma": 0}, "gamma"),
    ],
)
def test_impossible_settings_are_errors_that_name_the_field(settings, named):
    with pytest.raises(ValueError, match=named):
        RAS4DGConfig(**settings)


def test_groups_that_do_not_divide_the_channels_are_an_error_that_says_so():
    with pytest.raises(ValueError, match="rsd_groups must divide the bottleneck's 64 channels"):
        make_method(config=RAS4DGConfig(rsd_groups=24))
