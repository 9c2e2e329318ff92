"""Random flips, rotations and scalings of a batch, fused into one resampling of image, label and foreground.

Nothing here looks at a tensor's value from the host, so that CUDA stays asynchronous.
"""

import dataclasses
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ssdg.methods.base import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """Which affine maps are drawn; every probability is per image. The defaults leave images where they are.

    Angles and lengths are those of the grid's voxels, taken as cubes.
    """

    flip_axes: tuple[int, ...] = ()  # spatial axes that may be flipped, 0 is the first after the channel
    flip_probability: float = 0.5  # of each of these axes
    rotation_probability: float = 0.0  # of one rotation (2D) or of rotations about all three axes (3D)
    rotation: float = 0.0  # largest angle about each axis, degrees; uniform on both sides of 0
    scaling_probability: float = 0.0
    scaling: tuple[float, float] = (1.0, 1.0)  # uniform, the same along all axes; above 1 objects shrink


def deform(batch: Batch, geometry: Geometry, rng: torch.Generator) -> Batch:
    """Return the batch with one affine map per image applied to image, label and foreground.

    Images are interpolated linearly, labels and foregrounds take the nearest voxel; what comes from outside the grid
    is 0 (black, background, not foreground). ``target`` and ``target_foreground`` are passed on unchanged.
    """
    theta = draw_affine(geometry, batch.image.shape, rng)
    grid = F.affine_grid(theta, [len(theta), 1, *batch.image.shape[2:]], align_corners=False)
    image = F.grid_sample(batch.image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    # One nearest pass for both maps: class indices are small integers, exact in float32.
    maps = torch.cat([batch.label.to(image.dtype), batch.foreground.to(image.dtype)], dim=1)
    maps = F.grid_sample(maps, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return dataclasses.replace(
        batch,
        image=image.clamp_(0, 1),  # interpolation weights sum to 1 up to rounding
        label=maps[:, :1].to(batch.label.dtype),
        foreground=maps[:, 1:] > 0.5,
    )


def draw_affine(geometry: Geometry, shape: torch.Size, rng: torch.Generator) -> Tensor:
    """Draw maps from output to input positions, one per image, in the normalised coordinates of ``affine_grid``.

    Args:
        geometry: what may be drawn.
        shape: (B, C, *S) of the images.
        rng: on the images' device; exactly one call is made to it.

    Returns:
        (B, n, n + 1) for n spatial axes, rows and columns in (x, y[, z]) order, which is that of S reversed.
    """
    sides = shape[:1:-1]
    ndim = len(sides)
    angles = 1 if ndim == 2 else 3
    uniform = torch.rand(shape[0], 3 + angles + len(geometry.flip_axes), generator=rng, device=rng.device)
    rotated, scaled, factor, *rest = uniform.unbind(dim=1)
    low, high = geometry.scaling
    scale = torch.where(scaled < geometry.scaling_probability, low + (high - low) * factor, 1.0)
    gate, largest = rotated < geometry.rotation_probability, math.radians(geometry.rotation)
    rotation = rotation_matrix([torch.where(gate, (2 * u - 1) * largest, 0.0) for u in rest[:angles]])
    columns = [scale] * ndim
    for axis, u in zip(geometry.flip_axes, rest[angles:], strict=True):
        columns[ndim - 1 - axis] = torch.where(u < geometry.flip_probability, -scale, scale)
    # Normalised coordinates run over [-1, 1] whatever a side's length: side ratios keep angles right on oblong grids.
    rows = [
        torch.stack([rotation[i][j] * columns[j] * (sides[j] / sides[i]) for j in range(ndim)], dim=1)
        for i in range(ndim)
    ]
    return F.pad(torch.stack(rows, dim=1), (0, 1))  # no translation


def rotation_matrix(angles: list[Tensor]) -> list[list[Tensor]]:
    """Return the entries of Rz Ry Rx for angles (x, y, z), or of the plane rotation for one; radians, any shape.

    Written out, not multiplied: autocast would round a matrix product to bfloat16.
    """
    if len(angles) == 1:
        cos, sin = angles[0].cos(), angles[0].sin()
        return [[cos, -sin], [sin, cos]]
    (cx, cy, cz), (sx, sy, sz) = [a.cos() for a in angles], [a.sin() for a in angles]
    return [
        [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
        [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
        [-sy, cy * sx, cy * cx],
    ]
