"""FreeSDG: segmentation of high-pass images, coupled to reconstructing one fixed high-pass view.

Li, Li, Zhao, Fu, Su, Hu, Liu: Frequency-mixed Single-source Domain Generalization for Medical Image Segmentation,
MICCAI 2023, arXiv 2307.09005. The network never sees an image itself: in training a patch-wise mixture of two
high-pass views, in prediction the fixed view.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from .base import Batch, Frame, require, whole_if_empty
from .losses import Supervision
from .parts.boxes import cut, random_box
from .parts.coupling import CoupledDecoders
from .parts.highpass import high_pass, median, quantiles, scale_gaussian, stretch
from .transforms.blur import Gaussian

Region: TypeAlias = Literal["grid", "foreground"]

RELEASED = "authors' code, released command"


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeSDGConfig:
    """Settings; defaults of the authors' command, without their FACT augmentation."""

    bank_sigmas: tuple[float, ...] = field(
        default=tuple(float(sigma) for sigma in range(2, 22)),
        metadata={"source": "authors' code, pixels of a 512 px image; each kernel is 2 sigma + 1 wide"},
    )
    fixed_width: int = field(default=27, metadata={"source": RELEASED})
    fixed_sigma: float = field(default=9.0, metadata={"source": RELEASED})
    gain: float = field(default=4.0, metadata={"source": "authors' code"})
    reference_side: int = field(
        default=512,
        metadata={"source": "choice: widths and sigmas times (longest side / 512); 0 leaves them in voxels"},
    )
    smallest_sigma: float = field(
        default=0.5, metadata={"source": "choice, voxels: narrower filters, which small grids get, give blank views"}
    )
    filter_input: bool = field(default=True, metadata={"source": "authors' code; false is its switch no_hfc"})
    mix: bool = field(default=True, metadata={"source": RELEASED + "; false, its default: the fixed view alone"})
    patch_side: int = field(
        default=0, metadata={"source": RELEASED + ": random sides (0); its default is a square of 100 of 512 px"}
    )
    fill_offset: float = field(default=0.2, metadata={"source": "authors' code"})
    median_2d: Region = field(default="grid", metadata={"source": "authors' code"})
    median_3d: Region = field(
        default="foreground", metadata={"source": "choice: the median of a volume with its background is background"}
    )
    range_3d: tuple[float, ...] = field(
        default=(0.005, 0.995), metadata={"source": "choice: quantiles of the brain that become -1 and 1"}
    )
    reconstruction: float = field(default=1.0, metadata={"source": "authors' code, lambda_high", "range": (0.1, 10)})
    segmentation: float = field(default=1.0, metadata={"source": "authors' code, lambda_seg"})
    mask_prediction: bool = field(
        default=True, metadata={"source": "authors' code: background outside the field of view, in the loss too"}
    )
    attention_reduction: int = field(default=16, metadata={"source": "authors' code, CBAM"})
    attention_kernel: int = field(default=7, metadata={"source": "authors' code, CBAM"})
    supervision: Supervision = field(
        default="dice", metadata={"source": "this benchmark; official: binary cross-entropy, authors' code"}
    )

    def __post_init__(self) -> None:
        some = len(self.bank_sigmas) > 0 and min(self.bank_sigmas) > 0
        require(some, "method.bank_sigmas must be one number or more, all above 0")
        require(self.fixed_width % 2 == 1 and self.fixed_width > 1, "method.fixed_width must be odd and above 1")
        for name in ("fixed_sigma", "gain", "smallest_sigma"):
            require(getattr(self, name) > 0, f"method.{name} must be above 0")
        for name in ("reference_side", "patch_side", "reconstruction", "segmentation"):
            require(getattr(self, name) >= 0, f"method.{name} must not be negative")
        low_to_high = len(self.range_3d) == 2 and 0 <= self.range_3d[0] < self.range_3d[1] <= 1
        require(low_to_high, "method.range_3d: two fractions between 0 and 1, smaller first")
        require(self.attention_reduction >= 1, "method.attention_reduction must be at least 1")
        require(self.attention_kernel % 2 == 1, "method.attention_kernel must be odd")


