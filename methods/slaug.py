"""SLAug: global and local intensity curves, fused by the saliency of the network's loss.

Su, Yao, Yang, Wang, Sun, Huang: Rethinking Data Augmentation for Single-source Domain Generalization in Medical Image
Segmentation, AAAI 2023, arXiv 2211.14805.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from .base import EPSILON, Batch, Method, StepContext, Terms, moments_within, require, spread, whole_if_empty
from .losses import Supervision, cross_entropy, one_hot, supervised_loss
from .parts.location_scale import apply_curves, curve_tables, describe_regions, draw_curves, first_rows, pieces
from .parts.splines import bspline_field, rescale_per_sample


@dataclass(frozen=True, slots=True, kw_only=True)
class SLAugConfig:
    """Settings; the defaults are the authors'."""

    scale_deviation: float = field(default=0.1, metadata={"source": "authors' code"})
    scale_limits: tuple[float, ...] = field(default=(0.9, 1.1), metadata={"source": "authors' code"})
    location_deviation: float = field(
        default=0.5, metadata={"source": "authors' code, in units of the range [0, 1]", "range": (0.1, 1)}
    )
    location_percentile: float = field(
        default=20.0, metadata={"source": "authors' code: percentiles 20 and 80 of a region stay inside [0, 1]"}
    )
    law: Literal["clipped", "truncated"] = field(
        default="clipped",
        metadata={"source": "authors' code; truncated: the paper's words, not checked against its text"},
    )
    inversion_probability: float = field(default=0.5, metadata={"source": "authors' code, of a foreground class"})
    background_inversion_probability: float = field(default=1.0, metadata={"source": "authors' code"})
    background_threshold: float = field(
        default=0.01, metadata={"source": "authors' code: the local view leaves what is darker as it is"}
    )
    outside: Literal["unchanged", "official"] = field(
        default="unchanged",
        metadata={"source": "this benchmark, of pictures; official: a tissue like others, as in the authors' code"},
    )
    channels: Literal["independent", "joint"] = field(
        default="independent",
        metadata={"source": "choice: each channel as the authors' one channel; joint keeps the hue"},
    )
    statistics: Literal["original", "view"] = field(
        default="original",
        metadata={"source": "authors' code: views are z-scored by their original, which keeps the shifts; view: own"},
    )
    saliency_cells: int = field(default=3, metadata={"source": "authors' code, abdominal (18: cardiac), of an axis"})
    supervision: Supervision = field(
        default="dice", metadata={"source": "this benchmark; official: cross-entropy and Dice, authors' code"}
    )

    def __post_init__(self) -> None:
        for name in ("inversion_probability", "background_inversion_probability"):
            require(0 <= getattr(self, name) <= 1, f"method.{name} must lie between 0 and 1")
        for name in ("scale_deviation", "location_deviation"):
            require(getattr(self, name) >= 0, f"method.{name} must not be negative")
        limits = self.scale_limits
        require(
            len(limits) == 2 and 0 < limits[0] <= 1 <= limits[1],
            f"method.scale_limits must be two positive factors around 1, not {limits}",
        )
        require(0 <= self.location_percentile <= 50, "method.location_percentile must lie between 0 and 50")
        require(self.saliency_cells >= 2, "method.saliency_cells must be at least 2: one cell has no saliency")


