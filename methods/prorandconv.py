"""Pro-RandConv: one small random convolution block, applied to the image again and again.

Choi, Das, Choi, Yang, Park, Yun: Progressive Random Convolutions for Single Domain Generalization, CVPR 2023, arXiv
2304.00424. The authors published no code. "Ports" are three unofficial ones (classification, a vision transformer,
retinal vessels); what they do not settle is marked in each field's source.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from .base import EPSILON, require
from .parts.deformable import deformable_convolution, smooth_displacements
from .parts.filters import random_kernel
from .parts.host import host_generator
from .parts.rendering import Rendering

SMALLEST = 1e-4
"""Lower end of the uniform laws of widths. Source: ports; the paper says "small"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProRandConvConfig:
    """Settings of the block and of its repetition."""

    repetitions: int = field(default=10, metadata={"source": "paper, L_max: the number is uniform from 1 to it"})
    kernel_size: int = field(default=3, metadata={"source": "paper, fixed"})
    smoothing: float = field(
        default=1.0, metadata={"source": "paper: weights fall off as a Gaussian, of width uniform up to it; 0: no"}
    )
    displacement: float = field(
        default=0.5,
        metadata={
            "source": "paper, images of 224² (0.2: of 32²): deviation in pixels, uniform up to it",
            "range": (0.05, 1),
        },
    )
    exponent: float = field(
        default=10.0, metadata={"source": "two ports: displacements are Gaussian random fields of power |k|^-10"}
    )
    contrast: float = field(default=0.5, metadata={"source": "paper: deviation of scale and offset before tanh"})

    def __post_init__(self) -> None:
        require(self.repetitions >= 1, "method.repetitions must be at least 1")
        require(self.kernel_size >= 1 and self.kernel_size % 2 == 1, "method.kernel_size must be odd")
        for name in ("smoothing", "displacement", "exponent", "contrast"):
            require(getattr(self, name) >= 0, f"method.{name} must not be negative")


class ProRandConv(Rendering):
    """Supervise the normalised batch twice, as it is and after a random block, each with half the weight.

    Kernel, displacements, contrast and number of repetitions are the whole batch's. The result is not normalised
    again: the contrast that it has is part of the method. It covers the whole grid, whatever lies outside a
    foreground mask included; where training sees windows, means and deviations are those of the windows.
    """

    # Departure: Dice, the term of every method here; the authors, who classify, use cross-entropy.

    Config = ProRandConvConfig
    clean = True  # source: a reproduction of the paper (original and augmented images), and a port

    def render(self, image: Tensor, label: Tensor, rng: torch.Generator) -> Tensor:  # noqa: ARG002 - the interface
        """Return the images after the given number of applications of one random block."""
        config, (channels, *shape) = self.config, image.shape[1:]
        # Drawn on the host: it says how long the program is.
        repetitions = int(torch.randint(1, config.repetitions + 1, (), generator=host_generator(rng)))
        kernel = random_kernel(channels, config.kernel_size, len(shape), rng)
        widths = torch.rand(2, generator=rng, device=image.device) * (1 - SMALLEST) + SMALLEST
        if config.smoothing > 0:
            kernel = fade(kernel, widths[0] * config.smoothing)
        fields = smooth_displacements(kernel[0, 0].numel() * len(shape), shape, config.exponent, rng)
        displacement = fields.view(-1, len(shape), *shape) * (widths[1] * config.displacement)
        contrast = torch.randn((2, channels, *[1] * len(shape)), generator=rng, device=image.device)
        for _ in range(repetitions):
            image = block(image, kernel, displacement, contrast * config.contrast)
        return image


def fade(kernel: Tensor, width: Tensor) -> Tensor:
    """Multiply a kernel (C', C, *K) by exp(-d² / 2 width²), d the distance of a tap from the middle one."""
    squared = torch.zeros((), device=kernel.device)
    for axis, side in enumerate(kernel.shape[2:]):
        offset = torch.arange(side, device=kernel.device) - side // 2
        squared = squared + offset.square().view(-1, *[1] * (kernel.ndim - 3 - axis))
    return kernel * torch.exp(-0.5 * squared / width.square())


def block(image: Tensor, kernel: Tensor, displacement: Tensor, contrast: Tensor) -> Tensor:
    """Return tanh(scale · z + offset), z the image (B, C, *S) after a deformable convolution, standardised.

    Mean and deviation are each image's and channel's. Source: paper.

    Args:
        image: (B, C, *S).
        kernel: (C, C, *K).
        displacement: (taps, n, *S) in voxels.
        contrast: scale before offset, (2, C, *ones).
    """
    filtered = deformable_convolution(image, kernel, displacement)
    axes = tuple(range(2, image.ndim))
    deviation, mean = torch.std_mean(filtered, dim=axes, correction=0, keepdim=True)
    return (contrast[0] * (filtered - mean) / (deviation + EPSILON) + contrast[1]).tanh()
