"""Rotation, scaling and elastic deformation of a batch, fused into the one map that a single resampling needs.

Axes are those of the grid, positions and displacements voxels from its centre; one map an image.
"""

import itertools
import math

import torch
from torch import Tensor
from torch.nn import functional as F


def displacement_deviation(amplitude: Tensor, sigma: Tensor, ndim: int) -> Tensor:
    """Return the standard deviation of A · (G_σ * U(-1, 1)), one component of an elastic field, in voxels.

    A / √3 · (2 √π σ)^(-n/2): the deviation of the uniform law times the 2-norm of a Gaussian of σ voxels in n
    dimensions. The same A therefore bends a plane far more than a volume.
    """
    return amplitude / math.sqrt(3) * (2 * math.sqrt(math.pi) * sigma).pow(-ndim / 2)


def smooth_noise(shape: tuple[int, ...], sigma: Tensor, spacing: float, reach: float, rng: torch.Generator) -> Tensor:
    """Return random fields as smooth as white noise under a Gaussian filter, of variance 1 at every voxel.

    Uniform noise lives on a lattice coarser than the grid and larger by a margin; each voxel takes the sum of the
    nodes around it under Gaussian weights of 2-norm 1. The sum factorises over the axes, so that the grid's own
    resolution is met in the last of n small matrix products only. Up to a spacing of about σ the lattice leaves no
    trace: the correlation is that of noise drawn at every voxel, up to the grid's borders.

    Args:
        shape: the grid S.
        sigma: (B,) width of the filter in voxels.
        spacing: voxels from node to node, about the smallest σ.
        reach: width of the margin in voxels, about three times the largest σ.
        rng: the only source of randomness.

    Returns:
        (B, n, *S), one field an axis.
    """
    weights = []
    for side in shape:
        nodes = math.ceil((side - 1 + 2 * reach) / spacing) + 1
        offset = (side - 1 - (nodes - 1) * spacing) / 2  # the margin is the same on both sides
        node = torch.arange(nodes, device=sigma.device) * spacing + offset
        distance = torch.arange(side, device=sigma.device).unsqueeze(1) - node
        weight = (-0.5 * (distance / sigma.view(-1, 1, 1)).square()).exp()
        weights.append(F.normalize(weight, dim=2))
    lattice = (len(sigma), len(shape), *(weight.shape[2] for weight in weights))
    field = (torch.rand(lattice, generator=rng, device=sigma.device) * 2 - 1) * math.sqrt(3)
    for weight in weights:  # each product consumes the first axis and appends it as the last: one turn in all
        turned = field.flatten(3).transpose(2, 3) @ weight.mT.unsqueeze(1)
        field = turned.reshape(*field.shape[:2], *field.shape[3:], -1)
    return field


def rotation(angles: Tensor, ndim: int) -> Tensor:
    """Return rotation matrices (B, n, n) for angles (B, planes) in radians: one plane in 2D, three in turn in 3D."""
    identity = torch.eye(ndim, device=angles.device).repeat(len(angles), 1, 1)
    total = identity
    for angle, (i, j) in zip(angles.unbind(1), itertools.combinations(range(ndim), 2), strict=True):
        turn = identity.clone()
        turn[:, i, i] = turn[:, j, j] = angle.cos()
        turn[:, i, j], turn[:, j, i] = -angle.sin(), angle.sin()
        total = turn @ total
    return total


def sampling_grid(matrix: Tensor, displacement: Tensor) -> Tensor:
    """Return where each voxel of the result is read, as ``grid_sample`` takes it: M (p + u(p)) at position p.

    This is what one resampling by M followed by one by the displacement u would read, without the intermediate image.

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


def resample(maps: Tensor, grid: Tensor, mode: str, outside: Tensor | None = None) -> Tensor:
    """Return maps (B, C, *S) read at a sampling grid.

    Args:
        maps: floating-point images or class indices.
        grid: (B, *S, n) of :func:`sampling_grid`.
        mode: "bilinear" (linear in 3D too) or "nearest".
        outside: value of what lies outside the maps, broadcast against them; None repeats their border.
    """
    if outside is None:
        return F.grid_sample(maps, grid, mode=mode, padding_mode="border", align_corners=False)
    return F.grid_sample(maps - outside, grid, mode=mode, padding_mode="zeros", align_corners=False) + outside
