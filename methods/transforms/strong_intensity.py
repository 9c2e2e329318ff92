"""The intensity changes of nnU-Net's stronger augmentation, which its authors name for shifts of domain.

Source: transforms and ranges of ``nnUNetTrainerDA5`` (nnU-Net v2) and of batchgenerators, in their order. Each is
drawn per image and per channel; its parameters are uniform in 0..1 and become what the change needs.
"""

import math
from functools import partial

import torch
from torch import Tensor

from ..base import whole_if_empty
from .blur import extended
from .contrast import extremes, gamma_curve, per_image
from .intensity import (
    Chance,
    Change,
    add_noise,
    apply,
    blur_axes,
    change_gamma,
    channel_moments,
    draw_gated,
    lower_resolution,
)

MEDIAN_WIDTHS = (3, 5, 7)
RECTANGLES = 4
"""Most blank rectangles of a map."""


def perturb_strongly(image: Tensor, foreground: Tensor, rng: torch.Generator) -> Tensor:
    """Change the intensities of images at random, within [0, 1].

    Args:
        image: (B, C, *S) in [0, 1].
        foreground: (B, 1, *S) bool; where it is empty, the whole grid counts, else nothing outside changes.
        rng: on the images' device.
    """
    batch, channels = image.shape[:2]
    ndim = image.ndim - 2
    region = whole_if_empty(foreground)
    maps = image.flatten(0, 1).unsqueeze(1)
    regions = region.expand_as(image).flatten(0, 1).unsqueeze(1)
    for chance, parameters, change in steps(ndim, rng):
        gate, value = draw_gated(chance, (batch, channels, parameters), rng)
        maps = apply(maps, regions, gate, value, change)
    changed = maps.reshape(image.shape)
    # Departure: brought back into [0, 1] by one map for all channels, which the z-score that follows undoes; nnU-Net
    # z-scores first and leaves values as they come.
    low, high = extremes(changed, region)
    low, high = low.clamp(max=0), high.clamp(min=1)
    return torch.where(region, (changed - low) / (high - low), image)


def steps(ndim: int, rng: torch.Generator) -> list[tuple[Chance, int, Change]]:
    """Return each change's chance, number of parameters and function, in the order of application."""

    def chance(probability: float, channel_probability: float = 0.5) -> Chance:
        return Chance(probability, 0.0, 1.0, channel_probability)

    gamma = Chance(0.1, 0.7, 1.5, balanced=True)
    return [
        (chance(0.2), 2 + ndim, smooth),
        (Chance(0.1, 0.0, 0.1), 1, partial(add_noise, rng=rng)),
        (chance(0.1), 2, shift_brightness),
        (chance(0.2), 2, stretch_contrast),
        (Chance(0.15, 0.25, 1.0, 0.5), 1, lower_resolution),
        # Twice, and both on the negative: as its code has it.
        (gamma, 1, partial(change_gamma, invert=True)),
        (gamma, 1, partial(change_gamma, invert=True)),
        (chance(0.4), 1 + 2 * ndim * RECTANGLES, blank_rectangles),
        (chance(0.3), 2 + 2 * ndim, add_gradient),
        (chance(0.3), 2 + 2 * ndim, bend_locally),
        (chance(0.2), 1, sharpen_edges),
    ]


def smooth(maps: Tensor, draws: Tensor, region: Tensor) -> Tensor:
    """Take a median, or a Gaussian blur of 0.3 to 1.5 voxels along each axis, each half of the times.

    Args:
        maps: (M, 1, *S).
        draws: (M, 2 + n) in 0..1: which of both, the median's width, the blur's widths.
        region: (M, 1, *S) bool; not used.
    """
    blurred = blur_axes(maps, 0.3 + 1.2 * draws[:, 2:], region)
    # Departure: medians along one axis after another, 3, 5 or 7 voxels wide; batchgenerators takes boxes of 2 to 7
    # voxels a side, 343 values for a voxel of a volume.
    width = (draws[:, 1] * len(MEDIAN_WIDTHS)).floor().clamp(max=len(MEDIAN_WIDTHS) - 1) * 2 + 3
    median = maps
    for axis in range(2, maps.ndim):
        median = median_along(median, width, axis)
    return torch.where(per_image(draws[:, 0] < 0.5, maps), median, blurred)


def median_along(maps: Tensor, width: Tensor, axis: int) -> Tensor:
    """Return the median of ``width`` (M,) neighbours along an axis of maps (M, 1, *S), borders replicated."""
    reach = MEDIAN_WIDTHS[-1] // 2
    side, padded = maps.shape[axis], extended(maps, axis, reach)
    neighbours = []
    for offset in range(-reach, reach + 1):
        values = padded.narrow(axis, reach + offset, side)
        # As many below everything as above it: they do not move the median.
        outside = per_image(width < 2 * abs(offset) + 1, maps)
        neighbours.append(torch.where(outside, math.copysign(math.inf, offset), values))
    return torch.stack(neighbours).median(dim=0).values


def shift_brightness(maps: Tensor, draws: Tensor, region: Tensor) -> Tensor:
    """Add N(0, 1/2), in the region's standard deviations; two uniform draws (M, 2) make a normal one."""
    radius = (-2 * (1 - draws[:, :1]).clamp(min=1e-12).log()).sqrt()
    normal = radius * (2 * math.pi * draws[:, 1:]).cos()
    return maps + 0.5 * per_image(normal, maps) * channel_moments(maps, region)[1]