class SLAug(Method):
    """Supervise a globally changed view, and its fusion with a locally changed one by saliency.

    In 2D both views leave the outside of the foreground mask as it is, and no curve follows its values
    (``outside``): the authors' rule for it, intensities up to 0.01, does not apply to fundus photographs, of whose
    outside 94 % are brighter (DRIVE). Where training sees windows, ranges of intensities and cells of saliency are
    those of the windows.
    """

    # Departure: views come after the shared geometric augmentation, not before it, so that regions are those of the
    # deformed image; the authors' own base augmentation (brightness, contrast, gamma, noise) is left to the protocol.
    # Departure: [0, 1] is the benchmark's range; the authors stretch each volume's own minimum and maximum to it.
    # Departure: outside of a picture's mask nothing changes (see above), whereas the authors' global view changes it.
    # A volume's foreground follows from its intensities: its outside is dark, and the authors' rule applies to it.
    # Departure: slices are normalised one by one here, as for every method; the authors' by their volume.
    # Departure: one curve a region of the whole volume in 3D; the authors draw one for every 2D slice.
    # Departure: views are normalised by the standard deviation; the released code has the mean in its place.

    version = 3
    needs = frozenset({"labels"})
    Config = SLAugConfig

    def training_step(self, batch: Batch, context: StepContext) -> Terms:
        """Return the supervised terms of the global view and of the fused one."""
        batch = self.augment(batch, context.rng)
        overall, local = self.views(batch, context.rng)
        first, gradient = self.first_pass(overall, batch.label)
        fused = self.fuse(overall, local, gradient)
        return {"gla": first, "fused": self.supervise(self.network(fused).logits, batch.label)}

    def example(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Return the fused view of the normalised images, under the network as it is."""
        batch = self.augment(batch, rng)
        with torch.inference_mode(False), torch.enable_grad():
            overall, local = (view.clone() for view in self.views(batch, rng))
            return self.fuse(overall, local, self.first_pass(overall, batch.label.clone())[1])

    def supervise(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return the supervised loss of one view."""
        return supervised_loss(self.config.supervision, cross_entropy_and_dice)(logits, label)

    @torch.no_grad()
    def views(self, batch: Batch, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the global and the local view (B, C, *S) of the images, normalised for the network."""
        with torch.autocast(batch.image.device.type, enabled=False):  # intensities need more than bfloat16's 8 bits
            views = self.intensity_views(batch.image, self.regions(batch), rng)
            if self.config.statistics == "view":
                first, second = (self.prepare(view, batch.foreground, batch.frame) for view in views)
            else:
                mean, deviation = self.original_statistics(batch)
                # An image of one value (a slice beyond the brain) has no deviation that a curve could be measured in.
                flat = deviation <= EPSILON
                kept = (torch.where(flat, batch.image, view) for view in views)
                first, second = ((view - mean) / (deviation + EPSILON) for view in kept)
        return first, second

    def original_statistics(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return mean and SD (B, 1, *ones) before any curve, of windows those that ``prepare`` normalises by."""
        if batch.frame is not None:
            return moments_within(batch.image, self.statistics(batch.image, batch.foreground), batch.frame)
        whole = self.normalisation == "grid"
        return spread(batch.image, torch.ones_like(batch.foreground) if whole else batch.foreground)

    def regions(self, batch: Batch) -> Tensor:
        """Return the class (B, 1, *S) whose curve each voxel follows; -1 for none, outside a picture's foreground."""
        if self.config.outside == "official" or batch.image.ndim > 4:
            return batch.label
        return batch.label.masked_fill(~whole_if_empty(batch.foreground), -1)

    def intensity_views(self, image: Tensor, region: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the images (B, C, *S) in [0, 1] under one curve each, and under one curve a region (B, 1, *S).

        Voxels of region -1 keep their values in both.
        """
        config, classes, channels = self.config, self.network.classes, image.shape[1]
        maps = len(image) * (channels if config.channels == "independent" else 1)
        values = image.reshape(maps, -1).clamp(0, 1)
        region = region.flatten(2).expand(-1, channels, -1).reshape(maps, -1)
        regions = describe_regions(values, region, classes, config.location_percentile / 100)
        inversion = torch.full((classes + 1,), config.inversion_probability, device=image.device)
        inversion[0].zero_()  # a number that is assigned would be copied to the device, which waits
        inversion[1].fill_(config.background_inversion_probability)
        scale = (config.scale_deviation, config.scale_limits[0], config.scale_limits[1])
        draws = draw_curves(inversion, maps, rng)
        tables = curve_tables(regions, draws, scale, config.location_deviation, config.law)
        overall, local = torch.empty_like(values), torch.empty_like(values)
        whole = first_rows(values, classes)
        for part in pieces(values):
            piece, index = values[:, part], region[:, part].int()
            kept = index < 0
            overall[:, part] = torch.where(kept, piece, apply_curves(piece, whole, regions, tables))
            changed = apply_curves(piece, index + (whole + 1), regions, tables)
            local[:, part] = torch.where(kept | (piece <= config.background_threshold), piece, changed)
        return overall.view(image.shape), local.view(image.shape)

    def first_pass(self, view: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return the supervised loss of a view (B, C, *S), and its gradient with respect to the view.

        The gradients of the weights are taken at the same time and travel with the loss, so that the graph is gone
        before the second pass: one backward pass fewer than keeping it, and half the memory.
        """
        view = view.detach().requires_grad_()
        loss = self.supervise(self.network(view).logits, label)
        weights = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        with torch.autocast(view.device.type, enabled=False):
            gradient, *others = torch.autograd.grad(loss, [view, *weights], allow_unused=True)
        return with_gradients(loss, weights, others), gradient

    def fuse(self, overall: Tensor, local: Tensor, gradient: Tensor) -> Tensor:
        """Blend the views smoothly: the global one at high sensitivity of the loss to it, else the local."""
        return torch.lerp(local, overall, saliency(gradient, self.config.saliency_cells))


def saliency(gradient: Tensor, cells: int) -> Tensor:
    """Return the sensitivity of a loss to its input as smooth maps (B, 1, *S), each from 0 to 1.

    The gradient's root mean square over channels, averaged over cells, is interpolated by a quadratic B-spline.
    Source: authors' code, whose cell centres lie on the image's border, stretched from half a cell inside it.

    Args:
        gradient: (B, C, *S).
        cells: along each axis.
    """
    with torch.autocast(gradient.device.type, enabled=False):
        magnitude = gradient.detach().float().square().mean(dim=1, keepdim=True).sqrt()
        pool: Any = {2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}[gradient.ndim - 2]
        # Departure: the spline is evaluated at each voxel; the authors resize one sampled on a coarser grid.
        return rescale_per_sample(bspline_field(pool(magnitude, cells), gradient.shape[2:], outside=0.5))


def cross_entropy_and_dice(logits: Tensor, label: Tensor) -> Tensor:
    """Return the authors' supervised loss."""
    return cross_entropy(logits, label) + sample_dice(logits, label)


def sample_dice(logits: Tensor, label: Tensor, epsilon: float = 1e-6) -> Tensor:
    """Return the authors' soft Dice loss: squared denominators, per sample and class, background included."""
    probability = logits.float().softmax(dim=1).flatten(2)
    target = one_hot(label, logits.shape[1]).flatten(2)
    overlap = (probability * target).sum(dim=2)
    return (1 - 2 * overlap / (probability.square().sum(dim=2) + target.sum(dim=2) + epsilon)).mean()


def with_gradients(value: Tensor, weights: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> Tensor:
    """Attach precomputed gradients of weights (None: unused) to a value, in place of a graph."""
    pairs = [pair for pair in zip(weights, gradients, strict=True) if pair[1] is not None]
    apply: Any = _Bound.apply  # torch leaves it untyped
    bound: Tensor = apply(value.detach(), *[weight for weight, _ in pairs], *[gradient for _, gradient in pairs])
    return bound


class _Bound(torch.autograd.Function):
    """Value, weights, gradients -> value."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(*tensors[len(tensors) // 2 :])
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        gradients = [outer[0] * gradient for gradient in ctx.saved_tensors]
        return (None, *gradients, *[None] * len(gradients))
