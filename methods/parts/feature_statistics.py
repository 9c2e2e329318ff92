"""Random channel statistics of feature maps, in training alone: the hook that TriD, MixStyle and DSU share."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor, nn

from ..base import EPSILON, Batch, Method, StepContext, Terms, require
from ..networks.base import SegmentationNetwork

Draw: TypeAlias = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
"""(means, deviations, generator) of a map's channels -> their new means and deviations, all (B, C, *ones)."""


class StatisticsMethod(Method):
    """Source-only training in which maps of encoder stages get other means and deviations at random.

    A subclass overrides ``draw``. Its configuration has ``probability`` and ``stages``. Images are not augmented.
    """

    # Departure: the authors' maps come from a rectifier and are positive; those of the shared networks need not be.

    differentiable: ClassVar[bool] = False
    """Whether gradients pass through a map's own statistics."""

    def __init__(self, network: SegmentationNetwork, config: Any = None) -> None:
        super().__init__(network, config)
        stages, last = self.config.stages, len(network.widths) - 1
        require(0 <= self.config.probability <= 1, "method.probability must lie between 0 and 1")
        fits = len(set(stages)) == len(stages) > 0 and 0 <= min(stages) <= max(stages) <= last
        require(fits, f"method.stages must be different stages of the network's encoder, 0 to {last}, not {stages}")
        self.hooks: list[StatisticsHook] = []  # of the network, not of this
        for stage in stages:
            hook = StatisticsHook(self.draw(), self.config.probability, self.differentiable)
            network.after(stage, hook)
            self.hooks.append(hook)

    def draw(self) -> Draw:
        """Return the law of the new statistics."""
        raise NotImplementedError(f"{type(self).__name__} has no draw")

    def training_step(self, batch: Batch, context: StepContext) -> Terms:
        """Return the loss terms of the batch under changed feature statistics."""
        with drawing(self.hooks, context.rng):
            return super().training_step(batch, context)


class StatisticsHook(nn.Module):
    """Give the channels of a map other statistics, with a probability; the identity outside :func:`drawing`.

    One coin serves the whole batch, as in all three authors' codes.

    Args:
        draw: law of the new statistics.
        probability: of any change.
        differentiable: whether gradients pass through the map's own statistics.
    """

    def __init__(self, draw: Draw, probability: float, differentiable: bool) -> None:
        super().__init__()
        self.draw, self.probability, self.differentiable = draw, probability, differentiable
        self.rng: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return a map like x (B, C, *S)."""
        if self.rng is None or not self.training:
            return x
        with torch.autocast(x.device.type, enabled=False):  # statistics need more than bfloat16's 8 bits
            maps = x.float()
            coin = torch.rand((), generator=self.rng, device=x.device) < self.probability
            with torch.set_grad_enabled(self.differentiable and torch.is_grad_enabled()):
                mean, deviation = channel_statistics(maps)
                new_mean, new_deviation = self.draw(mean, deviation, self.rng)
                # As one scale and one offset a channel: what keeps its statistics keeps its values to the bit.
                scale = torch.where(coin, new_deviation / deviation, 1.0)
                offset = torch.where(coin, new_mean - mean * scale, 0.0)
            return (maps * scale + offset).to(x.dtype)


@contextmanager
def drawing(hooks: Iterable[StatisticsHook], rng: torch.Generator) -> Iterator[None]:
    """Let hooks change maps, by draws from a generator, inside a ``with`` block."""
    hooks = tuple(hooks)
    for hook in hooks:
        hook.rng = rng
    try:
        yield
    finally:
        for hook in hooks:
            hook.rng = None


def channel_statistics(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return each image's and channel's mean and sample standard deviation (B, C, *ones) of maps (B, C, *S)."""
    variance, mean = torch.var_mean(maps, dim=tuple(range(2, maps.ndim)), keepdim=True)
    return mean, (variance + EPSILON).sqrt()
