"""Random intensity changes of a batch: noise, blur, brightness, contrast, low resolution, gamma.

Each is drawn per image and, where it says so, per channel. Every channel of every image is treated as one map, so
that images, channels and their parameters go through one batched operation. On CUDA the host reads no tensor's value:
all maps are computed and the drawn ones selected; on the CPU only the drawn ones are computed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor

from ..base import whole_if_empty
from .blur import along, blur, edge_normalised
from .contrast import extremes, gamma_curve, per_image

Change: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(maps (M, c, *S), parameters (M, k), region (M, 1, *S) bool) -> changed maps."""

BLUR_RADIUS = 4
"""Voxels after which a Gaussian kernel is cut: four standard deviations of the widest."""


@dataclass(frozen=True, slots=True)
class Chance:
    """Probability of a change, and the range of its parameter."""

    probability: float  # per image
    low: float
    high: float
    channel_probability: float = 1.0  # per channel of a chosen image
    balanced: bool = False  # half of the draws below 1 and half above, uniform in each; else uniform over the range


@dataclass(frozen=True, slots=True, kw_only=True)
class IntensityChanges:
    """Changes in the order of their application.

    Source: the default training transforms of nnU-Net v2 (code of ``nnUNetTrainer`` and of batchgeneratorsv2), with
    its ranges, probabilities and order.
    """

    # The range is called a variance there and used as a standard deviation; so here. One noise map for all channels.
    noise: Chance = Chance(0.1, 0.0, 0.1)
    blur: Chance = Chance(0.2, 0.5, 1.0, channel_probability=0.5)  # standard deviation in voxels, one per axis
    brightness: Chance = Chance(0.15, 0.75, 1.25, balanced=True)  # factor
    contrast: Chance = Chance(0.15, 0.75, 1.25, balanced=True)  # factor about the mean, range preserved
    resolution: Chance = Chance(0.25, 0.5, 1.0, channel_probability=0.5)  # share of the samples kept along each axis
    inverted_gamma: Chance = Chance(0.1, 0.7, 1.5, balanced=True)  # exponent, applied to the negative
    gamma: Chance = Chance(0.3, 0.7, 1.5, balanced=True)  # exponent; mean and deviation preserved

    def __call__(self, image: Tensor, foreground: Tensor, rng: torch.Generator) -> Tensor:
        """Return changed images; see :func:`perturb`."""
        return perturb(image, foreground, self, rng)


def perturb(image: Tensor, foreground: Tensor, changes: IntensityChanges, rng: torch.Generator) -> Tensor:
    """Change the intensities of images at random, within [0, 1].

    Args:
        image: (B, C, *S) in [0, 1].
        foreground: (B, 1, *S) bool; where it is empty, the whole grid counts.
        changes: distribution of the changes.
        rng: on the images' device.
    """
    batch, channels = image.shape[:2]
    ndim = image.ndim - 2
    # Departure: statistics are the foreground's and nothing outside it changes, in every task. nnU-Net does so in
    # effect for skull-stripped images (its background is the foreground's mean, and masked), not for photographs.
    region = whole_if_empty(foreground)
    gate, level = draw_gated(changes.noise, (batch, 1, 1), rng)
    image = apply(image, region, gate, level, partial(add_noise, rng=rng))
    maps = image.flatten(0, 1).unsqueeze(1)
    region = region.expand_as(image).flatten(0, 1).unsqueeze(1)
    steps: list[tuple[Chance, int, Change]] = [
        (changes.blur, ndim, blur_axes),
        (changes.brightness, 1, brighten),
        (changes.contrast, 1, change_contrast),
        (changes.resolution, 1, lower_resolution),
        (changes.inverted_gamma, 1, partial(change_gamma, invert=True)),
        (changes.gamma, 1, change_gamma),
    ]
    for chance, parameters, change in steps:
        gate, value = draw_gated(chance, (batch, channels, parameters), rng)
        maps = apply(maps, region, gate, value, change)
    # Departure: clamped, because images live in [0, 1] until a method normalises them; nnU-Net normalises first. For
    # the same reason the z-score that follows undoes brightness and contrast of a grey image, saturation apart.
    return maps.reshape(image.shape).clamp(0, 1)


