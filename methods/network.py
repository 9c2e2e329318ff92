"""The one segmentation network all methods share: MONAI's SegResNet with one named slot."""

from typing import NamedTuple

from monai.networks.nets import SegResNet
from torch import Tensor, nn


class Features(NamedTuple):
    """Outputs of the network."""

    logits: Tensor  # (B, classes, *S)
    decoder: Tensor  # (B, filters, *S), the last decoder map, before the final normalisation and convolution
    bottleneck: Tensor  # (B, 8 * filters, *S/8), after the bottleneck slot


class SegmentationNetwork(SegResNet):  # type: ignore[misc]  # MONAI ships no types
    """SegResNet for 2D or 3D images whose sides are multiples of 8.

    ``bottleneck`` is an identity until a method fills it; it sees the deepest map on its way to the decoder and never
    the skip connections.

    Args:
        ndim: 2 or 3.
        channels: image channels.
        classes: output classes, background included.
        init_filters: filters of the first stage, a multiple of 8 (the size of a normalisation group).
    """

    def __init__(self, ndim: int, channels: int, classes: int, init_filters: int = 32) -> None:
        if init_filters % 8:
            raise ValueError(
                f"network.init_filters must be a multiple of 8 (group normalisation), not {init_filters}"
            )
        super().__init__(
            spatial_dims=ndim,
            init_filters=init_filters,
            in_channels=channels,
            out_channels=classes,
            blocks_down=(1, 2, 2, 4),
            blocks_up=(1, 1, 1),
        )
        self.ndim = ndim
        self.channels = channels
        self.classes = classes
        self.bottleneck: nn.Module = nn.Identity()

    def forward(self, x: Tensor) -> Features:
        """Return logits and two feature maps, last decoder map and bottleneck, for x (B, channels, *S)."""
        deepest, skips = self.encode(x)
        bottleneck = self.bottleneck(deepest)
        decoder = bottleneck
        for upsample, block, skip in zip(self.up_samples, self.up_layers, reversed(skips[:-1]), strict=True):
            decoder = block(upsample(decoder) + skip)
        return Features(self.conv_final(decoder), decoder, bottleneck)
