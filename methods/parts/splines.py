"""Smooth fields from control points: quadratic B-splines on 2D and 3D grids, and rescaling."""

from collections.abc import Sequence

import torch
from torch import Tensor


def bspline_field(control: Tensor, shape: Sequence[int], outside: float = 1) -> Tensor:
    """Return the quadratic B-spline field of equidistant control points on every voxel centre of a grid.

    Σ_i c_i Π_axis β²(u / h - x_i / h), with u the voxel centre, x_i the control point, h its spacing: the tensor
    product costs one small dense matrix per axis. The control points lie symmetrically about the grid's centre.

    Args:
        control: (B, C, *n) with 2 or 3 spatial axes; computed in float32 whatever its type.
        shape: the grid, one side L per axis of ``n``.
        outside: how many points lie beyond each side of the grid, n > 2 · outside: with 1, h = L / (n - 2) and the
            field of equal points is constant; with 0, h = L / n and the points are the centres of n equal cells; with
            ½, h = L / (n - 1) and the outermost points lie on the grid's sides. Below 1 nothing supports the field
            from beyond, and it falls off towards the sides.

    Returns:
        (B, C, *shape) float32.
    """
    field = control.float()
    with torch.autocast(control.device.type, enabled=False):  # a field must not depend on the run's precision
        for side, points in zip(shape, control.shape[2:], strict=True):
            # Takes the leading spatial axis away and appends its fine version: a full turn restores the order.
            field = torch.tensordot(field, _weights(side, points, outside, control.device), dims=([2], [0]))
    return field


def rescale_per_sample(field: Tensor) -> Tensor:
    """Rescale each sample of a field (B, ...) to [0, 1], both attained; a constant one becomes ½."""
    smallest, largest = (limit.view(-1, *[1] * (field.ndim - 1)) for limit in field.flatten(1).aminmax(dim=1))
    constant = smallest == largest
    extent = (largest - smallest).masked_fill(constant, 1)
    return (field - torch.where(constant, smallest - 0.5, smallest)) / extent


def quadratic_bspline(distance: Tensor) -> Tensor:
    """Return β² at distances in units of the spacing: ¾ at 0, ½ at ½, zero from 3/2 on."""
    distance = distance.abs()
    return torch.where(distance < 0.5, 0.75 - distance.square(), 0.5 * (1.5 - distance).clamp(min=0).square())


def _weights(side: int, points: int, outside: float, device: torch.device) -> Tensor:
    """Return the weight (points, side) of every control point of an axis at every voxel centre."""
    if points <= 2 * outside:
        raise ValueError(f"{points} control points an axis are too few with {outside} beyond each side")
    index = torch.arange(points, device=device) + 0.5 - outside  # control points, in units of their spacing
    centre = (torch.arange(side, device=device) + 0.5) * ((points - 2 * outside) / side)
    return quadratic_bspline(centre - index.unsqueeze(1))
