"""Images as published, and predictions in the order of their files.

2D: PNG, TIFF, GIF, JPEG; 3D: NIfTI. A file that cannot be used raises DataError naming it and the way out; nothing is
repaired silently.
"""

import gzip
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from numpy.typing import NDArray
from PIL import Image

from ssdg.datasets.base import Case, DataError, Domain, Intensity, Task

from ..storage.files import Guard, atomic_file, no_guard
from .decode import VOLUME, read_volume, reading, require_finite
from .orientation import STORED, Turn, turn_between, turn_to_domain, turned, turned_back, turned_shape
from .picture_files import picture_shape
from .pictures import picture_intensities, picture_values

AFFINE_TOLERANCE = 1e-3
"""Voxels by which the corners of a label's and an image's grid may differ."""

GEOMETRY = [
    *("qform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("sform_code", "srow_x", "srow_y", "srow_z", "xyzt_units"),
]
"""Fields of a NIfTI header, beside pixdim, that say where its voxels are."""


@dataclass(frozen=True, slots=True)
class NativeImage:
    """An image, or a prediction, on the grid of its file; 3D with the axes that its domain asks for."""

    array: NDArray[Any]  # (C, *S) float32: [0, 1], or 3D without ``intensity`` the file's units; prediction: uint8
    affine: NDArray[np.float64] | None  # (4, 4) voxel index -> mm; None in 2D
    turn: Turn = field(default_factory=lambda: STORED)  # 3D: of the axes on disk

    @property
    def spacing(self) -> tuple[float, ...]:
        """Size of a voxel along each axis in mm; 1 in 2D."""
        return (1.0, 1.0) if self.affine is None else tuple(float(size) for size in voxel_sizes(self.affine))

    @property
    def shape(self) -> tuple[int, ...]:
        """Native grid, without channels."""
        return tuple(self.array.shape[1:])


def file_ndim(task: Task, domain: Domain) -> int:
    """Return the dimensions of a domain's files: 3 if its volumes feed a network of two dimensions by slices."""
    return 2 if task.ndim == 2 and domain.slices is None else 3


def read_image(case: Case, domain: Domain, task: Task) -> NativeImage:
    """Read a case's image; each of several files is one channel.

    2D: a grey picture is repeated to fill the task's channels, alpha is dropped; [0, 1] by bit depth. 3D: the file's
    units with its scaling applied. With ``intensity``, both are [0, 1] as it says, and everything later, the
    foreground among it, sees these values: a CT with a window has air at 0. Percentiles are those of a channel in 3D.

    Raises:
        DataError: unreadable, truncated, of the wrong dimension, on several grids, with NaN or infinite values,
            beyond the ``intensity.bits``, constant, or 3D with a header that programs read differently.
    """
    ndim, files = file_ndim(task, domain), (case.image, *case.channels)
    # Channels that are neighbouring slices are not in the file.
    channels = task.channels // (domain.slices.width if domain.slices else 1)
    if len(files) not in (1, channels):
        raise DataError(
            f"{case.image} and its other channels are {len(files)} files, one channel each, "
            f"and the task has channels = {channels}: make them agree"
        )
    image = _placed(*_intensities(case.image, domain, ndim, channels // len(files)), domain)
    if not case.channels:
        return image
    others = [on_grid(path, *_intensities(path, domain, ndim, 1), image, domain) for path in case.channels]
    return replace(image, array=np.concatenate([image.array, *others]))


def image_grid(case: Case, domain: Domain, task: Task) -> NativeImage:
    """Return a case's image for those who need its grid alone: zeros, unless a field of view is found in its values.

    Only the header is read.

    Raises:
        DataError: an unreadable header, or as :func:`read_image` does.
    """
    if domain.field_of_view is not None:
        return read_image(case, domain, task)
    if file_ndim(task, domain) == 2:
        return _placed(np.broadcast_to(np.uint8(0), (1, *picture_shape(case.image))), None, domain)
    with reading(case.image, VOLUME):  # no grid, or none with an inverse, is damage too
        file = nib.load(case.image, mmap=False)
        affine = np.asarray(file.affine, dtype=np.float64)
        np.linalg.inv(affine)
        return _placed(np.broadcast_to(np.uint8(0), (1, *file.shape[:3])), affine, domain)


def write_prediction(
    labels: NDArray[np.uint8], case: Case, domain: Domain, out_path: Path, guard: Guard = no_guard
) -> None:
    """Write class indices (*S) on a case's native grid atomically, as PNG in 2D, as NIfTI in 3D.

    A NIfTI has the order of axes, affine, codes and units of the case's image on disk; ``.gz`` compresses it.
    """
    labels = np.ascontiguousarray(labels, dtype=np.uint8)
    if labels.ndim == 2:
        with atomic_file(out_path, guard) as stream:
            Image.fromarray(labels).save(stream, format="PNG")
        return
    like = _loaded(case.image)
    turn = turn_to_domain(like.affine, domain)
    content = _nifti_like(np.ascontiguousarray(turned_back(labels, turn)), like, case.image).to_bytes()
    with atomic_file(out_path, guard) as stream:
        if out_path.suffix == ".gz":
            # No name and no time in the header: equal predictions are equal files.
            with gzip.GzipFile("", "wb", compresslevel=6, fileobj=stream, mtime=0) as packed:
                packed.write(content)
        else:
            stream.write(content)


def write_probabilities(
    maps: Iterable[NDArray[np.float32]], classes: int, case: Case, domain: Domain, out_path: Path
) -> None:
    """Write one map (*S) a class atomically, float32: 2D as ``probabilities`` (K, H, W) of an NPZ, 3D as NIfTI.

    A NIfTI (``.nii.gz``) has the classes as its fourth axis, the others and its geometry from the image on disk. The
    maps are taken one after the other: memory is that of one class.
    """
    if out_path.suffix == ".npz":
        with atomic_file(out_path) as stream:
            np.savez_compressed(stream, probabilities=np.stack(list(maps)))
        return
    like = _loaded(case.image)
    turn = turn_to_domain(like.affine, domain)
    shape = (*like.shape[:3], classes)
    image = _nifti_like(np.broadcast_to(np.float32(0), shape), like, case.image)
    # Level 1: higher ones take several times as long, and the digits of a probability hardly compress.
    with atomic_file(out_path) as stream, gzip.GzipFile("", "wb", compresslevel=1, fileobj=stream, mtime=0) as packed:
        image.header.write_to(packed)
        for probability in maps:  # NIfTI is in Fortran order: class after class
            packed.write(turned_back(probability, turn).tobytes(order="F"))


def read_prediction(path: Path, domain: Domain) -> NativeImage:
    """Read what :func:`write_prediction` wrote: class indices (1, *S) uint8, on the grid of the image.

    Raises:
        DataError: unreadable or truncated.
    """
    if path.suffix == ".png":
        return NativeImage(np.asarray(picture_values(path)[0], dtype=np.uint8)[None], None)
    array, affine = read_volume(path, channels=1)
    return _placed(array.astype(np.uint8), affine, domain)


def _intensities(
    path: Path, domain: Domain, ndim: int, channels: int
) -> tuple[NDArray[np.float32], NDArray[np.float64] | None]:
    """Return a file's channels (C, *S) in the order on disk, and its affine in 3D."""
    intensity = domain.intensity
    if ndim == 2:
        array, affine = picture_intensities(path, channels, intensity), None
    else:
        values, affine = read_volume(path, channels, domain.orientation, domain.file_channels)
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as such
            array = values.astype(np.float32)
        require_finite(array, path)
        if intensity is not None:
            array = _volume_intensities(array, intensity, path)
    axes = tuple(range(1, array.ndim)) if ndim == 3 else None  # of colours one may be dark throughout
    flat = array.min(axis=axes) == array.max(axis=axes)
    if np.any(flat):
        remedy = "replace the file" if intensity is None else "give another `intensity`, or replace the file"
        value = array[np.argmax(flat)].flat[0]
        channel = f" of channel {np.argmax(flat)}" if len(array) > 1 and ndim == 3 else ""
        raise DataError(f"{path} is constant (every value{channel} is {value:g}): it shows nothing; {remedy}")
    return array, affine


def _volume_intensities(array: NDArray[np.float32], intensity: Intensity, path: Path) -> NDArray[np.float32]:
    """Return channels (C, X, Y, Z) in [0, 1]."""
    low: Any = 0.0
    if intensity.bits is not None:
        high: Any = 2.0**intensity.bits - 1
        if array.min() < 0 or array.max() > high:
            raise DataError(
                f"{path} has values from {array.min():g} to {array.max():g}, beyond the 0 to {high:g} of "
                f"intensity = {{ bits = {intensity.bits} }}: give the bits in use, or intensity = {{ window = [..] }}"
            )
    elif intensity.window is not None:
        low, high = intensity.window
    else:
        percentiles = intensity.percentiles or (0.0, 100.0)
        low, high = np.percentile(array, percentiles, axis=(1, 2, 3), keepdims=True).astype(np.float32)
        if (low >= high).any():
            raise DataError(
                f"{path}: both of intensity = {{ percentiles = {list(percentiles)} }} are the value "
                f"{low[low >= high][0]:g}: give others further apart, or intensity = {{ window = [..] }}"
            )
    scaled = np.clip((array - low) / (high - low), 0, 1)
    return np.asarray(scaled, dtype=np.float32)


def _placed(array: NDArray[Any], affine: NDArray[np.float64] | None, domain: Domain) -> NativeImage:
    """Return channels (C, *S) in the order on disk as an image with the domain's axes."""
    if affine is None:
        return NativeImage(np.ascontiguousarray(array), None)
    turn = turn_to_domain(affine, domain)
    array, affine = turned(array, affine, turn)
    return NativeImage(np.ascontiguousarray(array), affine, turn)


def on_grid(
    path: Path, array: NDArray[Any], affine: NDArray[np.float64] | None, image: NativeImage, domain: Domain
) -> NDArray[Any]:
    """Return channels (C, *S) in the order on disk with the axes of an image, whose grid they must share."""
    if affine is not None and image.affine is not None:
        turn = image.turn
        if domain.same_grid == "affine":
            # By the two affines, not by each one's nearest directions: at 45 degrees these may differ.
            between = turn_between(affine, image.affine)
            fits = turned_shape(array.shape[1:], between) == image.shape
            turn = between if fits else turn
        array, affine = turned(array, affine, turn)
    shape = tuple(array.shape[1:])
    if shape != image.shape:
        raise DataError(f"{path} has shape {shape} and its image {image.shape}: they must share one grid")
    if affine is not None and image.affine is not None and domain.same_grid == "affine":
        shift = _corner_shift(affine, image.affine, shape)
        if shift > AFFINE_TOLERANCE:
            raise DataError(
                f"{path} and its image have different affines (corners up to {shift:.3g} voxels apart): "
                "resample one onto the other's grid, repair the headers, or give the domain "
                'same_grid = "shape" if the voxels lie on each other in the order on disk'
            )
    return array


def _corner_shift(affine: NDArray[np.float64], other: NDArray[np.float64], shape: tuple[int, ...]) -> float:
    """Return the largest distance, in voxels along one axis, between the corners of two grids of one shape."""
    corners = np.array([[*corner, 1] for corner in np.ndindex(2, 2, 2)], dtype=np.float64).T
    corners[:3] *= np.array(shape, dtype=np.float64)[:, None] - 1
    return float(np.abs(np.linalg.solve(other, affine @ corners) - corners).max())


def _loaded(path: Path) -> Any:
    with reading(path, VOLUME):
        return nib.load(path, mmap=False)


def _nifti_like(array: NDArray[Any], like: Any, like_path: Path) -> Any:
    """Return an array in the order on disk as a NIfTI image with the geometry of another's header."""
    if tuple(like.shape[:3]) != array.shape[:3]:
        raise ValueError(f"a prediction of shape {array.shape} is not on the grid of {like_path}, {like.shape[:3]}")
    image = nib.Nifti1Image(array, like.affine)
    for name in GEOMETRY:  # as they are: a program that ignores a field does not mind what is in it
        image.header[name] = like.header[name]
    image.header["pixdim"][:4] = like.header["pixdim"][:4]
    return image
