"""Random boxes of grids, and what lies inside a margin."""

from collections.abc import Sequence

import torch
from torch import Tensor


def random_box(shape: Sequence[int], rng: torch.Generator, side: int = 0) -> Tensor:
    """Return a mask (*shape) of one random box, on the generator's device.

    Source: authors' code. Sides are uniform over 0 .. N - 1, independently; the start is uniform over the positions
    that keep the box inside and off the last line.

    Args:
        shape: the grid.
        rng: the only source of randomness.
        side: of the box along all axes, below the grid's; 0 draws them.
    """
    # Double precision: a single one rounds the largest draws up, to a box one voxel too large.
    draws = torch.rand((2, len(shape)), generator=rng, device=rng.device, dtype=torch.float64)
    mask = torch.ones(tuple(shape), dtype=torch.bool, device=rng.device)
    for axis, length in enumerate(shape):
        size = (draws[0, axis] * length).floor() if side == 0 else min(side, length - 1)
        start = (draws[1, axis] * (length - size)).floor()
        position = torch.arange(length, device=rng.device)
        within = (position >= start) & (position < start + size)
        mask &= within.view(-1, *[1] * (len(shape) - 1 - axis))
    return mask


def cut(values: Tensor, margin: int) -> Tensor:
    """Return maps (B, C, *S) without a margin on every side."""
    for axis in range(2, values.ndim) if margin else ():
        values = values.narrow(axis, margin, values.shape[axis] - 2 * margin)
    return values
