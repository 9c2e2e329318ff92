"""CSDG: random networks, blending maps, views and terms. Draws are replayed from an equal generator."""

import pytest
import torch
from torch.nn import functional as F

from ssdg.methods.base import Batch, StepContext
from ssdg.methods.csdg import CSDG, CSDGConfig, blend, blending_mask, dice_and_cross_entropy
from ssdg.methods.losses import reversed_jensen_shannon, soft_dice
from ssdg.methods.networks.segresnet import SegResNet
from ssdg.methods.parts import gin

SHAPES = [(3, 3, 18, 14), (3, 1, 10, 9, 12)]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(shape, seed: int = 0):
    return torch.randn(shape, generator=rng(seed))


def make_batch():
    image = torch.rand((2, 3, 16, 16), generator=rng())
    label = torch.randint(3, (2, 1, 16, 16), generator=rng(1))
    return Batch(image, label, torch.ones((2, 1, 16, 16), dtype=torch.bool))


def make_method(ndim=2, channels=3, **settings):
    torch.manual_seed(0)
    return CSDG(SegResNet(ndim, channels, 3, init_filters=8), CSDGConfig(**settings))


def terms_of(method):
    context = StepContext(rng=rng(9), step=0, total_steps=1, epoch=0, total_epochs=1)
    return method.training_step(make_batch(), context)


def views_of(method, image=None, seed=9):
    batch = make_batch()
    return method.views(method.prepare(batch.image, batch.foreground) if image is None else image, rng(seed))


def lengths(x):
    return x.flatten(1).double().norm(dim=1)


@pytest.mark.parametrize("shape", SHAPES)
def test_views_keep_each_samples_norm_and_have_no_gradient(shape):
    method = make_method(len(shape) - 2, shape[1], ipa=False)
    image = normal(shape) * torch.tensor([0.01, 1.0, 30.0]).view(3, *[1] * (len(shape) - 1))
    for view in views_of(method, image):
        assert view.shape == image.shape
        assert torch.allclose(lengths(view), lengths(image), rtol=1e-4, atol=0)
        assert not view.requires_grad


def test_the_random_networks_are_no_state():
    method = make_method()
    before = set(method.state_dict())
    terms_of(method)
    assert set(method.state_dict()) == before == {f"network.{name}" for name in method.network.state_dict()}


def test_channels_and_kernel_sizes_are_those_configured(convolutions):
    views_of(make_method(layers=3, hidden_channels=5, kernel_sizes=(5,)))
    shapes = [tuple(kernel.shape) for kernel, _ in convolutions]
    assert shapes == [(2, 5, 3, 5, 5), (2, 5, 5, 5, 5), (2, 3, 5, 5, 5)] * 3


def test_kernel_sizes_are_drawn_for_each_layer_and_view(convolutions):
    method = make_method()
    for seed in range(40):
        views_of(method, seed=seed)
    sides = torch.tensor([kernel.shape[-1] for kernel, _ in convolutions])
    assert set(sides.tolist()) == {1, 3}
    large = (sides.view(40, 12) == 3).double()
    assert large.mean().item() == pytest.approx(0.5, abs=0.1)
    assert large.mean(0).min() > 0.2
    assert large.mean(0).max() < 0.8
    assert torch.corrcoef(large.T).fill_diagonal_(0).abs().max() < 0.7


def test_norm_of_a_constant_zero_image_is_no_division_by_zero():
    image = torch.zeros((2, 3, 8, 8))
    assert all(torch.equal(view, image) for view in views_of(make_method(), image))


def test_mixing_weights_are_uniform_and_each_samples_own(monkeypatch):
    seen = []
    monkeypatch.setattr(gin, "mix", lambda image, output, weight, match: seen.append(weight) or image)
    method = make_method(ipa=False)
    for seed in range(50):
        views_of(method, normal((8, 1, 8, 8)), seed)
    weights = torch.stack(seen)
    assert weights.shape[1:] == (8, 1, 1, 1)
    assert weights.std(dim=1).min() > 0
    assert weights.quantile(torch.tensor([0.1, 0.5, 0.9])).tolist() == pytest.approx([0.1, 0.5, 0.9], abs=0.04)


@pytest.mark.parametrize("sides", [(32, 40), (47, 55), (24, 28, 32)])
def test_maps_are_smooth_fill_the_unit_interval_and_differ(sides):
    mask = blending_mask(torch.zeros((6, 3, *sides)), 4, rng())
    assert mask.shape == (6, 1, *sides)
    assert torch.equal(mask.flatten(1).amin(1), torch.zeros(6))
    assert torch.equal(mask.flatten(1).amax(1), torch.ones(6))
    steepest = max(mask.diff(dim=axis).abs().max() for axis in range(2, mask.ndim))
    assert 0 < steepest <= 4 / (sides[0] / 4)
    assert all(not torch.allclose(mask[0], other, atol=0.05) for other in mask[1:])


def test_maps_have_the_moments_of_the_authors_masks():
    # Measured on 400 of their masks at 192²: mean 0.46, standard deviation within a mask 0.21.
    mask = blending_mask(torch.zeros((400, 1, 48, 48)), 4, rng()).flatten(1)
    assert mask.mean().item() == pytest.approx(0.46, abs=0.02)
    assert mask.std(dim=1).mean().item() == pytest.approx(0.215, abs=0.01)


