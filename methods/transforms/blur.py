"""Gaussian blurs of 2D and 3D images, and unsharp masking.

A separable filter is one matrix product along each axis, whatever its width and its borders: on a CPU five times as
fast as a convolution for kernels as wide as the grid's sides. Short kernels are cheaper as sums of shifted images.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from .contrast import per_image

Gaussian: TypeAlias = tuple[int, float]
"""Width (odd) and standard deviation of a kernel, both in voxels."""


def blur(maps: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Apply one linear operator per axis to maps.

    Args:
        maps: (M, c, *S).
        matrices: one (M or K, side, side) per axis, from :func:`edge_normalised` or :func:`replicated`.

    Returns:
        (M, c, *S); (K, c, *S) where one map meets K operators.
    """
    for axis, operators in enumerate(matrices):
        maps = along(maps, axis, operators)
    return maps


def along(maps: Tensor, axis: int, operators: Tensor) -> Tensor:
    """Apply linear operators (M or K, n, n) along a spatial axis of length n of maps (M or 1, c, *S)."""
    shape = maps.shape
    if axis == len(shape) - 3:
        product = maps.reshape(len(maps), -1, shape[-1]) @ operators.mT
    else:
        rows = maps.reshape(len(maps), shape[: axis + 2].numel() // len(maps), shape[axis + 2], -1)
        product = operators.unsqueeze(1) @ rows
    return product.reshape(-1, *shape[1:])


def edge_normalised(sigma: Tensor, side: int, reach: int) -> Tensor:
    """Return blurs (M, side, side) with kernels cut at the grid's edges and renormalised there.

    Args:
        sigma: (M,) standard deviations in voxels.
        side: voxels along the axis.
        reach: voxels after which kernels are cut.
    """
    position = torch.arange(side, device=sigma.device, dtype=sigma.dtype)
    distance = (position[:, None] - position).abs()
    weight = torch.exp(-0.5 * (distance / sigma[:, None, None]).square()) * (distance <= reach)
    return weight / weight.sum(dim=-1, keepdim=True)


@lru_cache(maxsize=8)
def replicated(side: int, gaussians: tuple[Gaussian, ...], device: torch.device) -> Tensor:
    """Return blurs (filters, side, side) float32 with replicated borders, computed in float64.

    Kept for the grids in use: the few that a run needs cost some megabytes.
    """
    with torch.inference_mode(False):  # a first call while predicting must not make it unusable for training
        matrices = torch.zeros((len(gaussians), side, side), dtype=torch.float64)
        for matrix, gaussian in zip(matrices, gaussians, strict=True):
            kernel = gaussian_kernel(gaussian)
            offset = torch.arange(len(kernel)) - len(kernel) // 2
            source = (torch.arange(side).unsqueeze(1) + offset).clamp(0, side - 1)
            matrix.scatter_add_(1, source, kernel.expand(side, -1))
        return matrices.float().to(device)


def gaussian_kernel(gaussian: Gaussian) -> Tensor:
    """Return the normalised kernel (width,), float64: exp(-t² / 2σ²) cut at the width, with sum 1."""
    width, sigma = gaussian
    offset = torch.arange(width, dtype=torch.float64) - width // 2
    kernel = torch.exp(-0.5 * (offset / sigma).square())
    return kernel / kernel.sum()


def blur_by_shifts(image: Tensor, sigma: Tensor, widest: float) -> Tensor:
    """Blur each image by a short kernel of its own, borders replicated; constant images stay constant.

    Args:
        image: (B, C, *S).
        sigma: (B,) standard deviations in voxels, positive.
        widest: upper bound of sigma; kernels reach four times as far.
    """
    radius = math.ceil(4 * widest)
    offset = torch.arange(-radius, radius + 1, device=image.device)
    kernel = (-0.5 * (offset / sigma.unsqueeze(1)).square()).softmax(dim=1)
    taps = [per_image(weight, image) for weight in kernel[:, radius:].unbind(1)]  # symmetric: the middle and one arm
    blurred = image
    # Kernels that differ between images would need grouped convolutions, 2 to 10 times as slow on CPUs (2D and 3D).
    for axis in range(2, image.ndim):
        side = image.shape[axis]
        padded = extended(blurred, axis, radius)
        blurred = padded.narrow(axis, radius, side) * taps[0]
        for step in range(1, radius + 1):
            pair = padded.narrow(axis, radius - step, side) + padded.narrow(axis, radius + step, side)
            blurred.addcmul_(pair, taps[step])
    return blurred


def extended(maps: Tensor, axis: int, reach: int) -> Tensor:
    """Return maps (M, c, *S) with ``reach`` more voxels at both ends of one axis, copies of the outermost."""
    last_first = [reach if axis == other else 0 for other in range(maps.ndim - 1, 1, -1) for _ in range(2)]
    return F.pad(maps, last_first, mode="replicate")


def sharpen(image: Tensor, strength: Tensor, first: Tensor, second: Tensor, widest: float) -> Tensor:
    """Apply unsharp masking: B + a (B - G₂ * B), where B = G₁ * image.

    Args:
        image: (B, C, *S).
        strength: a (B,); 0 leaves the blur by G₁.
        first: (B,) standard deviation of G₁ in voxels.
        second: (B,) standard deviation of G₂.
        widest: upper bound of both.
    """
    smooth = blur_by_shifts(image, first, widest)
    return smooth + per_image(strength, image) * (smooth - blur_by_shifts(smooth, second, widest))
