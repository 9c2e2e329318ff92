"""Blur, sharpening and contrast of a batch of 2D or 3D images, with a magnitude of its own for each image."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def per_image(values: Tensor, image: Tensor) -> Tensor:
    """Return values (B,) in a shape that broadcasts against images (B, C, *S)."""
    return values.view(-1, *[1] * (image.ndim - 1))


def blur(image: Tensor, sigma: Tensor, widest: float) -> Tensor:
    """Return the images under Gaussian filters, borders replicated: a constant image stays what it is.

    Args:
        image: (B, C, *S).
        sigma: (B,) widths in voxels, positive.
        widest: upper bound of sigma; kernels reach four times as far.
    """
    radius = math.ceil(4 * widest)
    offset = torch.arange(-radius, radius + 1, device=image.device)
    kernel = (-0.5 * (offset / sigma.unsqueeze(1)).square()).softmax(dim=1)
    taps = [per_image(weight, image) for weight in kernel[:, radius:].unbind(1)]  # symmetric: the middle and one arm
    blurred = image
    # Shifted sums: kernels that differ between images would need grouped convolutions, which take 2 to 10 times as
    # long on CPUs (2D and 3D).
    for axis in range(2, image.ndim):
        side = image.shape[axis]
        last_first = [radius if axis == other else 0 for other in range(image.ndim - 1, 1, -1) for _ in range(2)]
        padded = F.pad(blurred, last_first, mode="replicate")
        blurred = padded.narrow(axis, radius, side) * taps[0]
        for step in range(1, radius + 1):
            pair = padded.narrow(axis, radius - step, side) + padded.narrow(axis, radius + step, side)
            blurred.addcmul_(pair, taps[step])
    return blurred


def sharpen(image: Tensor, strength: Tensor, first: Tensor, second: Tensor, widest: float) -> Tensor:
    """Return the images under unsharp masking: B + a (B - G₂ * B), where B = G₁ * image.

    Args:
        image: (B, C, *S).
        strength: a (B,); 0 leaves the blur by G₁.
        first: (B,) width of G₁ in voxels.
        second: (B,) width of G₂.
        widest: upper bound of both.
    """
    smooth = blur(image, first, widest)
    return smooth + per_image(strength, image) * (smooth - blur(smooth, second, widest))


def extremes(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return the smallest and the largest value of each image, channels jointly, to broadcast against (B, C, *S)."""
    low, high = image.flatten(1).aminmax(dim=1)
    return per_image(low, image), per_image(high, image)


def change_contrast(values: Tensor, gamma: Tensor, bounds: tuple[Tensor, Tensor]) -> Tensor:
    """Return values raised to powers between two bounds, which stay where they are.

    Args:
        values: (B, C, *S), or others to treat as those of an image; below the lower bound they take its place.
        gamma: (B,) powers.
        bounds: of each image, from :func:`extremes`.
    """
    low, high = bounds
    span = (high - low).clamp(min=torch.finfo(values.dtype).tiny)  # a constant image stays what it is
    return ((values - low) / span).clamp(min=0).pow(per_image(gamma, values)) * span + low
