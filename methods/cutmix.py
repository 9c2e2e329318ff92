"""CutMix for unlabelled target images: a mean teacher's predictions, cut and pasted as the images are.

Yun, Han, Oh, Chun, Choe, Yoo: CutMix, ICCV 2019, arXiv 1905.04899, mixes labelled images for classification. French,
Laine, Aila, Mackiewicz, Finlayson: Semi-supervised semantic segmentation needs strong, varied perturbations, BMVC
2020, arXiv 1906.01916, carries it over to consistency on unlabelled images. The form and the defaults here are those
of the code of ASC (MICCAI 2023, arXiv 2310.14172), from which the paper's 3D task descends.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from .base import Batch, Method, StepContext, Terms, require, require_partner
from .losses import soft_dice
from .networks.base import SegmentationNetwork

ASC_EPOCHS = 100
"""Length of ASC's runs in epochs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CutMixConfig:
    """Settings; the defaults are those of ASC's code.

    French et al. are ``area=0.5,0.5``, ``aspect=random``, ``over_classes=sum``, ``rampup=0``, ``confidence=0.97`` and
    ``evaluated=teacher``.
    """

    area: tuple[float, ...] = field(
        default=(0.25, 0.5),
        metadata={"source": "ASC's code: range of the box's share of a plane; of an image's area in 2D"},
    )
    aspect: Literal["square", "random"] = field(
        default="square",
        metadata={"source": "ASC's code: the share's root along each axis; random: French et al."},
    )
    consistency: float = field(default=1.0, metadata={"source": "ASC's code; French et al. the same"})
    divergence: Literal["squared", "kl"] = field(
        default="squared", metadata={"source": "ASC's code and French et al.; kl: the switch in ASC's code"}
    )
    over_classes: Literal["mean", "sum"] = field(
        default="mean", metadata={"source": "ASC's code; sum: French et al., authors' code"}
    )
    rampup: float = field(
        default=2.0,
        metadata={"source": "ASC's code, as a share of the training: 200 epochs of 100; 0: none, French et al."},
    )
    schedule: Literal["share", "official"] = field(
        default="share", metadata={"source": "this benchmark; official: rampup times 100 epochs, ASC's, in any run"}
    )
    ema_decay: float = field(default=0.99, metadata={"source": "ASC's code; French et al. the same"})
    confidence: float = field(
        default=0.0,
        metadata={"source": "ASC's code has none; 0.97: French et al., the share of voxels above it is a factor"},
    )
    evaluated: Literal["student", "teacher"] = field(
        default="student", metadata={"source": "ASC's code; teacher: French et al."}
    )

    def __post_init__(self) -> None:
        ordered = len(self.area) == 2 and 0 < self.area[0] <= self.area[1] <= 1
        require(ordered, f"method.area must be two fractions, the smaller first, not {self.area}")
        for name in ("consistency", "rampup"):
            require(getattr(self, name) >= 0, f"method.{name} must not be negative")
        for name in ("ema_decay", "confidence"):
            require(0 <= getattr(self, name) <= 1, f"method.{name} must lie between 0 and 1")


