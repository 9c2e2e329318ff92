"""MixStyle: feature statistics are mixed with those of another image of the batch.

Zhou, Yang, Qiao, Xiang: Domain Generalization with MixStyle, ICLR 2021, arXiv 2104.02008. With two images a batch the
shuffled partner is the image itself half of the time, and nothing is mixed then.
"""

from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from .base import require
from .parts.feature_statistics import Draw, StatisticsMethod


@dataclass(frozen=True, slots=True, kw_only=True)
class MixStyleConfig:
    """Settings; the defaults are the authors'."""

    probability: float = field(
        default=0.5, metadata={"source": "authors' code, of a stage in a step", "range": (0.1, 1)}
    )
    concentration: float = field(
        default=0.1, metadata={"source": "authors' code: an image keeps a share from a symmetric beta law of it"}
    )
    stages: tuple[int, ...] = field(
        default=(0, 1), metadata={"source": "paper: shallow stages, two or three of a ResNet; 0 is the shallowest"}
    )

    def __post_init__(self) -> None:
        require(self.concentration > 0, "method.concentration must be above 0")


class MixStyle(StatisticsMethod):
    """Mix the channels' means and deviations, after two encoder stages, with those of a shuffled batch."""

    needs = frozenset({"partner"})
    Config = MixStyleConfig

    def draw(self) -> Draw:
        """Return the law of :func:`mixed_statistics`."""
        return partial(mixed_statistics, concentration=self.config.concentration)


def mixed_statistics(
    mean: Tensor, deviation: Tensor, rng: torch.Generator, concentration: float
) -> tuple[Tensor, Tensor]:
    """Return λ times own statistics plus 1 - λ times those of the batch in random order; one λ per image."""
    share = draw_beta(concentration, (len(mean), *[1] * (mean.ndim - 1)), rng)
    order = torch.randperm(len(mean), generator=rng, device=mean.device)
    return torch.lerp(mean[order], mean, share), torch.lerp(deviation[order], deviation, share)


def draw_beta(concentration: float, shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    """Return draws from Beta(α, α), float32, on the generator's device: X / (X + Y) with X, Y ~ Gamma(α)."""
    # Double precision: most of a gamma variable of α = 0.1 is too small for single precision to tell from 0.
    level = torch.full((2, *shape), concentration, dtype=torch.float64, device=rng.device)
    # torch's public samplers take no generator.
    gammas: Tensor = torch._standard_gamma(level, generator=rng)
    return (gammas[0] / gammas.sum(dim=0)).float()
