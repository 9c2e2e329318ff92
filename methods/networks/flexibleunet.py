"""FlexibleUNet: a U-Net on an EfficientNet encoder, for weights from ImageNet."""

import re

import torch
from monai.networks.nets import FlexibleUNet as MonaiFlexibleUNet
from torch import Tensor, nn
from torch.nn import functional as F

from .base import Level, SegmentationNetwork

MOMENTUM = 0.1
"""Share of a batch in the running statistics; of the decoder as it is, of the encoder instead of 0.01."""

SHARES = (8, 4, 2, 1, 0.5)
"""Widths of the decoder's levels over ``init_filters``: at 32 MONAI's default of 256, 128, 64, 32, 16."""


class FlexibleUNet(SegmentationNetwork):
    """MONAI's FlexibleUNet with EfficientNet-B0: five stages, batch normalisation, skips from all but the deepest.

    Source: Tan, Le: EfficientNet, ICML 2019, and segmentation_models.pytorch (Iakubovskii 2019), from which the
    decoder is. ``init_filters`` is the width of the decoder at half the image's sides (MONAI: 32); the encoder's
    widths are EfficientNet-B0's. Nothing is downloaded: ``network.weights`` may name a file of ImageNet weights.

    The encoder divides sides by 32. Images are extended at the far end of each axis, by repeating the border, to the
    next multiple of 32, at least 64 (two voxels of the deepest map, which normalisations need), and the last level of
    the decoder is cropped to the image: sides of 64, 96, 128, ... give exactly MONAI's network.

    Normalisation takes the statistics of the batch in training, so that images of a batch depend on each other there,
    and in prediction running ones of the source, saved with the weights: an image is predicted by itself, and a shift
    of intensities reaches every layer. There is no skip at the image's own resolution: the first has no channels.
    """

    # Departure: no stochastic depth in the encoder, which would draw from the global generator.
    # Departure: the encoder's running statistics follow training as fast as the decoder's. At MONAI's rate a tenth of
    # them is still that of no training after 230 steps, and short runs predict with noise (phantom: DSC 39, not 88).

    encoder_parts = ("encoder",)

    def build(self) -> None:
        """Assign the layers; the encoder keeps MONAI's names."""
        layers = MonaiFlexibleUNet(
            in_channels=self.channels,
            out_channels=self.classes,
            backbone="efficientnet-b0",
            spatial_dims=self.ndim,
            decoder_channels=tuple(int(share * self.init_filters) for share in SHARES),
        )
        self.encoder = layers.encoder
        for part in ("_conv_head", "_conv_head_padding", "_bn1", "_avg_pooling", "_dropout", "_fc"):
            delattr(self.encoder, part)  # of the classifier
        for block in self.encoder.modules():
            if hasattr(block, "drop_connect_rate"):
                block.drop_connect_rate = 0.0
            if isinstance(block, nn.modules.batchnorm._BatchNorm):
                block.momentum = MOMENTUM
        self.up_samples = nn.ModuleList(block.upsample for block in layers.decoder.blocks)
        self.up_layers = nn.ModuleList(block.convs for block in layers.decoder.blocks)
        self.conv_final = layers.segmentation_head
        self.widths = (16, 24, 40, 112, 320)
        self.levels = tuple(self._levels())
        self.stride = 32

    def _levels(self) -> list[Level]:
        levels, below = [], self.widths[-1]
        outputs = [int(share * self.init_filters) for share in SHARES]
        for skip, output in zip((*reversed(self.widths[:-1]), 0), outputs, strict=True):
            upsampled = below // 2 if skip else below
            levels.append(Level(upsampled, upsampled + skip, output))
            below = output
        return levels

    def encode(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the deepest map (B, 320, *S/32, rounded up) and five skips, the first (B, 0, *S)."""
        missing = [max(2 * self.stride, side + -side % self.stride) - side for side in reversed(x.shape[2:])]
        extended = F.pad(x, [pad for side in missing for pad in (0, side)], mode="replicate") if any(missing) else x
        *skips, deepest = self.encoder(extended)
        return deepest, [x[:, :0], *skips]

    def after(self, stage: int, module: nn.Module) -> None:
        """Append a module to the last of a stage's stacks of blocks."""
        # Not `append`: MONAI numbers a stack's blocks on from those before it, and a number may be taken.
        self.encoder._blocks[self.encoder.extract_stacks[stage] - 1].add_module("after", module)

    @staticmethod
    def join(upsampled: Tensor, skip: Tensor) -> Tensor:
        """Return both maps side by side, the skip first."""
        return torch.cat([skip, upsampled], dim=1)

    @staticmethod
    def published_name(name: str) -> str:
        """Return a layer's name in files of EfficientNet-PyTorch, which number all blocks in one row."""
        return re.sub(r"_blocks\.\d+\.(\d+)", r"_blocks.\1", name)
