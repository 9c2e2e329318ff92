"""Convolutions whose taps are displaced from voxel to voxel, and smooth random displacements for them."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

CUTOFF = 3
"""Cycles a side up to which displacements are drawn; what lies above has 1e-4 of the variance at exponent 10."""


def smooth_displacements(count: int, shape: Sequence[int], exponent: float, rng: torch.Generator) -> Tensor:
    """Draw Gaussian random fields of variance 1 at every voxel, with a power spectrum ∝ |k|^-exponent.

    Periodic, of mean 0: sums of products of cosines and sines of 0 to :data:`CUTOFF` cycles a side, which costs one
    small matrix product an axis.

    Args:
        count: of fields.
        shape: the grid S.
        exponent: of the power, k in cycles a side.
        rng: on the fields' device.

    Returns:
        (count, *S) float32.
    """
    cycles = (torch.arange(2 * CUTOFF + 1, device=rng.device) + 1) // 2  # 0, 1, 1, 2, 2, ...
    squared = sum(cycles.square().view(-1, *[1] * axis) for axis in range(len(shape)))
    assert isinstance(squared, Tensor)
    power = torch.where(squared > 0, squared.clamp(min=1).float().pow(-exponent / 2), 0.0)
    field = torch.randn((count, *power.shape), generator=rng, device=rng.device) * (power / power.sum()).sqrt()
    with torch.autocast(rng.device.type, enabled=False):  # a field must not depend on the run's precision
        for side in shape:
            angle = 2 * math.pi / side * cycles[1::2].unsqueeze(1) * torch.arange(side, device=rng.device)
            waves = math.sqrt(2) * torch.stack([angle.cos(), angle.sin()], dim=1).flatten(0, 1)
            # Takes the leading axis of the waves away and appends the grid's: a full turn restores the order.
            field = torch.tensordot(field, torch.cat([torch.ones_like(waves[:1]), waves]), dims=([1], [0]))
    return field


def deformable_convolution(image: Tensor, kernel: Tensor, displacement: Tensor) -> Tensor:
    """Return Σ_m kernel_m · image(p + m + displacement_m(p)) over the taps m, linearly interpolated, zero outside.

    Args:
        image: (B, C, *S) with 2 or 3 spatial axes; computed in float32 whatever its type.
        kernel: (C', C, *K), odd sides.
        displacement: (taps, n, *S) in voxels, the same for the whole batch.

    Returns:
        (B, C', *S) float32.
    """
    ndim, shape = image.ndim - 2, image.shape[2:]
    taps = torch.cartesian_prod(*[torch.arange(side) - side // 2 for side in kernel.shape[2:]]).tolist()
    weights = kernel.flatten(2).unbind(2)
    result: Tensor | None = None
    with torch.autocast(image.device.type, enabled=False):
        for tap, weight, moved in zip(taps, weights, displacement, strict=True):
            axes = []
            for axis, (side, step) in enumerate(zip(shape, tap, strict=True)):
                position = torch.arange(side, device=image.device) + (step + 0.5 - side / 2)
                axes.append((moved[axis] + position.view(-1, *[1] * (ndim - 1 - axis))) * (2 / side))
            grid = torch.stack(axes[::-1], dim=-1).expand(len(image), *shape, ndim)
            read = F.grid_sample(image.float(), grid, padding_mode="zeros", align_corners=False)
            part = torch.einsum("oc,bc...->bo...", weight, read)
            result = part if result is None else result.add_(part)
    assert result is not None
    return result