def draw_gated(chance: Chance, shape: tuple[int, int, int], rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw gates (B C,) bool and parameters (B C, k) for shape (B, C, k), in one call to ``rng``."""
    batch, channels, parameters = shape
    uniform = torch.rand(batch, 1 + channels * (1 + parameters), generator=rng, device=rng.device)
    gate = (uniform[:, :1] < chance.probability) & (uniform[:, 1 : 1 + channels] < chance.channel_probability)
    u = uniform[:, 1 + channels :].reshape(batch * channels, parameters)
    if not chance.balanced:
        return gate.flatten(), chance.low + (chance.high - chance.low) * u
    below, above = chance.low + (1 - chance.low) * 2 * u, 1 + (chance.high - 1) * (2 * u - 1)
    return gate.flatten(), torch.where(u < 0.5, below, above)


def apply(maps: Tensor, region: Tensor, gate: Tensor, value: Tensor, change: Change) -> Tensor:
    """Change the gated maps (M, c, *S) inside their region, in a new tensor."""
    if selects(maps):
        drawn = gate.nonzero().squeeze(1)
        if not len(drawn):
            return maps
        part, inside = maps[drawn], region[drawn]
        return maps.index_copy(0, drawn, torch.where(inside, change(part, value[drawn], inside), part))
    return torch.where(per_image(gate, maps) & region, change(maps, value, region), maps)


def selects(maps: Tensor) -> bool:
    """Return whether to compute drawn maps only: on the CPU alone their number costs the host nothing."""
    return maps.device.type == "cpu"


def add_noise(maps: Tensor, level: Tensor, region: Tensor, *, rng: torch.Generator) -> Tensor:
    """Add one Gaussian noise map to all channels, ``level`` times each channel's standard deviation."""
    shape = (len(maps), 1, *maps.shape[2:])
    noise = torch.randn(shape, generator=rng, device=rng.device, dtype=maps.dtype)
    return maps + noise * (channel_moments(maps, region)[1] * per_image(level, maps))


def blur_axes(maps: Tensor, sigma: Tensor, region: Tensor) -> Tensor:  # noqa: ARG001 - a Change
    """Blur by Gaussians of deviation ``sigma`` (M, n) voxels along each axis, renormalised at edges."""
    sides = maps.shape[2:]
    return blur(maps, [edge_normalised(sigma[:, axis], side, BLUR_RADIUS) for axis, side in enumerate(sides)])


def brighten(maps: Tensor, factor: Tensor, region: Tensor) -> Tensor:  # noqa: ARG001 - a Change
    """Multiply intensities by ``factor`` (M, 1)."""
    return maps * per_image(factor, maps)


def change_contrast(maps: Tensor, factor: Tensor, region: Tensor) -> Tensor:
    """Multiply distances from the region's mean by ``factor`` (M, 1), clipped to the region's range."""
    mean, _ = channel_moments(maps, region)
    low, high = extremes(maps, region)
    return (mean + (maps - mean) * per_image(factor, maps)).clamp(low, high)


def lower_resolution(maps: Tensor, share: Tensor, region: Tensor) -> Tensor:  # noqa: ARG001 - a Change
    """Keep ``share`` (M, 1 or n) of the samples along each of n axes and interpolate them linearly back.

    The round(share · side) nearest samples.
    """
    for axis, side in enumerate(maps.shape[2:]):
        kept = (share[:, axis % share.shape[1], None] * side).round().clamp(min=1)
        position = torch.arange(side, device=maps.device, dtype=maps.dtype)
        source = ((position + 0.5) * kept / side - 0.5).clamp(min=0)
        left = source.floor()
        fraction = (source - left).unsqueeze(2)
        # The sample of index j lies at the voxel under its centre, (j + 1/2) side / kept.
        first, second = (((torch.minimum(j, kept - 1) + 0.5) * side / kept).floor() for j in (left, left + 1))
        hits = [(sample.unsqueeze(2) == position).to(maps.dtype) for sample in (first, second)]
        maps = along(maps, axis, (1 - fraction) * hits[0] + fraction * hits[1])
    return maps


def change_gamma(maps: Tensor, exponent: Tensor, region: Tensor, *, invert: bool = False) -> Tensor:
    """Raise intensities, scaled to [0, 1] by the region's range, to ``exponent`` (M, 1).

    The region's mean and standard deviation are restored. ``invert`` works on the negative, which stretches bright
    intensities where the plain change stretches dark ones.
    """
    if invert:
        maps = -maps
    curved = gamma_curve(maps, exponent, extremes(maps, region), smallest_span=1e-7)
    mean, deviation = channel_moments(maps, region)
    curved_mean, curved_deviation = channel_moments(curved, region)
    curved = (curved - curved_mean) * (deviation / curved_deviation.clamp(min=1e-7)) + mean
    return -curved if invert else curved


def channel_moments(maps: Tensor, region: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation (M, c, 1, ...) of each channel over its non-empty region."""
    axes = tuple(range(2, maps.ndim))
    weight = region.to(maps.dtype)
    count = weight.sum(dim=axes, keepdim=True)
    mean = (maps * weight).sum(dim=axes, keepdim=True) / count
    variance = ((maps - mean).square() * weight).sum(dim=axes, keepdim=True) / count
    return mean, variance.sqrt()
