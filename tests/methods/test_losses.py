"""Losses against their formulas, written out slowly."""

import math

import numpy as np
import pytest
import torch

from ssdg.methods.losses import cross_entropy, jensen_shannon, one_hot, reversed_jensen_shannon, soft_dice


def random_case(shape=(2, 4, 5, 6), seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator)
    label = torch.randint(shape[1], (shape[0], 1, *shape[2:]), generator=generator)
    return logits, label


def probabilities(logits):
    exponential = np.exp(logits.double().numpy())
    return exponential / exponential.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("shape", [(2, 4, 5, 6), (1, 2, 3, 4, 5)])
def test_soft_dice_is_its_formula(shape):
    logits, label = random_case(shape)
    p, losses = probabilities(logits), []
    for c in range(shape[1]):
        q = (label[:, 0] == c).numpy().astype(float)
        overlap, size = (p[:, c] * q).sum(), (p[:, c] ** 2).sum() + (q**2).sum()
        losses.append(1 - (2 * overlap + 1e-5) / (size + 1e-5))
    assert soft_dice(logits, label).item() == pytest.approx(np.mean(losses), abs=1e-6)


def test_soft_dice_of_a_sure_and_right_prediction_is_zero_even_with_an_absent_class():
    _, label = random_case()
    label[label == 3] = 0
    assert soft_dice(100 * one_hot(label, 4), label).item() == pytest.approx(0, abs=1e-5)


def test_soft_dice_sums_over_the_batch_not_over_images():
    logits, label = random_case()
    apart = (soft_dice(logits[:1], label[:1]) + soft_dice(logits[1:], label[1:])) / 2
    assert abs(soft_dice(logits, label) - apart) > 1e-4


def test_losses_are_computed_in_float32():
    logits, label = random_case()
    half = logits.bfloat16()
    assert soft_dice(half, label) == soft_dice(half.float(), label)
    assert cross_entropy(half, label) == cross_entropy(half.float(), label)
    assert jensen_shannon([half, -half]) == jensen_shannon([half.float(), -half.float()])


def test_cross_entropy_is_its_formula():
    logits, label = random_case()
    picked = np.take_along_axis(probabilities(logits), label.numpy(), axis=1)
    assert cross_entropy(logits, label).item() == pytest.approx(-np.log(picked).mean(), abs=1e-6)


def views(seed=0):
    return list(torch.randn((3, 2, 4, 5, 6), generator=torch.Generator().manual_seed(seed)))


def test_jensen_shannon_is_its_formula():
    p = np.stack([probabilities(v) for v in views()])
    centre = p.mean(axis=0)
    expected = (p * (np.log(p) - np.log(centre))).sum(axis=2).mean()
    assert jensen_shannon(views()).item() == pytest.approx(expected, abs=1e-6)
    expected = (centre * (np.log(centre) - np.log(p))).sum(axis=2).mean()
    assert reversed_jensen_shannon(views()).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("divergence", [jensen_shannon, reversed_jensen_shannon])
def test_divergence_is_zero_where_views_agree_and_blind_to_their_order(divergence):
    first, second, third = views()
    assert divergence([first, first + 5, first]).item() == pytest.approx(0, abs=1e-6)
    assert divergence([first, second, third]).item() == pytest.approx(divergence([third, first, second]).item())
    assert divergence([first, second, third]) > 0.01


def test_jensen_shannon_is_at_most_log_three_and_stays_finite_there():
    sure = [200 * torch.eye(3)[i].view(1, 3, 1, 1) for i in range(3)]
    for logits in sure:
        logits.requires_grad_()
    total = jensen_shannon(sure) + reversed_jensen_shannon(sure)
    assert jensen_shannon(sure).item() == pytest.approx(math.log(3), abs=1e-5)
    total.backward()
    assert all(torch.isfinite(logits.grad).all() for logits in sure)


def test_gradients_flow_through_every_view_and_the_mean():
    logits = [v.double().requires_grad_() for v in views()]
    jensen_shannon(logits).backward()
    step = 1e-2
    moved = [v.detach().clone() for v in logits]
    moved[1][0, 2, 3, 3] += step
    up = jensen_shannon(moved)
    moved[1][0, 2, 3, 3] -= 2 * step
    slope = (up - jensen_shannon(moved)) / (2 * step)
    assert logits[1].grad[0, 2, 3, 3].item() == pytest.approx(slope.item(), abs=2e-4, rel=0.05)
    assert all(v.grad.abs().max() > 0 for v in logits)
