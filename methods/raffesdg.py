"""RaffeSDG: segmentation under random Butterworth high-pass filters, coupled to reconstructing a fixed view.

Li, Li, Chen, Ou, Shu, Miao: RaffeSDG: Random Frequency Filtering enabled Single-source Domain Generalization for
Medical Image Segmentation, arXiv 2405.01228.
The successor of FreeSDG, with its network: filters of the Fourier transform in place of Gaussians, one a channel, and
smooth mixtures in place of boxes.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from .base import Batch, Frame, require, whole_if_empty
from .losses import Supervision
from .parts.boxes import random_box
from .parts.coupling import CoupledDecoders
from .parts.highpass import butterworth, high_pass, median, quantiles, scale_gaussian
from .parts.splines import bspline_field, rescale_per_sample

RELEASED = "authors' code, released command"
SMALLEST_SIGMA = 0.5
"""Voxels: narrower Gaussians, which small grids would get, give blank views."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RaffeSDGConfig:
    """Settings; defaults of the authors' command."""

    cutoffs: int = field(default=12, metadata={"source": "authors' code: cut-off frequencies, each with every order"})
    largest_cutoff: float = field(default=0.1, metadata={"source": "authors' code, share of the highest frequency"})
    cutoff_growth: float = field(
        default=4.1, metadata={"source": "authors' code: cut-offs grow exponentially from 0, by this exponent"}
    )
    orders: tuple[int, ...] = field(
        default=(1, 2, 3), metadata={"source": "authors' code, of the Butterworth filters"}
    )
    unchanged: float = field(
        default=0.25, metadata={"source": RELEASED + ": probability that a channel of a view is not filtered"}
    )
    fixed_cutoff: float = field(default=0.005, metadata={"source": "authors' code, of the filter of prediction"})
    fixed_order: int = field(default=1, metadata={"source": "authors' code"})
    stretch: tuple[float, ...] = field(
        default=(0.03, 0.97), metadata={"source": "authors' code: quantiles of a view that become -1 and 1"}
    )
    blend: Literal["smooth", "patch"] = field(
        default="smooth", metadata={"source": RELEASED + "; patch: one of its default's kinds, FreeSDG's box here"}
    )
    blend_points: int = field(
        default=6, metadata={"source": "choice, control points an axis: the authors' masks are not released"}
    )
    reference_side: int = field(
        default=512,
        metadata={"source": "choice: cut-offs and widths are the authors' for 512 px; 0 takes the grid's own side"},
    )
    fixed_width: int = field(default=27, metadata={"source": "authors' code, of the Gaussian to reconstruct"})
    fixed_sigma: float = field(default=9.0, metadata={"source": "authors' code"})
    gain: float = field(default=4.0, metadata={"source": "authors' code"})
    fill_offset: float = field(default=0.2, metadata={"source": "authors' code, in units of the range [0, 1]"})
    reconstruction: float = field(default=1.0, metadata={"source": RELEASED + ", lambda_high", "range": (0.1, 10)})
    segmentation: float = field(default=1.0, metadata={"source": "authors' code, lambda_seg"})
    mask_prediction: bool = field(
        default=True, metadata={"source": "authors' code: background outside the field of view, in the loss too"}
    )
    attention_reduction: int = field(default=16, metadata={"source": "code of FreeSDG, CBAM"})
    attention_kernel: int = field(default=7, metadata={"source": "code of FreeSDG, CBAM"})
    supervision: Supervision = field(
        default="dice", metadata={"source": "this benchmark; official: binary cross-entropy, authors' code"}
    )

    def __post_init__(self) -> None:
        require(self.cutoffs >= 2, "method.cutoffs must be at least 2")
        require(len(self.orders) > 0 and min(self.orders) > 0, "method.orders must be one number or more, above 0")
        require(0 <= self.unchanged <= 1, "method.unchanged must lie between 0 and 1")
        ascending = len(self.stretch) == 2 and 0 <= self.stretch[0] < self.stretch[1] <= 1
        require(ascending, "method.stretch: two fractions between 0 and 1, smaller first")
        require(self.blend_points >= 3, "method.blend_points must be at least 3")
        require(self.fixed_width % 2 == 1 and self.fixed_width > 1, "method.fixed_width must be odd and above 1")
        for name in ("largest_cutoff", "cutoff_growth", "fixed_cutoff", "fixed_order", "fixed_sigma", "gain"):
            require(getattr(self, name) > 0, f"method.{name} must be above 0")
        for name in ("reference_side", "reconstruction", "segmentation"):
            require(getattr(self, name) >= 0, f"method.{name} must not be negative")
        require(self.attention_reduction >= 1, "method.attention_reduction must be at least 1")
        require(self.attention_kernel % 2 == 1, "method.attention_kernel must be odd")


