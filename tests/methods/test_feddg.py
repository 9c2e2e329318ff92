"""FedDG: the amplitude transform and the episodic step."""

from dataclasses import replace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from ssdg.methods.base import Batch, Method, StepContext
from ssdg.methods.feddg import FedDG, FedDGConfig, interpolate_amplitude, plain_dice
from ssdg.methods.losses import soft_dice
from ssdg.methods.networks.segresnet import SegResNet
from ssdg.methods.parts.boundary import boundary_contrast, boundary_regions
from ssdg.methods.parts.partners import draw_partners

SWAP = torch.tensor([1, 0])


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_images(count=2, sides=(48, 64), seed=0):
    """Return images of distinct brightness whose transforms stay within [0, 1] for small windows."""
    noise = torch.rand((count, 3, *sides), generator=rng(seed))
    return 0.35 + 0.1 * noise + torch.linspace(0, 0.2, count).view(-1, 1, 1, 1)


def make_label(count=2, side=32):
    label = torch.zeros((count, 1, side, side), dtype=torch.long)
    label[:, :, 8:24, 8:24] = 1
    label[:, :, 12:18, 13:20] = 2
    return label


def make_batch(count=2):
    image = make_images(count, (32, 32))
    foreground = torch.ones((count, 1, 32, 32), dtype=torch.bool)
    foreground[..., :3] = False
    return Batch(image, make_label(count), foreground)


def make_method(cls=FedDG, **settings):
    torch.manual_seed(0)
    config = FedDGConfig(**settings) if cls is FedDG else None
    return cls(SegResNet(2, 3, 3, init_filters=8), config)


def terms_of(method, batch=None, seed=9):
    context = StepContext(rng=rng(seed), step=0, total_steps=1, epoch=0, total_epochs=1)
    return method.training_step(batch or make_batch(), context)


def test_weight_zero_is_the_image_bit_for_bit():
    image = make_images()
    assert torch.equal(interpolate_amplitude(image, SWAP, 0.1, torch.zeros(2)), image)


def test_swapping_the_zero_frequency_shifts_each_channel_to_the_donors_mean():
    image = make_images()
    view = interpolate_amplitude(image, SWAP, 0.0, torch.ones(2))
    shift = view - image
    assert (shift - shift.mean(dim=(2, 3), keepdim=True)).abs().max() < 1e-6
    assert torch.allclose(view.mean(dim=(2, 3)), image[SWAP].mean(dim=(2, 3)), atol=1e-6)
    assert shift.abs().min() > 0.01


@pytest.mark.parametrize("sides", [(48, 64), (47, 33)])
@pytest.mark.parametrize("window", [0.0, 0.1, 0.25, 0.5])
def test_amplitudes_mix_inside_the_window_only_and_phases_stay(sides, window):
    image, weight = make_images(sides=sides), torch.tensor([0.3, 0.9])
    view = interpolate_amplitude(image, SWAP, window, weight)
    assert 0 < view.min() <= view.max() < 1, "clipping would hide the spectrum"
    own, new = torch.fft.fft2(image.double()), torch.fft.fft2(view.double())
    reach = int(min(sides) * window)
    row, column = (torch.fft.fftfreq(side, 1 / side).round().abs() <= reach for side in sides)
    inside = row[:, None] & column
    mix = torch.lerp(own.abs(), own.abs()[SWAP], weight.double().view(-1, 1, 1, 1))
    expected = torch.where(inside, mix, own.abs())
    assert inside.sum() == min(2 * reach + 1, sides[0]) * min(2 * reach + 1, sides[1])
    # The tolerance is for single-precision phases where the image has next to no amplitude of its own.
    assert torch.allclose(new, torch.polar(expected, own.angle()), atol=5e-3)


