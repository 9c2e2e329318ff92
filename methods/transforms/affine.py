"""Random flips, rotations and scalings of a batch, fused into one resampling.

The host reads no tensor's value, so that CUDA stays asynchronous.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from ..base import Batch
from .resampling import resample, resample_label

Plane: TypeAlias = tuple[int, int]
"""Two axes; a positive angle turns the first towards the second."""

PLANES: dict[int, tuple[Plane, ...]] = {2: ((0, 1),), 3: ((0, 1), (2, 0), (1, 2))}
"""Planes of the rotations about z, y and x in turn, axes in the order (x, y, z)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AffineRange:
    """Distribution of affine maps; every probability is per image. The defaults are the identity.

    Angles and lengths are those of the grid's voxels, taken as cubes.
    """

    flip_axes: tuple[int, ...] = ()  # spatial axes that may be flipped, 0 is the first after the channel
    flip_probability: float = 0.5  # of each of these axes
    rotation_probability: float = 0.0  # of one rotation (2D) or of rotations about all three axes (3D)
    rotation: float = 0.0  # largest angle about each axis, degrees; uniform on both sides of 0
    rotation_axis_probability: float = 1.0  # of each axis of an image that is rotated
    scaling_probability: float = 0.0
    scaling: tuple[float, float] = (1.0, 1.0)  # uniform, the same along all axes; above 1 objects shrink
    independent_scaling: bool = False  # along each axis, half of the factors below 1 and half above
    permutation: bool = False  # axes of equal length may change places


def deform(batch: Batch, affine: AffineRange, rng: torch.Generator) -> Batch:
    """Apply one random affine map per image to image, label and foreground.

    Images are interpolated linearly, labels and foregrounds take the nearest voxel; outside the grid everything is 0
    (black, background, not foreground). ``target`` and ``target_foreground`` are passed on unchanged.
    """
    theta = draw_affine(affine, batch.image.shape, rng)
    grid = F.affine_grid(theta, [len(theta), 1, *batch.image.shape[2:]], align_corners=False)
    image = resample(batch.image, grid, "bilinear").clamp_(0, 1)  # interpolation weights sum to 1 up to rounding
    label, foreground = resample_label(batch.label, batch.foreground, grid)
    return dataclasses.replace(batch, image=image, label=label, foreground=foreground)


def reach(affine: AffineRange, shape: Sequence[int]) -> tuple[int, ...]:
    """Return the sides of a centred box that holds all positions read by a grid of a shape; of the shape's parity."""
    ndim, half = len(shape), [side / 2 for side in shape]
    largest = max(1.0, affine.scaling[1]) if affine.scaling_probability else 1.0
    bound = list(half)
    if affine.rotation_probability and affine.rotation:
        sine = math.sin(math.radians(min(affine.rotation, 90.0)))
        for i, j in PLANES[ndim]:
            bound[i], bound[j] = bound[i] + sine * bound[j], bound[j] + sine * bound[i]
        bound = [min(side, math.hypot(*half)) for side in bound]
    # One voxel more for the neighbours that are interpolated, and one for rounding.
    return tuple(side + 2 * (math.ceil(largest * b - side / 2) + 2) for side, b in zip(shape, bound, strict=True))


