"""GIN, global intensity non-linear augmentation: random shallow convolutional networks of intensities.

Ouyang et al.: CSDG, IEEE TMI 2022, arXiv 2111.12525. "Authors' code" is cheng-01037/Causality-Medical-Image-Domain-
Generalization.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..base import require
from .host import host_generator

SLOPE = 0.01
"""Negative slope of the random networks' leaky rectifiers. Source: authors' code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GINConfig:
    """Settings of the random networks; the defaults are the released code's."""

    layers: int = field(default=4, metadata={"source": "authors' code: convolutions of a random network"})
    hidden_channels: int = field(default=2, metadata={"source": "authors' code: between the convolutions"})
    kernel_sizes: tuple[int, ...] = field(default=(1, 3), metadata={"source": "authors' code; each equally likely"})
    match_norm: bool = field(
        default=True,
        metadata={"source": "authors' code: the image's Frobenius norm is restored; false: its switch off"},
    )

    def __post_init__(self) -> None:
        for name in ("layers", "hidden_channels"):
            require(getattr(self, name) >= 1, f"method.{name} must be at least 1, not {getattr(self, name)}")
        odd = bool(self.kernel_sizes) and all(size >= 1 and size % 2 == 1 for size in self.kernel_sizes)
        require(odd, f"method.kernel_sizes must be odd numbers, not {self.kernel_sizes}")


def draw_sizes(config: GINConfig, networks: int, rng: torch.Generator) -> list[list[int]]:
    """Return the kernel side of every layer of the given number of random networks."""
    # Drawn on the host: kernels of different sizes are different programs.
    shape = (networks, config.layers)
    sizes = torch.randint(len(config.kernel_sizes), shape, generator=host_generator(rng)).tolist()
    return [[config.kernel_sizes[index] for index in row] for row in sizes]


def random_rendering(
    image: Tensor, sizes: Sequence[int], config: GINConfig, rng: torch.Generator, **activation: Any
) -> Tensor:
    """Return images (B, C, *S) mixed in random shares with the output of a random network each, as float32.

    Keywords are those of :func:`random_network`.
    """
    output = random_network(image, sizes, config.hidden_channels, rng, **activation)
    weight = torch.rand((len(image), *[1] * (image.ndim - 1)), generator=rng, device=image.device)
    return mix(image, output, weight, config.match_norm)


def random_network(
    image: Tensor,
    sizes: Sequence[int],
    hidden: int,
    rng: torch.Generator,
    *,
    slope: float = SLOPE,
    bias: bool = True,
    last_activation: bool = False,
) -> Tensor:
    """Return each image after a convolutional network drawn for it alone: the body of GIN.

    Weights and biases are N(0, 1) whatever the fan-in; leaky rectifiers between the convolutions; zero padding.
    Source: authors' code, GIN.

    Args:
        image: (B, C, *S) with 2 or 3 spatial axes; computed in float32 whatever its type.
        sizes: odd kernel side of each convolution, the same for the whole batch.
        hidden: channels between the convolutions.
        rng: on the image's device.
        slope: of the rectifiers below 0.
        bias: False makes the network homogeneous: f(a x) = a f(x) for a > 0.
        last_activation: whether a rectifier follows the last convolution too.

    Returns:
        (B, C, *S) float32, of a scale that varies by orders of magnitude.
    """
    (samples, channels), ndim = image.shape[:2], image.ndim - 2
    path = [channels, *[hidden] * (len(sizes) - 1), channels]
    x = image.float().contiguous()
    for layer, size in enumerate(sizes):
        shape = (samples, path[layer + 1], path[layer], *[size] * ndim)
        kernel = torch.randn(shape, generator=rng, device=image.device)
        shift = torch.randn(shape[:2], generator=rng, device=image.device) if bias else kernel.new_zeros(shape[:2])
        x = _convolve_each(x, kernel, shift)
        if layer < len(sizes) - 1 or last_activation:
            x = F.leaky_relu_(x, slope)
    return x


def _convolve_each(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """Convolve each sample of x (B, C, *S) with its own kernel (B, C', C, *K) and bias (B, C')."""
    grid = x.shape[2:]
    with torch.autocast(x.device.type, enabled=False):  # activations can exceed the range of half precision
        if kernel.shape[-1] == 1:  # a matrix product; and PyTorch may choose another memory layout for kernels of one
            product = torch.baddbmm(bias.unsqueeze(2), kernel.flatten(2), x.flatten(2))
            return product.view(*product.shape[:2], *grid)
        convolution: Any = {2: F.conv2d, 3: F.conv3d}[len(grid)]
        # Samples side by side as groups of channels of one image.
        side_by_side = x.flatten(0, 1).unsqueeze(0), kernel.flatten(0, 1), bias.flatten()
        filtered: Tensor = convolution(*side_by_side, padding=kernel.shape[-1] // 2, groups=len(x))
        return filtered.view(len(x), -1, *grid)


def mix(image: Tensor, output: Tensor, weight: Tensor, match_norm: bool = True, epsilon: float = 1e-5) -> Tensor:
    """Return weight · output + (1 - weight) · image, scaled to the image's Frobenius norm: the end of GIN.

    The norm is each sample's, over channels and voxels together. Source: authors' code, GIN. The output is not
    scaled before it is mixed, so that it usually outweighs the image: part of the method.

    Args:
        image: (B, C, *S).
        output: of the random network, (B, C, *S) float32; overwritten by the result.
        weight: (B, 1, *ones) in [0, 1].
        match_norm: whether to scale.
        epsilon: added to the mixture's norm.
    """
    mixed = torch.lerp(image.float(), output, weight, out=output)
    if match_norm:
        mixed *= norms(image) / (norms(mixed) + epsilon)
    return mixed


def norms(x: Tensor) -> Tensor:
    """Return each sample's Euclidean norm (B, 1, *ones) in float32."""
    length: Tensor = torch.linalg.vector_norm(x.float().flatten(1), dim=1)
    return length.view(-1, *[1] * (x.ndim - 1))
