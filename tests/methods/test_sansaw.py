"""SAN-SAW: its terms, where their gradients go, the two modes. Blocks are held against plain loops over classes."""

import copy
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from ssdg.methods.base import Batch, Method, StepContext
from ssdg.methods.losses import soft_dice
from ssdg.methods.networks.segresnet import SegResNet
from ssdg.methods.parts.semantic import SemanticNormalisation, side_outputs, whitening_loss
from ssdg.methods.sansaw import (
    SanSaw,
    SanSawConfig,
    alignment_loss,
    class_weights,
    enlarge,
    weighted_cross_entropy,
)

CLASSES = 3


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_batch(ndim=2):
    channels, sides = (3, (32, 32)) if ndim == 2 else (1, (16, 16, 16))
    image = torch.rand((2, channels, *sides), generator=rng())
    label = torch.randint(CLASSES, (2, 1, *sides), generator=rng(1))
    return Batch(image, label, torch.ones((2, 1, *sides), dtype=torch.bool))


def make_method(ndim=2, **settings):
    torch.manual_seed(0)
    network = SegResNet(ndim, 3 if ndim == 2 else 1, CLASSES, init_filters=8)
    method = SanSaw(network, SanSawConfig(**settings))
    for block in method.blocks:  # of a size that the classes differ by
        block.classifier.weight.data.mul_(50)
        block.attention.data.mul_(20)
    return method


def context():
    return StepContext(rng=rng(9), step=0, total_steps=1, epoch=0, total_epochs=1)


def terms_of(method, batch=None):
    return method.training_step(make_batch(method.network.ndim) if batch is None else batch, context())


def side_outputs_of(method):
    batch = make_batch(method.network.ndim)
    with side_outputs(method.blocks) as sides:
        logits = method.network(method.prepare(batch.image, batch.foreground)).logits
    return logits, sides


def gradients_of(term, method):
    """Return name -> gradient, zeros where there is none."""
    method.zero_grad()
    term.backward()
    named = method.named_parameters()
    return {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in named}


def moved(gradients):
    return {name for name, gradient in gradients.items() if gradient.abs().max() > 0}


@pytest.mark.parametrize("ndim", [2, 3])
def test_terms_are_the_weighted_sums_over_the_two_blocks(ndim):
    method = make_method(ndim, auxiliary=0.2, alignment=0.3, whitening=0.4, relaxation=0)
    label = make_batch(ndim).label
    logits, sides = side_outputs_of(method)
    weights = class_weights(label, CLASSES)
    terms = terms_of(method)
    auxiliary = sum(weighted_cross_entropy(enlarge(side.logits, label), label, weights) for side in sides)
    pairs = list(zip(method.blocks, sides, strict=True))
    alignment = sum(alignment_loss(block, side, label) for block, side in pairs)
    whitening = sum(whitening_loss(side.normalised, block.classifier.weight.flatten(1), 0) for block, side in pairs)
    assert terms.keys() == {"segmentation", "auxiliary", "alignment", "whitening"}
    assert torch.equal(terms["segmentation"], soft_dice(logits, label))
    assert torch.allclose(terms["auxiliary"], 0.2 * auxiliary)
    assert torch.allclose(terms["alignment"], 0.3 * alignment)
    assert torch.allclose(terms["whitening"], 0.4 * whitening)
    assert all(term > 0 for term in terms.values())


def test_the_margin_is_rounded_down_on_request_alone():
    rounded, quotient = (terms_of(make_method(mode=mode, whitening=1.0)) for mode in ("paper-floor", "paper"))
    method = make_method()
    assert CLASSES == 3, "half of the three pairs: 1.5, or 1"
    expected = sum(
        whitening_loss(each.normalised, block.classifier.weight.flatten(1), 2, floor=True)
        for block, each in zip(method.blocks, side_outputs_of(method)[1], strict=True)
    )
    assert torch.allclose(rounded["whitening"], expected)
    assert rounded["whitening"] > quotient["whitening"]


