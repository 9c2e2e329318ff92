"""SynthSeg: images are synthesised from labels, with a random Gaussian for each class.

Billot, Greve, Puonti, Thielscher, Van Leemput, Fischl, Dalca, Iglesias: SynthSeg: Segmentation of brain MRI scans of
any contrast and resolution without retraining, Medical Image Analysis 86, 2023, arXiv 2107.09559. The network never
sees the contrast of a real image in training.
"""

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from .base import Batch, Method, require, whole_if_empty
from .transforms.blur import blur, edge_normalised
from .transforms.contrast import extremes, per_image
from .transforms.intensity import lower_resolution

Limits = tuple[float, ...]
"""Ends of a uniform law."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthSegConfig:
    """Settings; the defaults are the authors' where they have the setting."""

    probability: float = field(default=1.0, metadata={"source": "paper: of an image being synthetic; no real ones"})
    means: Limits = field(default=(25 / 255, 225 / 255), metadata={"source": "authors' code, of the classes"})
    deviations: Limits = field(default=(5 / 255, 25 / 255), metadata={"source": "authors' code"})
    background_clusters: int = field(
        default=4,
        metadata={
            "source": "paper's idea for unlabelled tissue; choice: its equal steps of intensity count as classes"
        },
    )
    bias: float = field(
        default=0.5,
        metadata={"source": "authors' code: largest deviation of the field's logarithm", "range": (0.1, 1)},
    )
    bias_scale: float = field(default=0.025, metadata={"source": "authors' code: the field's samples a voxel"})
    gamma: float = field(default=0.4, metadata={"source": "authors' code: deviation of the exponent's logarithm"})
    isotropic_share: float = field(default=0.1, metadata={"source": "authors' code: low resolution along every axis"})
    coarsest_isotropic: float = field(
        default=2.0,
        metadata={"source": "choice, voxels: the authors' 4 mm is 4 of theirs, and grids here are coarser"},
    )
    coarsest_axis: float = field(
        default=4.0, metadata={"source": "choice, voxels, of one axis alone: half of the authors', as above"}
    )
    fine_share: float = field(default=0.05, metadata={"source": "authors' code: the grid's own resolution"})

    def __post_init__(self) -> None:
        for name in ("probability", "isotropic_share", "fine_share"):
            require(0 <= getattr(self, name) <= 1, f"method.{name} must lie between 0 and 1")
        for name in ("means", "deviations"):
            limits = getattr(self, name)
            ascending = len(limits) == 2 and 0 <= limits[0] <= limits[1] <= 1
            require(ascending, f"method.{name}: two numbers between 0 and 1, smaller first")
        require(self.background_clusters >= 1, "method.background_clusters must be at least 1")
        for name in ("bias", "gamma"):
            require(getattr(self, name) >= 0, f"method.{name} must not be negative")
        require(0 < self.bias_scale <= 1, "method.bias_scale must lie above 0 and at most at 1")
        require(min(self.coarsest_isotropic, self.coarsest_axis) >= 1, "method.coarsest_…: 1 voxel or more")


