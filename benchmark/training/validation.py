"""Validation during training: mean DSC on the network's grid."""

import torch

from ssdg.methods.base import Method

from ..data.loader import Pool, unit_range
from .inference import Inference


@torch.no_grad()
def grid_dsc(method: Method, images: Pool, batch_size: int, inference: Inference) -> float:
    """Return the DSC (0..1) on the grid: per case, mean over the foreground classes; then mean over cases.

    A class that a case's label lacks counts 0 if it is predicted and is left out if not, as in scoring (``zero-fp``);
    so is a case without any class. Without any case left it is 0. The slices of a volume are one case.
    """
    device, sums = images.image.device, []
    for part in images.chunks(batch_size):
        assert part.label is not None
        sums.append(_overlap(inference.logits(method, unit_range(part.image), part.foreground), part.label))
    cases = int(images.case.max()) + 1
    overlap = torch.cat(sums)
    both, sizes = (
        torch.zeros(cases, *overlap.shape[1:], device=device, dtype=overlap.dtype)
        .index_add_(0, images.case, overlap)
        .unbind(-1)
    )
    counted = (sizes > 0).sum(dim=1)
    dsc = (2 * both / sizes.clamp_min(1)).sum(dim=1) / counted.clamp_min(1)
    return float(dsc[counted > 0].mean()) if bool(counted.any()) else 0.0


def _overlap(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Return (B, K - 1, 2) float64: voxels of each class in both argmax and label, and in the one plus in the other.

    Args:
        logits: (B, K, *S).
        label: (B, 1, *S) class indices.
    """
    predicted = logits.argmax(dim=1, keepdim=True)
    axes = tuple(range(1, label.ndim))
    classes = []
    for index in range(1, logits.shape[1]):
        ours, theirs = predicted == index, label == index
        sizes = ours.sum(dim=axes) + theirs.sum(dim=axes)
        classes.append(torch.stack([(ours & theirs).sum(dim=axes), sizes], dim=-1))
    return torch.stack(classes, dim=1).double()
