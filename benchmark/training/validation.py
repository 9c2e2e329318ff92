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
def grid_dsc(method: Method, cases: Pool, batch_size: int, precision: str) -> float:
    """Return the DSC (0..1) on the grid: per case, mean over the foreground classes it has; then mean over cases."""
    scores = []
    for start in range(0, len(cases), batch_size):
        index = torch.arange(start, min(start + batch_size, len(cases)), device=cases.image.device)
        foreground = cases.foreground[index]
        with autocast(cases.image.device, precision):
            logits = method.predict(cases.images(index), foreground)
        assert cases.label is not None
        scores.append(_case_dsc(logits, cases.label[index]))
    return float(torch.cat(scores).mean())


def _case_dsc(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Return (B,) DSC of the argmax of logits (B, K, *S) against labels (B, 1, *S)."""
    predicted = logits.argmax(dim=1, keepdim=True)
    axes = tuple(range(1, label.ndim))
    total = torch.zeros(len(label), dtype=torch.float64, device=label.device)
    present = torch.zeros_like(total)
    for index in range(1, logits.shape[1]):
        ours, theirs = predicted == index, label == index
        size = theirs.sum(dim=axes)
        dsc = 2 * (ours & theirs).sum(dim=axes).double() / (ours.sum(dim=axes) + size).clamp_min(1)
        total += torch.where(size > 0, dsc, 0)
        present += size > 0
    return total / present.clamp_min(1)
