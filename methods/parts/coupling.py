"""Segmentation through a decoder that reconstructs a fixed view of the image: the network of FreeSDG and RaffeSDG."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..base import Batch, Method, StepContext, Terms, whole_if_empty
from ..losses import cross_entropy, supervised_loss
from ..networks.base import Level, SegmentationNetwork
from .boxes import cut
from .cbam import BlockAttention

CERTAIN = 20.0
"""Logit of the background outside the region, where it is certain: large, and finite as the authors' loss is."""


class CoupledDecoders(Method):
    """Two decoders on one encoder: the first reconstructs a fixed view, the second segments by the first one's maps.

    A subclass overrides ``prepare`` and ``views``. Its configuration has ``attention_reduction``,
    ``attention_kernel``, ``segmentation``, ``reconstruction``, ``mask_prediction`` and ``supervision``.
    """

    # Departure: the authors' U-Net is replaced by the shared network. Its encoder and decoder are the encoder and the
    # segmentation decoder here; a second decoder of the same kind reconstructs. All network weights take part.

    def __init__(self, network: SegmentationNetwork, config: Any = None) -> None:
        super().__init__(network, config)
        self.reconstruction = network.new_decoder(network.channels)
        reduction, kernel = self.config.attention_reduction, self.config.attention_kernel
        self.coupling = nn.ModuleList(Coupling(network.ndim, level, reduction, kernel) for level in network.levels)

    def training_step(self, batch: Batch, context: StepContext) -> Terms:
        """Return the supervised term of a mixed view, and its reconstruction's distance from the fixed view."""
        batch = self.augment(batch, context.rng)
        view, fixed = self.views(batch, context.rng)
        label, foreground = (cut(values, batch.margin) for values in (batch.label, batch.foreground))
        region = whole_if_empty(foreground)  # windows are drawn around foreground, unless their image has none
        logits, decoder = self.decode(view)
        reconstructed = torch.where(region, self.reconstruct(decoder), -1.0)
        # Departure: Dice over all classes, the term of every method here; the authors' is binary cross-entropy.
        supervised = supervised_loss(self.config.supervision, cross_entropy)
        return {
            "segmentation": self.config.segmentation * supervised(self.confine(logits, region), label),
            "reconstruction": self.config.reconstruction * self.distance(reconstructed, fixed),
        }

    def logits(self, prepared: Tensor, foreground: Tensor) -> Tensor:
        """Return logits (B, classes, *S) of the fixed view; certain background outside the foreground."""
        logits, _ = self.decode(prepared)
        return self.confine(logits, foreground)  # not the whole grid where empty: that is decided for whole images

    def example(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Return the images (B, C, *S) as one training step's mixture of views."""
        return self.views(self.augment(batch, rng), rng)[0]

    def views(self, batch: Batch, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the network's training input and its reconstruction target, (B, C, *S) each, without the margin."""
        raise NotImplementedError(f"{type(self).__name__} has no views")

    def distance(self, reconstructed: Tensor, fixed: Tensor) -> Tensor:
        """Return the reconstruction's distance from the fixed view, a 0-d tensor."""
        return F.l1_loss(reconstructed, fixed)

    def decode(self, view: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (B, classes, *S) and the last map (B, filters, *S) of the decoder that reconstructs.

        The segmentation decoder gets the encoder's maps only through the reconstruction decoder: at each level the
        map of that decoder joins its own, where the shared network adds a skip connection.
        """
        network = self.network
        deepest, skips = network.encode(view)
        deepest = network.bottleneck(deepest)
        guides = self.reconstruction(deepest, skips)

        def join(level: int, upsampled: Tensor, _skip: Tensor) -> Tensor:
            joined: Tensor = self.coupling[level](guides[level], upsampled)
            return joined

        return network.head(network.decode(deepest, skips, join)[-1]), guides[-1]

    def reconstruct(self, decoder: Tensor) -> Tensor:
        """Return the image (B, C, *S) float32 in [-1, 1] of the last map of the decoder that reconstructs."""
        image: Tensor = self.reconstruction.head(decoder)
        return image.float().tanh()

    def confine(self, logits: Tensor, region: Tensor) -> Tensor:
        """Return logits with certain background outside the region."""
        if not self.config.mask_prediction:
            return logits
        background = torch.zeros(logits.shape[1], dtype=logits.dtype, device=logits.device)
        background[0].fill_(CERTAIN)  # a number that is assigned would be copied to the device, which waits
        return torch.where(region, logits, background.view(-1, *[1] * (logits.ndim - 2)))


class Coupling(nn.Module):
    """Attend to the maps of both decoders at one level and merge them into the input of the level's layers."""

    def __init__(self, ndim: int, level: Level, reduction: int, kernel: int) -> None:
        super().__init__()
        both = level.output + level.upsampled
        self.attention = BlockAttention(ndim, both, reduction, kernel)
        convolution: Any = {2: nn.Conv2d, 3: nn.Conv3d}[ndim]
        # Departure: the authors' next block takes all channels of both; the shared network's needs its own number.
        self.merge = convolution(both, level.joined, 1)

    def forward(self, guide: Tensor, own: Tensor) -> Tensor:
        """Return (B, joined, *S) from the reconstruction decoder's map and the segmentation decoder's own."""
        merged: Tensor = self.merge(self.attention(torch.cat([guide, own], dim=1)))
        return merged