class CutMix(Method):
    """Supervise the source; on mixed target images, agree with the mixed predictions of a mean teacher.

    The teacher is a second network whose weights are a running average of the first one's; it is never optimised.
    """

    # Departure: the ramp is a share of the training. ASC's 200 epochs end a run of 60 at a weight of 0.08, as good as
    # none.

    access = "uda"
    version = 2
    # Source and target go through the network together: batch normalisation would mix the domains, also in the
    # running statistics, and the teacher's average leaves buffers out.
    networks = frozenset({"segresnet", "dynunet"})
    needs = frozenset({"partner"})
    Config = CutMixConfig

    def __init__(self, network: SegmentationNetwork, config: CutMixConfig | None = None) -> None:
        super().__init__(network, config)
        self.teacher = copy.deepcopy(network).requires_grad_(False)

    def training_step(self, batch: Batch, context: StepContext) -> Terms:
        """Return the supervised term of the source and the weighted disagreement on mixed target images."""
        self.update_teacher(context.step)
        batch = self.augment(batch, context.rng)
        first, second = self.target_pairs(batch)
        boxes = self.boxes(first, context.rng)
        source = self.prepare(batch.image, batch.foreground, batch.frame)
        # The mixture is of normalised images and is not normalised again. One pass over source and mixture: no layer
        # of the network sees more than one image at a time.
        logits = self.network(torch.cat([source, torch.where(boxes, second, first)])).logits
        with torch.no_grad():
            views = self.teacher(torch.cat([first, second])).logits.float().softmax(dim=1)
            expected = torch.where(boxes, views[len(first) :], views[: len(first)])
        disagreement = self.disagreement(logits[len(source) :], expected)
        return {
            "segmentation": soft_dice(logits[: len(source)], batch.label),
            "consistency": self.consistency_weight(context) * disagreement,
        }

    def logits(self, prepared: Tensor, foreground: Tensor) -> Tensor:  # noqa: ARG002 - the interface
        """Return the logits (B, classes, *S) of the student, or of the teacher if ``evaluated``.

        The teacher is one update behind the student's last step.
        """
        network = self.teacher if self.config.evaluated == "teacher" else self.network
        logits: Tensor = network(prepared).logits
        return logits

    def example(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Return normalised target images, or source images without targets, each with a box of another."""
        batch = self.augment(batch, rng)
        if batch.target is None or batch.target_foreground is None:
            images = self.prepare(batch.image, batch.foreground, batch.frame)
        else:
            images = self.prepare(batch.target, batch.target_foreground, batch.target_frame)
        return torch.where(self.boxes(images, rng), images.roll(-(len(images) // 2), dims=0), images)

    def target_pairs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the two halves (B' // 2, C, *S) of the normalised target images; an odd one is left out.

        Raises:
            ValueError: the batch has no target images.
            MethodError: it has one, which has no partner.
        """
        if batch.target is None or batch.target_foreground is None:
            raise ValueError("cutmix learns from unlabelled target images, and the batch has none")
        require_partner(len(batch.target), "cutmix")
        half = len(batch.target) // 2
        target = self.prepare(batch.target, batch.target_foreground, batch.target_frame)
        return target[:half], target[half : 2 * half]

    def boxes(self, images: Tensor, rng: torch.Generator) -> Tensor:
        """Return the boxes (B, 1, *S) bool to paste from the partners of images (B, C, *S)."""
        return draw_boxes(len(images), images.shape[2:], self.config.area, self.config.aspect, rng)

    def disagreement(self, logits: Tensor, expected: Tensor) -> Tensor:
        """Return the divergence of logits (B, K, *S) from expected probabilities (B, K, *S), a 0-d tensor."""
        config = self.config
        if config.divergence == "squared":
            divergence = (logits.float().softmax(dim=1) - expected).square()
        else:
            divergence = torch.xlogy(expected, expected) - expected * logits.float().log_softmax(dim=1)
        total = divergence.mean() if config.over_classes == "mean" else divergence.sum(dim=1).mean()
        if config.confidence > 0:
            total = total * (expected.amax(dim=1) >= config.confidence).float().mean()
        return total

    def consistency_weight(self, context: StepContext) -> float:
        """Return the weight in this epoch: it rises as exp(-5 (1 - epoch / rampup)²) and then stays."""
        length = self.config.rampup * (context.total_epochs if self.config.schedule == "share" else ASC_EPOCHS)
        missing = max(0.0, 1 - context.epoch / length) if length else 0.0
        weight: float = self.config.consistency * math.exp(-5 * missing**2)
        return weight

    @torch.no_grad()
    def update_teacher(self, step: int) -> None:
        """Move the teacher towards the student's current weights; copy them before the second update.

        Source: ASC's code, which does so at the end of each step, with the decay min(1 - 1 / (step + 1), 0.99).
        """
        # Departure: in the first step of all ASC's teacher has random weights of its own; here it is the student.
        decay = min(1 - 1 / max(step, 1), self.config.ema_decay)
        for mean, weight in zip(self.teacher.parameters(), self.network.parameters(), strict=True):
            mean.lerp_(weight, 1 - decay)


def draw_boxes(
    count: int, shape: Sequence[int], area: Sequence[float], aspect: Literal["square", "random"], rng: torch.Generator
) -> Tensor:
    """Return one random box for each of several images, wholly inside the grid.

    A share p is drawn uniformly from ``area``. A square box takes √p of every axis: p of an image, but p^1.5 of a
    volume, as in ASC's code. A random one takes p^e of an axis, with exponents uniform among those that add up to 1:
    p of the grid, whatever its dimension.

    Args:
        count: number of images.
        shape: the grid S.
        area: smallest and largest p.
        aspect: see above.
        rng: on the device of the result.

    Returns:
        (count, 1, *S) bool, true inside.
    """
    ndim, device = len(shape), rng.device
    draws = torch.rand((1 + ndim, count), generator=rng, device=device)
    share = area[0] + (area[1] - area[0]) * draws[0]
    if aspect == "square":
        exponents = torch.full((ndim, 1), 0.5, device=device)
    else:
        cuts = torch.rand((ndim - 1, count), generator=rng, device=device).sort(dim=0).values
        exponents = cuts.diff(dim=0, prepend=torch.zeros_like(cuts[:1]), append=torch.ones_like(cuts[:1]))
    fractions = share**exponents  # (ndim, count)
    inside = torch.ones((count, 1, *[1] * ndim), dtype=torch.bool, device=device)
    for axis, side in enumerate(shape):
        size = (fractions[axis] * side).round()
        start = ((side - size) * draws[1 + axis]).round()[:, None]
        position = torch.arange(side, device=device)
        along = (position >= start) & (position < start + size[:, None])
        inside = inside & along.view(count, 1, *[side if other == axis else 1 for other in range(ndim)])
    return inside
