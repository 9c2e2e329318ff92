"""TriD: feature channels get random statistics in place of their own.

Chen, Pan, Ye, Cui, Xia: Treasure in Distribution: A Domain Randomization based Multi-Source Domain Generalization for
2D Medical Image Segmentation, MICCAI 2023, arXiv 2305.19949. It needs no partner in the batch.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from .parts.feature_statistics import Draw, StatisticsMethod


@dataclass(frozen=True, slots=True, kw_only=True)
class TriDConfig:
    """Settings; the defaults are the authors'."""

    probability: float = field(
        default=0.5, metadata={"source": "authors' code, of a stage in a step", "range": (0.1, 1)}
    )
    stages: tuple[int, ...] = field(
        default=(0, 1), metadata={"source": "authors' command: the first two stages of a ResNet; 0 is the shallowest"}
    )


class TriD(StatisticsMethod):
    """Replace a random half of the channels' statistics, after two encoder stages, by draws from U(0, 1)."""

    Config = TriDConfig

    def draw(self) -> Draw:
        """Return the law of :func:`random_statistics`."""
        return random_statistics


def random_statistics(mean: Tensor, deviation: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return statistics of which each image and channel has its own two, or two from U(0, 1), with equal chances."""
    # The authors give every channel a coin of its own, whose probability is from Beta(α, α) and drawn anew for each:
    # that is a fair coin, whatever α.
    new_mean, new_deviation, coin = torch.rand((3, *mean.shape), generator=rng, device=mean.device)
    return torch.where(coin < 0.5, new_mean, mean), torch.where(coin < 0.5, new_deviation, deviation)
