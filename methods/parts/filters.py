"""Random convolutions."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .host import host_generator


def choose(options: Sequence[int], rng: torch.Generator) -> int:
    """Return one of the options, each equally likely."""
    return options[int(torch.randint(len(options), (), generator=host_generator(rng)))]


def random_kernel(channels: int, size: int, ndim: int, rng: torch.Generator) -> Tensor:
    """Draw a kernel (C, C, *[size] * ndim) from N(0, 1 / (C · size^ndim)): He's fan-in law, gain 1.

    Source: RandConv, authors' code; the variance keeps the expected energy of a zero-mean image.
    """
    fan_in = channels * size**ndim
    kernel = torch.randn((channels, channels, *[size] * ndim), generator=rng, device=rng.device)
    return kernel / math.sqrt(fan_in)


def convolve(image: Tensor, kernel: Tensor) -> Tensor:
    """Return the image filtered by a kernel of odd sides, zero-padded to the same grid.

    Args:
        image: (B, C, *S) with 2 or 3 spatial axes; computed in float32 whatever its type.
        kernel: (C', C, *K).

    Returns:
        (B, C', *S) float32.
    """
    operation: Any = {2: F.conv2d, 3: F.conv3d}[image.ndim - 2]
    with torch.autocast(image.device.type, enabled=False):  # an augmentation must not depend on the run's precision
        filtered: Tensor = operation(image.float(), kernel.float(), padding=kernel.shape[-1] // 2)
        return filtered


def random_convolution(image: Tensor, size: int, rng: torch.Generator) -> Tensor:
    """Filter images (B, C, *S) by one random convolution of odd side ``size``, shared by the batch."""
    return convolve(image, random_kernel(image.shape[1], size, image.ndim - 2, rng))