def test_more_cells_make_finer_maps():
    coarse, fine = (blending_mask(torch.zeros((16, 1, 64, 64)), cells, rng()) for cells in (2, 8))
    assert fine.diff(dim=-1).abs().mean() > 2 * coarse.diff(dim=-1).abs().mean()


def test_blends_add_up_to_what_they_are_made_of():
    first, second, mask = normal(SHAPES[1]), normal(SHAPES[1], 1), torch.rand((3, 1, 10, 9, 12), generator=rng(2))
    one, two = blend(first, second, mask)
    assert torch.allclose(one, mask * first + (1 - mask) * second, atol=1e-6)
    assert torch.allclose(one + two, first + second, atol=1e-6)
    assert all(torch.equal(half, first) for half in blend(first, first, mask))


def test_views_are_two_complementary_blends_and_an_unblended_rendering():
    plain, blended = views_of(make_method(ipa=False)), views_of(make_method())
    assert len(plain) == len(blended) == 3
    assert not torch.allclose(plain[0], plain[1])
    assert not torch.allclose(plain[1], plain[2])
    assert torch.equal(blended[2], plain[2])
    assert torch.allclose(blended[0] + blended[1], plain[0] + plain[1], atol=1e-5)
    shares = (blended[0] - plain[1]) / (plain[0] - plain[1])
    usable = (plain[0] - plain[1]).abs().amin(dim=1) > 0.1
    spread = (shares - shares[:, :1]).abs().amax(dim=1)[usable]
    assert spread.max() < 1e-3  # one map for all channels
    assert shares[:, 0][usable].max() - shares[:, 0][usable].min() > 0.5


def test_the_third_view_can_be_left_out():
    method = make_method(third_view=False)
    views = views_of(method)
    assert len(views) == 2
    logits = [method.network(view).logits for view in views]
    assert torch.allclose(terms_of(method)["consistency"], 10 / 3 * reversed_jensen_shannon(logits), rtol=1e-4)


@pytest.mark.parametrize("ipa", [True, False])
def test_terms_are_supervision_of_view_one_and_agreement_of_all_three(ipa):
    method = make_method(ipa=ipa)
    logits = [method.network(view).logits for view in views_of(method)]
    terms = terms_of(method)
    assert torch.allclose(terms["segmentation"], soft_dice(logits[0], make_batch().label), rtol=1e-5)
    log_probabilities = torch.cat(logits).log_softmax(dim=1)
    mean = torch.stack(logits).softmax(dim=2).mean(dim=0).repeat(3, 1, 1, 1)
    expected = 10 * F.kl_div(log_probabilities, mean, reduction="none").mean()
    assert terms["consistency"].item() == pytest.approx(expected.item(), rel=1e-4)
    assert terms["consistency"] > 0


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
    [logits] = seen  # the views share one forward pass
    assert [part.abs().max().item() > 0 for part in logits.grad.chunk(3)] == [True, False, False]


def test_official_supervision_is_dice_without_squares_plus_cross_entropy():
    logits, label = normal((2, 3, 6, 5)), torch.randint(2, (2, 1, 6, 5), generator=rng(1))  # class 2 is absent
    probability, dice = logits.softmax(dim=1), []
    for sample in range(2):
        for cls in range(3):
            p, q = probability[sample, cls], (label[sample, 0] == cls).float()
            dice.append(2 * (p * q).sum() / (p.sum() + q.sum() + 1e-5))
    expected = 1 - torch.stack(dice).mean() + F.cross_entropy(logits, label[:, 0])
    assert torch.allclose(dice_and_cross_entropy(logits, label), expected)
    method = make_method(supervision="official")
    first = method.network(views_of(method)[0]).logits
    expected = dice_and_cross_entropy(first, make_batch().label)
    assert torch.allclose(terms_of(method)["segmentation"], expected, rtol=1e-5)


def test_a_class_absent_from_a_sample_counts_as_a_miss():
    label = torch.randint(2, (2, 1, 6, 5), generator=rng(1))
    perfect = 60 * F.one_hot(label[:, 0], 3).movedim(-1, 1).float()
    assert dice_and_cross_entropy(perfect, label).item() == pytest.approx(1 / 3, abs=1e-5)


def test_augmentation_does_not_depend_on_the_runs_precision():
    method, image = make_method(), normal((2, 3, 16, 16))
    plain = views_of(method, image)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert all(torch.equal(view, other) for view, other in zip(views_of(method, image), plain, strict=True))


def test_example_is_the_supervised_view():
    method = make_method()
    assert torch.equal(method.example(make_batch(), rng(9)), views_of(method)[0])


def test_prediction_is_the_plain_network():
    method, batch = make_method().eval(), make_batch()
    with torch.no_grad():
        expected = method.network(method.prepare(batch.image, batch.foreground)).logits
        assert torch.equal(method.predict(batch.image, batch.foreground), expected)


@pytest.mark.parametrize(
    ("name", "value"),
    [("kernel_sizes", (2,)), ("kernel_sizes", ()), ("layers", 0), ("hidden_channels", 0), ("consistency", -1.0)],
)
def test_impossible_settings_are_errors_that_name_the_field(name, value):
    with pytest.raises(ValueError, match=f"method.{name}"):
        CSDGConfig(**{name: value})
