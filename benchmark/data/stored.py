"""What a file stores, before any preparation: its type, and its samples."""

import gzip
import io
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile

from ssdg.datasets.base import DataError
from ssdg.datasets.discovery import VOLUMES

from .decode import PICTURE, VOLUME, picture_values, reading


def stored_type(path: Path) -> str:
    """Return bit depth and kind of a picture, or data type of a volume, from its header.

    Raises:
        DataError: a file that cannot be read.
    """
    if path.name.lower().endswith(VOLUMES):
        with reading(path, VOLUME):
            return str(nib.load(path).get_data_dtype())
    with reading(path, PICTURE), _opened(path) as file:
        arguments = file.tile[0][3] if file.tile else ""
        layout = arguments if isinstance(arguments, str) else str(arguments[0]) if arguments else ""
        mode = layout or file.mode
        bits = 16 if ";16" in mode else 1 if mode.startswith("1") else 32 if file.mode in ("I", "F") else 8
        kinds = {"P": "palette", "RGB": "RGB", "RGBA": "RGBA", "F": "float"}
        return f"{bits}-bit {kinds.get(file.mode, 'grey')}"


def stored_samples(path: Path) -> tuple[NDArray[Any], tuple[float, ...]]:
    """Return the samples (*S, C) of an image on disk, a volume's in RAS order and scaled, and its spacing (mm).

    Raises:
        DataError: a file that cannot be read.
    """
    if path.name.lower().endswith(VOLUMES):
        with reading(path, VOLUME):
            file = nib.as_closest_canonical(nib.load(path, mmap=False))
            array = np.asanyarray(file.dataobj)
            spacing = tuple(float(size) for size in file.header.get_zooms()[:3])
        while array.ndim > 3 and array.shape[-1] == 1:
            array = array[..., 0]
        return array if array.ndim == 4 else array[..., None], spacing
    with reading(path, PICTURE), _opened(path) as file:
        coloured = file.mode in ("P", "CMYK", "YCbCr", "RGBA", "LA")
        array = np.asarray(file.convert("RGB") if coloured else file)
    return np.atleast_3d(array), (1.0, 1.0)


def stored_label(path: Path) -> NDArray[Any]:
    """Return the values (*S) of a label on disk.

    Raises:
        DataError: a file that cannot be read, in colour, or of several channels.
    """
    packed = path.suffix.lower() == ".gz"
    if not packed and not path.name.lower().endswith(VOLUMES):
        return picture_values(path)[0]
    samples = stored_samples(path)[0]
    if (samples != samples[..., :1]).any():
        raise DataError(f"{path} has several channels that differ; a label is one value a voxel: convert it")
    return np.asarray(samples[..., 0])


def _opened(path: Path) -> ImageFile:
    packed = path.suffix.lower() == ".gz"
    return Image.open(io.BytesIO(gzip.decompress(path.read_bytes())) if packed else path)
