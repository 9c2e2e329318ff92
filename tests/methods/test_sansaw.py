"""SAN-SAW: its terms, where their gradients go, the two modes. Blocks are held against plain loops over classes."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from ssdg.methods.base import Batch, Method, StepContext
from ssdg.methods.losses import soft_dice
from ssdg.methods.network import SegmentationNetwork
from ssdg.methods.sansaw import (
    SanSaw,
    SanSawConfig,
    alignment_loss,
    class_weights,
    enlarge,
    weighted_cross_entropy,
)
from ssdg.methods.semantic import SemanticNormalisation, side_outputs, whitening_loss

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
    network = SegmentationNetwork(ndim, 3 if ndim == 2 else 1, CLASSES, init_filters=8)
    method = SanSaw(network, SanSawConfig(**settings))
    for block in method.blocks:  # of a size that the classes differ by
        block.classifier.weight.data.mul_(50)
        block.attention.weight.data.mul_(20)
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


def test_other_terms_reach_what_they_should():
    method = make_method(relaxation=0)
    alignment = moved(gradients_of(terms_of(method)["alignment"], method))
    whitening = moved(gradients_of(terms_of(method)["whitening"], method))
    for reached in (alignment, whitening):
        assert "network.convInit.conv.weight" in reached
        assert {f"network.down_layers.{stage}.3.attention.weight" for stage in (2,)} <= reached
        assert not any(name.startswith(("network.up_layers", "network.down_layers.3")) for name in reached)


def block_for(label, channels=6):
    """Return a block and features (B, channels, *S) whose first channels are the one-hot label, with a = 1 there."""
    block = SemanticNormalisation(label.ndim - 2, channels, CLASSES, CLASSES, None)
    truth = F.one_hot(label[:, 0], CLASSES).movedim(-1, 1).float()
    rest = torch.randn((len(label), channels - CLASSES, *label.shape[2:]), generator=rng(2))
    with torch.no_grad():
        block.classifier.weight.zero_().flatten(1)[:, :CLASSES] = 1000 * torch.eye(CLASSES)
        block.classifier.bias.zero_()
        middle = (slice(None), 2, *[3] * (label.ndim - 2))
        block.attention.weight.zero_()[middle] = 100
    return block, torch.cat([truth, rest], dim=1)


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_perfect_side_classifier_with_full_attention_meets_the_target(ndim):
    label = make_batch(ndim).label
    block, features = block_for(label)
    with side_outputs([block]) as [*_], pytest.raises(IndexError):
        [][0]
    with side_outputs([block]) as sides:
        block(features)
    assert alignment_loss(block, sides[0], label) < 1e-12
    assert alignment_loss(block, sides[0], (label + 1) % CLASSES) > 1e-2


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
    for name in (f"network.down_layers.{stage}.3.attention.weight" for stage in (1, 2)):
        used = gradients[name] if name in gradients else gradients[name.replace(".3.", ".2.")]
        assert used[0].abs().max() > 0
        assert used[1:].abs().max() == 0
