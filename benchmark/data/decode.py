"""Decoding files into plain arrays; every failure is a DataError that names the file."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ssdg.datasets.base import DataError, Intensity

PICTURE = "a PNG, TIFF, GIF or JPEG image"
VOLUME = "a NIfTI volume"


@contextlib.contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Turn any error of a decoder into a DataError that names the file."""
    try:
        if path.is_dir():
            raise DataError(f"{path} is a folder, not {kind}")
        if path.stat().st_size == 0:
            raise DataError(f"{path} is an empty file (0 bytes): copy or download it again")
        yield
    except (DataError, MemoryError):
        raise
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except PermissionError:
        raise DataError(f"{path} may not be read by this user: change its permissions") from None
    except Exception as error:  # decoders raise OSError, EOFError, SyntaxError, zlib.error, struct.error and more
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{path} cannot be read as {kind} ({reason}): it is damaged, cut short or of another format; "
            "copy or download it again"
        ) from error


def open_picture(path: Path) -> Image.Image:
    """Return a decoded picture.

    Raises:
        DataError: unreadable, or a stack of several.
    """
    with reading(path, PICTURE), Image.open(path) as picture:
        frames = getattr(picture, "n_frames", 1)
        if frames > 1 and picture.format in ("GIF", "TIFF"):
            raise DataError(f"{path} holds {frames} frames, a 2D task takes one picture a file: split it")
        picture.load()
        return picture


def picture_intensities(path: Path, channels: int, intensity: Intensity | None = None) -> NDArray[np.float32]:  # noqa: ARG001
    """Return a picture as (C, H, W) in [0, 1] by its bit depth; alpha is dropped, grey repeated to ``channels``.

    Raises:
        DataError: unreadable, of several frames, not 8 or 16 bit, or in colour where the task is grey.
    """
    picture = open_picture(path)
    if picture.mode in ("1", "LA", "La"):
        picture = picture.convert("L")
    elif picture.mode not in ("L", "RGB", "I", "F") and not picture.mode.startswith("I;16"):
        picture = picture.convert("RGB")
    values = np.asarray(picture)
    wide = picture.mode.startswith("I")
    scale = 1 if picture.mode == "F" else 65535 if wide else 255
    array = np.atleast_3d(values).astype(np.float32) / np.float32(scale)
    require_finite(array, path)
    if array.min() < 0 or array.max() > 1:
        raise DataError(
            f"{path} has values from {values.min():g} to {values.max():g}; "
            "a picture must be 8 or 16 bit, or float in [0, 1]"
        )
    return _with_channels(array, channels, path)


def _with_channels(array: NDArray[np.float32], channels: int, path: Path) -> NDArray[np.float32]:
    k = array.shape[2]
    grey = k == 1 or bool((array == array[..., :1]).all())
    if k != channels and not grey:
        raise DataError(f"{path} is in colour ({k} channels) and the task has channels = {channels}: make them agree")
    picked = array if k == channels else np.repeat(array[..., :1], channels, axis=2)
    return np.moveaxis(picked, 2, 0)


def picture_values(path: Path) -> list[NDArray[Any]]:
    """Return the possible readings of a label or mask picture (H, W), likeliest first.

    Raises:
        DataError: unreadable, in colour, or with NaN.
    """
    picture = open_picture(path)
    if picture.mode == "1":
        bits = np.asarray(picture).astype(np.uint8)
        return [bits, bits * 255]
    if picture.mode == "P":
        return _palette_values(picture)
    values = np.asarray(picture)
    if picture.mode in ("LA", "RGBA"):
        values = values[..., :-1]
    if values.ndim == 3:
        if (values != values[..., :1]).any():
            raise DataError(f"{path} is in colour; a label or mask is one grey value a pixel: convert it")
        values = values[..., 0]
    require_finite(values, path)
    return [values]


def _palette_values(picture: Image.Image) -> list[NDArray[Any]]:
    index = np.asarray(picture)
    colours = np.zeros((256, 3), dtype=np.uint8)
    stored = np.array(picture.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
    colours[: len(stored)] = stored
    used = colours[np.unique(index)]
    if (used != used[:, :1]).any():
        return [index]
    greys = colours[:, 0][index]
    # A palette from white to black would swap vessel and background if its indices were taken for values.
    rising = bool((np.diff(used[:, 0].astype(np.int64)) > 0).all())
    return [greys, index] if rising else [greys]


def read_volume(path: Path, channels: int) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return a NIfTI as (C, X, Y, Z) in the order on disk, scl_slope and scl_inter applied, and its affine.

    Raises:
        DataError: unreadable, of other dimensions or channels, not of plain numbers, or without a usable affine.
    """
    with reading(path, VOLUME):
        file = nib.load(path, mmap=False)
        array = np.asanyarray(file.dataobj)
        affine = np.asarray(file.affine, dtype=np.float64)
    if array.dtype.kind not in "biuf":
        raise DataError(f"{path} holds {array.dtype} values; a volume must hold plain numbers")
    shape = array.shape
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    array = np.moveaxis(array, 3, 0) if array.ndim == 4 else array[None]
    if array.ndim != 4 or array.shape[0] != channels or array.size == 0:
        expected = "(X, Y, Z)" if channels == 1 else f"(X, Y, Z, {channels})"
        raise DataError(f"{path} has shape {shape}, expected is {expected}: it does not fit this task")
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise DataError(f"{path} has no usable affine (a voxel size is zero or NaN): repair its header")
    return array, affine


def require_finite(array: NDArray[Any], path: Path) -> None:
    """Raise DataError if a file's array holds NaN or infinite values."""
    bad = array.size - int(np.isfinite(array).sum())
    if bad:
        raise DataError(f"{path} has {bad} NaN or infinite values of {array.size}: repair or replace the file")
