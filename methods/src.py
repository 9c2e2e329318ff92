"""SRC: semantic-aware random convolution, a random network of intensities for each class.

Thaler, Urschler, Koziński, Gsell, Plank, Štern: Semantic-Aware Random Convolution and Source Matching for Domain
Generalization in Medical Image Segmentation, IEEE Access 2026, arXiv 2512.01510. "Authors' code" is
imigraz/SRCSM_Domain_Generalization. The other half, source matching, changes test images and is left out.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from .base import require
from .losses import one_hot
from .parts.gin import GINConfig, draw_sizes, random_rendering
from .parts.rendering import Rendering
from .transforms.blur import blur, edge_normalised

REACH = 2
"""Voxels after which the masks' Gaussian is cut. Source: authors' code, kernels of 5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SRCConfig(GINConfig):
    """Settings; the defaults are the authors' code's, whose random networks are GIN's but for these."""

    slope: float = field(default=0.1, metadata={"source": "authors' code: leaky rectifiers, after each convolution"})
    bias: bool = field(default=False, metadata={"source": "authors' code: biases are 0; true: N(0, 1), as GIN's"})
    smoothing: float = field(
        default=1.0,
        metadata={"source": "authors' code: the masks' Gaussian, in voxels; 0: sharp masks, its switch off"},
    )

    def __post_init__(self) -> None:
        GINConfig.__post_init__(self)
        require(0 <= self.slope <= 1, "method.slope must lie between 0 and 1")
        require(self.smoothing >= 0, "method.smoothing must not be negative")


class SRC(Rendering):
    """Supervise the normalised batch, rendered by one random network per class and put together by its labels.

    Background is a class, and so includes whatever lies outside a foreground mask. Structures as thin as the masks'
    Gaussian, vessels of two or three voxels, are rendered half by the network of what surrounds them.
    """

    # Departure: images are z-scored; the authors map percentiles 5 and 95 to -1 and 1, then shift and scale.

    needs = frozenset({"labels"})
    Config = SRCConfig

    def render(self, image: Tensor, label: Tensor, rng: torch.Generator) -> Tensor:
        """Return Σ_c mask_c · rendering_c of the images."""
        config, classes = self.config, self.network.classes
        masks = smooth_masks(label, classes, config.smoothing)
        result = torch.zeros_like(image, dtype=torch.float32)
        for mask, sizes in zip(masks.unbind(1), draw_sizes(config, classes, rng), strict=True):
            law = {"slope": config.slope, "bias": config.bias, "last_activation": True}
            result.addcmul_(random_rendering(image, sizes, config, rng, **law), mask.unsqueeze(1))
        return result


def smooth_masks(label: Tensor, classes: int, sigma: float) -> Tensor:
    """Return each class's mask (B, K, *S) under a Gaussian cut at :data:`REACH` voxels; they add up to 1.

    Args:
        label: (B, 1, *S) int64.
        classes: K, background included.
        sigma: in voxels; 0 leaves the masks sharp.
    """
    masks = one_hot(label, classes)
    if sigma == 0:
        return masks
    # Departure: kernels are cut at the grid's sides; the authors pad with zeros, which dims the image towards them.
    width = torch.full((1,), sigma, device=label.device)
    with torch.autocast(label.device.type, enabled=False):
        return blur(masks, [edge_normalised(width, side, REACH) for side in label.shape[2:]])
