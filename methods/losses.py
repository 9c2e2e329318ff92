"""Loss functions shared by methods. All take logits (B, K, *S) and labels (B, 1, *S) of class indices."""

import math
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""(logits (B, K, *S), label (B, 1, *S)) -> 0-d tensor."""

Supervision: TypeAlias = Literal["dice", "official"]
"""Supervised term of a method: that of every method here, or its authors'."""


def supervised_loss(supervision: Supervision, official: Loss) -> Loss:
    """Return the supervised loss of a method's setting: :func:`soft_dice`, or the authors' own."""
    return soft_dice if supervision == "dice" else official


def one_hot(label: Tensor, classes: int) -> Tensor:
    """Return (B, K, *S) float32 indicator maps of a label (B, 1, *S) of class indices."""
    shape = (label.shape[0], classes, *label.shape[2:])
    return torch.zeros(shape, device=label.device).scatter_(1, label, 1.0)


def soft_dice(logits: Tensor, label: Tensor, epsilon: float = 1e-5) -> Tensor:
    """Soft Dice loss in [0, 1] over all classes, background included: the benchmark's supervised term.

    mean_c [1 - (2 Σ p q + ε) / (Σ p² + Σ q² + ε)] with p = softmax(logits), q = one-hot label; the sums run over the
    whole mini-batch and all voxels. Source: code of ASC (MICCAI 2023), from which the paper's 3D task descends.

    Args:
        logits: (B, K, *S); computed in float32 whatever their type.
        label: (B, 1, *S) int64.
        epsilon: ε, keeps a class absent from batch and prediction at loss 0.
    """
    probability = logits.float().softmax(dim=1)
    axes = (0, *range(2, logits.ndim))
    target = one_hot(label, logits.shape[1])
    overlap = (probability * target).sum(dim=axes)
    size = probability.square().sum(dim=axes) + target.sum(dim=axes)
    return (1 - (2 * overlap + epsilon) / (size + epsilon)).mean()


def cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Return the mean cross-entropy over voxels: a supervised term other than Dice.

    Args:
        logits: (B, K, *S); computed in float32 whatever their type.
        label: (B, 1, *S) int64.
    """
    return F.cross_entropy(logits.float(), label[:, 0])


def jensen_shannon(views: Sequence[Tensor]) -> Tensor:
    """Jensen-Shannon divergence of several predictions of the same voxels, in [0, log(number of views)].

    mean over views j, batch and voxels of Σ_c p_j (log p_j - log p̄), with p_j = softmax(views[j]) and p̄ their mean;
    gradients flow through both. Source: RandConv (ICLR 2021), authors' code.

    Args:
        views: logits (B, K, *S) each; computed in float32 whatever their type.
    """
    log_p, centre = _log_probabilities(views)
    return (log_p.exp() * (log_p - centre)).sum(dim=2).mean()


def reversed_jensen_shannon(views: Sequence[Tensor]) -> Tensor:
    """Reversed Jensen-Shannon divergence: Σ_c p̄ (log p̄ - log p_j); at least 0, unbounded above.

    Summed over classes. Source: CSDG (TMI 2022), authors' code, which averages over classes: divide by K there.
    """
    log_p, centre = _log_probabilities(views)
    return (centre.exp() * (centre - log_p)).sum(dim=2).mean()


def _log_probabilities(views: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return log p_j as (views, B, K, *S) and log p̄ as (B, K, *S).

    Logarithms all the way: probabilities that underflow in float32 keep finite values and gradients.
    """
    # Departure: RandConv's code clamps p̄ at 1e-7 before its logarithm; this needs no clamp and differs below it only.
    log_p = torch.stack([logits.float().log_softmax(dim=1) for logits in views])
    return log_p, log_p.logsumexp(dim=0) - math.log(len(views))
