"""From a case's files to the network's grid: intensities in [0, 1], label, foreground, and the way back.

Normalisation is the method's (``Method.prepare``), so that both protocols share prepared data.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ssdg.datasets.base import Case, DataError, Domain, Task

from ..settings import grid_shape
from ..spec import PreprocessConfig
from .geometry import Geometry, image_to_grid, isotropic, labels_to_grid, stretched
from .images import NativeImage, read_image, read_label, read_mask

PREPROCESS_VERSION = 1
"""Part of the prepared data's identity: raise it when a change here or in geometry.py changes results."""

BACKGROUND = 1e-3
"""Fraction of a volume's maximum up to which a voxel is background: some atlases have 1e-16 there instead of 0."""

PERCENTILE = 99.9
"""Of the brain's bounding box: the intensity that becomes 1."""


@dataclass(frozen=True, slots=True)
class PreparedCase:
    """A case on the network's grid."""

    image: NDArray[Any]  # (C, *S): uint8 in 2D, standing for [0, 255] / 255; float16 in [0, 1] in 3D
    label: NDArray[np.uint8] | None  # (*S) class indices
    foreground: NDArray[np.bool_]  # (*S): brain or field of view; padding is never foreground
    geometry: Geometry  # the way back
    spacing: tuple[float, ...]  # mm per native voxel; 1 in 2D


def label_map_of(domain: Domain, config: PreprocessConfig) -> Mapping[int, int]:
    """Return a domain's label map: the variant for ``preprocess.corpus_callosum`` where it has one."""
    return domain.label_variants.get(config.corpus_callosum, domain.label_map)


def masks_by_label(domain: Domain, task: Task, config: PreprocessConfig) -> bool:
    """Tell whether this domain's brain masks come from its labels: an oracle, inherited from the parent code."""
    return task.ndim == 3 and not domain.skull_stripped and config.brain_mask == "label"


def prepare_case(
    case: Case, domain: Domain, task: Task, config: PreprocessConfig, *, with_label: bool = True
) -> PreparedCase:
    """Read a case and bring it to the network's grid.

    Without ``with_label`` no label is opened, except for the oracle brain mask.

    Raises:
        DataError: a file that cannot be used.
        UsageError: a grid of the wrong dimension.
    """
    shape = grid_shape(task, config)
    image = read_image(case.image, task.ndim, task.channels)
    oracle = masks_by_label(domain, task, config) and case.foreground is None
    label = None
    if case.label is not None and (with_label or oracle):
        label = read_label(case.label, label_map_of(domain, config), image)
    if task.ndim == 2:
        mask = case.foreground
        foreground = np.ones(image.shape, dtype=np.bool_) if mask is None else read_mask(mask, image)
        box: tuple[slice, ...] = tuple(slice(0, side) for side in image.shape)
    else:
        foreground = _label_mask(case, label) if oracle else _brain(case, image)
        box = ndimage.find_objects(foreground.astype(np.uint8))[0]
    if config.grid == "stretch":
        geometry = stretched(image.shape, box, shape)
    else:
        geometry = isotropic(image.shape, box, shape, image.spacing)
    array = image.array
    if task.ndim == 3 and not domain.skull_stripped:
        array = array * foreground
    inside = labels_to_grid(foreground, geometry)
    return PreparedCase(
        image=_picture_grid(array, inside, geometry, case)
        if task.ndim == 2
        else _volume_grid(array, box, geometry, case),
        label=None if label is None or not with_label else labels_to_grid(label, geometry),
        foreground=inside,
        geometry=geometry,
        spacing=image.spacing,
    )


def _label_mask(case: Case, label: NDArray[np.uint8] | None) -> NDArray[np.bool_]:
    if label is None:
        raise DataError(
            f"{case.image} has no label to take its brain mask from: give --set preprocess.brain_mask=nonzero"
        )
    if not label.any():
        raise DataError(f"{case.label} has no foreground to take the brain mask from: repair or replace the label")
    return np.asarray(label > 0)


def _brain(case: Case, image: NativeImage) -> NDArray[np.bool_]:
    """Return the case's own brain mask, or everything above the background with its holes filled."""
    if case.foreground is not None:
        return read_mask(case.foreground, image)
    top = image.array.max(axis=(1, 2, 3), keepdims=True)
    above = ((image.array > BACKGROUND * top) & (top > 0)).any(axis=0)
    if not above.any():
        raise DataError(f"{case.image} has no positive voxel: intensities of a volume are expected to be at least 0")
    return np.asarray(ndimage.binary_fill_holes(above))


def _picture_grid(
    array: NDArray[np.float32], inside: NDArray[np.bool_], geometry: Geometry, case: Case
) -> NDArray[np.uint8]:
    grid = np.clip(np.rint(image_to_grid(array, geometry, order=1) * 255), 0, 255).astype(np.uint8)
    shown = grid[:, inside]
    if (shown == shown[:, :1]).all():
        raise DataError(
            f"{case.image} is constant on the network's grid {inside.shape}, within its foreground and at 8 bits: "
            "it shows nothing; replace it, or stretch it with intensity = { percentiles = [0.5, 99.5] }"
        )
    return grid


def _volume_grid(
    array: NDArray[np.float32], box: tuple[slice, ...], geometry: Geometry, case: Case
) -> NDArray[np.float16]:
    """Return intensities from 0 to the 99.9th percentile of the brain's box as [0, 1] on the network's grid."""
    top = np.percentile(array[(slice(None), *box)], PERCENTILE, axis=(1, 2, 3), keepdims=True)
    if (top <= 0).any():
        raise DataError(f"{case.image} has fewer than 0.1 % positive voxels in its brain: it shows nothing")
    # Departure: the parent code neither clips nor scales (it z-scores, which undoes a scale); the cut at the 99.9th
    # percentile and at the spline's overshoot bounds the range for methods that work on [0, 1] and float16.
    scaled: NDArray[np.float32] = np.clip(array / top.astype(np.float32), 0, 1)
    # Departure: the parent code shrinks without a low-pass filter; at its own grid the filter does next to nothing.
    return np.clip(image_to_grid(scaled, geometry, order=3), 0, 1).astype(np.float16)
