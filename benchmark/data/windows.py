"""Random windows of prepared images, drawn and cut on the device, with the statistics for their normalisation."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ssdg.methods.base import Batch, Frame
from ssdg.methods.transforms.affine import AffineRange, draw_affine, reach
from ssdg.methods.transforms.resampling import resample, resample_label

from .loader import Batches, Pool, Shape, unit_range

SMALL = 0.05
"""Share of the foreground below which a class is small, so that random windows too seldom show it.
Retinal vessels have 0.1, an optic disc 0.03, the parts of a heart 0.01 to 0.03."""

LABELLED = 1 / 3
"""Share of the windows centred on a labelled voxel where a class is small. Source: nnU-Net's foreground sampling."""

Statistics = Callable[[Tensor, Tensor], Tensor]
"""(images, foregrounds) -> statistics: the type of ``Method.statistics``."""


class Windows(NamedTuple):
    """Shape and law of the windows drawn of each image of a batch."""

    shape: Shape
    per_image: int = 1
    labelled: float = 0.0  # share centred on a labelled voxel
    margin: int = 0  # voxels around each window

    def described(self) -> str:
        """Return a description in words."""
        margin = f", with a margin of {self.margin}" if self.margin else ""
        centres = f"{self.labelled:.0%} centred on a labelled voxel" if self.labelled else "centred on the foreground"
        return f"windows of {'x'.join(map(str, self.shape))}{margin}, {centres}"


class Cut(NamedTuple):
    """Windows (B, ...) with their margin."""

    image: Tensor
    label: Tensor | None
    foreground: Tensor
    frame: Frame


def labelled_share(images: Pool, share: float | None) -> float:
    """Return the share of windows centred on labelled voxels: as set, or by whether a class is small."""
    if share is not None or images.label is None:
        return share or 0.0
    counts = torch.bincount(images.label[images.foreground].flatten()).tolist()[1:]
    voxels = int(images.foreground.sum())
    return LABELLED if any(0 < count < SMALL * voxels for count in counts) else 0.0


@dataclass(frozen=True, slots=True)
class Centres:
    """Voxels that windows may be centred on, of every image: row 0 its foreground, the others its classes."""

    voxels: Tensor  # int32, flat indices into the image's grid; rows one after another
    start: Tensor  # (N, rows) int64: where a row begins
    count: Tensor  # (N, rows) int64
    present: Tensor  # (N,) int64: classes that an image has; they are the rows behind row 0

    @classmethod
    def of(cls, images: Pool) -> "Centres":
        """List the voxels of a pool; an image without foreground may be centred anywhere."""
        classes = 1 if images.label is None else int(images.label.max()) + 1
        rows: list[np.ndarray] = []
        present = []
        for part in images.chunks(1):
            inside = np.flatnonzero(part.foreground.cpu().numpy())
            own = [inside if len(inside) else np.arange(part.foreground.numel())]
            if part.label is not None:
                label = part.label.cpu().numpy()
                own += [at for value in range(1, classes) if len(at := np.flatnonzero(label == value))]
            present.append(len(own) - 1)
            rows += [*own, *[own[0][:0]] * (classes - len(own))]
        count = torch.tensor([len(row) for row in rows]).view(-1, classes)
        start = (count.flatten().cumsum(0) - count.flatten()).view_as(count)
        voxels = torch.from_numpy(np.concatenate(rows).astype(np.int32))
        return cls(*(part.to(images.image.device) for part in (voxels, start, count, torch.tensor(present))))

    def draw(self, index: Tensor, labelled: float, rng: torch.Generator) -> Tensor:
        """Return one flat voxel index for each image: of a class, each as likely, in that share of the draws."""
        uniform = torch.rand((3, len(index)), generator=rng, device=rng.device, dtype=torch.float64)
        present = self.present[index]
        row = torch.where((uniform[0] < labelled) & (present > 0), 1 + (uniform[1] * present).long(), 0)
        position = (uniform[2] * self.count[index, row]).long()
        return self.voxels[self.start[index, row] + position].long()


