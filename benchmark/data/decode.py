"""Decoding files into plain arrays; every failure is a DataError that names the file."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ssdg.datasets.base import DataError

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
    bad = 0 if array.dtype.kind in "iu" else array.size - int(np.isfinite(array).sum())
    if bad:
        raise DataError(f"{path} has {bad} NaN or infinite values of {array.size}: repair or replace the file")
