"""Prepared cases on the run's device in their stored type, and the stream of float32 batches drawn from them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ssdg.methods.base import Batch

from ..randomness import generator
from .prepared import PreparedDomain


@dataclass(frozen=True, slots=True)
class Pool:
    """Cases of one domain as device-resident tensors."""

    ids: tuple[str, ...]
    image: Tensor  # (N, C, *S) uint8 or float16
    label: Tensor | None  # (N, 1, *S) uint8
    foreground: Tensor  # (N, 1, *S) bool

    def __len__(self) -> int:
        return len(self.ids)

    def images(self, index: Tensor) -> Tensor:
        """Return images (B, C, *S) float32 in [0, 1]."""
        images = self.image[index]
        return images.float().div_(255.0) if images.dtype == torch.uint8 else images.float()


def pool(domain: PreparedDomain, ids: Sequence[str], device: torch.device, labelled: bool = True) -> Pool:
    """Copy some cases of a prepared domain to the device; ``labelled=False`` leaves the labels behind."""
    position = {name: index for index, name in enumerate(domain.ids)}
    rows = [position[name] for name in ids]
    label = None
    if labelled:
        if domain.label is None:
            raise ValueError(f"domain {domain.name!r} has cases without labels and cannot be trained on")
        label = torch.from_numpy(domain.label[rows]).unsqueeze(1).to(device)
    return Pool(
        ids=tuple(ids),
        image=torch.from_numpy(domain.image[rows]).to(device),
        label=label,
        foreground=torch.from_numpy(domain.foreground[rows]).unsqueeze(1).to(device),
    )


@dataclass
class Batches:
    """The batch of any step: a function of the seed and the step, with no state to save.

    Each epoch visits every source case once in random order; a last odd batch is filled from another shuffle. Target
    images run in cycles of their own.
    """

    source: Pool  # labelled
    target: Pool | None  # unlabelled
    batch_size: int  # cases of the source (and of the target)
    seed: int  # methods of one seed see the same batches
    _orders: dict[str, tuple[int, Tensor]] = field(default_factory=dict, init=False)

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which every source case is visited."""
        return -(-len(self.source) // self.batch_size)

    @property
    def device(self) -> torch.device:
        """Device of the batches."""
        return self.source.image.device

    def at(self, step: int) -> Batch:
        """Return the batch of a step."""
        index = self._indices("order", self.source, step)
        label = self.source.label
        assert label is not None
        target = target_foreground = None
        if self.target is not None:
            positions = self._indices("target-order", self.target, step)
            target, target_foreground = self.target.images(positions), self.target.foreground[positions]
        return Batch(
            image=self.source.images(index),
            label=label[index].long(),
            foreground=self.source.foreground[index],
            target=target,
            target_foreground=target_foreground,
        )

    def _indices(self, purpose: str, cases: Pool, step: int) -> Tensor:
        steps = -(-len(cases) // self.batch_size)
        turn, within = divmod(step, steps)
        if purpose not in self._orders or self._orders[purpose][0] != turn:
            rng = generator(self.seed, purpose, turn)
            order = torch.empty(steps * self.batch_size, dtype=torch.long)
            for shuffled in torch.split(order, len(cases)):
                shuffled.copy_(torch.randperm(len(cases), generator=rng)[: len(shuffled)])
            # Moved to the device once a pass.
            self._orders[purpose] = turn, order.to(self.device, non_blocking=True)
        start = within * self.batch_size
        return self._orders[purpose][1][start : start + self.batch_size]
