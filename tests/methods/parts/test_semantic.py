"""The blocks of SAN-SAW against plain loops over classes, channels and voxels."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ssdg.methods.parts.semantic import (
    SemanticNormalisation,
    above_lowest_cluster,
    normalise_parts,
    side_outputs,
    whitening_loss,
)

CONVOLUTIONS = {4: F.conv2d, 5: F.conv3d}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_block(ndim, branches=3, clusters=None, channels=8, classes=3):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        block = SemanticNormalisation(ndim, channels, classes, branches, clusters)
        with torch.no_grad():
            block.classifier.weight.mul_(50)
            block.attention.mul_(20)
            block.scale.normal_(1, 0.3)
            block.shift.normal_(0, 0.3)
    return block


def make_features(ndim, channels=8):
    side = 14 if ndim == 2 else 8
    return 2 * torch.randn((2, channels, *[side] * ndim), generator=rng(1)) + 0.5


def block_by_loop(block, x):
    """Return the block's output from a masked copy of the features for each class."""
    probability = block.classifier(x.detach()).softmax(1)
    total = 0
    for c in range(probability.shape[1]):
        q = probability[:, c : c + 1]
        part = q * x
        cues = torch.cat([part.mean(1, keepdim=True), part.amax(1, keepdim=True), q], dim=1)
        kernel = block.attention[[c if block.branches > 1 else 0]]
        part = part * CONVOLUTIONS[x.ndim](cues, kernel, padding=3).sigmoid()
        if block.clusters is not None:
            part = part * above_lowest_cluster(part.mean(1, keepdim=True).detach(), block.clusters)
        total = total + F.instance_norm(part, weight=block.scale, bias=block.shift)
    return total.relu()


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize(("branches", "clusters"), [(3, None), (1, None), (3, 5)])
def test_block_and_its_gradients_equal_the_loop_over_classes(ndim, branches, clusters):
    block, direction = make_block(ndim, branches, clusters), None
    outcomes = []
    for function in (block, lambda x: block_by_loop(block, x)):
        features = make_features(ndim).requires_grad_()
        out = function(features)
        direction = torch.randn(out.shape, generator=rng(2)) if direction is None else direction
        inputs = [features, *block.parameters()]
        outcomes.append([out, *torch.autograd.grad((out * direction).sum(), inputs)])
    for ours, reference in zip(*outcomes, strict=True):
        assert torch.allclose(ours, reference, rtol=1e-4, atol=1e-5 * reference.abs().max().item())


def test_a_part_that_takes_nothing_adds_the_shift_alone():
    x, scale, shift = make_features(2), torch.full((8,), 2.0), torch.arange(8.0)
    share = torch.zeros((2, 2, 14, 14))
    share[:, 0] = 1
    expected = F.instance_norm(x, weight=scale, bias=shift) + shift.view(1, -1, 1, 1)
    assert torch.allclose(normalise_parts(x, share, scale, shift), expected, atol=1e-5)


def test_gradients_stay_finite_for_a_constant_map_and_an_empty_part():
    x = torch.full((1, 2, 4, 4), 3.0, requires_grad=True)
    share = torch.stack([torch.ones((1, 4, 4)), torch.zeros((1, 4, 4))], dim=1).requires_grad_()
    normalise_parts(x, share, torch.ones(2), torch.zeros(2)).square().sum().backward()
    assert x.grad.isfinite().all()
    assert share.grad.isfinite().all()


def test_statistics_stay_precise_far_from_zero():
    x = make_features(2) + 30
    parts = torch.rand((2, 3, 14, 14), generator=rng(4))
    expected = sum(F.instance_norm(x.double() * parts[:, c : c + 1].double()) for c in range(3))
    ours = normalise_parts(x, parts, torch.ones(8), torch.zeros(8)).double()
    assert torch.allclose(ours, expected, atol=1e-3)


