"""Prepared images on the run's device in their stored type, and the stream of float32 batches drawn from them.

An image is a whole case, or one slice of a volume that feeds a network of two dimensions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ssdg.methods.base import Batch

from ..randomness import generator
from .prepared import PreparedDomain


@dataclass(frozen=True, slots=True)
class Pool:
    """Images of some cases of a domain as device-resident tensors."""

    image: Tensor  # (N, C, *S) uint8 or float16
    label: Tensor | None  # (N, 1, *S) uint8
    foreground: Tensor  # (N, 1, *S) bool
    case: Tensor  # (N,) int64: position of each image's case among the cases

    def __len__(self) -> int:
        return len(self.image)

    def images(self, index: Tensor) -> Tensor:
        """Return images (B, C, *S) float32 in [0, 1]."""
        images = self.image[index]
        return images.float().div_(255.0) if images.dtype == torch.uint8 else images.float()


def pool(
    domain: PreparedDomain,
    ids: Sequence[str],
    device: torch.device,
    labelled: bool = True,
    keep: Literal["all", "labelled"] = "all",
) -> Pool:
    """Copy the images of some cases of a prepared domain to the device.

    Args:
        domain: prepared.
        ids: of the cases.
        device: where the tensors go.
        labelled: False leaves the labels behind.
        keep: "labelled" leaves out slices without any foreground class.
    """
    if labelled and domain.label is None:
        raise ValueError(f"domain {domain.name!r} has cases without labels and cannot be trained on")
    spans = [domain.span(name) for name in ids]
    rows = np.concatenate([np.arange(*span) for span in spans])
    case = np.repeat(np.arange(len(spans)), [stop - start for start, stop in spans])
    if keep == "labelled":
        assert domain.label is not None
        chosen = np.array([bool(domain.label[row].any()) for row in rows])
        rows, case = rows[chosen], case[chosen]
    label = None
    if labelled:
        assert domain.label is not None
        label = torch.from_numpy(domain.label[rows]).unsqueeze(1).to(device)
    return Pool(
        image=torch.from_numpy(domain.image[rows]).to(device),
        label=label,
        foreground=torch.from_numpy(domain.foreground[rows]).unsqueeze(1).to(device),
        case=torch.from_numpy(case).to(device),
    )


@dataclass
class Batches:
    """The batch of any step: a function of the seed and the step, with no state to save.

    Each epoch visits every source image once in random order; a last odd batch is filled from another shuffle. Target
    images run in cycles of their own.
    """

    source: Pool  # labelled
    target: Pool | None  # unlabelled
    batch_size: int  # images of the source (and of the target)
    seed: int  # methods of one seed see the same batches
    _orders: dict[str, tuple[int, Tensor]] = field(default_factory=dict, init=False)

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which every source image is visited."""
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

    def _indices(self, purpose: str, images: Pool, step: int) -> Tensor:
        steps = -(-len(images) // self.batch_size)
        turn, within = divmod(step, steps)
        if purpose not in self._orders or self._orders[purpose][0] != turn:
            rng = generator(self.seed, purpose, turn)
            order = torch.empty(steps * self.batch_size, dtype=torch.long)
            for shuffled in torch.split(order, len(images)):
                shuffled.copy_(torch.randperm(len(images), generator=rng)[: len(shuffled)])
            # Moved to the device once a pass.
            self._orders[purpose] = turn, order.to(self.device, non_blocking=True)
        start = within * self.batch_size
        return self._orders[purpose][1][start : start + self.batch_size]
