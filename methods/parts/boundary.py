"""Regions along the boundary of structures in 2D labels, and contrast of features across it (FedDG)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

ABSENT = -1e9
"""Stands for log 0 among similarities: finite, so that a row without any negative has zero gradients, not NaN."""


def boundary_regions(label: Tensor, classes: int, width: int) -> Tensor:
    """Return the contour and the surrounding ring of each foreground class.

    Contour: what one erosion takes off; ring: what ``width`` dilations add; both with the 3x3 cross, the outside of
    the image counting as background. Thin vessels are all contour. Source: authors' code.

    Args:
        label: (B, 1, H, W) int64.
        classes: K, background included.
        width: dilations.

    Returns:
        (B, 2, K - 1, H, W) bool, contour before ring.
    """
    mask = label == torch.arange(1, classes, device=label.device).view(-1, 1, 1)
    outside = F.pad(~mask, (1, 1, 1, 1), value=True)
    contour = mask & dilate(outside)[..., 1:-1, 1:-1]
    grown = mask
    for _ in range(width):
        grown = dilate(grown)
    return torch.stack([contour, grown & ~mask], dim=1)


def dilate(mask: Tensor) -> Tensor:
    """Return a mask (..., H, W) dilated once by the 3x3 cross: each pixel and its four neighbours."""
    # Shifted ORs of bytes: a pooling window is a square, and pools floats.
    grown = mask.clone()
    grown[..., 1:, :] |= mask[..., :-1, :]
    grown[..., :-1, :] |= mask[..., 1:, :]
    grown[..., 1:] |= mask[..., :-1]
    grown[..., :-1] |= mask[..., 1:]
    return grown


def boundary_contrast(views: Sequence[Tensor], regions: Tensor, temperature: float) -> Tensor:
    """Pull contours' features together over images and views, likewise rings', and push the two apart.

    A region's embedding is the mean of the features over it; each structure has its own contrast, and they are
    summed. Regions that are empty in an image take no part. Source: authors' code.

    Args:
        views: last decoder maps (B, F, H, W) of the same images; computed in float32 whatever their type.
        regions: (B, 2, structures, H, W) bool, contour before ring.
        temperature: τ of the similarities.
    """
    with torch.autocast(regions.device.type, enabled=False):  # similarities reach 1 / τ = 20
        weight = regions.float()
        area = weight.sum(dim=(-2, -1)).unsqueeze(-1)
        # Departure: the shared network's last map is signed, before its normalisation; what the authors average is
        # the output of an instance normalisation without scales and a ReLU, so both are applied here.
        features = [F.instance_norm(view.float()).relu() for view in views]
        means = [torch.einsum("bgshw,bfhw->bgsf", weight, view) / area.clamp(min=1) for view in features]
        embedding = torch.cat(means).permute(2, 1, 0, 3).flatten(1, 2)  # (structures, contours then rings, F)
        present = torch.cat([area[..., 0] > 0] * len(views)).permute(2, 1, 0).flatten(1)
        return separation(embedding, present, temperature).sum()


def separation(embedding: Tensor, present: Tensor, temperature: float) -> Tensor:
    """Return the supervised NT-Xent of two groups with cosine similarities s.

    Mean over ordered pairs (a, p) of one group of -log[e^{s_ap/τ} / (e^{s_ap/τ} + Σ_n e^{s_an/τ})], n over the other
    group; 0 where there is no pair. Source: authors' code, by way of pytorch-metric-learning.

    Args:
        embedding: (structures, 2n, F), the first n of one group, the others of the other.
        present: (structures, 2n) bool: which embeddings count.
        temperature: τ.

    Returns:
        (structures,), at least 0.
    """
    unit = F.normalize(embedding, dim=-1)
    similarity = unit @ unit.mT / temperature
    index = torch.arange(embedding.shape[1], device=embedding.device)
    group = index < len(index) // 2
    same = group[:, None] == group
    valid = present[:, :, None] & present[:, None, :]
    negatives = similarity.masked_fill(~valid | same, ABSENT).logsumexp(dim=-1, keepdim=True)
    pairs = valid & same & (index[:, None] != index)
    # Departure: theirs adds 1e-7 to the fraction, which caps a pair's loss at 16 and takes away its gradient there.
    loss = F.softplus(negatives - similarity)
    return (loss * pairs).sum(dim=(1, 2)) / pairs.sum(dim=(1, 2)).clamp(min=1)
