"""From a case's files to the network's grid: intensities in [0, 1], label, foreground, and the way back.

Normalisation is the method's (``Method.prepare``), so that both protocols share prepared data.
"""

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ssdg.datasets.base import Case, DataError, Domain, Slices, Task

from ..settings import fixed_grid
from ..spec import PreprocessConfig
from .geometry import Geometry, image_to_grid, labels_to_grid
from .grids import box_geometry, picture_geometry
from .images import file_ndim, read_image
from .labels import border_is_background, read_label, read_mask
from .volume_intensity import BULK, LEAST_LEVELS, bright, require_positive, scaled_to_bulk

Scalar = TypeVar("Scalar", bound=np.generic)

PREPROCESS_VERSION = 1
"""Part of the prepared data's identity: raise it when a change here or in geometry.py changes results."""


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
        """Whether the case has a label that marks nothing."""
        return self.label is not None and not self.label.any()


def masks_by_label(domain: Domain, task: Task, config: PreprocessConfig) -> bool:
    """Tell whether this domain's brain masks come from its labels: an oracle, inherited from the parent code."""
    return file_ndim(task, domain) == 3 and not domain.skull_stripped and config.brain_mask == "label"


def full_scale(dtype: np.dtype[Any]) -> int:
    """Return which value of a prepared image is 1.0, by the type that it is stored in."""
    return 255 if dtype == np.uint8 else 1


def prepare_case(
    case: Case, domain: Domain, task: Task, config: PreprocessConfig, *, with_label: bool = True
) -> PreparedCase:
    """Read a case and bring it to the network's grid.

    Without ``with_label`` no label is opened, except for the oracle brain mask. The automatic foreground of a volume
    is what is brighter than its background, in the values of the domain's ``intensity`` where it has one.

    Raises:
        DataError: a file that cannot be used.
        UsageError: a grid of the wrong dimension, or a scale that the task does not have.
    """
    fixed_grid(task, config)  # settings that do not fit are refused before a file is read
    image = read_image(case, domain, task)
    if image.affine is not None and domain.intensity is None:
        require_positive(image.array, case)
    oracle = masks_by_label(domain, task, config) and case.foreground is None
    label = None
    if case.label is not None and (with_label or oracle):
        label = read_label(case, domain, image, config)
    mask = read_mask(case, domain, image)
    grid: NDArray[Any]
    if image.affine is None:
        geometry = picture_geometry(case, domain, image.shape, mask, task, config)
        foreground = labels_to_grid(np.ones(image.shape, dtype=np.bool_) if mask is None else mask, geometry)
        grid = _picture_grid(image.array, foreground, geometry, case)
    else:
        if mask is None:
            mask = _label_mask(case, label) if oracle else bright(case, image)
        box = ndimage.find_objects(mask.astype(np.uint8))[0]
        array = scaled_to_bulk(image.array if domain.skull_stripped else image.array * mask, mask, box, case, domain)
        axes = [axis for axis in range(3) if domain.slices is None or axis != domain.slices.axis]
        native = tuple(image.shape[axis] for axis in axes)
        geometry = box_geometry(native, [box[a] for a in axes], [image.spacing[a] for a in axes], task, config)
        foreground = _on_grid(mask, geometry, domain.slices)
        grid = _volume_grid(array, geometry, domain.slices)
    return PreparedCase(
        image=grid,
        label=_on_grid(label, geometry, domain.slices) if label is not None and with_label else None,
        foreground=foreground,
        geometry=geometry,
        spacing=image.spacing,
        slices=None if domain.slices is None else len(foreground),
        inverted=label is not None and with_label and not border_is_background(label),
    )


def _on_grid(array: NDArray[Scalar], geometry: Geometry, slices: Slices | None) -> NDArray[Scalar]:
    """Resample labels or a mask (*S) to the network's grid, as planes (depth, *S) of a volume that is sliced."""
    if slices is None:
        return labels_to_grid(array, geometry)
    return np.stack([labels_to_grid(plane, geometry) for plane in np.moveaxis(array, slices.axis, 0)])


def _label_mask(case: Case, label: NDArray[np.uint8] | None) -> NDArray[np.bool_]:
    if label is None:
        raise DataError(
            f"{case.image} has no label to take its brain mask from: give --set preprocess.brain_mask=nonzero"
        )
    if not label.any():
        raise DataError(f"{case.label} has no foreground to take the brain mask from: repair or replace the label")
    return np.asarray(label > 0)


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


def _volume_grid(array: NDArray[np.float32], geometry: Geometry, slices: Slices | None) -> NDArray[np.float16]:
    """Return a volume (C, X, Y, Z) in [0, 1] on the network's grid, or its slices, all of them by one geometry."""
    if slices is not None:
        depth = array.shape[1 + slices.axis]
        array = np.moveaxis(array, 1 + slices.axis, 0).reshape(-1, *geometry.native_shape)
    # Departure: the parent code shrinks without a low-pass filter; at its own grid the filter does next to nothing.
    grid = np.clip(image_to_grid(array, geometry, order=3), 0, 1).astype(np.float16)
    if slices is None:
        return grid
    near = np.clip(np.arange(depth)[:, None] + np.arange(-slices.neighbours, slices.neighbours + 1), 0, depth - 1)
    return np.asarray(grid.reshape(depth, -1, *geometry.shape)[near].reshape(depth, -1, *geometry.shape))
