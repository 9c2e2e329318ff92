"""Validation during training: mean DSC on the network's grid."""

import torch

from ssdg.methods.base import Method

from ..data.loader import Pool
from ..errors import UsageError


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context of a forward pass: bf16 on CUDA unless ``fp32`` is asked for, fp32 on the CPU."""
    if precision == "bf16" and device.type == "cpu":
        raise UsageError("training.precision=bf16 needs a GPU: on the CPU use auto or fp32")
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type != "cpu" and precision != "fp32")


@torch.no_grad()
def grid_dsc(method: Method, images: Pool, batch_size: int, precision: str) -> float:
    """Return the DSC (0..1) on the grid: per case, mean over the foreground classes it has; then mean over cases.

    The slices of a volume are one case.
    """
    device, sums = images.image.device, []
    assert images.label is not None
    for start in range(0, len(images), batch_size):
        index = torch.arange(start, min(start + batch_size, len(images)), device=device)
        with autocast(device, precision):
            logits = method.predict(images.images(index), images.foreground[index])
        sums.append(_overlap(logits, images.label[index]))
    cases = int(images.case.max()) + 1
    overlap = torch.cat(sums)
    both, sizes, present = (
        torch.zeros(cases, *overlap.shape[1:], device=device, dtype=overlap.dtype)
        .index_add_(0, images.case, overlap)
        .unbind(-1)
    )
    dsc = torch.where(present > 0, 2 * both / sizes.clamp_min(1), 0).sum(dim=1)
    return float((dsc / (present > 0).sum(dim=1).clamp_min(1)).mean())


def _overlap(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Return (B, K - 1, 3) float64: voxels of each class in both, in the argmax plus in the label, in the label.

    Args:
        logits: (B, K, *S).
        label: (B, 1, *S) class indices.
    """
    predicted = logits.argmax(dim=1, keepdim=True)
    axes = tuple(range(1, label.ndim))
    classes = []
    for index in range(1, logits.shape[1]):
        ours, theirs = predicted == index, label == index
        size = theirs.sum(dim=axes)
        classes.append(torch.stack([(ours & theirs).sum(dim=axes), ours.sum(dim=axes) + size, size], dim=-1))
    return torch.stack(classes, dim=1).double()
