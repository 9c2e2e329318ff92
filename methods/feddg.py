"""FedDG (ELCFS): interpolated amplitudes, one episodic step, contrast across the boundary.

Liu, Chen, Qin, Dou, Heng: FedDG: Federated Domain Generalization on Medical Image Segmentation via Episodic Learning
in Continuous Frequency Space, CVPR 2021, arXiv 2103.06030. Of the federation only one client is left here: there is
no averaging of weights, and amplitudes come from the source itself.
"""

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.func import functional_call

from .base import Batch, Method, StepContext, Terms, require
from .losses import Supervision, one_hot, supervised_loss
from .networks.base import Features
from .parts.boundary import boundary_contrast, boundary_regions
from .parts.partners import draw_partners


@dataclass(frozen=True, slots=True, kw_only=True)
class FedDGConfig:
    """Settings of the transform, the episodic step and the contrast."""

    mode: Literal["paper", "released"] = field(
        default="paper",
        metadata={
            "source": "paper: a window of amplitudes interpolated by λ ~ U(0, 1); released: authors' training code, "
            "L = 0 and λ = 1, which gives each channel the donor's mean and changes nothing else"
        },
    )
    window: float = field(
        default=0.01,
        metadata={
            "source": "quoted for the paper, not verified (authors' demo: 0.003); half side of the window over the "
            "shorter side, so below 100 pixels the zero frequency alone; plays no part in mode 'released'"
        },
    )
    meta_rate: float = field(default=1e-3, metadata={"source": "authors' code, meta_step_size"})
    gradient_limit: float = field(default=100.0, metadata={"source": "authors' code, clip_value, on each element"})
    contrast: float = field(
        default=0.1, metadata={"source": "authors' code, weight of the contrastive loss", "range": (0.01, 1)}
    )
    temperature: float = field(default=0.05, metadata={"source": "authors' code"})
    ring: int = field(default=5, metadata={"source": "authors' code, pixels around a structure that are background"})
    supervision: Supervision = field(
        default="dice",
        metadata={"source": "this benchmark; official: Dice without squares or background, authors' code"},
    )

    def __post_init__(self) -> None:
        require(0 <= self.window <= 0.5, "method.window must lie between 0 and 0.5")
        require(self.ring >= 1, "method.ring must be at least 1")
        for name in ("meta_rate", "contrast"):
            require(getattr(self, name) >= 0, f"method.{name} must not be negative")
        for name in ("gradient_limit", "temperature"):
            require(getattr(self, name) > 0, f"method.{name} must be positive")


