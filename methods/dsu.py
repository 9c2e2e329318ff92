"""DSU: feature statistics are uncertain, by as much as they differ within the batch.

Li, Dai, Ge, Liu, Shan, Duan: Uncertainty Modeling for Out-of-Distribution Generalization, ICLR 2022,
arXiv 2202.03958.
"""

from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from .base import EPSILON, require
from .parts.feature_statistics import Draw, StatisticsMethod


@dataclass(frozen=True, slots=True, kw_only=True)
class DSUConfig:
    """Settings; the defaults are the authors'."""

    probability: float = field(
        default=0.5, metadata={"source": "authors' code, of a stage in a step", "range": (0.1, 1)}
    )
    strength: float = field(default=1.0, metadata={"source": "authors' code: factor of the noise"})
    stages: tuple[int, ...] = field(
        default=(0, 1, 2, 3), metadata={"source": "paper: all of a ResNet's, and its stem; 0 is the shallowest"}
    )

    def __post_init__(self) -> None:
        require(self.strength >= 0, "method.strength must not be negative")


class DSU(StatisticsMethod):
    """Add noise to the channels' means and deviations after encoder stages, of their spread over the batch."""

    needs = frozenset({"partner"})
    differentiable = True
    Config = DSUConfig

    def draw(self) -> Draw:
        """Return the law of :func:`uncertain_statistics`."""
        return partial(uncertain_statistics, strength=self.config.strength)


def uncertain_statistics(
    mean: Tensor, deviation: Tensor, rng: torch.Generator, strength: float
) -> tuple[Tensor, Tensor]:
    """Return statistics plus N(0, 1) draws times their standard deviations over the batch.

    Gradients pass through both.
    """
    noise = strength * torch.randn((2, *mean.shape), generator=rng, device=mean.device)
    return mean + noise[0] * batch_deviation(mean), deviation + noise[1] * batch_deviation(deviation)


def batch_deviation(values: Tensor) -> Tensor:
    """Return the sample standard deviation (1, C, *ones) of values (B, C, *ones) over the batch."""
    variance = values.var(dim=0, keepdim=True, correction=min(1, len(values) - 1))
    return (variance + EPSILON).sqrt()