def draw_affine(affine: AffineRange, shape: torch.Size, rng: torch.Generator) -> Tensor:
    """Draw one map per image from output to input positions, in coordinates of ``affine_grid``.

    Args:
        affine: distribution of the maps.
        shape: (B, C, *S) of the images.
        rng: on the images' device; called exactly once.

    Returns:
        (B, n, n + 1) for n spatial axes, rows and columns in (x, y[, z]) order: S reversed.
    """
    sides = shape[:1:-1]
    ndim = len(sides)
    planes = PLANES[ndim]
    turns = len(planes) if affine.rotation_axis_probability < 1 else 0
    widths = [
        3,
        len(planes),
        len(affine.flip_axes),
        turns,
        ndim * affine.independent_scaling,
        int(affine.permutation),
    ]
    uniform = torch.rand(shape[0], sum(widths), generator=rng, device=rng.device)
    gates, angle, flipped, turned, stretched, permuted = torch.split(uniform, widths, dim=1)
    rotated, scaled, factor = gates.unbind(dim=1)
    low, high = affine.scaling
    columns = [low + (high - low) * factor] * ndim
    if affine.independent_scaling:
        columns = [
            torch.where(u < 0.5, low + (1 - low) * 2 * u, 1 + (high - 1) * (2 * u - 1)) for u in stretched.unbind(1)
        ]
    columns = [torch.where(scaled < affine.scaling_probability, column, 1.0) for column in columns]
    for axis, u in zip(affine.flip_axes, flipped.unbind(1), strict=True):
        column = columns[ndim - 1 - axis]
        columns[ndim - 1 - axis] = torch.where(u < affine.flip_probability, -column, column)
    angles = (2 * angle.flip(1) - 1) * math.radians(affine.rotation)
    angles = torch.where(rotated.unsqueeze(1) < affine.rotation_probability, angles, 0.0)
    if turns:
        angles = torch.where(turned < affine.rotation_axis_probability, angles, 0.0)
    matrix = rotation(angles, ndim, planes) * torch.stack(columns, dim=1).unsqueeze(1)
    if affine.permutation:
        matrix = _permuted(matrix, permuted, tuple(sides))
    # Normalised coordinates run over [-1, 1] whatever a side's length: side ratios keep angles right on oblong grids.
    rows = [torch.stack([matrix[:, i, j] * (sides[j] / sides[i]) for j in range(ndim)], dim=1) for i in range(ndim)]
    return F.pad(torch.stack(rows, dim=1), (0, 1))  # no translation


def _permuted(matrix: Tensor, draws: Tensor, sides: tuple[int, ...]) -> Tensor:
    """Return matrices (B, n, n) with their columns in an order that draws (B, 1) in 0..1 choose."""
    ends, orders = _axis_orders(sides, draws.device)
    order = orders[(draws >= ends).sum(dim=1)]
    return matrix.gather(2, order.unsqueeze(1).expand_as(matrix))


@functools.lru_cache(maxsize=8)
def _axis_orders(sides: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return orders (K, n) of axes, and where their shares of 0..1 end (K - 1,); axes of unequal sides stay.

    Shares are those of a quarter turn (probability 1/2; 0 to 3 quarters in a plane of two of the equal axes) and then
    a shuffle of them (probability 1/2).
    """
    axes = range(len(sides))
    equal = max(([axis for axis in axes if sides[axis] == side] for side in sides), key=len)
    shuffled = list(itertools.permutations(equal))
    orders = [[dict(zip(equal, order, strict=True)).get(axis, axis) for axis in axes] for order in shuffled]
    swaps = math.comb(len(equal), 2)
    turns = {0: 0.75 if swaps else 1.0, 2: 0.25 / max(1, swaps)}  # by the number of axes that move
    moved = [sum(axis != place for axis, place in enumerate(order)) for order in orders]
    shares = [0.5 * turns.get(count, 0.0) + 0.5 / len(orders) for count in moved]
    ends = torch.tensor(list(itertools.accumulate(shares))[:-1], device=device)
    return ends, torch.tensor(orders, device=device)


def rotation(angles: Tensor, ndim: int, planes: Sequence[Plane] | None = None) -> Tensor:
    """Return rotation matrices (B, n, n): the product of plane rotations, the first plane's leftmost.

    Args:
        angles: (B, planes) in radians.
        ndim: 2 or 3.
        planes: of the angles; None takes (0, 1) in 2D and (0, 1), (0, 2), (1, 2) in 3D.
    """
    planes = planes or tuple(itertools.combinations(range(ndim), 2))
    columns = list(torch.eye(ndim, device=angles.device).expand(len(angles), -1, -1).unbind(2))
    # Element by element: autocast would round matrix products to bfloat16.
    for angle, (i, j) in zip(angles.unbind(1), planes, strict=True):
        cos, sin = angle.cos().unsqueeze(1), angle.sin().unsqueeze(1)
        columns[i], columns[j] = cos * columns[i] + sin * columns[j], cos * columns[j] - sin * columns[i]
    return torch.stack(columns, dim=2)
