"""Reading native images, labels and masks (2D: PNG, TIFF, GIF, JPEG; 3D: NIfTI), and writing predictions.

A file that cannot be used raises DataError naming it and the way out; nothing is repaired silently.
"""

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform
from numpy.typing import NDArray
from PIL import Image

from ssdg.datasets.base import DataError

from ..storage.files import Guard, atomic_file, no_guard
from .decode import VOLUME, read_volume, reading, require_finite
from .pictures import picture_intensities, picture_values

AFFINE_TOLERANCE = 1e-3
"""Voxels by which the corners of a label's and an image's grid may differ."""

LISTED = 5
"""Offending values that a message lists."""


@dataclass(frozen=True, slots=True)
class NativeImage:
    """An image as published, 3D in RAS order: axes point right, front and top."""

    array: NDArray[Any]  # (C, *S) float32; 2D: [0, 1] by bit depth; 3D: the file's own units, its scaling applied
    affine: NDArray[np.float64] | None  # (4, 4) voxel index -> mm; None in 2D

    @property
    def spacing(self) -> tuple[float, ...]:
        """Size of a voxel along each axis in mm; 1 in 2D."""
        return (1.0, 1.0) if self.affine is None else tuple(float(size) for size in voxel_sizes(self.affine))

    @property
    def shape(self) -> tuple[int, ...]:
        """Native grid, without channels."""
        return tuple(self.array.shape[1:])


def read_image(path: Path, ndim: int, channels: int) -> NativeImage:
    """Read an image of a task's dimensions and channels; grey is repeated to fill them, alpha is dropped.

    Raises:
        DataError: unreadable, truncated, of the wrong dimension, with NaN or infinite values, or constant.
    """
    affine = None
    if ndim == 2:
        values: NDArray[Any] = picture_intensities(path, channels)
    else:
        values, affine = read_volume(path, channels)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as such
        array = np.ascontiguousarray(values, dtype=np.float32)
    require_finite(array, path)
    if array.min() == array.max():
        raise DataError(f"{path} is constant (every value is {array.flat[0]:g}): it shows nothing; replace the file")
    return NativeImage(array, affine)


def read_label(path: Path, label_map: Mapping[int, int], like: NativeImage) -> NDArray[np.uint8]:
    """Read a label on an image's grid as class indices (*S) uint8, by a map from the values on disk.

    A 1-bit picture holds 0 and 1, or 0 and 255 if only that is in the map; a palette of greys stands for its greys,
    or for its indices if only those are in the map.

    Raises:
        DataError: unreadable, on another grid, or with values that are not in the map.
    """
    tallies = [_tally(array) for array in _aligned_values(path, like)]
    for values, _, position in tallies:
        if all(value in label_map for value in values):
            classes = np.array([label_map[value] for value in values], dtype=np.uint8)
            return np.asarray(classes[position])
    values, counts, _ = tallies[0]
    bad = [(value, count) for value, count in zip(values, counts, strict=True) if value not in label_map]
    listed = ", ".join(f"{value:g} ({count} times)" for value, count in bad[:LISTED])
    more = f" and {len(bad) - LISTED} more" if len(bad) > LISTED else ""
    mapped = ", ".join(map(str, sorted(label_map)))
    raise DataError(
        f"{path}: values not in the label map: {listed}{more}; known values: {mapped}. "
        "Map it in the domain's label_map, or repair the file (labels must not be stored as JPEG)"
    )


def read_mask(path: Path, like: NativeImage) -> NDArray[np.bool_]:
    """Read a brain mask or field of view (*S): True above half of the file's largest value.

    Raises:
        DataError: unreadable, on another grid than its image, or empty.
    """
    values = _aligned_values(path, like)[0]
    top = values.max()
    if top <= 0:
        raise DataError(f"{path}: the mask is empty; repair it, or remove it to use the whole image")
    return np.asarray(values > top / 2)


def write_prediction(labels: NDArray[np.uint8], like_path: Path, out_path: Path, guard: Guard = no_guard) -> None:
    """Write class indices (*S) on the native grid atomically, as PNG in 2D, as NIfTI in 3D.

    A NIfTI has the order of axes, affine, codes and units of ``like_path``; ``.gz`` compresses it.
    """
    labels = np.ascontiguousarray(labels, dtype=np.uint8)
    if labels.ndim == 2:
        with atomic_file(out_path, guard) as stream:
            Image.fromarray(labels).save(stream, format="PNG")
        return
    content = _nifti_like(labels, like_path).to_bytes()
    with atomic_file(out_path, guard) as stream:
        if out_path.suffix == ".gz":
            # No name and no time in the header: equal predictions are equal files.
            with gzip.GzipFile("", "wb", compresslevel=6, fileobj=stream, mtime=0) as packed:
                packed.write(content)
        else:
            stream.write(content)