class RaffeSDG(CoupledDecoders):
    """Train on mixtures of two randomly filtered views; predict on a mildly filtered one.

    The filters are those of whole images: windows are refused.
    """

    # Departure: CBAM joins the decoders, as in FreeSDG; the authors' channel attention is not in their repository.
    # Departure: their multiplicative noise on features (1 ± 0.1) is left out; flips are the protocol's business.
    # Departure: quantiles are those of the field of view, and of the brain; the authors' are of the whole photograph.

    windows = False
    Config = RaffeSDGConfig

    def prepare(self, image: Tensor, foreground: Tensor, frame: Frame | None = None) -> Tensor:  # noqa: ARG002
        """Return the view (B, C, *S) under the fixed filter; -1 outside the foreground.

        Independent of the protocol's normalisation: most of the view lies in [-1, 1].
        """
        cutoff = torch.full((1, image.shape[1]), self.cutoff(self.config.fixed_cutoff, image), device=image.device)
        order = torch.full_like(cutoff, self.config.fixed_order)
        return self.filtered(image, whole_if_empty(foreground), cutoff, order)[0]

    def views(self, batch: Batch, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return a mixture of two random views and the view to reconstruct, (B, C, *S) each.

        Filters and mixture are drawn once for the whole batch, a filter for each channel of each view.
        """
        config, image, region = self.config, batch.image, whole_if_empty(batch.foreground)
        first, second = self.filtered(image, region, *self.draw_filters(image, rng))
        if config.blend == "patch":
            share = random_box(image.shape[2:], rng).to(image.dtype)
        else:
            points = [config.blend_points] * (image.ndim - 2)
            control = torch.rand((1, 1, *points), generator=rng, device=image.device)
            share = rescale_per_sample(bspline_field(control, image.shape[2:]))
        scale = max(image.shape[2:]) / config.reference_side if config.reference_side else 1.0
        gaussian = scale_gaussian(config.fixed_width, config.fixed_sigma, scale, SMALLEST_SIGMA)
        fill = (median(image, region) + config.fill_offset).view(*image.shape[:2], *[1] * (image.ndim - 2))
        fixed = high_pass(torch.where(region, image, fill), region, (gaussian,), config.gain)[0]
        return torch.lerp(second, first, share), fixed

    def distance(self, reconstructed: Tensor, fixed: Tensor) -> Tensor:
        """Return the mean squared distance."""
        return F.mse_loss(reconstructed, fixed)

    def draw_filters(self, image: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw cut-offs and orders (2, C) of the filters of two views; a cut-off of 0 filters nothing."""
        config, shape, device = self.config, (2, image.shape[1]), image.device
        filtered = torch.rand(shape, generator=rng, device=device) >= config.unchanged
        step = torch.randint(config.cutoffs, shape, generator=rng, device=device).double() / (config.cutoffs - 1)
        kind = torch.randint(len(config.orders), shape, generator=rng, device=device)
        growth = (config.cutoff_growth * step).expm1() / math.expm1(config.cutoff_growth)
        cutoffs = (config.largest_cutoff * growth * self.side(image) / 2).floor().clamp(min=1).float()
        # Not a table of orders on the device: copying it there would make the host wait.
        orders = torch.stack([(kind == index) * order for index, order in enumerate(config.orders)]).sum(dim=0)
        return cutoffs * filtered, orders

    def filtered(self, image: Tensor, region: Tensor, cutoffs: Tensor, orders: Tensor) -> Tensor:
        """Return views (K, B, C, *S) of images under filters (K, C), stretched; -1 outside the region."""
        views = butterworth(image, cutoffs, orders)
        limits = torch.stack([quantiles(view, region, self.config.stretch) for view in views])
        low, high = limits.view(*views.shape[:3], *[1] * (image.ndim - 2), 2).unbind(-1)
        # Not clipped: a few percent of each view lie beyond -1 and 1, as in the authors' code.
        return torch.where(region, 2 * (views - low) / (high - low).clamp(min=1e-6) - 1, -1.0)

    def cutoff(self, share: float, image: Tensor) -> float:
        """Return the cut-off in cycles an image of a share of the highest frequency: a whole number, at least 1."""
        return float(max(math.floor(share * self.side(image) / 2), 1))

    def side(self, image: Tensor) -> int:
        """Return the side in voxels that the authors' numbers refer to."""
        return self.config.reference_side or min(image.shape[2:])
