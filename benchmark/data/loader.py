"""Prepared images on the run's device in their stored type, and the stream of float32 batches drawn from them.

An image is a whole case, or one slice of a volume that feeds a network of two dimensions.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, groupby
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
    """Images of some cases of a domain as device-resident tensors.

    Where grids differ, the tensors are (lines, L): the lines along the last axis of every channel of every image one
    after another, filled up with zeros to the longest. All of a grid filled up would be many times the data.
    """

    image: Tensor  # (N, C, *S) uint8 or float16
    label: Tensor | None  # (N, 1, *S) uint8
    foreground: Tensor  # (N, 1, *S) bool
    case: Tensor  # (N,) int64: position of each image's case among the cases
    sides: tuple[Shape, ...] = ()  # of each image's own grid, where they differ

    def __len__(self) -> int:
        return len(self.case)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The grid of each image."""
        return self.sides or (tuple(self.image.shape[2:]),) * len(self)

    @property
    def starts(self) -> list[int]:
        """The first line of each image's foreground."""
        lines = [math.prod(shape[:-1]) for shape in self.shapes]
        return [0, *accumulate(lines[:-1])]

    def images(self, index: Tensor) -> Tensor:
        """Return images (B, C, *S) float32 in [0, 1], of a pool of one grid."""
        return unit_range(self.image[index])

    def chunks(self, size: int) -> Iterator["Pool"]:
        """Yield all images in their order, up to ``size`` of one grid at a time, without what fills them up."""
        starts = self.starts
        for shape, group in groupby(range(len(self)), key=self.shapes.__getitem__):
            rows = list(group)
            for start in range(rows[0], rows[-1] + 1, size):
                part = slice(start, min(start + size, rows[-1] + 1))
                own = partial(self._part, first=starts[start], part=part, shape=shape)
                label = None if self.label is None else own(self.label)
                yield Pool(own(self.image), label, own(self.foreground), self.case[part])

    def _part(self, maps: Tensor, first: int, part: slice, shape: Shape) -> Tensor:
        """Return the maps (B, C, *S) of successive images of one grid, whose foregrounds begin at a line."""
        if not self.sides:
            return maps[part]
        channels, count = maps.numel() // self.foreground.numel(), part.stop - part.start
        lines = maps.narrow(0, first * channels, count * channels * math.prod(shape[:-1]))
        return lines.view(count, channels, *shape[:-1], -1)[..., : shape[-1]]


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
    is_ragged, longest = len(set(sides)) > 1, max(side[-1] for side in sides)
    lines = sum(math.prod(side[:-1]) for side in sides)

    def stacked(arrays: Any) -> Tensor:
        first = arrays[rows[0]]
        leading = first.shape[: first.ndim - len(sides[0])]
        out = np.zeros((lines * math.prod(leading), longest), dtype=first.dtype)
        start = 0
        for row, shape, side in zip(rows, own, sides, strict=True):
            stop = start + math.prod(leading) * math.prod(side[:-1])
            maps = out[start:stop].reshape(*leading, *side[:-1], longest)
            box: tuple[Any, ...] = tuple(slice(0, length) for length in shape)
            maps[(..., *box)] = arrays[row]
            start = stop
        stored = torch.from_numpy(out).to(device)
        return stored if is_ragged else stored.view(len(rows), -1, *sides[0])

    return Pool(
        image=stacked(domain.image),
        label=stacked(domain.label) if labelled else None,
        foreground=stacked(domain.foreground),
        case=torch.from_numpy(case).to(device),
        sides=tuple(sides) if is_ragged else (),
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
