"""From a case's files to the network's grid: intensities in [0, 1], label, foreground, and the way back.

Normalisation is the method's (``Method.prepare``), so that both protocols share prepared data.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ssdg.datasets.base import Case, DataError, Domain, Slices, Task

from ..settings import grid_shape
from ..spec import PreprocessConfig
from .geometry import Geometry, image_to_grid, isotropic, labels_to_grid, stretched
from .images import NativeImage, file_ndim, read_image
from .labels import border_is_background, read_label, read_mask

Scalar = TypeVar("Scalar", bound=np.generic)

PREPROCESS_VERSION = 1
"""Part of the prepared data's identity: raise it when a change here or in geometry.py changes results."""

BACKGROUND = 1e-3
"""Fraction of a volume's maximum up to which a voxel is background: some atlases have 1e-16 there instead of 0."""

HOT = 10
"""Multiple of the 99.9th percentile of the positive voxels that the maximum is cut at: a few hot voxels do not count.
Volumes of brains and hearts reach 1.1 to 2.5 times the percentile."""

NEGATIVE = 0.01
"""Largest part of a volume's absolute intensity, of means over 3x3x3 voxels, that may be negative and becomes 0.
Resampling by splines and sincs leaves at most 0.004 (atlases, cardiac MR); CT without the air around a body has 0.02,
z-scored MR 0.5. The means take out undershoot, which lies next to what is bright, and noise."""

SMALLEST_BOX = 0.01
"""Fraction of a volume that the box of an automatic foreground has to fill."""

LEAST_LEVELS = 8
"""Of 255: what 99.9 % of the pixels of a picture, or of a volume in the values of ``intensity``, have to span."""

BULK = (0.05, 99.95)
"""Percentiles that 99.9 % of the values lie between."""

PERCENTILE = 99.9
"""Of the brain's bounding box: the intensity that becomes 1."""


@dataclass(frozen=True, slots=True)
class PreparedCase:
    """A case on the network's grid."""

    image: NDArray[Any]  # (C, *S): uint8 of pictures, standing for [0, 255] / 255; float16 in [0, 1] of volumes
    label: NDArray[np.uint8] | None  # (*S) class indices
    foreground: NDArray[np.bool_]  # (*S): brain or field of view; padding is never foreground
    geometry: Geometry  # the way back
    spacing: tuple[float, ...]  # mm per native voxel; 1 in 2D
    slices: int | None = None  # of a volume that feeds a 2D network: all arrays have them as their first axis
    inverted: bool = False  # whether most of the image's border is labelled: are the label's values swapped?

    @property
    def empty(self) -> bool:
        """Whether there is a label, and it marks nothing."""
        return self.label is not None and not self.label.any()


def masks_by_label(domain: Domain, task: Task, config: PreprocessConfig) -> bool:
    """Tell whether this domain's brain masks come from its labels: an oracle, inherited from the parent code."""
    return file_ndim(task, domain) == 3 and not domain.skull_stripped and config.brain_mask == "label"


def prepare_case(
    case: Case, domain: Domain, task: Task, config: PreprocessConfig, *, with_label: bool = True
) -> PreparedCase:
    """Read a case and bring it to the network's grid.

    Without ``with_label`` no label is opened, except for the oracle brain mask. The automatic foreground of a volume
    is what is brighter than its background, in the values of the domain's ``intensity`` where it has one.

    Raises:
        DataError: a file that cannot be used.
        UsageError: a grid of the wrong dimension.
    """
    shape = grid_shape(task, config)
    image = read_image(case, domain, task)
    if image.affine is not None and domain.intensity is None:
        _require_positive(image.array, case)
    oracle = masks_by_label(domain, task, config) and case.foreground is None
    label = None
    if case.label is not None and (with_label or oracle):
        label = read_label(case, domain, image, config)
    inverted = label is not None and with_label and not border_is_background(label)
    mask = read_mask(case, domain, image)
    if image.affine is None:
        foreground = np.ones(image.shape, dtype=np.bool_) if mask is None else mask
        geometry = _geometry(image.shape, [slice(0, side) for side in image.shape], shape, image.spacing, config)
        inside = labels_to_grid(foreground, geometry)
        return PreparedCase(
            image=_picture_grid(image.array, inside, geometry, case),
            label=None if label is None or not with_label else labels_to_grid(label, geometry),
            foreground=inside,
            geometry=geometry,
            spacing=image.spacing,
            inverted=inverted,
        )
    if mask is None:
        mask = _label_mask(case, label) if oracle else _bright(case, image)
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    array = _unit_range(image.array if domain.skull_stripped else image.array * mask, mask, box, case, domain)
    label = label if with_label else None
    if domain.slices is not None:
        plane = [axis for axis in range(3) if axis != domain.slices.axis]
        geometry = _geometry(
            (image.shape[plane[0]], image.shape[plane[1]]),
            [box[axis] for axis in plane],
            shape,
            [image.spacing[axis] for axis in plane],
            config,
        )
        sliced = _sliced(array, label, mask, geometry, image.spacing, domain.slices)
        return replace(sliced, inverted=inverted)
    geometry = _geometry(image.shape, box, shape, image.spacing, config)
    return PreparedCase(
        image=_volume_grid(array, geometry),
        label=None if label is None else labels_to_grid(label, geometry),
        foreground=labels_to_grid(mask, geometry),
        geometry=geometry,
        spacing=image.spacing,
        inverted=inverted,
    )


