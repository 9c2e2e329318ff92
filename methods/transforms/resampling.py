"""Resampling of images, labels and foregrounds at a grid of positions, and such grids.

Axes are those of the grid, positions and displacements voxels from its centre; one map per image.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F


def sampling_grid(matrix: Tensor, displacement: Tensor) -> Tensor:
    """Return the positions M (p + u(p)) read by each voxel p of the result, for ``grid_sample``.

    One resampling there equals one by M followed by one by u, without the intermediate image.

    Args:
        matrix: M (B, n, n), from the result's positions to those read.
        displacement: u (B, n, *S), in voxels.

    Returns:
        (B, *S, n), in units of half the grid's sides, last axis first.
    """
    shape = displacement.shape[2:]
    axes = []
    for axis, side in enumerate(shape):
        position = torch.arange(side, device=matrix.device) - (side - 1) / 2
        axes.append(displacement[:, axis] + position.view(-1, *[1] * (len(shape) - 1 - axis)))
    moved = torch.stack(axes, dim=1)
    # Row order and unit are folded into the small matrix, not applied to the large grid.
    rows = torch.stack([matrix[:, axis] * (2 / side) for axis, side in enumerate(shape)], dim=1).flip(1)
    read = rows @ moved.flatten(2)
    return read.reshape(moved.shape).movedim(1, -1)


def resample(
    maps: Tensor,
    grid: Tensor,
    mode: Literal["bilinear", "nearest"],
    outside: Tensor | Literal["zeros", "border"] = "zeros",
) -> Tensor:
    """Read maps (B, C, *S) at a sampling grid.

    Args:
        maps: floating-point images or class indices.
        grid: (B, *S, n) of :func:`sampling_grid` or ``affine_grid``.
        mode: "bilinear" (linear in 3D too) or "nearest".
        outside: of the maps: 0, the border repeated, or a value that broadcasts against them.
    """
    if isinstance(outside, str):
        return F.grid_sample(maps, grid, mode=mode, padding_mode=outside, align_corners=False)
    return F.grid_sample(maps - outside, grid, mode=mode, padding_mode="zeros", align_corners=False) + outside


def resample_label(label: Tensor, foreground: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Read label and bool foreground (B, 1, *S) at the nearest voxels; background outside the grid."""
    # One nearest pass for both maps: class indices are small integers, exact in float32.
    maps = torch.cat([label.to(grid.dtype), foreground.to(grid.dtype)], dim=1)
    maps = resample(maps, grid, "nearest")
    return maps[:, :1].to(label.dtype), maps[:, 1:] > 0.5