def test_views_are_clipped_to_the_range_of_images():
    dark, bright = torch.zeros((1, 16, 16)), torch.ones((1, 16, 16))
    dark[:, :8], bright[:, :8] = 0.5, 0.3
    view = interpolate_amplitude(torch.stack([bright, dark]), SWAP, 0.0, torch.ones(2))
    assert torch.allclose(view[0, 0, [0, -1], 0], torch.tensor([0.0, 0.6]), atol=1e-6)  # 0.3 and 1, less 0.4
    assert torch.allclose(view[1, 0, [0, -1], 0], torch.tensor([0.9, 0.4]), atol=1e-6)  # 0.5 and 0, plus 0.4
    assert view.min() == 0
    lit = interpolate_amplitude(torch.stack([dark, torch.ones((1, 16, 16))]), SWAP, 0.0, torch.ones(2))
    assert lit.max() == 1


def test_each_image_has_its_own_weight_uniform_between_zero_and_one():
    method, batch = make_method(window=0.0), make_batch(3)
    mean = batch.image.mean(dim=(2, 3))
    weights = []
    for seed in range(200):
        view, donor = method.view(batch, rng(seed)), draw_partners(3, rng(seed), "feddg")
        shares = (view.mean(dim=(2, 3)) - mean) / (mean[donor] - mean)
        assert torch.allclose(shares, shares[:, :1].expand(3, 3), atol=1e-3), "channels of an image share a weight"
        weights.append(shares[:, 0])
    drawn = torch.stack(weights)
    assert 0 <= drawn.min() < 0.02 < 0.98 < drawn.max() <= 1 + 1e-4
    assert (drawn.mean(0) - 0.5).abs().max() < 0.08
    assert torch.corrcoef(drawn.T).triu(1).abs().max() < 0.25


def test_released_mode_swaps_means_and_draws_no_weight():
    batch = make_batch()
    view = make_method(mode="released", window=0.2).view(batch, rng(3))
    mean = batch.image.mean(dim=(2, 3), keepdim=True)
    assert torch.allclose(view, batch.image + mean[SWAP] - mean, atol=1e-6)
    assert torch.equal(view, make_method(mode="released").view(batch, rng(4)))


def test_the_network_sees_the_prepared_image_then_the_prepared_view(monkeypatch):
    method, batch, seen = make_method(), make_batch(), []
    forward = method.network.forward
    monkeypatch.setattr(method.network, "forward", lambda x: seen.append(x) or forward(x))
    terms_of(method, batch)
    assert len(seen) == 2
    assert torch.equal(seen[0], method.prepare(batch.image, batch.foreground))
    assert torch.equal(seen[1], method.prepare(method.view(batch, rng(9)), batch.foreground))
    assert torch.equal(seen[1], method.example(batch, rng(9)))
    assert not torch.allclose(seen[0], seen[1], atol=1e-3)


def expected_gradients(method, batch):
    """Return ∇L_inner(θ) + ∇L_outer(θ') and L_outer(θ') with θ and θ' two independent sets of weights."""
    config = method.config
    adapted = make_method()
    adapted.load_state_dict(method.state_dict())
    inner = method.network(method.prepare(batch.image, batch.foreground))
    weights = list(method.network.parameters())
    loss = soft_dice(inner.logits, batch.label)
    moved = list(adapted.network.parameters())
    with torch.no_grad():
        for weight, grad in zip(moved, torch.autograd.grad(loss, weights, retain_graph=True), strict=True):
            weight -= config.meta_rate * grad.clamp(-config.gradient_limit, config.gradient_limit)
    outer = adapted.network(method.prepare(method.view(batch, rng(9)), batch.foreground))
    outer_loss = soft_dice(outer.logits, batch.label)
    regions = boundary_regions(batch.label, 3, config.ring)
    contrast = boundary_contrast([inner.decoder, outer.decoder], regions, config.temperature)
    total = loss + outer_loss + config.contrast * contrast
    gradients = torch.autograd.grad(total, weights + moved, allow_unused=True)
    sums = zip(gradients[: len(weights)], gradients[len(weights) :], strict=True)
    return [a + b for a, b in sums], outer_loss.detach(), contrast.detach()