def test_official_supervision_is_the_weighted_cross_entropy():
    method = make_method(supervision="official")
    label = make_batch().label
    expected = weighted_cross_entropy(side_outputs_of(method)[0], label, class_weights(label, CLASSES))
    assert torch.equal(terms_of(method)["segmentation"], expected)


def test_side_classifiers_teach_nothing_but_themselves():
    method = make_method()
    reached = moved(gradients_of(terms_of(method)["auxiliary"], method))
    own = {name for name, _ in method.named_parameters() if ".classifier." in name}
    assert len(own) == 4
    assert reached == own


@pytest.mark.parametrize("term", ["alignment", "whitening"])
def test_terms_on_features_teach_the_encoder_up_to_the_last_block(term):
    method = make_method(relaxation=0)
    reached = moved(gradients_of(terms_of(method)[term], method))
    assert {"network.convInit.conv.weight", *(f"network.down_layers.{s}.3.attention" for s in (1, 2))} <= reached
    assert not any(name.startswith(("network.up_layers", "network.down_layers.3")) for name in reached)


def make_oracle(label, channels=6):
    """Return a block and features (B, channels, *S): the first of them are the label, which it trusts."""
    block = SemanticNormalisation(label.ndim - 2, channels, CLASSES, CLASSES, None)
    truth = F.one_hot(label[:, 0], CLASSES).movedim(-1, 1).float()
    rest = torch.randn((len(label), channels - CLASSES, *label.shape[2:]), generator=rng(2))
    middle = (slice(None), 2, *[3] * (label.ndim - 2))
    with torch.no_grad():
        block.classifier.weight.zero_().flatten(1)[:, :CLASSES] = 1000 * torch.eye(CLASSES)
        block.classifier.bias.zero_()
        block.attention.zero_()[middle] = 100
    return block, torch.cat([truth, rest], dim=1)


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_perfect_side_classifier_with_full_attention_meets_the_target(ndim):
    label = make_batch(ndim).label
    block, features = make_oracle(label)
    with side_outputs([block]) as sides:
        block(features)
    assert alignment_loss(block, sides[0], label) < 1e-12
    assert alignment_loss(block, sides[0], label.roll(1, -1)) > 1e-2


def test_the_target_is_made_of_the_nearest_labels_and_is_not_detached():
    method = make_method()
    _, sides = side_outputs_of(method)
    label, block, side = make_batch().label, method.blocks[1], sides[1]
    features = side.features.detach().requires_grad_()
    loss = alignment_loss(block, side._replace(features=features, normalised=side.normalised.detach()), label)
    coarse = F.one_hot(label[:, 0, ::4, ::4], CLASSES).movedim(-1, 1).float()
    parts = [F.instance_norm(features * coarse[:, c : c + 1]) for c in range(CLASSES)]
    assert torch.allclose(loss, F.smooth_l1_loss(side.normalised, torch.stack(parts).sum(0).relu()), atol=1e-6)
    loss.backward()
    assert features.grad.abs().max() > 0