class FreeSDG(CoupledDecoders):
    """Train on mixed high-pass views; predict on the fixed one.

    Filters are to scale with the longest side of the task's grid, whatever part of it an image is: under
    ``preprocess.spacing`` they have one size in voxels, which is one in millimetres (pixels of a picture), in all
    images.
    """

    # Departure: the authors' flips are left to the protocol's shared augmentation.

    version = 2
    Config = FreeSDGConfig

    def prepare(self, image: Tensor, foreground: Tensor, frame: Frame | None = None) -> Tensor:
        """Return the fixed high-pass view (B, C, *S) in [-1, 1]; -1 outside the foreground.

        Independent of the protocol's normalisation: the filter's gain and clipping presuppose this range.
        """
        region = whole_if_empty(foreground)
        signed, outside = self.levels(image, region, frame)
        if not self.config.filter_input:
            return signed
        filled = torch.where(region, signed, outside)
        return high_pass(filled, region, self.filters(image)[:1], self.config.gain)[0]

    def statistics(self, image: Tensor, foreground: Tensor) -> Tensor:
        """Return the median (B, C) of each channel in [-1, 1], and of volumes the two limits of :meth:`limits`."""
        region = whole_if_empty(foreground)
        limits = self.limits(image, region)
        typical = self.typical(self.signed(image, limits), region)
        return typical if limits is None else torch.cat([typical, limits.flatten(1)], dim=1)

    def margin(self) -> int:
        """Return the reach of the widest filter: views are the same as those of the whole image, cut out."""
        if not self.config.filter_input:
            return 0
        assert self.grid is not None, "windows of an unknown grid"
        return max(width for width, _ in self._filters(self._scale(self.grid))) // 2

    def views(self, batch: Batch, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the network's training input and its reconstruction target, (B, C, *S) each, without the margin.

        Two filters and a box are drawn for the whole batch; inside the box the second filter's view replaces the
        first's. A filter may be drawn twice.
        """
        config, image, region = self.config, batch.image, whole_if_empty(batch.foreground)
        signed, outside = self.levels(image, region, batch.frame)
        indices = torch.zeros(1, dtype=torch.long, device=image.device)
        if config.filter_input and config.mix:
            pair = torch.randint(len(config.bank_sigmas), (2,), generator=rng, device=image.device)
            indices = torch.cat([indices, 1 + pair])
        filled = torch.where(region, signed, outside)
        views = high_pass(filled, region, self.filters(image), config.gain, indices)
        fixed, *mixed = (cut(view, batch.margin) for view in views)
        if not config.filter_input:
            return cut(signed, batch.margin), fixed
        if not mixed:
            return fixed, fixed
        side = max(1, round(config.patch_side * self._scale(image.shape[2:]))) if config.patch_side else 0
        box = random_box(fixed.shape[2:], rng, side)
        return torch.where(box, mixed[1], mixed[0]), fixed

    def levels(self, image: Tensor, region: Tensor, frame: Frame | None = None) -> tuple[Tensor, Tensor]:
        """Map images (B, C, *S) from [0, 1] to [-1, 1]; return also the fill of their outside (B, C, *ones).

        Photographs keep their full range; volumes are stretched between two quantiles of the region and clipped, or
        the gain would saturate them. Windows take limits and fill of their whole images, moved by what augmentation
        has moved their own.
        """
        limits = self.limits(image, region)
        signed = self.signed(image, limits)
        typical = self.typical(signed, region)
        if frame is not None:
            moved, channels = frame.image - frame.window, image.shape[1]
            typical = typical + moved[:, :channels]
            if limits is not None:
                signed = self.signed(image, limits + moved[:, channels:].view(limits.shape))
        fill = typical + self.config.fill_offset
        return signed, fill.view(*image.shape[:2], *[1] * (image.ndim - 2))

    def limits(self, image: Tensor, region: Tensor) -> Tensor | None:
        """Return the intensities (B, C, 2) of volumes that become -1 and 1; None for photographs."""
        return None if image.ndim == 4 else quantiles(image, region, self.config.range_3d)

    def signed(self, image: Tensor, limits: Tensor | None) -> Tensor:
        """Return images in [-1, 1], stretched between limits if there are any."""
        return 2 * (image if limits is None else stretch(image, limits)) - 1

    def typical(self, signed: Tensor, region: Tensor) -> Tensor:
        """Return the median (B, C) that the outside is filled with."""
        over = self.config.median_2d if signed.ndim == 4 else self.config.median_3d
        # Departure: the authors' code takes the median of the whole image, a photograph that is mostly field of view.
        # The brain fills a quarter to a half of a volume: with the median of the rest, its rim saturates more often.
        return median(signed, None if over == "grid" else region)

    def filters(self, image: Tensor) -> tuple[Gaussian, ...]:
        """Return the fixed filter, then the bank, in voxels of this grid."""
        return self._filters(self._scale(image.shape[2:]))

    def _filters(self, scale: float) -> tuple[Gaussian, ...]:
        # Departure: the filters were chosen for photographs of 512 pixels a side; other grids get them to scale.
        smallest = self.config.smallest_sigma
        bank = [(2 * sigma + 1, sigma) for sigma in self.config.bank_sigmas]
        fixed = (self.config.fixed_width, self.config.fixed_sigma)
        return tuple(scale_gaussian(width, sigma, scale, smallest) for width, sigma in (fixed, *bank))

    def _scale(self, shape: Sequence[int]) -> float:
        # Of the whole grid, whatever part of it the images are.
        side = self.config.reference_side
        return max(self.grid or shape) / side if side else 1.0