def test_half_precision_features_are_normalised_in_float32_and_returned_in_their_type():
    block, x = make_block(2), make_features(2)
    with side_outputs([block]) as sides, torch.autocast("cpu", dtype=torch.bfloat16):
        out = block(x.bfloat16())
    assert out.dtype == torch.bfloat16
    assert sides[0].normalised.dtype == torch.float32
    assert (out.float() - block(x)).abs().mean() < 0.05


def test_output_keeps_channels_last():
    x = make_features(2).contiguous(memory_format=torch.channels_last)
    assert make_block(2)(x).is_contiguous(memory_format=torch.channels_last)


def test_side_outputs_come_only_while_asked_for():
    block, x = make_block(2), make_features(2)
    block(x)
    with side_outputs([block, block]) as sides:
        out = block(x)
    block(x)
    assert len(sides) == 1
    assert torch.equal(sides[0].features, x)
    assert torch.equal(sides[0].normalised, out)
    assert block.listener is None


def whitening_by_loop(x, weight, margin):
    """Return the loss by the definition: every group, pair of classes and image on its own."""
    classes, channels = weight.shape
    size, order = weight.abs().sort(dim=1, descending=True)
    total = 0
    for k in range(channels // classes):
        for image in x.flatten(2):
            maps = [size[c, k].sigmoid() * image[order[c, k]] for c in range(classes)]
            pairs = [maps[i] @ maps[j] / (image.shape[1] - 1) for i in range(classes) for j in range(i)]
            total = total + (torch.stack(pairs).abs().sum() - margin).clamp(min=0) / len(pairs) / len(x)
    return total


@pytest.mark.parametrize(("classes", "channels", "margin"), [(2, 8, 0.5), (3, 16, 1.5), (5, 16, 5), (8, 16, 14)])
def test_whitening_equals_the_loop_with_half_of_the_pairs_as_margin(classes, channels, margin):
    assert classes * (classes - 1) / 2 / 2 == margin
    weight = torch.randn((classes, channels), generator=rng(3))
    mixing = torch.randn((channels, channels), generator=rng(4))
    x = torch.einsum("ij,bjhw->bihw", mixing, torch.randn((2, channels, 6, 6), generator=rng(5))).requires_grad_()
    ours, reference = whitening_loss(x, weight, 2), whitening_by_loop(x, weight, margin)
    assert reference > 0
    assert torch.allclose(ours, reference, rtol=1e-5)
    gradients = [torch.autograd.grad(loss, x)[0] for loss in (ours, reference)]
    assert torch.allclose(*gradients, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("classes", "margin"), [(2, 0), (3, 1), (5, 5), (6, 7)])
def test_the_authors_round_the_margin_down(classes, margin):
    x, weight = torch.randn((2, 16, 6, 6), generator=rng(5)), torch.randn((classes, 16), generator=rng(3))
    assert torch.allclose(whitening_loss(x, weight, 2, floor=True), whitening_by_loop(x, weight, margin), rtol=1e-5)


def separate_channels(channels):
    """Return a map (1, channels, 4, 4) whose channels are orthogonal over the voxels, and weights that rank them."""
    x = torch.zeros((1, channels, 16))
    x[0, range(channels), range(channels)] = 4.0
    weight = torch.tensor([[4.0, 3.0, 0.2, 0.1], [0.1, 0.2, 3.0, 4.0]])
    return x.view(1, channels, 4, 4), weight


def test_orthogonal_channels_are_white():
    x, weight = separate_channels(4)
    assert whitening_loss(x, weight, 2) == 0


def test_a_channel_for_two_classes_counts_with_its_power():
    x, weight = separate_channels(4)
    same = weight[[0, 0]]
    power = 16 / 15  # of a channel of one voxel of 4 among 16
    excess = power * same[0, :2].sigmoid() ** 2 - 0.5  # above half of the only pair
    assert torch.allclose(whitening_loss(x, same, 2), excess.sum())


@pytest.mark.parametrize("classes", [2, 3])
def test_a_channel_may_serve_all_classes_up_to_the_margin(classes):
    """Each pair may have a correlation of 1 / relaxation, also where there is only one pair."""
    x = make_features(2).flatten(2)
    x = (x * ((x.shape[2] - 1) ** 0.5 / x.norm(dim=2, keepdim=True))).view(2, 8, 14, 14)  # power 1
    weight = torch.zeros((classes, 8))  # the same ranks for every class, and gates of a half
    assert whitening_loss(0.99 * x, weight, 4) == 0
    assert 0 < whitening_loss(1.01 * x, weight, 4) < 0.1
    assert whitening_loss(0.1 * x, weight, 0) > 0


def test_descent_removes_correlation():
    weight = separate_channels(4)[1]
    x = torch.randn((2, 1, 6, 6), generator=rng(6)) + 0.3 * torch.randn((2, 4, 6, 6), generator=rng(7))
    x.requires_grad_()
    history = []
    for _ in range(11):
        loss = whitening_loss(x, weight, 0)
        history.append(loss.item())
        x = (x - 6 * torch.autograd.grad(loss, x)[0]).detach().requires_grad_()
    assert history[0] > 0.5
    assert all(later < earlier for earlier, later in pairwise(history))
    assert history[-1] < 0.2 * history[0]


def test_whitening_does_not_care_where_voxels_are():
    weight, x = torch.randn((3, 8), generator=rng(3)), make_features(2)
    order = torch.randperm(14 * 14, generator=rng(4))
    moved = x.flatten(2)[:, :, order].view_as(x)
    assert torch.allclose(whitening_loss(x, weight, 2), whitening_loss(moved, weight, 2), rtol=1e-5)


def test_the_margin_forgives():
    weight, x = torch.randn((8, 16), generator=rng(3)), 0.3 * torch.randn((2, 16, 8, 8), generator=rng(4))
    assert whitening_loss(x, weight, 2) == 0
    assert whitening_loss(x, weight, 0) > 0


def test_whitening_teaches_the_features_and_not_the_classifier():
    weight, x = torch.randn((2, 8), generator=rng(3)).requires_grad_(), make_features(2).requires_grad_()
    whitening_loss(x, weight, 0).backward()
    assert weight.grad is None
    assert x.grad.abs().max() > 0


def lowest_by_search(values, clusters):
    """Return the mask above the lowest of the optimal clusters, by dynamic programming over all values."""
    order = np.sort(values)
    n = len(order)
    first, second = np.r_[0, order.cumsum()], np.r_[0, (order**2).cumsum()]

    def cost(i, j):
        return second[j] - second[i] - (first[j] - first[i]) ** 2 / (j - i)

    best = {(1, i): (cost(i, n), n) for i in range(n)}
    for k in range(2, clusters + 1):
        for i in range(n - k + 1):
            best[k, i] = min((cost(i, j) + best[k - 1, j][0], j) for j in range(i + 1, n - k + 2))
    return values >= order[best[clusters, 0][1]]


@pytest.mark.parametrize("clusters", [2, 3, 5])
def test_clusters_are_the_optimal_ones(clusters):
    values = torch.randn(80, generator=rng(clusters))
    values[:30] -= 3
    ours = above_lowest_cluster(values.view(1, 1, 8, 10), clusters).flatten()
    reference = lowest_by_search(values.double().numpy(), clusters)
    assert 0 < reference.sum() < 80
    assert np.array_equal(ours.numpy() > 0, reference)


def test_clusters_of_well_separated_levels():
    levels = torch.tensor([-2.0, 0.0, 1.0, 5.0, 7.0])
    values = levels[torch.arange(64).remainder(5)].view(1, 1, 4, 4, 4)
    assert torch.equal(above_lowest_cluster(values, 5), (values > -2).float())


def test_each_map_is_clustered_by_itself_and_a_constant_one_is_kept():
    values = torch.randn((2, 3, 6, 6), generator=rng())
    values[1, 1] = 0.7
    together = above_lowest_cluster(values, 5)
    for b in range(2):
        for m in range(3):
            assert torch.equal(above_lowest_cluster(values[b : b + 1, m : m + 1], 5)[0, 0], together[b, m])
    assert together[1, 1].min() == 1
    assert together[0].min() == 0
