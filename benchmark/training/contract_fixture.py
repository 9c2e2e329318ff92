"""A method on a tiny synthetic task: what the contract's checks train and predict on, in milliseconds on a CPU."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ssdg.methods.base import Batch, Method, StepContext, Terms
from ssdg.methods.network import SegmentationNetwork

from ..spec import OptimizerConfig
from .train import Player, make_players, minimise

CLASSES = 3
FILTERS = 8
STEPS = 6
GRIDS = {2: (3, 32, 32), 3: (1, 16, 16, 16)}
"""Channels and sides of the synthetic images: 2D RGB and 3D single-channel, as small as the network takes."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A method class under check, on images of one dimension."""

    cls: type[Method]
    ndim: int

    def method(self, seed: int = 0) -> Method:
        """Return the method with its default configuration; equal seeds give equal weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = SegmentationNetwork(self.ndim, GRIDS[self.ndim][0], CLASSES, FILTERS)
            return self.cls(network, self.cls.Config()).train()

    def batch(self) -> Batch:
        """Return two smooth random images with labels that follow intensity, and targets for a "uda" method."""
        generator = torch.Generator().manual_seed(1)
        image, foreground = _images(self.ndim, generator)
        label = torch.bucketize(image.mean(dim=1, keepdim=True), torch.tensor([0.4, 0.6]))
        batch = Batch(image, label, foreground)
        return batch if self.cls.setting == "ssdg" else with_target(batch, self.ndim)


def _images(ndim: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    channels, *sides = GRIDS[ndim]
    image = torch.rand((2, channels, *sides), generator=generator)
    foreground = torch.ones((2, 1, *sides), dtype=torch.bool)
    foreground[..., :2] = False
    return image * foreground, foreground


def with_target(batch: Batch, ndim: int) -> Batch:
    """Return the batch with unlabelled target images."""
    image, foreground = _images(ndim, torch.Generator().manual_seed(2))
    return replace(batch, target=image, target_foreground=foreground)


def context(step: int = 0) -> StepContext:
    """Return the context of a step of a run of six steps in two epochs."""
    rng = torch.Generator().manual_seed(100 + step)
    return StepContext(rng=rng, step=step, total_steps=STEPS, epoch=step // 3, total_epochs=2)


def take_steps(method: Method, players: list[Player], batch: Batch, steps: Iterable[int]) -> Terms:
    """Train as the loop does and return the last step's terms."""
    last: Mapping[str, Tensor] = {}
    for step in steps:
        last = minimise(method.training_step(batch, context(step)), players[0], clip=None)
        for adversary in players[1:]:
            last |= minimise(method.adversary_step(batch, context(step)), adversary, clip=None)
    return last


def players_of(method: Method) -> list[Player]:
    """Return the loop's optimisers for a method, at a rate that moves every weight."""
    return make_players(method, OptimizerConfig(lr=1e-3))
