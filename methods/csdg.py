"""CSDG: random shallow networks of intensities (GIN), blended over space (IPA), and consistency.

Ouyang, Chen, Li, Li, Qin, Bai, Rueckert: Causality-inspired Single-source Domain Generalization for Medical Image
Segmentation, IEEE TMI 2022, arXiv 2111.12525. "Authors' code" is cheng-01037/Causality-Medical-Image-Domain-
Generalization. The network never sees an image without augmentation while it trains.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from .base import Batch, Method, StepContext, Terms
from .losses import cross_entropy, one_hot, reversed_jensen_shannon, soft_dice
from .parts.host import host_generator
from .parts.splines import bspline_field, rescale_per_sample

SLOPE = 0.01
"""Of the random networks' leaky rectifiers. Source: authors' code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CSDGConfig:
    """Settings; the defaults are the released code's runs, GIN and IPA."""

    layers: int = field(default=4, metadata={"source": "authors' code: convolutions of a random network"})
    hidden_channels: int = field(default=2, metadata={"source": "authors' code: between the convolutions"})
    kernel_sizes: tuple[int, ...] = field(default=(1, 3), metadata={"source": "authors' code; each equally likely"})
    match_norm: bool = field(
        default=True,
        metadata={"source": "authors' code: the image's Frobenius norm is restored; false: its switch off"},
    )
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
        metadata={"source": "authors' code, λ of the mean over voxels and classes: 10 / classes a voxel"},
    )
    supervision: Literal["dice", "official"] = field(
        default="dice", metadata={"source": "this benchmark; official: Dice plus cross-entropy, authors' code"}
    )

    def __post_init__(self) -> None:
        for name in ("layers", "hidden_channels", "blend_cells"):
            if getattr(self, name) < 1:
                raise ValueError(f"method.{name} must be at least 1, not {getattr(self, name)}")
        if not self.kernel_sizes or any(size < 1 or size % 2 == 0 for size in self.kernel_sizes):
            raise ValueError(f"method.kernel_sizes must be odd numbers, not {self.kernel_sizes}")
        if self.consistency < 0:
            raise ValueError(f"method.consistency must not be negative, it is {self.consistency}")


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
        supervised = soft_dice if self.config.supervision == "dice" else dice_and_cross_entropy
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
        shape = (3 if config.third_view else 2, config.layers)
        # Drawn on the host: kernels of different sizes are different programs.
        sizes = torch.randint(len(config.kernel_sizes), shape, generator=host_generator(rng)).tolist()
        views = [self._render(image, [config.kernel_sizes[index] for index in row], rng) for row in sizes]
        if config.ipa:
            views[:2] = blend(views[0], views[1], blending_mask(image, config.blend_cells, rng))
        return views

    def _render(self, image: Tensor, sizes: Sequence[int], rng: torch.Generator) -> Tensor:
        output = random_network(image, sizes, self.config.hidden_channels, rng)
        weight = torch.rand((len(image), *[1] * (image.ndim - 1)), generator=rng, device=image.device)
        return mix(image, output, weight, self.config.match_norm)


def random_network(image: Tensor, sizes: Sequence[int], hidden: int, rng: torch.Generator) -> Tensor:
    """Return each image after a convolutional network drawn for it alone: the body of GIN.

    Weights and biases are N(0, 1) whatever the fan-in; leaky rectifiers between the convolutions, none after the
    last; zero padding. Source: authors' code, GIN.

    Args:
        image: (B, C, *S) with 2 or 3 spatial axes; computed in float32 whatever its type.
        sizes: odd kernel side of each convolution, the same for the whole batch.
        hidden: channels between the convolutions.
        rng: on the image's device.

    Returns:
        (B, C, *S) float32, of a scale that varies by orders of magnitude.
    """
    (samples, channels), ndim = image.shape[:2], image.ndim - 2
    path = [channels, *[hidden] * (len(sizes) - 1), channels]
    x = image.float().contiguous()
    for layer, size in enumerate(sizes):
        shape = (samples, path[layer + 1], path[layer], *[size] * ndim)
        kernel = torch.randn(shape, generator=rng, device=image.device)
        bias = torch.randn(shape[:2], generator=rng, device=image.device)
        x = _convolve_each(x, kernel, bias)
        if layer < len(sizes) - 1:
            x = F.leaky_relu_(x, SLOPE)
    return x


def _convolve_each(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """Convolve each sample of x (B, C, *S) with its own kernel (B, C', C, *K) and bias (B, C')."""
    grid = x.shape[2:]
    with torch.autocast(x.device.type, enabled=False):  # activations can exceed the range of half precision
        if kernel.shape[-1] == 1:  # a matrix product; and PyTorch may choose another memory layout for kernels of one
            product = torch.baddbmm(bias.unsqueeze(2), kernel.flatten(2), x.flatten(2))
            return product.view(*product.shape[:2], *grid)
        convolution: Any = {2: F.conv2d, 3: F.conv3d}[len(grid)]
        # Samples side by side as groups of channels of one image.
        side_by_side = x.flatten(0, 1).unsqueeze(0), kernel.flatten(0, 1), bias.flatten()
        filtered: Tensor = convolution(*side_by_side, padding=kernel.shape[-1] // 2, groups=len(x))
        return filtered.view(len(x), -1, *grid)


def mix(image: Tensor, output: Tensor, weight: Tensor, match_norm: bool = True, epsilon: float = 1e-5) -> Tensor:
    """Return weight · output + (1 - weight) · image, scaled to the image's Frobenius norm: the end of GIN.

    The norm is each sample's, over channels and voxels together. Source: authors' code, GIN. The output is not
    scaled before it is mixed, so that it usually outweighs the image: part of the method.

    Args:
        image: (B, C, *S).
        output: of the random network, (B, C, *S) float32; overwritten by the result.
        weight: (B, 1, *ones) in [0, 1].
        match_norm: whether to scale.
        epsilon: added to the mixture's norm.
    """
    mixed = torch.lerp(image.float(), output, weight, out=output)
    if match_norm:
        mixed *= _norm(image) / (_norm(mixed) + epsilon)
    return mixed


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
    return rescale_per_sample(bspline_field(control / _norm(control), grid).exp_())


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


def _norm(x: Tensor) -> Tensor:
    """Return each sample's Euclidean norm (B, 1, *ones) in float32."""
    length: Tensor = torch.linalg.vector_norm(x.float().flatten(1), dim=1)
    return length.view(-1, *[1] * (x.ndim - 1))
