"""High-pass filters (image minus truncated Gaussian blur; Butterworth), several at once, and intensity levels.

Blurs are matrices: filters of all widths have one shape, and the device can take some of many by their indices.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..transforms.blur import Gaussian, blur, replicated
from .spectrum import radius


def scale_gaussian(width: float, sigma: float, scale: float, smallest_sigma: float) -> Gaussian:
    """Return a Gaussian for a grid ``scale`` times as fine.

    σ is multiplied by the scale, and so is the width, to the nearest odd number of at least 3.

    Args:
        width: of the kernel, on the grid it was chosen for.
        sigma: its standard deviation there.
        scale: side of the new grid over the side of that grid.
        smallest_sigma: floor of σ in voxels; a narrower kernel is a single voxel, and its high pass blank.
    """
    # Departure: in FreeSDG's code filters of the bank are 2σ + 1 wide, for images of 512 pixels alone. Here the width
    # itself is scaled, not computed from the scaled σ: the fixed filter (27 wide, σ = 9) has no such rule, and all
    # keep their proportions. On smaller grids that is less than a voxel narrower: the same odd number, or 2 less.
    sigma = max(smallest_sigma, sigma * scale)
    return max(3, 2 * math.floor(width * scale / 2) + 1), sigma


def blur_bank(image: Tensor, gaussians: tuple[Gaussian, ...], indices: Tensor | None = None) -> Tensor:
    """Blur an image by several Gaussians, borders replicated.

    Args:
        image: (B, C, *S); computed in float32 whatever its type.
        gaussians: the filters.
        indices: (K,) of the filters to apply, on the image's device; None applies all in their order.

    Returns:
        (K, B, C, *S) float32.
    """
    with torch.autocast(image.device.type, enabled=False):  # an augmentation must not depend on the run's precision
        matrices = [replicated(side, gaussians, image.device) for side in image.shape[2:]]
        if indices is not None:
            matrices = [bank[indices] for bank in matrices]
        return blur(image.float().flatten(0, 1).unsqueeze(0), matrices).view(-1, *image.shape)


def high_pass(
    image: Tensor, region: Tensor, gaussians: tuple[Gaussian, ...], gain: float, indices: Tensor | None = None
) -> Tensor:
    """Return the amplified difference of an image and its blurs in [-1, 1]; -1 outside a region.

    Source: FreeSDG, authors' code.

    Args:
        image: (B, C, *S) in about [-1, 1], already filled outside the region.
        region: (B, 1, *S) bool.
        gaussians: the filters.
        gain: factor before clipping.
        indices: (K,) of the filters to apply; None applies all in their order.

    Returns:
        (K, B, C, *S) float32.
    """
    difference = image.float() - blur_bank(image, gaussians, indices)
    return torch.where(region, (gain * difference).clamp_(-1, 1), -1.0)


def butterworth(image: Tensor, cutoffs: Tensor, orders: Tensor) -> Tensor:
    """Return the moduli of images under Butterworth high-pass filters, one a channel.

    The transfer is 1 / (1 + (d₀ / (d + 1))^(2n)), with d a frequency's distance from zero in cycles an image. Source:
    RaffeSDG, authors' code.

    Args:
        image: (B, C, *S).
        cutoffs: d₀ (K, C) on the image's device, in cycles an image; 0 leaves a channel as it is.
        orders: n (K, C).

    Returns:
        (K, B, C, *S) float32, not negative.
    """
    shape = tuple(image.shape[2:])
    axes, ones = tuple(range(2, image.ndim)), [1] * len(shape)
    with torch.autocast(image.device.type, enabled=False):  # transforms have no half-precision kernels everywhere
        # Departure: the authors' negative frequencies count one cycle less than the positive ones.
        distance = radius(shape, image.device) * (math.hypot(*shape) / 2)
        cutoffs, orders = (values.view(len(values), 1, -1, *ones) for values in (cutoffs, orders))
        transfer = 1 / (1 + (cutoffs / (distance + 1)).pow(2 * orders))
        spectrum = torch.fft.rfftn(image.float(), dim=axes)
        changed: Tensor = torch.fft.irfftn(spectrum * transfer, s=shape, dim=[axis + 1 for axis in axes])
        return changed.abs()


def quantiles(image: Tensor, region: Tensor, fractions: Sequence[float]) -> Tensor:
    """Return quantiles (B, C, len(fractions)) of each image and channel in a region.

    Args:
        image: (B, C, *S).
        region: (B, 1, *S) bool, not empty: the voxels that count.
        fractions: q of n values is the one with floor(q (n - 1)) values below it.
    """
    values = torch.where(region, image, torch.inf).flatten(2).sort(dim=2).values
    last = region.flatten(2).sum(dim=2, keepdim=True).expand(-1, image.shape[1], -1) - 1
    # Double precision: in single precision, q (n - 1) of a large volume is off by more than a voxel.
    ranks = torch.cat([(last.double() * fraction).floor().long() for fraction in fractions], dim=2)
    return values.gather(2, ranks)


def stretch(image: Tensor, limits: Tensor) -> Tensor:
    """Stretch each image (B, C, *S) and channel between its two limits (B, C, 2), clipped to [0, 1]."""
    low, high = limits.view(*image.shape[:2], *[1] * (image.ndim - 2), 2).unbind(-1)
    stretched: Tensor = ((image - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)
    return stretched


def median(image: Tensor, region: Tensor | None = None) -> Tensor:
    """Return the lower median (B, C) of each image and channel, in a region or the whole grid."""
    values = image if region is None else torch.where(region, image, torch.nan)
    return values.flatten(2).nanmedian(dim=2).values