class FedDG(Method):
    """Fit the images, and by one gradient step on them also their transformed views.

    Where training sees windows, amplitudes are those of the windows, and a donor may be a window of the same image.
    """

    # Departure: images are normalised after the transform and its clipping, as for every method here; the authors
    # feed raw intensities.

    ndims: ClassVar[frozenset[int]] = frozenset({2})  # the paper's choice: its transform and contours are planar
    needs = frozenset({"partner"})
    Config = FedDGConfig

    def training_step(self, batch: Batch, context: StepContext) -> Terms:
        """Return Dice of the images, of the views after the inner step, and the boundary contrast of both.

        The inner gradient is a constant of the outer terms (first order), so the gradient of the two Dice terms is
        exactly ∇L_inner(θ) + ∇L_outer(θ'), θ' = θ - η clip(∇L_inner(θ)); the contrast adds its own at both.

        Raises:
            MethodError: the batch is a single image, which has no donor.
        """
        config = self.config
        batch = self.augment(batch, context.rng)
        view = self.view(batch, context.rng)
        inner: Features = self.network(self.prepare(batch.image, batch.foreground, batch.frame))
        inner_loss = self.supervise(inner.logits, batch.label)
        outer: Features = functional_call(
            self.network, self.adapted_weights(inner_loss), (self.prepare(view, batch.foreground, batch.frame),)
        )
        terms = {"segmentation": inner_loss, "episodic": self.supervise(outer.logits, batch.label)}
        if config.contrast > 0:
            regions = boundary_regions(batch.label, self.network.classes, config.ring)
            contrast = boundary_contrast([inner.decoder, outer.decoder], regions, config.temperature)
            terms["contrast"] = config.contrast * contrast
        return terms

    def example(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Return the transformed views as the network sees them."""
        batch = self.augment(batch, rng)
        return self.prepare(self.view(batch, rng), batch.foreground, batch.frame)

    def view(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Return images (B, C, H, W) in [0, 1] with low-frequency amplitudes moved towards a donor's."""
        # Departure: the donor is another image of the batch, so that nothing but the source is seen and a step needs
        # no bank; the authors draw amplitude files of the other clients. Only where the last odd batch was filled
        # from another shuffle can both be the same case.
        count, device = len(batch.image), batch.image.device
        donor = draw_partners(count, rng, "feddg")
        if self.config.mode == "released":
            return interpolate_amplitude(batch.image, donor, 0.0, torch.ones(count, device=device))
        weight = torch.rand(count, generator=rng, device=device)
        return interpolate_amplitude(batch.image, donor, self.config.window, weight)

    def adapted_weights(self, loss: Tensor) -> dict[str, Tensor]:
        """Return name -> θ - η clip(∇loss) of the network, differentiable in θ with derivative 1."""
        names, weights = zip(*self.network.named_parameters(), strict=True)
        gradients = torch.autograd.grad(loss, weights, retain_graph=True)
        limit, rate = self.config.gradient_limit, self.config.meta_rate
        # Not in place on the gradients: autograd may hand out one tensor for two parameters.
        moved = [weight - rate * grad.clamp(-limit, limit) for weight, grad in zip(weights, gradients, strict=True)]
        return dict(zip(names, moved, strict=True))

    def supervise(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return the supervised loss of either view."""
        # Departure: the Dice of every method here; the authors' own is "official".
        return supervised_loss(self.config.supervision, plain_dice)(logits, label)


def interpolate_amplitude(image: Tensor, donor: Tensor, window: float, weight: Tensor) -> Tensor:
    """Move the lowest frequencies' amplitudes towards another image's, keep phases, clip to [0, 1].

    |F| becomes (1 - λ)|F| + λ|F_donor| where both frequency indices lie in [-b, b], b = ⌊window · shorter side⌋; the
    zero frequency is always inside. Source: authors' code, demo and training loader.

    Args:
        image: (B, C, H, W) in [0, 1].
        donor: (B,) index of the image that lends its amplitudes.
        window: L, between 0 and 0.5.
        weight: (B,) λ, 0 leaves an image as it is.

    Returns:
        (B, C, H, W) float32.
    """
    height, width = image.shape[-2:]
    reach = math.floor(min(height, width) * window)
    with torch.autocast(image.device.type, enabled=False):  # transforms have no half-precision kernels everywhere
        image = image.float()
        # Only what the window changes is transformed back and added: columns beyond it are zero, never computed.
        columns = torch.fft.rfft(image, dim=-1)[..., : reach + 1]
        spectrum = torch.fft.fft(columns, dim=-2)
        amplitude = spectrum.abs()
        row = torch.arange(height, device=image.device)
        inside = torch.minimum(row, height - row)[:, None] <= reach
        change = weight.view(-1, 1, 1, 1) * (amplitude[donor] - amplitude) * inside
        changed = torch.fft.ifft(torch.polar(change, spectrum.angle()), dim=-2)
        view: Tensor = (image + torch.fft.irfft(changed, n=width, dim=-1)).clamp(0, 1)
        return view


def plain_dice(logits: Tensor, label: Tensor, epsilon: float = 1e-5) -> Tensor:
    """Return Dice without squares: 1 - mean_c (2 Σ p q + ε) / (Σ p + Σ q + ε), foreground classes.

    Sums run over batch and pixels.

    Source: authors' code, utils.

    Args:
        logits: (B, K, *S); computed in float32 whatever their type.
        label: (B, 1, *S) int64.
        epsilon: ε.
    """
    # Departure: p is the softmax of the shared head; the authors' two structures overlap, and each has a sigmoid.
    probability = logits.float().softmax(dim=1)[:, 1:]
    target = one_hot(label, logits.shape[1])[:, 1:]
    axes = (0, *range(2, logits.ndim))
    overlap = (probability * target).sum(dim=axes)
    size = probability.sum(dim=axes) + target.sum(dim=axes)
    return 1 - ((2 * overlap + epsilon) / (size + epsilon)).mean()