@pytest.mark.parametrize(
    "settings",
    [{"contrast": 0.0}, {}, {"meta_rate": 0.5}, {"meta_rate": 0.5, "gradient_limit": 1e-4}],
    ids=["no contrast", "default", "large step", "clipped"],
)
def test_the_gradient_is_that_of_both_losses_at_their_own_weights(settings):
    method, batch = make_method(**settings), make_batch()
    terms = terms_of(method, batch)
    got = torch.autograd.grad(sum(terms.values()), list(method.network.parameters()))
    expected, outer_loss, contrast = expected_gradients(method, batch)
    assert max((a - b).abs().max() for a, b in zip(got, expected, strict=True)) < 1e-6
    assert torch.allclose(terms["episodic"], outer_loss, atol=1e-6)
    if method.config.contrast:
        assert torch.allclose(terms["contrast"], method.config.contrast * contrast, atol=1e-5)
    else:
        assert "contrast" not in terms


def test_the_inner_step_moves_every_weight_and_is_clipped():
    method = make_method(gradient_limit=1e-4, meta_rate=1.0)
    batch = make_batch()
    loss = soft_dice(method.network(method.prepare(batch.image, batch.foreground)).logits, batch.label)
    adapted = method.adapted_weights(loss)
    assert adapted.keys() == dict(method.network.named_parameters()).keys()
    for name, weight in method.network.named_parameters():
        moved = (adapted[name] - weight).abs().max()
        assert 0 < moved <= 1.01e-4


def test_a_step_leaves_weights_and_their_gradients_alone():
    method = make_method(meta_rate=1.0)
    before = {name: weight.clone() for name, weight in method.state_dict().items()}
    terms_of(method)
    assert all(torch.equal(weight, before[name]) for name, weight in method.state_dict().items())
    assert all(weight.grad is None for weight in method.parameters())


def test_without_transform_and_inner_step_both_terms_are_source_only_training():
    grey = replace(make_batch(), image=torch.full((2, 3, 32, 32), 0.5))
    terms, plain = terms_of(make_method(meta_rate=0.0), grey), terms_of(make_method(Method), grey)
    assert torch.equal(terms["segmentation"], plain["segmentation"])
    assert torch.allclose(terms["episodic"], plain["segmentation"], atol=1e-6)


@pytest.mark.parametrize("value", [0, 1])
def test_images_all_of_one_class_train(value):
    method = make_method()
    terms = terms_of(method, replace(make_batch(), label=torch.full((2, 1, 32, 32), value)))
    assert terms["contrast"] == 0
    assert all(torch.isfinite(term) for term in terms.values())
    gradients = torch.autograd.grad(sum(terms.values()), list(method.network.parameters()))
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_no_step_waits_for_the_device():
    # Fake tensors have shapes and no values: whatever looks at one, or indexes by a mask, raises.
    with FakeTensorMode():
        batch = make_batch(3)
        terms = terms_of(make_method(), batch)
        sum(terms.values()).backward()
        with pytest.raises(RuntimeError):
            terms["contrast"].item()


def test_official_supervision_is_dice_without_squares_or_background():
    logits, label = torch.randn((2, 3, 32, 32), generator=rng()), make_label()
    probability = logits.softmax(dim=1)
    scores = []
    for index in (1, 2):
        p, q = probability[:, index], (label[:, 0] == index).float()
        scores.append((2 * (p * q).sum() + 1e-5) / (p.sum() + q.sum() + 1e-5))
    assert torch.allclose(plain_dice(logits, label), 1 - (scores[0] + scores[1]) / 2, atol=1e-6)
    method, batch = make_method(supervision="official"), make_batch()
    inner = method.network(method.prepare(batch.image, batch.foreground)).logits
    assert torch.equal(terms_of(method, batch)["segmentation"], plain_dice(inner, batch.label))


def test_prediction_is_the_plain_network():
    method, batch = make_method().eval(), make_batch()
    with torch.no_grad():
        expected = method.network(method.prepare(batch.image, batch.foreground)).logits
        assert torch.equal(method.predict(batch.image, batch.foreground), expected)


@pytest.mark.parametrize(
    "settings",
    [
        {"window": 0.6},
        {"window": -0.1},
        {"ring": 0},
        {"meta_rate": -1.0},
        {"contrast": -0.1},
        {"gradient_limit": 0.0},
        {"temperature": 0.0},
    ],
)
def test_impossible_settings_are_errors_that_name_the_field(settings):
    with pytest.raises(ValueError, match=rf"method\.{next(iter(settings))}"):
        FedDGConfig(**settings)
