"""SAN-SAW: semantic-aware normalisation and whitening after two stages of the encoder.

Peng, Lei, Hayat, Guo, Li: Semantic-Aware Domain Generalized Segmentation, CVPR 2022, arXiv 2204.00822. In the
released code three things are off by accident: the whitening (its blocks are built without ``work=True``), the
clustering (its call always fails, and all voxels are kept) and all attention branches but the first (their counter
stands still). ``mode = "released"`` is that code; ``mode = "paper"`` is what it was meant to be.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from .base import Batch, Method, StepContext, Terms, require
from .losses import Supervision, one_hot, supervised_loss
from .networks.base import SegmentationNetwork
from .parts.semantic import SemanticNormalisation, SideOutputs, side_outputs, whitening_loss

STAGES = (1, 2)
"""Encoder stages that a block follows: half and a quarter of the grid, for the authors' first two of a ResNet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SanSawConfig:
    """Settings; the defaults are the method as published, with the authors' weights."""

    mode: Literal["paper", "paper-floor", "released"] = field(
        default="paper",
        metadata={
            "source": "paper; paper-floor: its whitening margin rounded down, authors' code; released: that code as "
            "it runs, without whitening, one attention branch"
        },
    )
    region: Literal["ones", "kmeans"] = field(
        default="ones",
        metadata={"source": "authors' code as it runs; kmeans: as it was meant, not in mode 'released'"},
    )
    clusters: int = field(default=5, metadata={"source": "authors' code; plays no part with region 'ones'"})
    auxiliary: float = field(default=0.1, metadata={"source": "authors' code, weight of each side classifier"})
    alignment: float = field(
        default=0.1, metadata={"source": "authors' code, weight of each SAN term", "range": (0.01, 1)}
    )
    whitening: float = field(
        default=0.1, metadata={"source": "authors' code, weight of each SAW term", "range": (0.01, 1)}
    )
    relaxation: int = field(
        default=2, metadata={"source": "authors' code: margin of half the pairs of classes, 0 for none"}
    )
    supervision: Supervision = field(
        default="dice", metadata={"source": "this benchmark; official: weighted cross-entropy, authors' code"}
    )

    def __post_init__(self) -> None:
        for name in ("auxiliary", "alignment", "whitening", "relaxation"):
            require(getattr(self, name) >= 0, f"method.{name} must not be negative")
        require(self.clusters >= 2, "method.clusters must be at least 2")
        never_ran = self.mode == "released" and self.region == "kmeans"
        require(not never_ran, "method.region must be 'ones' in method.mode 'released', whose clustering never ran")


class SanSaw(Method):
    """A block after two encoder stages; its output feeds the next stage and the skip connection.

    Two methods go by this name. The row is the paper's, SAN with SAW (``mode=paper``); the authors' release, and so
    whoever runs it, has SAN alone (``mode=released``). With SAW the whitening term's gradient outweighs that of Dice:
    seven times at 32 filters, two classes.
    """

    # Departure: the classes are all there are, background included; the authors take 5 of 19. With foreground alone
    # the skips would be zero wherever the background is certain.

    # Departure: the authors' colour jitter, blur and flips are left to the protocol's shared augmentation.

    version = 2
    Config = SanSawConfig

    def __init__(self, network: SegmentationNetwork, config: SanSawConfig | None = None) -> None:
        super().__init__(network, config)
        branches = 1 if self.config.mode == "released" else network.classes
        clusters = self.config.clusters if self.config.region == "kmeans" else None
        self.blocks: list[SemanticNormalisation] = []  # in the order of the forward pass; of the network, not of this
        for stage in STAGES:
            channels = network.widths[stage]
            if channels < network.classes:
                raise ValueError(
                    f"network.init_filters is too small for sansaw: {channels} channels for {network.classes} classes"
                )
            block = SemanticNormalisation(network.ndim, channels, network.classes, branches, clusters)
            network.after(stage, block)
            self.blocks.append(block)

    def training_step(self, batch: Batch, context: StepContext) -> Terms:
        """Return the supervised term and three terms on side outputs, each summed over the two blocks."""
        batch = self.augment(batch, context.rng)
        with side_outputs(self.blocks) as sides:
            logits = self.network(self.prepare(batch.image, batch.foreground, batch.frame)).logits
        config, label = self.config, batch.label
        weights = class_weights(label, logits.shape[1])
        # Departure: Dice, the term of every method here; the authors' is the side classifiers' ("official").
        supervised = supervised_loss(config.supervision, partial(weighted_cross_entropy, weights=weights))
        auxiliary = [weighted_cross_entropy(enlarge(side.logits, label), label, weights) for side in sides]
        pairs = list(zip(self.blocks, sides, strict=True))
        alignment = [alignment_loss(block, side, label) for block, side in pairs]
        whitening = [logits.new_zeros((), dtype=torch.float32)]
        if config.mode != "released":
            floor = config.mode == "paper-floor"
            whitening = [
                whitening_loss(side.normalised, block.classifier.weight.flatten(1), config.relaxation, floor)
                for block, side in pairs
            ]
        return {
            "segmentation": supervised(logits, label),
            "auxiliary": config.auxiliary * torch.stack(auxiliary).sum(),
            "alignment": config.alignment * torch.stack(alignment).sum(),
            "whitening": config.whitening * torch.stack(whitening).sum(),
        }


def alignment_loss(block: SemanticNormalisation, side: SideOutputs, label: Tensor) -> Tensor:
    """Return the smooth L1 distance of a block's output from its output under the true classes.

    Both sides get gradients. Source: authors' code.
    """
    nearest = F.interpolate(label.float(), size=side.features.shape[2:], mode="nearest").long()
    target = block.normalise(side.features, one_hot(nearest, side.logits.shape[1]))
    return F.smooth_l1_loss(side.normalised, target)


def enlarge(logits: Tensor, label: Tensor) -> Tensor:
    """Interpolate logits (B, K, *S') linearly to the label's grid, corners aligned, in float32."""
    mode = "bilinear" if logits.ndim == 4 else "trilinear"
    return F.interpolate(logits.float(), size=label.shape[2:], mode=mode, align_corners=True)


def class_weights(label: Tensor, classes: int) -> Tensor:
    """Return 1 - (share of the class in the batch's voxels), (classes,) float32. Source: authors' code."""
    index = torch.arange(classes, device=label.device).view(1, -1, *[1] * (label.ndim - 2))
    count = (label == index).sum(dim=(0, *range(2, label.ndim)))
    # A batch of one class alone would have weight 0 throughout, and 0 / 0 for a mean.
    return (1 - count.float() / label.numel()).clamp(min=1e-6)


def weighted_cross_entropy(logits: Tensor, label: Tensor, weights: Tensor) -> Tensor:
    """Return the class-weighted mean cross-entropy of logits (B, K, *S) with a label (B, 1, *S)."""
    return F.cross_entropy(logits.float(), label[:, 0], weight=weights)