@pytest.mark.parametrize("stage", [1, 2])
def test_the_output_goes_to_the_next_stage_and_into_the_skip(stage):
    method, seen = make_method(), []
    method.network.down_layers[stage + 1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        _, skips = method.network.encode(torch.randn((1, 3, 32, 32), generator=rng()))
    assert torch.equal(seen[0], skips[stage])
    assert skips[stage].min() == 0 < skips[stage].max()


def test_released_mode_has_no_whitening_and_one_branch():
    method = make_method(mode="released", whitening=5.0)
    terms = terms_of(method)
    assert terms["whitening"] == 0
    gradients = gradients_of(torch.stack(list(terms.values())).sum(), method)
    for stage in (1, 2):
        gradient = gradients[f"network.down_layers.{stage}.3.attention"]
        assert gradient[0].abs().max() > 0
        assert gradient[1:].abs().max() == 0


@pytest.mark.parametrize("mode", ["paper", "paper-floor"])
def test_paper_modes_have_a_branch_for_each_class(mode):
    method = make_method(mode=mode)
    gradients = gradients_of(torch.stack(list(terms_of(method).values())).sum(), method)
    for stage in (1, 2):
        gradient = gradients[f"network.down_layers.{stage}.3.attention"]
        assert (gradient.abs().amax(dim=(1, 2, 3)) > 0).all()


@pytest.mark.parametrize("settings", [{}, {"mode": "released"}, {"region": "kmeans"}])
def test_prediction_is_the_network_and_leaves_no_trace(settings):
    method, batch = make_method(**settings).eval(), make_batch()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    with torch.no_grad():
        expected = method.network(method.prepare(batch.image, batch.foreground)).logits
        logits = method.predict(batch.image, batch.foreground)
        alone = method.predict(batch.image[:1], batch.foreground[:1])
    assert torch.equal(logits, expected)
    assert torch.allclose(alone, logits[:1], atol=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())


def test_a_step_leaves_nothing_behind_even_if_it_fails():
    method, names = make_method(), set(make_method().state_dict())
    terms_of(method)
    assert [block.listener for block in method.blocks] == [None, None]
    wrong = replace(make_batch(), image=torch.zeros((2, 5, 32, 32)))
    with pytest.raises(RuntimeError):
        terms_of(method, wrong)
    assert [block.listener for block in method.blocks] == [None, None]
    assert set(method.state_dict()) == names
    copy.deepcopy(method)  # impossible with a tensor of a graph among its attributes


def test_shared_layers_keep_names_and_initial_weights():
    torch.manual_seed(0)
    plain = Method(SegResNet(2, 3, CLASSES, init_filters=8)).state_dict()
    ours = make_method().state_dict()
    assert all(torch.equal(value, ours[name]) for name, value in plain.items())


def test_class_weights_are_the_shares_of_the_other_classes():
    label = torch.tensor([0] * 10 + [1] * 5 + [2]).view(1, 1, 4, 4)
    assert torch.allclose(class_weights(label, 4), torch.tensor([6 / 16, 11 / 16, 15 / 16, 1.0]))
    logits = torch.randn((1, 4, 4, 4), generator=rng(), dtype=torch.float64)
    nll = -logits.log_softmax(1).gather(1, label)
    weight = class_weights(label, 4)[label]
    expected = (weight * nll).sum() / weight.sum()
    assert torch.allclose(weighted_cross_entropy(logits, label, class_weights(label, 4)).double(), expected)


def test_a_batch_of_one_class_has_finite_terms():
    batch = make_batch()
    terms = terms_of(make_method(), replace(batch, label=torch.zeros_like(batch.label)))
    assert all(term.isfinite() for term in terms.values())


def test_side_predictions_are_enlarged_with_aligned_corners():
    coarse = torch.randn((1, 2, 4, 4), generator=rng())
    fine = enlarge(coarse, torch.zeros((1, 1, 16, 16)))
    assert torch.allclose(fine[..., ::5, ::5], coarse, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"auxiliary": -0.1}, "auxiliary"),
        ({"alignment": -1.0}, "alignment"),
        ({"whitening": -1.0}, "whitening"),
        ({"relaxation": -1}, "relaxation"),
        ({"clusters": 1}, "clusters"),
        ({"mode": "released", "region": "kmeans"}, "region"),
    ],
)
def test_impossible_settings_are_errors_that_name_the_field(settings, field):
    with pytest.raises(ValueError, match=rf"method\.{field}"):
        SanSawConfig(**settings)


def test_more_classes_than_channels_are_refused():
    with pytest.raises(ValueError, match="16 channels for 20 classes"):
        SanSaw(SegResNet(2, 3, 20, init_filters=8))
