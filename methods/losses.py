"""Loss functions shared by methods. All take logits (B, K, *S) and labels (B, 1, *S) of class indices."""

import torch
from torch import Tensor


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