def _sliced(
    array: NDArray[np.float32],
    label: NDArray[np.uint8] | None,
    foreground: NDArray[np.bool_],
    geometry: Geometry,
    spacing: tuple[float, ...],
    slices: Slices,
) -> PreparedCase:
    """Return the slices of a volume (C, X, Y, Z) in [0, 1] on the network's grid, all of them by one geometry."""
    channels, depth = len(array), foreground.shape[slices.axis]
    flat = np.moveaxis(array, 1 + slices.axis, 0).reshape(depth * channels, *geometry.native_shape)
    grid = _volume_grid(flat, geometry).reshape(depth, channels, *geometry.shape)
    offsets = np.arange(-slices.neighbours, slices.neighbours + 1)
    near = np.clip(np.arange(depth)[:, None] + offsets, 0, depth - 1)

    def planes(volume: NDArray[Scalar]) -> NDArray[Scalar]:
        return np.stack([labels_to_grid(plane, geometry) for plane in np.moveaxis(volume, slices.axis, 0)])

    return PreparedCase(
        image=grid[near].reshape(depth, -1, *geometry.shape),
        label=None if label is None else planes(label),
        foreground=planes(foreground),
        geometry=geometry,
        spacing=spacing,
        slices=depth,
    )


def _geometry(
    native: tuple[int, ...],
    box: Sequence[slice],
    shape: tuple[int, ...],
    spacing: Sequence[float],
    config: PreprocessConfig,
) -> Geometry:
    return stretched(native, box, shape) if config.grid == "stretch" else isotropic(native, box, shape, spacing)


def _label_mask(case: Case, label: NDArray[np.uint8] | None) -> NDArray[np.bool_]:
    if label is None:
        raise DataError(
            f"{case.image} has no label to take its brain mask from: give --set preprocess.brain_mask=nonzero"
        )
    if not label.any():
        raise DataError(f"{case.label} has no foreground to take the brain mask from: repair or replace the label")
    return np.asarray(label > 0)


def _bright(case: Case, image: NativeImage) -> NDArray[np.bool_]:
    """Return everything above the background of any channel, with its holes filled."""
    top = _tops(image.array)
    above = ((image.array > BACKGROUND * top) & (top > 0)).any(axis=0)
    foreground = np.asarray(ndimage.binary_fill_holes(above))
    sides = [side.stop - side.start for side in ndimage.find_objects(foreground.astype(np.uint8))[0]]
    if np.prod(sides) < SMALLEST_BOX * foreground.size:
        raise DataError(
            f"{case.image}: the voxels brighter than its background fill a box of {'x'.join(map(str, sides))}, less "
            f"than {SMALLEST_BOX:.0%} of the volume: a few outshine the rest; say what becomes 0 and 1, with "
            "intensity = { percentiles = [0.5, 99.5] }, or give the case a foreground mask"
        )
    return foreground


