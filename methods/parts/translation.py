"""Decoders from the network's deepest map to images in a domain's style, and critics of the result.

Source: code of ASC (MICCAI 2023, arXiv 2310.14172), the 3D form of DSAN's (TMI 2022) translation networks.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.2
"""Negative slope of all leaky rectifiers."""


class ImageDecoder(nn.Module):
    """Image of one style from the bottleneck map alone: the network's skip connections do not reach it.

    Args:
        ndim: 2 or 3.
        features: channels of the bottleneck map; halved at each doubling of the grid.
        channels: of the image.
        stride: sides of the image over those of the bottleneck map, a power of 2.
    """

    def __init__(self, ndim: int, features: int, channels: int, stride: int = 8) -> None:
        super().__init__()
        convolution: Any = {2: nn.Conv2d, 3: nn.Conv3d}[ndim]
        transposed: Any = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}[ndim]
        layers: list[nn.Module] = []
        for width in (features // 2**doubling for doubling in range(stride.bit_length() - 1)):
            layers.append(ResidualBlock(ndim, width))
            layers.append(transposed(width, width // 2, 4, stride=2, padding=1))
            layers += [instance_norm(ndim, width // 2), nn.LeakyReLU(SLOPE, inplace=True)]
        # Linear at the end: normalised images have no bounds.
        self.layers = nn.Sequential(*layers, convolution(features // stride, channels, 3, padding=1))

    def forward(self, bottleneck: Tensor) -> Tensor:
        """Return normalised images (B, channels, *S) for bottleneck maps (B, features, *S/stride)."""
        images: Tensor = self.layers(bottleneck)
        return images


class ResidualBlock(nn.Module):
    """Two convolutions with reflected borders, each with instance normalisation, around an identity."""

    def __init__(self, ndim: int, width: int) -> None:
        super().__init__()
        convolution: Any = {2: nn.Conv2d, 3: nn.Conv3d}[ndim]
        self.layers = nn.Sequential(
            convolution(width, width, 3, padding=1, padding_mode="reflect"),
            instance_norm(ndim, width),
            nn.LeakyReLU(SLOPE, inplace=True),
            convolution(width, width, 3, padding=1, padding_mode="reflect"),
            instance_norm(ndim, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of x's shape."""
        change: Tensor = self.layers(x)
        return x + change


class Critic(nn.Module):
    """One logit for a whole image or prediction, positive for the real kind.

    Args:
        ndim: 2 or 3.
        channels: of the image, or classes of the prediction.
        filters: of the first of four convolutions, doubled by each of the next.
        dropout: share of channels set to zero in training, after each of the first three.
    """

    def __init__(self, ndim: int, channels: int, filters: int, dropout: float) -> None:
        super().__init__()
        convolution: Any = {2: nn.Conv2d, 3: nn.Conv3d}[ndim]
        widths = [channels, *[filters * 2**depth for depth in range(4)]]
        self.convolutions = nn.ModuleList(convolution(a, b, 4, stride=2, padding=1) for a, b in pairwise(widths))
        self.score = nn.Linear(widths[-1], 1)
        self.dropout = dropout

    def forward(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """Return logits (B,) float32 for x (B, channels, *S) with sides of at least 16; rng draws the dropout."""
        for depth, convolution in enumerate(self.convolutions):
            x = F.leaky_relu(convolution(x), SLOPE)
            if self.training and depth < 3:
                x = drop_channels(x, self.dropout, rng)
        logits: Tensor = self.score(x.mean(dim=tuple(range(2, x.ndim))))
        return logits[:, 0].float()


def drop_channels(x: Tensor, probability: float, rng: torch.Generator) -> Tensor:
    """Zero whole channels of x (B, C, *S) at random; scale the others to keep the expected value.

    Not ``nn.Dropout3d``: that draws from the global generator, and a step must be a function of its own.
    """
    draw = torch.rand((*x.shape[:2], *[1] * (x.ndim - 2)), generator=rng, device=x.device)
    return x * ((draw >= probability) / (1 - probability)).to(x.dtype)


def instance_norm(ndim: int, width: int) -> nn.Module:
    """Return an instance normalisation without weights or running statistics."""
    normalisation: type[nn.Module] = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}[ndim]
    return normalisation(width)
