"""Content of a file before any preparation: type and samples."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from numpy.typing import NDArray

from ssdg.datasets.base import DataError
from ssdg.datasets.discovery import VOLUMES

from .decode import VOLUME, reading, require_finite
from .picture_files import picture_type, stored_picture
from .pictures import picture_values


def stored_type(path: Path) -> str:
    """Return bit depth and kind of a picture, or data type of a volume, from its header.

    Raises:
        DataError: a file that cannot be read.
    """
    if path.name.lower().endswith(VOLUMES):
        with reading(path, VOLUME):
            return str(nib.load(path).get_data_dtype())
    return picture_type(path)


def stored_samples(path: Path) -> tuple[NDArray[Any], tuple[float, ...]]:
    """Return the samples (*S, C) of an image on disk, a volume's in RAS order and scaled, and its spacing (mm).

    Raises:
        DataError: a file that cannot be read.
    """
    if path.name.lower().endswith(VOLUMES):
        with reading(path, VOLUME):
            file = nib.as_closest_canonical(nib.load(path, mmap=False))
            array = np.asanyarray(file.dataobj)
            spacing = tuple(float(size) for size in voxel_sizes(file.affine))  # pixdim may not be in use
        while array.ndim > 3 and array.shape[-1] == 1:
            array = array[..., 0]
        return array if array.ndim == 4 else array[..., None], spacing
    picture = stored_picture(path)
    if picture.palette is not None:
        return picture.palette[picture.samples[..., 0]], (1.0, 1.0)
    return picture.samples, (1.0, 1.0)


def stored_label(path: Path) -> NDArray[Any]:
    """Return the values (*S) of a label on disk.

    Raises:
        DataError: a file that cannot be read, in colour, or of several channels.
    """
    if not path.name.lower().endswith(VOLUMES):
        return picture_values(path)[0]
    samples = stored_samples(path)[0]
    require_finite(samples, path)
    if (samples != samples[..., :1]).any():
        raise DataError(f"{path} has several channels that differ; a label is one value a voxel: convert it")
    return np.asarray(samples[..., 0])
