"""The hook of feature statistics: identities, when it draws, and the three networks."""

import copy

import pytest
import torch
from torch import nn

from ssdg.methods import load_method
from ssdg.methods.base import Batch, Method, StepContext
from ssdg.methods.networks import load_network
from ssdg.methods.parts.feature_statistics import StatisticsHook, channel_statistics, drawing

NAMES = ("trid", "mixstyle", "dsu")
EVERY = pytest.mark.parametrize("name", NAMES)
SIDES = {2: (3, 32, 32), 3: (1, 16, 16, 16)}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def maps(*shape, seed=0):
    return 3 + 2 * torch.randn(shape, generator=rng(seed))


def keep(mean, deviation, _rng):
    return mean, deviation


def shift(mean, deviation, _rng):
    return mean + 1, 3 * deviation


def changed(hook, x, seed=0):
    with drawing([hook], rng(seed)):
        return hook(x)


def make_batch(ndim=2, size=2):
    channels, *sides = SIDES[ndim]
    image = torch.rand((size, channels, *sides), generator=rng())
    label = torch.randint(3, (size, 1, *sides), generator=rng(1))
    return Batch(image, label, torch.ones((size, 1, *sides), dtype=torch.bool))


def make_method(name, ndim=2, network="segresnet", **settings):
    torch.manual_seed(0)
    cls = Method if name == "erm" else load_method(name)
    return cls(load_network(network)(ndim, SIDES[ndim][0], 3, 8), cls.Config(**settings)).train()


def step(method, batch=None, seed=9):
    context = StepContext(rng=rng(seed), step=0, total_steps=1, epoch=0, total_epochs=1)
    return method.training_step(make_batch(method.network.ndim) if batch is None else batch, context)["segmentation"]


@pytest.mark.parametrize("shape", [(2, 4, 9, 7), (2, 4, 5, 6, 7)])
def test_statistics_are_those_of_each_image_and_channel(shape):
    x = maps(*shape)
    mean, deviation = channel_statistics(x)
    assert mean.shape == deviation.shape == (2, 4, *[1] * (len(shape) - 2))
    assert mean[1, 2].item() == pytest.approx(x[1, 2].mean().item(), rel=1e-5)
    assert deviation[1, 2].item() == pytest.approx(x[1, 2].std().item(), rel=1e-5)


def test_z_score_and_the_same_statistics_are_the_identity_to_the_bit():
    x = maps(2, 4, 9, 7).requires_grad_()
    out = changed(StatisticsHook(keep, 1.0, False), x)
    assert torch.equal(out, x)
    [gradient] = torch.autograd.grad(out, x, maps(2, 4, 9, 7, seed=1))
    assert torch.equal(gradient, maps(2, 4, 9, 7, seed=1))


def test_a_map_gets_the_drawn_statistics_and_keeps_its_z_scores():
    x = maps(2, 4, 9, 7)
    out = changed(StatisticsHook(shift, 1.0, False), x)
    (mean, deviation), (new_mean, new_deviation) = channel_statistics(x), channel_statistics(out)
    torch.testing.assert_close(new_mean, mean + 1, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(new_deviation, 3 * deviation, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close((out - new_mean) / new_deviation, (x - mean) / deviation, rtol=1e-4, atol=1e-5)


def test_gradients_pass_through_the_statistics_only_if_asked():
    x, hooks = maps(1, 1, 4, 4).requires_grad_(), {d: StatisticsHook(shift, 1.0, d) for d in (False, True)}
    gradients = {d: torch.autograd.grad(changed(hook, x).square().sum(), x)[0] for d, hook in hooks.items()}
    torch.testing.assert_close(gradients[False], 2 * 3 * changed(hooks[False], x).detach())
    reference = torch.autograd.grad(((x - x.mean()) * 3 + x.mean() + 1).square().sum(), x)[0]
    torch.testing.assert_close(gradients[True], reference, rtol=1e-4, atol=1e-4)


def test_maps_in_bfloat16_keep_their_type_and_are_computed_in_float32():
    x = maps(2, 4, 9, 7).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = changed(StatisticsHook(shift, 1.0, False), x)
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, changed(StatisticsHook(shift, 1.0, False), x.float()).bfloat16())


def test_it_draws_inside_the_block_alone_and_not_in_evaluation():
    x, hook = maps(1, 2, 4, 4), StatisticsHook(shift, 1.0, False)
    assert hook(x) is x
    assert not torch.equal(changed(hook, x), x)
    with pytest.raises(KeyError), drawing([hook], rng()):
        raise KeyError
    assert hook(x) is x
    assert changed(hook.eval(), x) is x


def test_its_probability_is_that_of_a_coin_for_the_whole_batch():
    x, hook, generator = maps(3, 2, 4, 4), StatisticsHook(shift, 0.3, False), rng()
    with drawing([hook], generator):
        moved = torch.stack([(hook(x) != x).flatten(1).any(dim=1) for _ in range(1000)])
    assert (moved.all(dim=1) == moved.any(dim=1)).all()
    assert moved[:, 0].float().mean().item() == pytest.approx(0.3, abs=0.05)


@EVERY
@pytest.mark.parametrize("ndim", [2, 3])
def test_with_probability_0_it_is_training_without_it_to_the_bit(name, ndim):
    method, plain = make_method(name, ndim, probability=0.0), make_method("erm", ndim)
    losses = [step(each) for each in (method, plain)]
    assert torch.equal(*losses)
    for loss in losses:
        loss.backward()
    for ours, theirs in zip(method.network.parameters(), plain.network.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)


@pytest.mark.parametrize("network", ["segresnet", "dynunet", "flexibleunet"])
@pytest.mark.parametrize("stage", [0, 2])
def test_stages_of_every_network_change_in_training_and_not_in_prediction(network, stage):
    batch, plain = make_batch(), make_method("erm", network=network)
    method = make_method("trid", network=network, probability=1.0, stages=(stage,))
    images = (batch.image, batch.foreground)
    with torch.no_grad():  # even in training mode
        assert torch.equal(method.predict(*images), copy.deepcopy(plain).predict(*images))
        losses = [step(copy.deepcopy(method), batch, seed=seed) for seed in (1, 1, 2)]
        assert len({loss.item() for loss in [*losses, step(plain, batch)]}) == 3


@EVERY
def test_weights_have_the_networks_own_names(name):
    own = set(make_method("erm").state_dict())
    assert set(make_method(name).state_dict()) == own


@EVERY
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"stages": (4,)}, "method.stages .* 0 to 3"),
        ({"stages": (1, 1)}, "different stages"),
        ({"stages": ()}, "method.stages"),
        ({"probability": 1.5}, "method.probability"),
    ],
)
def test_settings_outside_their_range_are_refused(name, settings, words):
    with pytest.raises(ValueError, match=words):
        make_method(name, **settings)


@EVERY
def test_another_augmentation_may_come_first(name):
    class Inverted(load_method(name)):
        def augment(self, batch, rng):
            return Batch(1 - batch.image, batch.label, batch.foreground)

    torch.manual_seed(0)
    method = Inverted(load_network("segresnet")(2, 3, 3, 8)).train()
    batch = make_batch()
    inverted = Batch(1 - batch.image, batch.label, batch.foreground)
    assert torch.equal(step(method, batch), step(make_method(name), inverted))
    assert isinstance(method.network.down_layers[0][-1], nn.Module)
