"""Elastic displacement fields: smooth random fields, and the deviation of A · (G_σ * U(-1, 1))."""

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
    """Draw random fields of variance 1, as smooth as white noise under a Gaussian filter.

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
