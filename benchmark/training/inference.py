"""Prediction of whole images, or in overlapping windows where the network has learned from windows."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from monai.inferers import SlidingWindowInferer
from torch import Tensor

from ssdg.methods.base import Method, whole_if_empty

from ..errors import UsageError
from ..spec import EvaluationConfig, RunRequest

WINDOWS_AT_ONCE = 8

OVERLAP = EvaluationConfig().overlap


@dataclass(frozen=True, slots=True)
class Inference:
    """How a method's logits are computed, in training's validation and in evaluation alike."""

    precision: str = "auto"  # as in TrainingConfig
    window: tuple[int, ...] | None = None  # None: whole images
    overlap: float = OVERLAP

    @classmethod
    def of(cls, request: RunRequest, overlap: float | None = None) -> "Inference":
        """Return a run's inference; validation has the default overlap, whatever is asked for evaluations."""
        training = request.training
        return cls(training.precision, training.window, OVERLAP if overlap is None else overlap)

    @torch.no_grad()
    def logits(self, method: Method, image: Tensor, foreground: Tensor) -> Tensor:
        """Return logits (B, classes, *S) for images (B, C, *S) in [0, 1] of any size.

        The method prepares whole images; its ``logits`` see one window at a time, and overlapping windows are
        averaged with Gaussian weights. Images that are no larger than the window are predicted at once.
        """
        with autocast(image.device, self.precision):
            if self.window is None or tuple(image.shape[2:]) == self.window:
                return method.predict(image, foreground)
            shape = image.shape[2:]
            image, foreground = (filled_up(maps, self.window) for maps in (image, foreground))
            foreground = whole_if_empty(foreground)  # here: a window without foreground is not an image without it
            prepared = method.prepare(image, foreground)
            together = torch.cat([prepared, foreground.to(prepared.dtype)], dim=1)
            del prepared

            def predict(windows: Tensor) -> Tensor:
                return method.logits(windows[:, :-1], windows[:, -1:] > 0).float()

            inferer = SlidingWindowInferer(self.window, WINDOWS_AT_ONCE, self.overlap, mode="gaussian")
            logits: Tensor = inferer(together, predict)
            return logits[(slice(None), slice(None), *(slice(0, side) for side in shape))]


def filled_up(maps: Tensor, sides: Sequence[int]) -> Tensor:
    """Return maps (B, C, *S) with zeros at the far ends, where they are smaller than some sides."""
    missing = [max(0, side - own) for side, own in zip(sides, maps.shape[2:], strict=True)]
    if not any(missing):
        return maps
    return F.pad(maps, [pad for each in reversed(missing) for pad in (0, each)])


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context of a forward pass: bf16 on CUDA unless ``fp32`` is asked for, fp32 on the CPU."""
    if precision == "bf16" and device.type == "cpu":
        raise UsageError("training.precision=bf16 needs a GPU: on the CPU use auto or fp32")
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type != "cpu" and precision != "fp32")
