"""DSA: source and target images redrawn in each other's style, and segmentation of all four styles.

Han, Qi, Yu, Zhou, Zheng, Shi, Gao: Deep Symmetric Adaptation Network for Cross-Modality Medical Image Segmentation,
IEEE TMI 41(1), 2022, arXiv 2101.06853. The authors published no code; this is the 3D form in the code of ASC (MICCAI
2023, arXiv 2310.14172), from which the paper's 3D task descends, and its twin in 2D.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from .base import Batch, Method, StepContext, Terms, require
from .losses import soft_dice
from .networks.base import Features, SegmentationNetwork, cropped
from .parts.translation import Critic, ImageDecoder


@dataclass(frozen=True, slots=True, kw_only=True)
class DSAConfig:
    """Settings; the defaults are those of ASC's code."""

    reconstruction: float = field(
        default=0.01, metadata={"source": "ASC's code, weight of images redrawn in their own style"}
    )
    adversarial_image: float = field(default=0.01, metadata={"source": "ASC's code, weight of the two image critics"})
    adversarial_prediction: float = field(
        default=0.01, metadata={"source": "ASC's code, weight of the critic of predictions"}
    )
    cycle: float = field(
        default=0.0, metadata={"source": "ASC's code has no such term; another method of the kind, SIFA: 10"}
    )
    critic_lr_ratio: float = field(
        default=0.1, metadata={"source": "ASC's code, 1e-5 and 1e-4: critics' learning rate over optimizer.lr"}
    )
    critic_filters: int = field(default=32, metadata={"source": "ASC's code, filters of the first convolution"})
    critic_dropout: float = field(default=0.5, metadata={"source": "ASC's code, share of a critic's channels"})
    checkpointing: bool = field(
        default=False,
        metadata={"source": "choice: true computes translations twice, for half the memory; the terms are the same"},
    )

    def __post_init__(self) -> None:
        for name in ("reconstruction", "adversarial_image", "adversarial_prediction", "cycle"):
            require(getattr(self, name) >= 0, f"method.{name} must not be negative")
        require(self.critic_lr_ratio > 0, "method.critic_lr_ratio must be positive")
        require(self.critic_filters >= 1, "method.critic_filters must be at least 1")
        require(0 <= self.critic_dropout < 1, "method.critic_dropout must be at least 0 and less than 1")


class Critics(nn.Module):
    """The critics of target images, of source images and of predictions."""

    def __init__(self, ndim: int, channels: int, classes: int, config: DSAConfig) -> None:
        super().__init__()
        self.target = Critic(ndim, channels, config.critic_filters, config.critic_dropout)
        self.source = Critic(ndim, channels, config.critic_filters, config.critic_dropout)
        self.prediction = Critic(ndim, classes, config.critic_filters, config.critic_dropout)


class Styled(NamedTuple):
    """Normalised images of one origin in one style, with the network's outputs."""

    images: Tensor  # (B, C, *S)
    bottleneck: Tensor  # (B, widths[-1], *S / stride, rounded up)
    logits: Tensor  # (B, classes, *S)

    @property
    def probabilities(self) -> Tensor:
        """The prediction (B, classes, *S) as probabilities, float32."""
        return self.logits.float().softmax(dim=1)


class Styles(NamedTuple):
    """The four styles of a step."""

    source: Styled
    target: Styled
    source_to_target: Styled
    target_to_source: Styled