class SynthSeg(Method):
    """Train on images made from labels: a Gaussian a class, bias field, gamma, low resolution.

    Meant for organs and tissues, whose boundaries are labelled. Tasks of colour photographs (vessels, discs, polyps)
    are refused: most of what is seen there has no label. What lies outside the foreground stays as it is. In windows,
    clusters of the background and the range that becomes [0, 1] are those of the window.
    """

    # Departure: deformation, flips and crops are the protocol's shared augmentation.
    # Departure: all channels have one Gaussian a class, for channels are neighbouring slices here.

    needs = frozenset({"labels", "grey images"})
    Config = SynthSegConfig

    def augment(self, batch: Batch, rng: torch.Generator) -> Batch:
        """Return the batch with synthetic images inside the foreground."""
        image = batch.image
        region = whole_if_empty(batch.foreground)
        coin = torch.rand((len(image), *[1] * (image.ndim - 1)), generator=rng, device=image.device)
        # An augmentation must not depend on the run's precision.
        with torch.autocast(image.device.type, enabled=False):
            synthetic = self.synthesise(image, batch.label, region, rng)
        return replace(batch, image=torch.where(region & (coin < self.config.probability), synthetic, image))

    def synthesise(self, image: Tensor, label: Tensor, region: Tensor, rng: torch.Generator) -> Tensor:
        """Return synthetic images (B, C, *S) in [0, 1], black outside the region."""
        config, clusters = self.config, self.config.background_clusters
        index = torch.where(
            label > 0, label + (clusters - 1), intensity_steps(image, region & (label == 0), clusters)
        )
        classes = self.network.classes - 1 + clusters
        means, deviations = (
            low + (high - low) * torch.rand((len(image), classes), generator=rng, device=image.device)
            for low, high in (config.means, config.deviations)
        )
        tissue = gaussian_classes(index, means, deviations, rng) * self.bias_field(image, rng)
        low, high = extremes(tissue.clamp(min=0), region)
        stretched = ((tissue - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)
        exponent = (config.gamma * torch.randn(len(image), generator=rng, device=image.device)).exp()
        return self.lower(torch.where(region, stretched.pow(per_image(exponent, image)), 0.0), rng)

    def bias_field(self, image: Tensor, rng: torch.Generator) -> Tensor:
        """Return a smooth positive factor (B, 1, *S) of each image: exp of linearly interpolated normals."""
        shape, ones = image.shape[2:], [1] * (image.ndim - 2)
        samples = [math.ceil(self.config.bias_scale * side) for side in shape]
        level = self.config.bias * torch.rand((len(image), 1, *ones), generator=rng, device=image.device)
        coarse = level * torch.randn((len(image), 1, *samples), generator=rng, device=image.device)
        mode = "bilinear" if len(shape) == 2 else "trilinear"
        return F.interpolate(coarse, size=shape, mode=mode, align_corners=False).exp()

    def lower(self, image: Tensor, rng: torch.Generator) -> Tensor:
        """Return images blurred and resampled as if they had been acquired with larger voxels."""
        config, shape = self.config, image.shape[2:]
        spacing, thickness = self.draw_resolution(len(image), len(shape), rng)
        reach = math.ceil(3 * 0.75 * max(config.coarsest_isotropic, config.coarsest_axis))
        sigma = torch.where(spacing > 1, 0.75 * thickness, 0.5)
        blurred = blur(image, [edge_normalised(sigma[:, axis], side, reach) for axis, side in enumerate(shape)])
        return lower_resolution(blurred, 1 / spacing, torch.ones_like(image[:, :1], dtype=torch.bool))

    def draw_resolution(self, count: int, ndim: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw the spacing and thickness of voxels (count, ndim), in voxels of the grid, 1 or more."""
        config = self.config
        draws = torch.rand((count, 2 * ndim + 2), generator=rng, device=rng.device)
        isotropic, fine = draws[:, :1], draws[:, 1:2]
        level, thickness = draws[:, 2:].chunk(2, dim=1)
        axis = torch.randint(ndim, (count, 1), generator=rng, device=rng.device)
        along_axis = 1 + (config.coarsest_axis - 1) * level * (torch.arange(ndim, device=rng.device) == axis)
        everywhere = 1 + (config.coarsest_isotropic - 1) * level
        spacing = torch.where(isotropic < config.isotropic_share, everywhere, along_axis)
        spacing = torch.where(fine < config.fine_share, 1.0, spacing)
        return spacing, 1 + (spacing - 1) * thickness


def intensity_steps(image: Tensor, region: Tensor, steps: int) -> Tensor:
    """Return the step (B, C, *S) int64 of each voxel among equal ones between a region's extremes, from 0."""
    low, high = extremes(image, region)
    share = (image - low) / (high - low).clamp(min=1e-6)
    return (share * steps).floor().clamp(0, steps - 1).long()


def gaussian_classes(index: Tensor, means: Tensor, deviations: Tensor, rng: torch.Generator) -> Tensor:
    """Return images whose voxels are drawn from their class's normal law.

    Args:
        index: (B, C, *S) int64, class of each voxel.
        means: (B, K) of the classes in each image.
        deviations: (B, K).
        rng: on the images' device.

    Returns:
        (B, C, *S) float32.
    """
    flat = index.flatten(1)
    noise = torch.randn(flat.shape, generator=rng, device=index.device)
    return (means.gather(1, flat) + deviations.gather(1, flat) * noise).view(index.shape)
