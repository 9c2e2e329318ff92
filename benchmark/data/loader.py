"""Prepared cases on the run's device, and the stream of batches drawn from them.

The sets are small: every case stays on the device in its stored type and becomes float32 in a batch only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

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
        chosen = self.image[index]
        return chosen.float().div_(255.0) if chosen.dtype == torch.uint8 else chosen.float()


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


class Batches:
    """The batch of any step: a function of the seed and the step, with no state to save.

    Each epoch visits every source case once in random order; a last odd batch is filled from another shuffle. Target
    images, where a method may see them, run in cycles of their own.

    Args:
        source: labelled cases to train on.
        target: unlabelled cases, or None.
        batch_size: cases of the source (and of the target) in a batch.
        seed: the run's seed; methods of one seed see the same batches.
    """

    def __init__(self, source: Pool, target: Pool | None, batch_size: int, seed: int) -> None:
        self.source = source
        self.target = target
        self.batch_size = batch_size
        self.seed = seed
        self.steps_per_epoch = -(-len(source) // batch_size)
        self._orders: dict[str, tuple[int, Tensor]] = {}

    @property
    def device(self) -> torch.device:
        """Where the batches live."""
        return self.source.image.device

    def at(self, step: int) -> Batch:
        """Return the batch of a step."""
        index = self._indices("order", self.source, step)
        label = self.source.label
        assert label is not None
        target = target_foreground = None
        if self.target is not None:
            chosen = self._indices("target-order", self.target, step)
            target, target_foreground = self.target.images(chosen), self.target.foreground[chosen]
        return Batch(
            image=self.source.images(index),
            label=label[index].long(),
            foreground=self.source.foreground[index],
            target=target,
            target_foreground=target_foreground,
        )

    def _indices(self, purpose: str, cases: Pool, step: int) -> Tensor:
        """Return the case indices of a step, from an order that is moved to the device once a pass."""
        steps = -(-len(cases) // self.batch_size)
        turn, within = divmod(step, steps)
        known = self._orders.get(purpose)
        if known is None or known[0] != turn:
            rng = generator(self.seed, purpose, turn)
            order = torch.randperm(len(cases), generator=rng)
            while len(order) < steps * self.batch_size:
                order = torch.cat([order, torch.randperm(len(cases), generator=rng)])
            known = turn, order.to(self.device, non_blocking=True)
            self._orders[purpose] = known
        start = within * self.batch_size
        return known[1][start : start + self.batch_size]