def stretch_contrast(maps: Tensor, draws: Tensor, region: Tensor) -> Tensor:
    """Multiply distances from the region's mean by 1/2 to 2; half of the times clipped to the region's range.

    Args:
        maps: (M, 1, *S).
        draws: (M, 2) in 0..1: the factor, half of them below 1; whether to clip.
        region: (M, 1, *S) bool.
    """
    u = draws[:, :1]
    factor = torch.where(u < 0.5, 0.5 + u, 2 * u)
    mean, _ = channel_moments(maps, region)
    low, high = extremes(maps, region)
    stretched = mean + (maps - mean) * per_image(factor, maps)
    return torch.where(per_image(draws[:, 1] < 0.5, maps), stretched.clamp(low, high), stretched)


def blank_rectangles(maps: Tensor, draws: Tensor, region: Tensor) -> Tensor:  # noqa: ARG001 - a Change
    """Fill one to four boxes, a tenth to a third of each side long, with the mean of what they hold.

    Args:
        maps: (M, 1, *S).
        draws: (M, 1 + 2 · n · 4) in 0..1: the number of boxes, then length and place along each axis.
        region: (M, 1, *S) bool; not used.
    """
    sides = maps.shape[2:]
    boxes = draws[:, 1:].reshape(-1, RECTANGLES, len(sides), 2)
    for index in range(RECTANGLES):
        inside = per_image(draws[:, 0] * RECTANGLES >= index, maps)
        for axis, side in enumerate(sides):
            shortest = max(1, side // 10)
            length = shortest + (boxes[:, index, axis, 0] * (side // 3 - shortest + 1)).floor()
            start = (boxes[:, index, axis, 1] * (side - length + 1)).floor()
            position = _along(torch.arange(side, device=maps.device), axis, len(sides))
            first, end = per_image(start, maps), per_image(start + length, maps)
            inside = inside & (position >= first) & (position < end)
        axes = tuple(range(1, maps.ndim))
        mean = (maps * inside).sum(dim=axes, keepdim=True) / inside.sum(dim=axes, keepdim=True).clamp(min=1)
        maps = torch.where(inside, mean, maps)
    return maps


def add_gradient(maps: Tensor, draws: Tensor, region: Tensor) -> Tensor:
    """Add or subtract a wide Gaussian hill, one to five of the region's standard deviations high.

    Args:
        maps: (M, 1, *S).
        draws: (M, 2 + 2 · n) in 0..1: sign, height, then width and place along each axis.
        region: (M, 1, *S) bool.
    """
    height = torch.where(draws[:, 0] < 0.5, -1.0, 1.0) * (1 + 4 * draws[:, 1])
    return maps + hill(maps, draws[:, 2:]) * per_image(height, maps) * channel_moments(maps, region)[1]


def bend_locally(maps: Tensor, draws: Tensor, region: Tensor) -> Tensor:
    """Raise intensities to a power where a wide Gaussian hill is high; the region's range stays.

    Args:
        maps: (M, 1, *S).
        draws: (M, 2 + 2 · n) in 0..1: exponent below 1 (0.01 to 0.8) or above (1.5 to 4), its value, then the hill.
        region: (M, 1, *S) bool.
    """
    below, above = 0.01 + 0.79 * draws[:, 1], 1.5 + 2.5 * draws[:, 1]
    exponent = torch.where(draws[:, 0] < 0.5, below, above)
    curved = gamma_curve(maps, exponent, extremes(maps, region), smallest_span=1e-8)
    return torch.lerp(maps, curved, hill(maps, draws[:, 2:]))


def hill(maps: Tensor, draws: Tensor) -> Tensor:
    """Return Gaussians (M, 1, *S) scaled to 0..1 over the grid.

    Args:
        maps: (M, 1, *S), for their shape.
        draws: (M, 2 · n) in 0..1 for each axis: the deviation, log-uniform from a sixth of the side to the side, and
            the centre, from half a side before the grid to half a side behind it.
    """
    sides, result = maps.shape[2:], torch.ones((), device=maps.device)
    for axis, side in enumerate(sides):
        smallest = max(1, side // 6)
        deviation = smallest * (side / smallest) ** draws[:, 2 * axis]
        centre = side * (2 * draws[:, 2 * axis + 1] - 0.5)
        position = _along(torch.arange(side, device=maps.device) + 0.5, axis, len(sides))
        distance = (position - per_image(centre, maps)) / per_image(deviation, maps)
        result = result * torch.exp(-0.5 * distance.square())
    low, high = extremes(result)
    return (result - low) / (high - low).clamp(min=1e-8)


def sharpen_edges(maps: Tensor, draws: Tensor, region: Tensor) -> Tensor:
    """Subtract 0.1 to 1 times the Laplacian; clipped to the region's range, borders replicated.

    Args:
        maps: (M, 1, *S).
        draws: (M, 1) in 0..1: the strength.
        region: (M, 1, *S) bool.
    """
    laplacian = torch.zeros_like(maps)
    for axis in range(2, maps.ndim):
        side, padded = maps.shape[axis], extended(maps, axis, 1)
        laplacian += padded.narrow(axis, 0, side) + padded.narrow(axis, 2, side) - 2 * maps
    low, high = extremes(maps, region)
    return (maps - (0.1 + 0.9 * per_image(draws, maps)) * laplacian).clamp(low, high)


def _along(values: Tensor, axis: int, ndim: int) -> Tensor:
    """Reshape values along one of some spatial axes to broadcast over maps (M, 1, *S)."""
    return values.view(*(-1 if axis == other else 1 for other in range(ndim)))
