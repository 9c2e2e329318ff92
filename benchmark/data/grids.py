"""The box of a case that becomes the network's grid, and the voxels of that grid."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ssdg.datasets.base import Case, DataError, Domain, Task

from ..settings import FOV_DEGREES, camera_degrees, grid_shape
from ..spec import PreprocessConfig
from .geometry import Geometry, isotropic, spaced, stretched


def box_geometry(
    native: tuple[int, ...], box: Sequence[slice], spacing: Sequence[float], task: Task, config: PreprocessConfig
) -> Geometry:
    """Return the geometry of a box within an image (*native), with voxels of ``spacing`` mm, by the settings."""
    if config.spacing is not None:
        return spaced(native, box, spacing, config.spacing)
    grid = grid_shape(task, config)
    return stretched(native, box, grid) if config.grid == "stretch" else isotropic(native, box, grid, spacing)


def picture_geometry(
    case: Case,
    domain: Domain,
    native: tuple[int, ...],
    mask: NDArray[np.bool_] | None,
    task: Task,
    config: PreprocessConfig,
) -> Geometry:
    """Return the geometry of a whole picture, or of the square of ``FOV_DEGREES`` degrees about its field of view.

    Raises:
        DataError: ``preprocess.scale=fov`` without a mask (*native) of the field of view.
    """
    box = [slice(0, side) for side in native]
    if config.scale == "fov":
        if mask is None:
            rule = f"no part of {case.image} is brighter than foregrounds = {{ threshold = {domain.field_of_view} }}"
            absent = f"{case.image} has no mask: give its domain foregrounds, a pattern or {{ threshold = 0.1 }}"
            raise DataError(
                f"{absent if domain.field_of_view is None else rule}; preprocess.scale=fov measures the field of view"
            )
        sides = ndimage.find_objects(mask.astype(np.uint8))[0]
        wide = max(1, round(max(side.stop - side.start for side in sides) * FOV_DEGREES / camera_degrees(domain)))
        starts = [side.start - (wide - (side.stop - side.start)) // 2 for side in sides]
        box = [slice(start, start + wide) for start in starts]
    return box_geometry(native, box, (1.0,) * len(native), task, config)


def scale_note(domain: Domain, config: PreprocessConfig) -> str:
    """Return what ``preprocess.scale`` makes of a domain; empty for its default."""
    stated = f"{FOV_DEGREES:g}, as none are stated" if domain.degrees is None else f"{domain.degrees:g}"
    return f"scale=fov: the grid spans {FOV_DEGREES:g} degrees, the camera {stated}" if config.scale == "fov" else ""
