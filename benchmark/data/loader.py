"""Prepared images on the run's device in their stored type, and the stream of float32 batches drawn from them.

An image is a whole case, or one slice of a volume that feeds a network of two dimensions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ssdg.methods.base import Batch

from ..randomness import generator
from .prepared import PreparedDomain

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Pool:
    """Images of some cases of a domain as device-resident tensors; smaller ones are filled up with zeros."""

    image: Tensor  # (N, C, *S) uint8 or float16
    label: Tensor | None  # (N, 1, *S) uint8
    foreground: Tensor  # (N, 1, *S) bool
    case: Tensor  # (N,) int64: position of each image's case among the cases
    sides: tuple[Shape, ...] = ()  # of each image's own grid, where they differ

    def __len__(self) -> int:
        return len(self.image)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The grid of each image."""
        return self.sides or (tuple(self.image.shape[2:]),) * len(self)

    def images(self, index: Tensor) -> Tensor:
        """Return images (B, C, *S) float32 in [0, 1]."""
        return unit_range(self.image[index])

    def chunks(self, size: int) -> Iterator["Pool"]:
        """Yield all images in their order, up to ``size`` of one grid at a time, without what fills them up."""
        for shape, group in groupby(range(len(self)), key=self.shapes.__getitem__):
            rows = list(group)
            inside = (slice(None), slice(None), *(slice(0, side) for side in shape))
            for start in range(rows[0], rows[-1] + 1, size):
                part = slice(start, min(start + size, rows[-1] + 1))
                label = None if self.label is None else self.label[part][inside]
                yield Pool(self.image[part][inside], label, self.foreground[part][inside], self.case[part])


def unit_range(images: Tensor) -> Tensor:
    """Return stored images as float32 in [0, 1]; the input stays as it is."""
    return images.float().div_(255.0) if images.dtype == torch.uint8 else images.float()


def pool(
    domain: PreparedDomain,
    ids: Sequence[str],
    device: torch.device,
    labelled: bool = True,
    keep: Literal["all", "labelled"] = "all",
    at_least: Shape | None = None,
) -> Pool:
    """Copy the images of some cases of a prepared domain to the device.

    Args:
        domain: prepared.
        ids: of the cases.
        device: where the tensors go.
        labelled: False leaves the labels behind.
        keep: "labelled" leaves out slices without any foreground class.
        at_least: sides up to which every image is filled with zeros.
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
    own = [domain.foreground[row].shape for row in rows]
    sides = [tuple(np.maximum(shape, at_least or 0).tolist()) for shape in own]
    largest = tuple(max(side) for side in zip(*sides, strict=True))

    def stacked(arrays: Any) -> Tensor:
        if all(shape == largest for shape in own):
            return torch.from_numpy(np.stack([arrays[row] for row in rows])).to(device)
        first = arrays[rows[0]]
        out = np.zeros((len(rows), *first.shape[: first.ndim - len(largest)], *largest), dtype=first.dtype)
        for position, (row, shape) in enumerate(zip(rows, own, strict=True)):
            box: tuple[Any, ...] = tuple(slice(0, side) for side in shape)
            out[(position, ..., *box)] = arrays[row]
        return torch.from_numpy(out).to(device)

    label = None
    if labelled:
        assert domain.label is not None
        label = stacked(domain.label).unsqueeze(1)
    return Pool(
        image=stacked(domain.image),
        label=label,
        foreground=stacked(domain.foreground).unsqueeze(1),
        case=torch.from_numpy(case).to(device),
        sides=() if all(shape == largest for shape in sides) else tuple(sides),
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
        """Return the batch of a step: whole images."""
        index, positions = self.indices(step)
        label = self.source.label
        assert label is not None
        target = target_foreground = None
        if self.target is not None and positions is not None:
            target, target_foreground = self.target.images(positions), self.target.foreground[positions]
        return Batch(
            image=self.source.images(index),
            label=label[index].long(),
            foreground=self.source.foreground[index],
            target=target,
            target_foreground=target_foreground,
        )

    def indices(self, step: int) -> tuple[Tensor, Tensor | None]:
        """Return which images of the source, and of the target, a step sees."""
        target = None if self.target is None else self._indices("target-order", self.target, step)
        return self._indices("order", self.source, step), target

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
