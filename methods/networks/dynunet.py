"""DynUNet, the plain U-Net of nnU-Net."""

from monai.networks.nets import DynUNet as MonaiDynUNet
from torch import nn

from .base import Level, SegmentationNetwork

CAP = {2: 512, 3: 320}
"""Most channels of a stage, by dimension. Source: nnU-Net."""


class DynUNet(SegmentationNetwork):
    """MONAI's DynUNet: two convolutions a stage, instance normalisation, leaky ReLU, transposed convolutions.

    Source: Isensee, Jaeger, Kohl, Petersen, Maier-Hein: nnU-Net, Nature Methods 18, 2021, its plain convolutional
    U-Net. ``init_filters`` is the width of the first stage (nnU-Net: 32); each further one has twice that of the one
    before, up to 512 in 2D and 320 in 3D.
    """

    # Departure: four stages, whatever the grid, so that every grid of the benchmark has the same network (sides are
    # multiples of 8). nnU-Net halves on until a side has 4 voxels: five times from 128, seven times from 512; and it
    # makes kernels and strides of anisotropic volumes anisotropic.
    # Departure: no deep supervision: a method's loss sees the last map alone.

    encoder_parts = ("down_layers",)
    stages = 4

    def build(self) -> None:
        """Assign the layers."""
        self.widths = tuple(min(self.init_filters * 2**stage, CAP[self.ndim]) for stage in range(self.stages))
        layers = MonaiDynUNet(
            spatial_dims=self.ndim,
            in_channels=self.channels,
            out_channels=self.classes,
            kernel_size=[3] * self.stages,
            strides=[1] + [2] * (self.stages - 1),
            upsample_kernel_size=[2] * (self.stages - 1),
            filters=self.widths,
        )
        encoder = (layers.input_block, *layers.downsamples, layers.bottleneck)
        self.down_layers = nn.ModuleList(nn.Sequential(stage) for stage in encoder)
        self.up_samples = nn.ModuleList(block.transp_conv for block in layers.upsamples)
        self.up_layers = nn.ModuleList(block.conv_block for block in layers.upsamples)
        self.conv_final = layers.output_block
        self.levels = tuple(Level(width, 2 * width, width) for width in reversed(self.widths[:-1]))
        self.stride = 2 ** (self.stages - 1)