def read_prediction(path: Path) -> NDArray[np.uint8]:
    """Read what :func:`write_prediction` wrote: class indices (*S) uint8, 3D in RAS order again.

    Raises:
        DataError: unreadable or truncated.
    """
    if path.suffix == ".png":
        return np.asarray(picture_values(path)[0], dtype=np.uint8)
    with reading(path, VOLUME):
        return np.asarray(nib.as_closest_canonical(nib.load(path, mmap=False)).dataobj).astype(np.uint8)


def _aligned_values(path: Path, like: NativeImage) -> list[NDArray[Any]]:
    """Return the possible readings of a label or mask file, likeliest first; it must share the image's grid."""
    affine = None
    if len(like.shape) == 2:
        readings = picture_values(path)
    else:
        array, affine = read_volume(path, channels=1)
        require_finite(array, path)
        readings = [array[0]]
    shape = tuple(readings[0].shape)
    if shape != like.shape:
        raise DataError(f"{path} has shape {shape} and its image {like.shape}: they must share one grid")
    if affine is not None and like.affine is not None:
        shift = _corner_shift(affine, like.affine, shape)
        if shift > AFFINE_TOLERANCE:
            raise DataError(
                f"{path} and its image have different affines (corners up to {shift:.3g} voxels apart): "
                "resample one onto the other's grid, or repair the headers"
            )
    return readings


def _corner_shift(affine: NDArray[np.float64], other: NDArray[np.float64], shape: tuple[int, ...]) -> float:
    """Return the largest distance, in voxels along one axis, between the corners of two grids of one shape."""
    corners = np.array([[*corner, 1] for corner in np.ndindex(2, 2, 2)], dtype=np.float64).T
    corners[:3] *= np.array(shape, dtype=np.float64)[:, None] - 1
    return float(np.abs(np.linalg.solve(other, affine @ corners) - corners).max())


def _tally(values: NDArray[Any]) -> tuple[list[Any], list[int], NDArray[Any]]:
    """Return the distinct values, how often each occurs, and for every voxel its value's position among them."""
    if values.dtype.kind == "f":
        rounded = np.rint(values)
        # Labels stored as float carry rounding such as 1.00000006; anything further off is a value of its own.
        if np.abs(values - rounded).max() <= 1e-3 and np.abs(rounded).max() < 2**31:
            values = rounded.astype(np.int64)
    low = values.min()
    if values.dtype.kind != "f" and int(values.max()) - int(low) <= 65535:
        shifted = values.astype(np.int64) - int(low)
        counts = np.bincount(shifted.ravel())
        present = np.flatnonzero(counts)
        order = np.zeros(len(counts), dtype=np.uint16)
        order[present] = np.arange(len(present))
        return (present + int(low)).tolist(), counts[present].tolist(), order[shifted]
    distinct, position, counts = np.unique(values, return_inverse=True, return_counts=True)
    return distinct.tolist(), counts.tolist(), position.reshape(values.shape)


def _nifti_like(labels: NDArray[np.uint8], like_path: Path) -> Any:
    """Return RAS labels as a uint8 NIfTI image with the order of axes, affine, codes and units of another."""
    with reading(like_path, VOLUME):
        like = nib.load(like_path, mmap=False)
    stored = ornt_transform(axcodes2ornt("RAS"), io_orientation(like.affine))
    labels = np.ascontiguousarray(apply_orientation(labels, stored))
    if tuple(like.shape[:3]) != labels.shape:
        raise ValueError(f"a prediction of shape {labels.shape} is not on the grid of {like_path}, {like.shape[:3]}")
    image = nib.Nifti1Image(labels, like.affine)
    if isinstance(like.header, nib.Nifti1Header):  # NIfTI-2 headers are of this type too
        image.set_qform(like.get_qform(), int(like.header["qform_code"]))
        image.set_sform(like.get_sform(), int(like.header["sform_code"]))
        image.header.set_xyzt_units(*like.header.get_xyzt_units())
    return image