def _tops(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the largest value (C, 1, 1, 1) of each channel that is not of a hot voxel; at least 0."""
    tops = []
    for channel in array:
        positive = channel[channel > 0]
        # The lower neighbour of the percentile: between it and the maximum a single voxel would count again.
        high = HOT * np.percentile(positive, PERCENTILE, method="lower") if positive.size else 0
        tops.append(min(channel.max(), high))
    return np.array(tops, dtype=np.float32).reshape(-1, 1, 1, 1)


def _require_positive(array: NDArray[np.float32], case: Case) -> None:
    """Raise DataError if more of a volume's channel is negative than resampling and noise leave behind."""
    if array.min() >= 0:
        return
    for channel, top in zip(array, _tops(array).flat, strict=True):
        bounded = np.clip(channel, -top, top) if top > 0 else channel  # without the weight of hot voxels
        means = ndimage.uniform_filter(bounded, 3)
        if -means[means < 0].sum(dtype=np.float64) <= NEGATIVE * np.abs(means).sum(dtype=np.float64):
            continue
        raise DataError(
            f"{case.image} has values from {array.min():g} to {array.max():g}, and the negative ones "
            f"({np.count_nonzero(array < 0) / array.size:.1%} of the voxels) would all become 0: say what becomes 0 "
            "and 1, with intensity = { window = [-160, 240] } (CT in Hounsfield units) or intensity = "
            "{ percentiles = [0.5, 99.5] } (z-scored MR)"
        )


def _picture_grid(
    array: NDArray[np.float32], inside: NDArray[np.bool_], geometry: Geometry, case: Case
) -> NDArray[np.uint8]:
    grid = np.clip(np.rint(image_to_grid(array, geometry, order=1) * 255), 0, 255).astype(np.uint8)
    low, high = np.percentile(grid[:, inside], BULK, axis=1)
    if (high - low < LEAST_LEVELS).all():
        state = "is constant" if (low == high).all() else f"spans {(high - low).max() + 1:.0f} of 256 grey levels"
        raise DataError(
            f"{case.image} {state} on the network's grid {inside.shape}, within its foreground, at 8 bits and but "
            "for 0.1 % of its pixels: replace it, or stretch it with intensity = { percentiles = [0.5, 99.5] }"
        )
    return grid


def _unit_range(
    array: NDArray[np.float32], mask: NDArray[np.bool_], box: tuple[slice, ...], case: Case, domain: Domain
) -> NDArray[np.float32]:
    """Return intensities as [0, 1]: 0 to the 99.9th percentile of the brain's box.

    What the domain's ``intensity`` made [0, 1] stays as it is.
    """
    low, top, high = np.percentile(
        array[(slice(None), *box)], (BULK[0], PERCENTILE, BULK[1]), axis=(1, 2, 3), keepdims=True
    )
    if (top <= 0).any():
        raise DataError(f"{case.image} has fewer than 0.1 % positive voxels in its brain: it shows nothing")
    if domain.intensity is None:
        _require_bulk(array, mask, top, case)
    elif (high - low < LEAST_LEVELS / 255).any():
        raise DataError(
            f"{case.image}: by its domain's `intensity` 99.9 % of a channel are {low.flat[0]:.4g} to "
            f"{high.flat[0]:.4g} of 0 to 1: give a narrower window, or intensity = {{ percentiles = [0.5, 99.5] }}"
        )
    else:
        top = np.ones_like(top)
    # Departure: the parent code neither clips nor scales (it z-scores, which undoes a scale); the cut at the 99.9th
    # percentile and at the spline's overshoot bounds the range for methods that work on [0, 1] and float16.
    return np.asarray(np.clip(array / top.astype(np.float32), 0, 1))


def _require_bulk(array: NDArray[np.float32], mask: NDArray[np.bool_], top: NDArray[np.float64], case: Case) -> None:
    """Raise DataError if half of a channel's positive voxels are nothing beside what becomes 1."""
    for number, (channel, high) in enumerate(zip(array, top.flat, strict=True)):
        inside = channel[mask & (channel > 0)]
        if inside.size and np.median(inside) <= BACKGROUND * high:
            raise DataError(
                f"{case.image}: in channel {number} half of the positive voxels are at most {np.median(inside):g}, "
                f"and {high:g} would become 1: a few outshine the rest; say what becomes 0 and 1, with "
                "intensity = { percentiles = [0.5, 99.5] }"
            )


def _volume_grid(array: NDArray[np.float32], geometry: Geometry) -> NDArray[np.float16]:
    # Departure: the parent code shrinks without a low-pass filter; at its own grid the filter does next to nothing.
    return np.clip(image_to_grid(array, geometry, order=3), 0, 1).astype(np.float16)
