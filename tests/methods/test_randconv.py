"""RandConv: views, agreement, and what each setting changes. Views are replayed from an equal generator."""

from dataclasses import replace

import pytest
import torch

from ssdg.methods.base import Batch, StepContext
from ssdg.methods.losses import cross_entropy, jensen_shannon, soft_dice
from ssdg.methods.networks.segresnet import SegResNet
from ssdg.methods.parts.filters import choose, random_convolution
from ssdg.methods.randconv import RandConv, RandConvConfig
from ssdg.methods.ras4dg import RAS4DGConfig, synthesise_spectrum


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_batch():
    image = torch.rand((2, 3, 16, 16), generator=rng())
    label = torch.randint(3, (2, 1, 16, 16), generator=rng(1))
    return Batch(image, label, torch.ones((2, 1, 16, 16), dtype=torch.bool))


def make_method(**settings):
    torch.manual_seed(0)
    return RandConv(SegResNet(2, 3, 3, init_filters=8), RandConvConfig(**settings))


def terms_of(method):
    context = StepContext(rng=rng(9), step=0, total_steps=1, epoch=0, total_epochs=1)
    return method.training_step(make_batch(), context)


def test_mixing_lies_between_the_image_and_its_convolution():
    method, image = make_method(), torch.randn((2, 3, 12, 12), generator=rng())
    out = method.view(image, rng(4))
    replay = rng(4)
    filtered = random_convolution(image, choose((1, 3, 5, 7), replay), replay)
    weight = torch.rand((), generator=replay)
    assert torch.allclose(out, weight * filtered + (1 - weight) * image, atol=1e-6)


def test_mixing_weight_zero_is_the_image_bit_for_bit(monkeypatch):
    method, image = make_method(), torch.randn((2, 3, 12, 12), generator=rng())
    monkeypatch.setattr(torch, "rand", lambda *_, **__: torch.zeros(()))
    assert torch.equal(method.view(image, rng()), image)


def test_image_mode_returns_the_image_itself_or_its_convolution():
    image = torch.randn((2, 3, 12, 12), generator=rng())
    always = make_method(mode="image", identity_probability=1.0)
    assert torch.equal(always.view(image, rng()), image)
    half, generator = make_method(mode="image"), rng()
    same = [torch.equal(half.view(image, generator), image) for _ in range(200)]
    assert 70 < sum(same) < 130
    replay = rng(4)
    never = make_method(mode="image", identity_probability=0.0)
    filtered = random_convolution(image, choose((1, 3, 5, 7), replay), replay)
    assert torch.equal(never.view(image, rng(4)), filtered)


@pytest.mark.parametrize("mode", ["mix", "image"])
def test_one_draw_serves_the_whole_batch(mode):
    method = make_method(mode=mode, identity_probability=0.0)
    image = torch.randn((1, 3, 12, 12), generator=rng()).expand(4, 3, 12, 12)
    out = method.view(image, rng(3))
    assert all(torch.equal(sample, out[0]) for sample in out)


@pytest.mark.parametrize("size", [1, 3, 5, 7])
def test_kernel_sizes_are_those_configured(size):
    method = make_method(kernel_sizes=(size,), mode="image", identity_probability=0.0)
    image = torch.zeros((1, 3, 15, 15))
    image[..., 7, 7] = 1
    reached = method.view(image, rng()).abs().sum((0, 1)) > 0
    assert reached.sum() == size**2


def replayed_views(method, nested):
    batch, generator = make_batch(), rng(9)
    image = method.prepare(batch.image, batch.foreground)
    first = method.view(image, generator)
    base = first if nested else image
    return [first, method.view(base, generator), method.view(base, generator)]


@pytest.mark.parametrize("nested", [False, True])
def test_terms_are_supervision_of_view_one_and_agreement_of_all_three(nested):
    method = make_method(nested_views=nested)
    logits = [method.network(view).logits for view in replayed_views(method, nested)]
    terms = terms_of(method)
    assert torch.equal(terms["segmentation"], soft_dice(logits[0], make_batch().label))
    assert torch.equal(terms["consistency"], 10 * jensen_shannon(logits))
    assert terms["consistency"] > 0


def test_the_two_ways_to_make_views_differ():
    assert terms_of(make_method())["consistency"] != terms_of(make_method(nested_views=True))["consistency"]


def test_official_supervision_is_cross_entropy():
    method = make_method(supervision="official")
    first = replayed_views(method, nested=False)[0]
    expected = cross_entropy(method.network(first).logits, make_batch().label)
    assert torch.equal(terms_of(method)["segmentation"], expected)


def test_views_two_and_three_are_not_supervised(monkeypatch):
    method, seen = make_method(consistency=0.0), []
    forward = method.network.forward

    def spy(x):
        features = forward(x)
        features.logits.retain_grad()
        seen.append(features.logits)
        return features

    monkeypatch.setattr(method.network, "forward", spy)
    sum(terms_of(method).values()).backward()
    assert [logits.grad.abs().max().item() > 0 for logits in seen] == [True, False, False]


def test_views_are_drawn_anew():
    views = replayed_views(make_method(), nested=False)
    assert not torch.allclose(views[0], views[1])
    assert not torch.allclose(views[1], views[2])


def test_prediction_is_the_plain_network():
    method, batch = make_method().eval(), make_batch()
    with torch.no_grad():
        expected = method.network(method.prepare(batch.image, batch.foreground)).logits
        assert torch.equal(method.predict(batch.image, batch.foreground), expected)


@pytest.mark.parametrize("settings", [{"kernel_sizes": (2,)}, {"kernel_sizes": ()}, {"identity_probability": -0.1}])
def test_impossible_settings_are_errors_that_name_the_field(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        RandConvConfig(**settings)


class RassBeforeRandConv(RandConv):
    def augment(self, batch, rng):
        return replace(batch, image=synthesise_spectrum(batch.image, RAS4DGConfig(), rng))


def seen_by(method, batch, generator):
    """Return the inputs of the network in one training step, the terms of the step and its example."""
    inputs = []
    handle = method.network.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    state = generator.get_state()
    context = StepContext(rng=generator, step=0, total_steps=1, epoch=0, total_epochs=1)
    terms = method.training_step(batch, context)
    handle.remove()
    return inputs, terms, method.example(batch, torch.Generator().set_state(state))


def test_views_of_a_stack_are_those_of_the_image_under_the_augmentation_in_front():
    batch, plain = make_batch(), make_method()
    stack = RassBeforeRandConv(plain.network, plain.config)
    inputs, terms, example = seen_by(stack, batch, rng(9))
    generator = rng(9)
    image = synthesise_spectrum(batch.image, RAS4DGConfig(), generator)
    assert (image - batch.image).abs().mean() > 0.05
    expected = seen_by(plain, replace(batch, image=image), generator)
    assert len(inputs) == 3
    assert all(torch.equal(a, b) for a, b in zip(inputs, expected[0], strict=True))
    assert terms.keys() == expected[1].keys()
    assert all(torch.equal(terms[name], expected[1][name]) for name in terms)
    assert torch.equal(example, expected[2])
    assert torch.equal(stack.predict(batch.image, batch.foreground), plain.predict(batch.image, batch.foreground))