class DSA(Method):
    """Supervise source images in both styles; make translations and target predictions pass for real ones.

    Inference is the plain network: neither decoders nor critics take part.

    Shared augmentation costs it more than other methods. Translations are drawn from the deepest map alone, and the
    network has to find the source's label in them. Structures thinner than the network's stride do not survive that,
    unless the images are few and always the same: then the label is learned by heart. On vessels (96², 8 filters, 320
    steps, one seed) the term for translations ends at 0.19 without augmentation and at 0.32 with flips, rotations and
    scalings, where it also holds back the term for the source (0.26; `erm` 0.22); held-out DSC is 54 and 49 %. ASC
    trains without augmentation, as protocol `paper` does: under `clean` that is ``training.augmentation=none``.
    """

    # Departure: the loop lowers the learning rate of network and decoders every step; ASC's code lowers it once an
    # epoch, to exactly 0 from the second step of the last epoch on. That of the critics falls every step in both.
    # Departure: the decoders' widths follow the network's deepest map; they are ASC's 256, 128, 64, 32 at SegResNet's
    # 32 filters.

    access = "uda"
    version = 2
    # Source, target and their translations go through the network together: batch normalisation would mix the
    # domains, and the critics' step would move its running statistics once more.
    networks = frozenset({"segresnet", "dynunet"})
    Config = DSAConfig
    adversary: Critics

    def __init__(self, network: SegmentationNetwork, config: DSAConfig | None = None) -> None:
        super().__init__(network, config)
        self.to_source = ImageDecoder(network.ndim, network.widths[-1], network.channels, network.stride)
        self.to_target = ImageDecoder(network.ndim, network.widths[-1], network.channels, network.stride)
        self.adversary = Critics(network.ndim, network.channels, network.classes, self.config)
        self.adversary_lr_ratio = self.config.critic_lr_ratio

    def training_step(self, batch: Batch, context: StepContext) -> Terms:
        """Return the terms of network and decoders; the critics are evaluated, not changed."""
        config, rng, critics = self.config, context.rng, self.adversary
        batch = self.augment(batch, rng)
        styles = self.styles(batch)
        source, target = styles.source, styles.target
        image = judge(critics.target(styles.source_to_target.images, rng), real=True)
        image = image + judge(critics.source(styles.target_to_source.images, rng), real=True)
        prediction = judge(critics.prediction(target.probabilities, rng), real=True)
        prediction = prediction + judge(critics.prediction(styles.target_to_source.probabilities, rng), real=True)
        redrawn = squared_error(self.redraw(self.to_source, source), source.images)
        redrawn = redrawn + squared_error(self.redraw(self.to_target, target), target.images)
        terms = {
            "segmentation": soft_dice(source.logits, batch.label),
            "translated_segmentation": soft_dice(styles.source_to_target.logits, batch.label),
            "reconstruction": config.reconstruction * redrawn,
            "adversarial_image": config.adversarial_image * image,
            "adversarial_prediction": config.adversarial_prediction * prediction,
        }
        if config.cycle > 0:
            terms["cycle"] = config.cycle * self.cycle(styles)
        return terms

    def adversary_step(self, batch: Batch, context: StepContext) -> Terms:
        """Return the terms of the critics, under the weights just updated, on the same images, augmented anew."""
        critics, rng = self.adversary, context.rng
        with torch.no_grad():
            source, target, source_to_target, target_to_source = self.styles(self.augment(batch, rng))
        originals = tell_apart(critics.prediction, source.probabilities, target.probabilities, rng)
        translated = tell_apart(
            critics.prediction, source_to_target.probabilities, target_to_source.probabilities, rng
        )
        return {
            "critic_target": tell_apart(critics.target, target.images, source_to_target.images, rng),
            "critic_source": tell_apart(critics.source, source.images, target_to_source.images, rng),
            "critic_prediction": originals + translated,
        }

    def styles(self, batch: Batch) -> Styles:
        """Return the normalised images in both domains' styles, with the network's outputs.

        Raises:
            ValueError: the batch has no target images.
        """
        if batch.target is None or batch.target_foreground is None:
            raise ValueError("dsa learns from unlabelled target images, and the batch has none")
        source = self.prepare(batch.image, batch.foreground, batch.frame)
        target = self.prepare(batch.target, batch.target_foreground, batch.target_frame)
        original = pair(source, target, self.network(torch.cat([source, target])))
        # Translations are in the network's space already: they are not normalised again.
        to_target = self.redraw(self.to_target, original[0])
        to_source = self.redraw(self.to_source, original[1])
        features = self.recomputed(self.network, torch.cat([to_target, to_source]))
        return Styles(*original, *pair(to_target, to_source, features))

    def redraw(self, decoder: ImageDecoder, styled: Styled) -> Tensor:
        """Return the images (B, C, *S) that a decoder draws from the bottleneck maps of others."""
        return cropped(self.recomputed(decoder, styled.bottleneck), styled.images.shape[2:])

    def recomputed(self, part: nn.Module, x: Tensor) -> Any:
        """Return part(x); with ``checkpointing``, recompute its activations in the backward pass."""
        if self.config.checkpointing and torch.is_grad_enabled():
            return checkpoint(part, x, use_reentrant=False, preserve_rng_state=False)
        return part(x)

    def cycle(self, styles: Styles) -> Tensor:
        """Return the mean absolute difference of images from their translations there and back."""
        source = self.redraw(self.to_source, styles.source_to_target)
        target = self.redraw(self.to_target, styles.target_to_source)
        return absolute_error(source, styles.source.images) + absolute_error(target, styles.target.images)


def pair(first: Tensor, second: Tensor, features: Features) -> tuple[Styled, Styled]:
    """Split one pass over two sets of images; no layer sees more than one image at a time."""
    sizes = [len(first), len(second)]
    bottlenecks, logits = torch.split(features.bottleneck, sizes), torch.split(features.logits, sizes)
    return Styled(first, bottlenecks[0], logits[0]), Styled(second, bottlenecks[1], logits[1])


def judge(scores: Tensor, real: bool) -> Tensor:
    """Return the binary cross-entropy of a critic's logits (B,) if all are real, or all fake."""
    return F.binary_cross_entropy_with_logits(scores, torch.full_like(scores, float(real)))


def tell_apart(critic: Critic, real: Tensor, fake: Tensor, rng: torch.Generator) -> Tensor:
    """Return the binary cross-entropy of a critic over both kinds together."""
    scores = critic(torch.cat([real, fake.to(real.dtype)]), rng)
    truth = (torch.arange(len(scores), device=scores.device) < len(real)).to(scores.dtype)
    return F.binary_cross_entropy_with_logits(scores, truth)


def squared_error(redrawn: Tensor, images: Tensor) -> Tensor:
    """Return the mean squared difference, in float32."""
    return (redrawn.float() - images).square().mean()


def absolute_error(redrawn: Tensor, images: Tensor) -> Tensor:
    """Return the mean absolute difference, in float32."""
    return (redrawn.float() - images).abs().mean()
