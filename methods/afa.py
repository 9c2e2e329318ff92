"""AFA: auxiliary Fourier-basis augmentation, one planar wave a channel added to the image.

Vaish, Wang, Strisciuglio: Fourier-basis Functions to Bridge Augmentation Gap, CVPR 2024, arXiv 2403.01944, as carried
over to segmentation in MIDL 2025, arXiv 2505.10223. "Authors' code" is the latter's,
MIAGroupUT/augmentations-for-the-unknown. The additive counterpart of RASS, which multiplies amplitudes.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .base import require
from .parts.rendering import Rendering


@dataclass(frozen=True, slots=True, kw_only=True)
class AFAConfig:
    """Settings; the defaults are the authors' trainer's."""

    mean_strength: float = field(
        default=20.0,
        metadata={"source": "authors' code: of the exponential law, units in planar_waves", "range": (2, 50)},
    )
    min_strength: float = field(default=10.0, metadata={"source": "authors' code: added to it"})

    def __post_init__(self) -> None:
        require(self.mean_strength > 0, "method.mean_strength must be positive")
        require(self.min_strength >= 0, "method.min_strength must not be negative")


class AFA(Rendering):
    """Supervise the normalised batch twice, as it is and with waves, each with half the weight.

    Waves cover the whole grid, whatever lies outside a foreground mask included. Where training sees windows, they
    are those of the windows.
    """

    # Departure: the two passes share their normalisation layers; the authors give the images with waves layers of
    # their own, which are left out of prediction. Group and instance normalisation keep no statistics; their scales
    # are shared here, and with batch normalisation the running statistics too.

    Config = AFAConfig
    clean = True

    def render(self, image: Tensor, label: Tensor, rng: torch.Generator) -> Tensor:  # noqa: ARG002 - the interface
        """Return the images with a wave added to each channel."""
        shape = (*image.shape[:2], *[1] * (image.ndim - 2))
        frequency, angle, uniform = torch.rand((3, *shape), generator=rng, device=image.device)
        phase = torch.rand((), generator=rng, device=image.device)
        waves = planar_waves(image.shape[2:], 1 - frequency, -math.pi * angle, math.pi * phase)
        strength = self.config.min_strength - self.config.mean_strength * torch.log1p(-uniform)
        return torch.addcmul(image, strength, waves)


def planar_waves(sides: torch.Size, frequency: Tensor, angle: Tensor, phase: Tensor) -> Tensor:
    """Return sin(2π f (y cos φ + x sin φ) - phase) on the last two axes, each of norm (longest side) / 32 there.

    y and x run from -½ to ½ of the side, both ends included. Source: authors' code.

    Args:
        sides: of the grid, (H, W) or (D, H, W); a volume has the same wave in each of its D planes.
        frequency: f (B, C, *ones), cycles a voxel.
        angle: φ (B, C, *ones).
        phase: the same for all.

    Returns:
        (B, C, H, W) or (B, C, 1, H, W).
    """
    y, x = (torch.linspace(-side / 2, side / 2, side, device=frequency.device) for side in sides[-2:])
    position = y.unsqueeze(1) * angle.cos() + x * angle.sin()
    wave = (2 * math.pi * frequency * position - phase).sin()
    norm: Tensor = torch.linalg.vector_norm(wave, dim=(-2, -1), keepdim=True)
    return wave * (max(sides) / 32 / norm)