class Sampler:
    """Draws windows of the images of a pool.

    Args:
        images: the pool; no grid is smaller than the window.
        windows: shape and law.
        statistics: of the method.
    """

    def __init__(self, images: Pool, windows: Windows, statistics: Statistics) -> None:
        self.images, self.windows, self.statistics = images, windows, statistics
        self.centres = Centres.of(images)
        self.sides = torch.tensor(images.shapes, device=images.image.device)
        self.starts = torch.tensor(images.starts, device=images.image.device)
        with torch.no_grad():
            parts = [statistics(unit_range(part.image), part.foreground) for part in images.chunks(1)]
        self.whole = torch.cat(parts)

    def draw(self, index: Tensor, affine: AffineRange | None, place: torch.Generator, move: torch.Generator) -> Cut:
        """Return the windows of some images, which lie side by side; each within its image.

        Args:
            index: of the images, on their device.
            affine: maps that the windows are read through, in one resampling; None reads the voxels themselves.
            place: draws where the windows lie.
            move: draws the maps.
        """
        shape, per_image, labelled, margin = self.windows
        index = index.repeat_interleave(per_image)
        voxel = self.centres.draw(index, labelled, place)
        starts: list[Tensor] = []
        for side, length in zip(reversed(self.sides[index].unbind(1)), reversed(shape), strict=True):
            corner = torch.minimum((voxel % side - length // 2).clamp_(min=0), side - length)
            starts.insert(0, corner - margin)
            voxel = torch.div(voxel, side, rounding_mode="floor")
        outer = tuple(side + 2 * margin for side in shape)
        image, label, foreground = self._cut(index, starts, outer, affine, move)
        return Cut(image, label, foreground, Frame(self.whole[index], self.statistics(image, foreground)))

    def _cut(
        self, index: Tensor, starts: list[Tensor], shape: Shape, affine: AffineRange | None, rng: torch.Generator
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        if affine is None:
            image, label, foreground = self._read(index, starts, shape, "border")
            return unit_range(image), None if label is None else label.long(), foreground
        box = reach(affine, shape)
        around = [start - (outer - side) // 2 for start, outer, side in zip(starts, box, shape, strict=True)]
        # Outside an image there is nothing, as around whole images that are moved. Filters, which ask for a margin,
        # see the border go on there, as in prediction: an edge around the image would be in training alone.
        image, label, foreground = self._read(index, around, box, "border" if self.windows.margin else "zeros")
        assert label is not None
        theta = draw_affine(affine, torch.Size((len(index), 1, *shape)), rng)
        # From units of half a window to units of half the box around it; rows are in (x, y[, z]) order.
        ratio = [side / outer for side, outer in zip(shape[::-1], box[::-1], strict=True)]
        theta = torch.stack([row * scale for row, scale in zip(theta.unbind(1), ratio, strict=True)], dim=1)
        grid = F.affine_grid(theta, [len(theta), 1, *shape], align_corners=False)
        moved = resample(unit_range(image), grid, "bilinear").clamp_(0, 1)
        label, foreground = resample_label(label, foreground, grid)
        return moved, label.long(), foreground

    def _read(
        self, index: Tensor, starts: list[Tensor], shape: Shape, outside: Literal["border", "zeros"]
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Gather boxes from the stored images; outside an image its border goes on, or there are zeros."""
        ndim, device, sides = len(shape), index.device, self.sides[index].unbind(1)
        inside = torch.ones((1,) * (2 + ndim), dtype=torch.bool, device=device)
        places = []
        for axis, (start, side, length) in enumerate(zip(starts, sides, shape, strict=True)):
            position = start[:, None] + torch.arange(length, device=device)
            nearest = torch.minimum(position.clamp(min=0), side[:, None] - 1)
            across = (-1, *[1] * (axis + 1), length, *[1] * (ndim - 1 - axis))
            places.append(nearest.view(across))
            inside = inside & (position == nearest).view(across)

        *outer, along = places

        def gather(maps: Tensor) -> Tensor:
            # Whole lines, then their columns: nine times as fast as voxel by voxel in 2D on the CPU, same values.
            channels = maps.numel() // self.images.foreground.numel()
            line = torch.arange(channels, device=device).view(1, -1, *[1] * ndim)
            for place, side in zip(outer, sides, strict=False):
                line = line * side.view(-1, *[1] * (1 + ndim)) + place
            line = line + (self.starts[index] * channels).view(-1, *[1] * (1 + ndim))
            lines = maps.flatten(0, -2).index_select(0, line.flatten()).view(*line.shape[:-1], -1)
            boxes = lines.gather(-1, along.expand(*line.shape[:-1], -1))
            return boxes if outside == "border" else boxes * inside

        images = self.images
        label = None if images.label is None else gather(images.label)
        return gather(images.image), label, gather(images.foreground)


class WindowBatches:
    """The windows of any step of a stream of batches.

    Args:
        batches: which images each step sees.
        windows: shape and law.
        statistics: of the method.
    """

    def __init__(self, batches: Batches, windows: Windows, statistics: Statistics) -> None:
        self.batches, self.shape, self.margin = batches, windows.shape, windows.margin
        self.source = Sampler(batches.source, windows, statistics)
        self.target = None
        if batches.target is not None:
            self.target = Sampler(batches.target, windows, statistics)

    def at(self, step: int, affine: AffineRange | None, place: torch.Generator, move: torch.Generator) -> Batch:
        """Return the batch of a step; the maps are for the source alone."""
        index, positions = self.batches.indices(step)
        source = self.source.draw(index, affine, place, move)
        assert source.label is not None
        batch = Batch(source.image, source.label, source.foreground, frame=source.frame, margin=self.margin)
        if self.target is None or positions is None:
            return batch
        target = self.target.draw(positions, None, place, move)
        return replace(batch, target=target.image, target_foreground=target.foreground, target_frame=target.frame)
