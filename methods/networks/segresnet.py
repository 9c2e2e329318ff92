"""SegResNet, the network of the paper."""

from monai.networks.nets import SegResNet as MonaiSegResNet
from torch import Tensor, nn

from .base import Level, SegmentationNetwork
from .group_norm import GroupNorm


class SegResNet(SegmentationNetwork):
    """MONAI's SegResNet: residual blocks with group normalisation, four stages, skips that are added.

    Source: Myronenko: 3D MRI brain tumor segmentation using autoencoder regularization, BrainLes 2018, without the
    autoencoder. ``init_filters``, a multiple of 8 (the normalisation's groups), is the width of the first stage; each
    further one has twice that of the one before.
    """

    encoder_parts = ("convInit", "down_layers")

    def build(self) -> None:
        """Assign the layers under MONAI's names."""
        if self.init_filters % 8:
            raise ValueError(
                f"network.init_filters must be a multiple of 8 (group normalisation), not {self.init_filters}"
            )
        layers = MonaiSegResNet(
            spatial_dims=self.ndim,
            init_filters=self.init_filters,
            in_channels=self.channels,
            out_channels=self.classes,
            blocks_down=(1, 2, 2, 4),
            blocks_up=(1, 1, 1),
        )
        for part in layers.modules():
            if isinstance(part, nn.GroupNorm):
                part.__class__ = GroupNorm
        self.convInit, self.down_layers = layers.convInit, layers.down_layers
        self.up_layers, self.up_samples, self.conv_final = layers.up_layers, layers.up_samples, layers.conv_final
        self.widths = tuple(self.init_filters * 2**stage for stage in range(4))
        self.levels = tuple(Level(width, width, width) for width in reversed(self.widths[:-1]))
        self.stride = 8

    def encode(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the deepest map (B, 8 * init_filters, *S/8) and the three skips."""
        return super().encode(self.convInit(x))

    @staticmethod
    def join(upsampled: Tensor, skip: Tensor) -> Tensor:
        """Return the sum of both maps."""
        return upsampled + skip
