"""CBAM: attention of a feature map to its own channels and voxels, in 2D and 3D."""

from typing import Any

import torch
from torch import Tensor, nn


class BlockAttention(nn.Module):
    """Weigh channels by their mean and maximum over voxels, then voxels by theirs over channels.

    Source: Woo, Park, Lee, Kweon: CBAM, Convolutional Block Attention Module, ECCV 2018; no biases and no
    normalisation, as in the code of FreeSDG.

    Args:
        ndim: 2 or 3.
        channels: of the map.
        reduction: channels over hidden units of the channels' perceptron, which has at least one.
        kernel: odd side of the convolution that weighs the voxels.
    """

    def __init__(self, ndim: int, channels: int, reduction: int, kernel: int) -> None:
        super().__init__()
        convolution: Any = {2: nn.Conv2d, 3: nn.Conv3d}[ndim]
        hidden = max(1, channels // reduction)
        self.squeeze = nn.Linear(channels, hidden, bias=False)
        self.expand = nn.Linear(hidden, channels, bias=False)
        self.locate = convolution(2, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return x (B, channels, *S) times both weights, each in (0, 1)."""
        axes = tuple(range(2, x.ndim))
        pooled = torch.stack([x.mean(dim=axes), x.amax(dim=axes)])
        channel = self.expand(self.squeeze(pooled).relu()).sum(dim=0).sigmoid()
        x = x * channel.view(*channel.shape, *[1] * len(axes))
        pooled = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)
        location: Tensor = self.locate(pooled).sigmoid()
        return x * location
