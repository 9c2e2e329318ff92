"""A prepared case as one picture: beside the image the label in its colours and the foreground's outline in white."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from ssdg.datasets.base import Task

from ..data.preprocess import PreparedCase, full_scale
from .case_view import RGB, class_colours, painted
from .style import SKY

SIDE = 384
"""Pixels of a tile's longer side."""

OPACITY = 0.5
"""Of a label over its image."""

GAP = 4
"""White pixels between tiles."""


def case_sheet(case: PreparedCase, task: Task) -> RGB:
    """Return the image and, beside it, label and foreground over it; of a volume three planes below each other.

    The planes go through the middle of the labelled box, or of the foreground where nothing is labelled. Of slices
    the one with most of the label is shown.
    """
    colours = class_colours(task)
    if len(colours) == 1:
        colours = dict.fromkeys(colours, SKY)  # black, as on paper, would not be seen
    rows = []
    for image, label, foreground in _planes(case):
        over = image.copy()
        if label is not None and label.any():
            blend = (1 - OPACITY) * image + OPACITY * painted(label, colours)
            over = np.where(label[..., None] > 0, blend, image).astype(np.uint8)
        over[foreground & ~ndimage.binary_erosion(foreground)] = 255
        tiles = [_sized(image), _sized(over)]
        rows.append(np.hstack([tiles[0], np.full((len(tiles[0]), GAP, 3), 255, np.uint8), tiles[1]]))
    wide = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, GAP), (0, wide - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    return np.vstack(padded)[:-GAP]


def _planes(case: PreparedCase) -> Iterator[tuple[RGB, NDArray[np.uint8] | None, NDArray[np.bool_]]]:
    sliced = case.slices is not None
    if sliced:
        case = fullest_slice(case)
    scale = 255 // full_scale(case.image.dtype)
    shown = len(case.image) // 2 if sliced else 0  # neighbours are no colours
    channels = case.image if len(case.image) == 3 and not sliced else case.image[shown : shown + 1]
    pixels = np.rint(np.moveaxis(channels, 0, -1) * np.float32(scale)).astype(np.uint8)
    pixels = np.broadcast_to(pixels, (*pixels.shape[:-1], 3))
    if case.foreground.ndim == 2:
        yield pixels, case.label, case.foreground
        return
    labelled = case.foreground if case.label is None or not case.label.any() else case.label > 0
    boxes = ndimage.find_objects(labelled.astype(np.uint8))
    box = boxes[0] if boxes else tuple(slice(0, side) for side in labelled.shape)
    for axis, side in enumerate(box):
        plane: Any = (*[slice(None)] * axis, (side.start + side.stop) // 2)
        arrays = (
            array if array is None else np.rot90(array[plane]) for array in (pixels, case.label, case.foreground)
        )
        yield tuple(arrays)  # type: ignore[misc]


def fullest_slice(case: PreparedCase) -> PreparedCase:
    """Return the slice with most of the label or, without one, of the foreground."""
    labelled = case.foreground if case.label is None or not case.label.any() else case.label > 0
    index = int(labelled.sum(axis=(1, 2)).argmax())
    return replace(
        case,
        image=case.image[index],
        label=None if case.label is None else case.label[index],
        foreground=case.foreground[index],
        slices=None,
    )


def _sized(tile: RGB) -> RGB:
    height, width = tile.shape[:2]
    factor = SIDE / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    method = Image.Resampling.BOX if factor < 1 else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(np.ascontiguousarray(tile)).resize(size, method))
