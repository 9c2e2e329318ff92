"""High-pass filters that subtract a truncated Gaussian blur, several at once, and the levels they start from.

A separable blur of a grid of a few hundred voxels a side is one matrix product along each axis: the matrix holds the
kernel and the replicated border, so that filters of all widths have one shape. One of many can then be taken by an
index on the device, and on a CPU the product is five times as fast as the convolution.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

import torch
from torch import Tensor

Gaussian: TypeAlias = tuple[int, float]
"""Width (odd) and standard deviation of a kernel, both in voxels."""


def gaussian_kernel(gaussian: Gaussian) -> Tensor:
    """Return the normalised kernel (width,), float64: exp(-t² / 2σ²) cut at the width, with sum 1."""
    width, sigma = gaussian
    offset = torch.arange(width, dtype=torch.float64) - width // 2
    kernel = torch.exp(-0.5 * (offset / sigma).square())
    return kernel / kernel.sum()


def scale_gaussian(width: float, sigma: float, scale: float, smallest_sigma: float) -> Gaussian:
    """Return a Gaussian for a grid ``scale`` times as fine: its width the nearest odd number, at least 3.

    Args:
        width: of the kernel, on the grid it was chosen for.
        sigma: its standard deviation there.
        scale: side of the new grid over the side of that grid.
        smallest_sigma: floor of σ in voxels; a narrower kernel is a single voxel, and its high pass blank.
    """
    sigma = max(smallest_sigma, sigma * scale)
    return max(3, 2 * math.floor(width * scale / 2) + 1), sigma


@lru_cache(maxsize=8)
def blur_matrices(side: int, gaussians: tuple[Gaussian, ...], device: torch.device) -> Tensor:
    """Return (filters, side, side) float32: multiplied with a line of voxels, each blurs it with replicated borders.

    Kept for the grids in use: the few that a run needs cost some megabytes.
    """
    with torch.inference_mode(False):  # a first call while predicting must not make it unusable for training
        matrices = torch.zeros((len(gaussians), side, side), dtype=torch.float64)
        for matrix, gaussian in zip(matrices, gaussians, strict=True):
            kernel = gaussian_kernel(gaussian)
            offset = torch.arange(len(kernel)) - len(kernel) // 2
            source = (torch.arange(side).unsqueeze(1) + offset).clamp(0, side - 1)
            matrix.scatter_add_(1, source, kernel.expand(side, -1))
        return matrices.float().to(device)


def blur(image: Tensor, gaussians: tuple[Gaussian, ...], chosen: Tensor | None = None) -> Tensor:
    """Return an image under several Gaussian blurs, borders replicated.

    Args:
        image: (B, C, *S); computed in float32 whatever its type.
        gaussians: the filters.
        chosen: (K,) indices of the filters to apply, on the image's device; None takes all in their order.

    Returns:
        (K, B, C, *S) float32.
    """
    with torch.autocast(image.device.type, enabled=False):  # an augmentation must not depend on the run's precision
        blurred = image.float().unsqueeze(0)
        for axis in range(3, image.ndim + 1):
            matrices = blur_matrices(blurred.shape[axis], gaussians, image.device)
            if chosen is not None:
                matrices = matrices[chosen]
            lines = blurred.movedim(axis, -1)
            blurred = lines.flatten(1, -2) @ matrices.mT
            blurred = blurred.view(len(matrices), *lines.shape[1:]).movedim(-1, axis)
        return blurred


def high_pass(
    image: Tensor, region: Tensor, gaussians: tuple[Gaussian, ...], gain: float, chosen: Tensor | None = None
) -> Tensor:
    """Return the amplified difference of an image and its blurs, clipped to [-1, 1], and -1 outside a region.

    Source: FreeSDG, authors' code.

    Args:
        image: (B, C, *S) in about [-1, 1], already filled outside the region.
        region: (B, 1, *S) bool.
        gaussians: the filters.
        gain: factor before clipping.
        chosen: (K,) indices of the filters to apply; None takes all in their order.

    Returns:
        (K, B, C, *S) float32.
    """
    difference = image.float() - blur(image, gaussians, chosen)
    return torch.where(region, (gain * difference).clamp_(-1, 1), -1.0)


def stretch(image: Tensor, region: Tensor, fractions: Sequence[float]) -> Tensor:
    """Return each image and channel (B, C, *S) mapped so that two quantiles become 0 and 1, clipped to [0, 1].

    Args:
        image: (B, C, *S).
        region: (B, 1, *S) bool, not empty: the voxels whose quantiles count.
        fractions: the two quantiles; q of n values is the one with floor(q (n - 1)) values below it.
    """
    values = torch.where(region, image, torch.inf).flatten(2).sort(dim=2).values
    last = region.flatten(2).sum(dim=2, keepdim=True).expand(-1, image.shape[1], -1) - 1
    # Double precision: in single precision, q (n - 1) of a large volume is off by more than a voxel.
    ranks = torch.cat([(last.double() * fraction).floor().long() for fraction in fractions], dim=2)
    low, high = values.gather(2, ranks).view(*image.shape[:2], *[1] * (image.ndim - 2), -1).unbind(-1)
    stretched: Tensor = ((image - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)
    return stretched


def median(image: Tensor, region: Tensor | None = None) -> Tensor:
    """Return the lower median of each image and channel, as (B, C, *ones), over a region or the whole grid."""
    values = image if region is None else torch.where(region, image, torch.nan)
    return values.flatten(2).nanmedian(dim=2).values.view(*image.shape[:2], *[1] * (image.ndim - 2))
