"""Decoding files into plain arrays; every failure is a DataError that names the file."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import from_matvec, voxel_sizes
from nibabel.quaternions import quat2mat
from numpy.typing import NDArray

from ssdg.datasets.base import DataError

from .orientation import turn_to_ras

VOLUME = "a NIfTI volume"

UNITS = {1: "metres", 3: "micrometres"}
"""Codes of lengths in a NIfTI header that are not mm; 2 is mm, and unknown ones are taken for it."""

SIZE_TOLERANCE = 0.01
"""Relative difference of two voxel sizes that is rounding: programs write 0.68 for 0.6836."""


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


def read_volume(
    path: Path, channels: int, orientation: str | None = None, chosen: Sequence[int] = ()
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return a NIfTI as (C, X, Y, Z) in the order on disk, scl_slope and scl_inter applied, and its affine.

    Args:
        path: the file.
        channels: how many it must hold, or as many as are chosen.
        orientation: of an image, that of its domain: its header must tell every program the same; None: a label or
            mask, whose affine is compared with that of its image.
        chosen: channels that are taken out of those of the file, from 0, in this order; empty: all.

    Raises:
        DataError: unreadable, of other dimensions or channels, not of plain numbers, or without a usable affine.
    """
    with reading(path, VOLUME):
        file = nib.load(path, mmap=False)
        array = np.asanyarray(file.dataobj)
        affine = np.asarray(file.affine, dtype=np.float64)
        if orientation is not None:
            _require_clear_header(file.header, affine, orientation, path)
    if array.dtype.kind not in "biuf":
        raise DataError(f"{path} holds {array.dtype} values; a volume must hold plain numbers")
    shape = array.shape
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    array = np.moveaxis(array, 3, 0) if array.ndim == 4 else array[None]
    if chosen and array.ndim == 4:
        if max(chosen) >= len(array):
            raise DataError(f"{path} has {len(array)} channels, 0 the first, and its domain asks for {list(chosen)}")
        array = array[list(chosen)]
    if array.ndim != 4 or array.shape[0] != channels or array.size == 0:
        expected = "(X, Y, Z)" if channels == 1 else f"(X, Y, Z, {channels})"
        way = "write the one to use into a file of its own"  # of a label or a mask
        if orientation is not None:
            way = "choose with the domain's channels = [0], or give the task as many channels"
        raise DataError(
            f"{path} has shape {shape}, expected is {expected}: it does not fit this task"
            + (f"; its {len(array)} volumes are channels: {way}" if array.ndim == 4 and len(array) > 1 else "")
        )
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise DataError(f"{path} has no usable affine (a voxel size is zero or NaN): repair its header")
    return array, affine


def _require_clear_header(header: Any, affine: NDArray[np.float64], orientation: str, path: Path) -> None:
    """Raise DataError for a header in which programs read different voxel sizes or, if they count, directions."""
    unit = UNITS.get(int(header["xyzt_units"]) & 7)
    if unit:
        raise DataError(
            f"{path}: the header gives voxel sizes in {unit}, which most programs take for mm: scale its pixdim and "
            "affine to mm and set xyzt_units to 2"
        )
    qform, sform = (int(header[f"{form}_code"]) > 0 for form in ("qform", "sform"))
    if orientation == "ras" and not qform and not sform:
        raise DataError(
            f"{path}: the header does not say where the axes point (qform_code and sform_code are 0), and programs "
            'assume one or another: repair it, or give the domain orientation = "stored" (and `axes` to turn them)'
        )
    if not qform or not sform:
        return
    sizes, other = voxel_sizes(affine), np.asarray(header["pixdim"][1:4], dtype=np.float64)
    xyz = np.array([header[f"quatern_{axis}"] for axis in "bcd"], dtype=np.float64)
    rotation = quat2mat([np.sqrt(max(0.0, 1 - float(xyz @ xyz))), *xyz])  # rounding may exceed 1
    rotation[:, 2] *= -1 if header["pixdim"][0] < 0 else 1
    fault = ""
    if not (np.abs(sizes - other) <= SIZE_TOLERANCE * sizes).all():
        fault = "voxels of " + " and of ".join("x".join(f"{side:.4g}" for side in each) for each in (other, sizes))
        fault += " mm"
    elif orientation == "ras":
        directed = np.isfinite(rotation).all()
        if not directed or (turn_to_ras(from_matvec(rotation * other)) != turn_to_ras(affine)).any():
            fault = "axes that point elsewhere"
    if fault:
        raise DataError(
            f"{path}: the qform and the sform of the header contradict each other ({fault}), and programs differ in "
            "which one they use: set qform_code to 0 if the sform is right, or sform_code to 0 if the qform is"
        )


def require_finite(array: NDArray[Any], path: Path) -> None:
    """Raise DataError if a file's array holds NaN or infinite values."""
    bad = 0 if array.dtype.kind in "iu" else array.size - int(np.isfinite(array).sum())
    if bad:
        raise DataError(f"{path} has {bad} NaN or infinite values of {array.size}: repair or replace the file")
