"""CSDG: random shallow networks of intensities (GIN), blended over space (IPA), and consistency.

Ouyang, Chen, Li, Li, Qin, Bai, Rueckert: Causality-inspired Single-source Domain Generalization for Medical Image
Segmentation, IEEE TMI 2022, arXiv 2111.12525. "Authors' code" is cheng-01037/Causality-Medical-Image-Domain-
Generalization. The network never sees an image without augmentation while it trains.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from .base import Batch, Method, StepContext, Terms, require
from .losses import Supervision, cross_entropy, one_hot, reversed_jensen_shannon, supervised_loss
from .parts.gin import GINConfig, draw_sizes, norms, random_rendering
from .parts.splines import bspline_field, rescale_per_sample


@dataclass(frozen=True, slots=True, kw_only=True)
class CSDGConfig(GINConfig):
    """Settings; the defaults are the released code's runs, GIN and IPA."""

    ipa: bool = field(default=True, metadata={"source": "authors' code, runs 'ginipa'; false: runs 'gin'"})
    blend_cells: int = field(
        default=4, metadata={"source": "authors' code: control points 48 pixels apart, a quarter of the side of 192"}
    )
    third_view: bool = field(
        default=True,
        metadata={"source": "authors' code: a third, unblended view; false: the two complementary blends alone"},
    )
    consistency: float = field(
        default=10.0,
        metadata={
            "source": "authors' code, λ of the mean over voxels and classes: 10 / classes a voxel",
            "range": (0.1, 20),
        },
    )
    supervision: Supervision = field(
        default="dice", metadata={"source": "this benchmark; official: Dice plus cross-entropy, authors' code"}
    )

    def __post_init__(self) -> None:
        GINConfig.__post_init__(self)
        require(self.blend_cells >= 1, f"method.blend_cells must be at least 1, not {self.blend_cells}")
        require(self.consistency >= 0, f"method.consistency must not be negative, it is {self.consistency}")


class CSDG(Method):
    """Supervise one randomly rendered view of the normalised batch; align the predictions on all views.

    Where training sees windows, the cells of the blending are those of the windows.
    """

    # Departure: the protocol selects checkpoints on plain source images; the authors keep the last ones.
    # Departure: λ is the authors', set against Dice plus cross-entropy. Dice alone has a quarter of the gradient, so
    # that agreement weighs four times as much. Vessels at 8 filters after 480 steps, held-out Dice: 46 %; under the
    # authors' own supervision, 0.
    # Departure: the authors' heavy base augmentation (shear, elastic deformation, contrast, brightness, gamma, noise)
    # is left to the protocol's shared augmentation.

    Config = CSDGConfig

    def training_step(self, batch: Batch, context: StepContext) -> Terms:
        """Return the supervised term of view 1 and the weighted divergence of all predictions from their mean."""
        batch = self.augment(batch, context.rng)
        views = self.views(self.prepare(batch.image, batch.foreground, batch.frame), context.rng)
        together: Tensor = self.network(torch.cat(views)).logits
        logits = together.chunk(len(views))
        # Departure: Dice, the term of every method here; the authors add cross-entropy to another Dice ("official").
        supervised = supervised_loss(self.config.supervision, dice_and_cross_entropy)
        return {
            "segmentation": supervised(logits[0], batch.label),
            "consistency": self.config.consistency / together.shape[1] * reversed_jensen_shannon(logits),
        }

    def example(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Return the supervised view of the normalised images."""
        batch = self.augment(batch, rng)
        return self.views(self.prepare(batch.image, batch.foreground, batch.frame), rng)[0]

    def views(self, image: Tensor, rng: torch.Generator) -> list[Tensor]:
        """Return the views of the normalised images (B, C, *S): two complementary blends, and one unblended."""
        # Departure: a grey image stays one channel; the authors feed three copies and get three different renderings.
        config = self.config
        sizes = draw_sizes(config, 3 if config.third_view else 2, rng)
        views = [random_rendering(image, row, config, rng) for row in sizes]
        if config.ipa:
            views[:2] = blend(views[0], views[1], blending_mask(image, config.blend_cells, rng))
        return views


def blending_mask(image: Tensor, cells: int, rng: torch.Generator) -> Tensor:
    """Draw IPA's blending: smooth maps (B, 1, *S) float32 in [0, 1], both ends attained in each.

    exp of a quadratic B-spline field whose control points, one beyond each side, lie 1 / cells of a side apart and
    form a normal vector of length 1; rescaled. Source: authors' code, IPA, "log" space and order 2.

    Args:
        image: (B, C, *S) with 2 or 3 spatial axes: how many maps, how large, on which device.
        cells: between the control points along each axis, within the grid.
        rng: on the image's device.
    """
    # Departure: evaluated exactly on the grid; the authors' code works at half resolution, enlarges the field
    # linearly, and has no 3D form.
    grid = image.shape[2:]
    control = torch.randn((len(image), 1, *[cells + 2] * len(grid)), generator=rng, device=image.device)
    return rescale_per_sample(bspline_field(control / norms(control), grid).exp_())


def blend(first: Tensor, second: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return mask · first + (1 - mask) · second and its complement; they add up to first + second.

    Source: authors' code, IPA.
    """
    difference = (first - second).mul_(mask)
    return second + difference, difference.neg_().add_(first)


def dice_and_cross_entropy(logits: Tensor, label: Tensor, epsilon: float = 1e-5) -> Tensor:
    """Return the authors' supervised term: cross-entropy plus 1 - mean Dice of samples and classes.

    2 Σ p q / (Σ p + Σ q + ε) over the voxels of one sample and class, background included, without squares: a class
    absent from a sample counts as a Dice of 0 there. Source: authors' code.

    Args:
        logits: (B, K, *S); computed in float32 whatever their type.
        label: (B, 1, *S) int64.
        epsilon: ε.
    """
    probability = logits.float().softmax(dim=1).flatten(2)
    target = one_hot(label, logits.shape[1]).flatten(2)
    overlap = (probability * target).sum(dim=2)
    size = probability.sum(dim=2) + target.sum(dim=2)
    return cross_entropy(logits, label) + 1 - (2 * overlap / (size + epsilon)).mean()
