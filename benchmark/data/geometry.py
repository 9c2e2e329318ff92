"""From the native grid to the network's and back, by one box and one convention of sampling.

The centre of voxel i of a grid of m over a box of n native voxels lies at (i + 1/2) n / m - 1/2 native voxels of the
box, for images, labels and their inverses.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

if TYPE_CHECKING:  # preprocessing needs no torch
    from torch import Tensor

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Geometry:
    """The box [start, start + extent) of a case's native grid, resampled to ``shape``."""

    native_shape: tuple[int, ...]  # voxels of the image
    start: tuple[int, ...]  # first voxel of the box; negative if the box begins outside the image
    extent: tuple[int, ...]  # voxels of the box; zero outside the image
    shape: tuple[int, ...]  # voxels of the network's grid

    def to_json(self) -> dict[str, list[int]]:
        """Return the geometry as plain data."""
        return {name: list(getattr(self, name)) for name in self.__slots__}

    @classmethod
    def from_json(cls, data: Mapping[str, Sequence[int]]) -> "Geometry":
        """Return the geometry that ``to_json`` wrote."""
        return cls(**{name: tuple(int(side) for side in sides) for name, sides in data.items()})

    @property
    def inside(self) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """The part of the box within the image, as slices of the image and as slices of the box."""
        low = [max(start, 0) for start in self.start]
        high = [min(a + b, n) for a, b, n in zip(self.start, self.extent, self.native_shape, strict=True)]
        native = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        box = tuple(slice(s.start - start, s.stop - start) for s, start in zip(native, self.start, strict=True))
        return native, box


def stretched(native_shape: tuple[int, ...], box: Sequence[slice], shape: tuple[int, ...]) -> Geometry:
    """Return the geometry that stretches a box within the image to the grid."""
    start = tuple(side.start for side in box)
    return Geometry(native_shape, start, tuple(side.stop - side.start for side in box), shape)


def isotropic(
    native_shape: tuple[int, ...], box: Sequence[slice], shape: tuple[int, ...], spacing: Sequence[float]
) -> Geometry:
    """Return the geometry that widens a box evenly until the grid's voxels are cubes; spacing in mm per voxel."""
    size = [side.stop - side.start for side in box]
    pitch = max(n * mm / m for n, mm, m in zip(size, spacing, shape, strict=True))  # mm per grid voxel
    extent = tuple(max(n, round(pitch * m / mm)) for n, m, mm in zip(size, shape, spacing, strict=True))
    start = tuple(side.start - (wide - n) // 2 for side, wide, n in zip(box, extent, size, strict=True))
    return Geometry(native_shape, start, extent, shape)


def spaced(
    native_shape: tuple[int, ...], box: Sequence[slice], spacing: Sequence[float], steps: Sequence[float]
) -> Geometry:
    """Return the geometry that resamples a box within the image to voxels of about ``steps`` mm; spacing as above."""
    sides = zip(box, spacing, steps, strict=True)
    shape = tuple(max(1, round((side.stop - side.start) * mm / step)) for side, mm, step in sides)
    return stretched(native_shape, box, shape)


def crop(array: NDArray[Scalar], geometry: Geometry) -> NDArray[Scalar]:
    """Return the box of an array (..., *native_shape) as (..., *extent), zero outside the image."""
    native, box = geometry.inside
    leading = array.ndim - len(box)
    every = (slice(None),) * leading
    out = np.zeros((*array.shape[:leading], *geometry.extent), dtype=array.dtype)
    out[every + box] = array[every + native]
    return out


def image_to_grid(image: NDArray[np.float32], geometry: Geometry, order: int) -> NDArray[np.float32]:
    """Resample an image (C, *native_shape) to the network's grid (C, *shape) by splines of an order, axis by axis.

    Where the grid is coarser than the box, a Gaussian of (factor - 1) / 2 voxels comes first, against aliasing.
    Splines of order 3 overshoot; nothing is clipped here.
    """
    out = crop(image, geometry)
    for n, m in zip(geometry.extent, geometry.shape, strict=True):
        # Contracting axis 1 appends its replacement last: after every axis had its turn, the order is the old one.
        out = np.moveaxis(out, 1, -1) if n == m else np.tensordot(out, spline_weights(n, m, order), axes=(1, 1))
    return np.ascontiguousarray(out)


def labels_to_grid(labels: NDArray[Scalar], geometry: Geometry) -> NDArray[Scalar]:
    """Resample labels or a mask (*native_shape) to the network's grid by the nearest voxel; 0 outside the image."""
    return _nearest(crop(labels, geometry), geometry.shape)


def labels_to_native(labels: NDArray[Scalar], geometry: Geometry) -> NDArray[Scalar]:
    """Return labels of the network's grid on the native grid by the nearest voxel; background outside the box."""
    out = np.zeros(geometry.native_shape, dtype=labels.dtype)
    native, box = geometry.inside
    out[native] = _nearest(labels, geometry.extent)[box]
    return out


def probabilities_to_native(probabilities: "Tensor", geometry: Geometry) -> NDArray[np.uint8]:
    """Return the likeliest class on the native grid from probabilities (K, *shape), resampled linearly; else 0."""
    # One class at a time, so that memory is three boxes for any number of classes.
    import torch

    best = index = None
    for k, probability in enumerate(probabilities):
        grid = _inside_image(probability, geometry)
        if best is None or index is None:
            best, index = grid, torch.zeros_like(grid, dtype=torch.uint8)
            continue
        larger = grid > best
        torch.where(larger, grid, best, out=best)
        index.masked_fill_(larger, k)
        del grid, larger  # before the next class is resampled
    assert index is not None, "no class"
    out = np.zeros(geometry.native_shape, dtype=np.uint8)
    out[geometry.inside[0]] = index.cpu().numpy()
    return out


def probability_to_native(probability: "Tensor", geometry: Geometry, outside: float) -> NDArray[np.float32]:
    """Return a map (*shape) on the native grid, resampled linearly; ``outside``: its value outside the box."""
    out = np.full(geometry.native_shape, outside, dtype=np.float32)
    out[geometry.inside[0]] = _inside_image(probability, geometry).cpu().numpy()
    return out


def _inside_image(probability: "Tensor", geometry: Geometry) -> "Tensor":
    """Return a map (*shape) resampled linearly to the part of the box within the image."""
    from torch.nn import functional as F

    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(geometry.shape)]
    grid = F.interpolate(probability[None, None], size=geometry.extent, mode=mode, align_corners=False)
    return grid[0, 0][geometry.inside[1]]


@lru_cache(maxsize=16)  # 32 MB each between 4,000 and 2,000 pixels
def spline_weights(n: int, m: int, order: int) -> NDArray[np.float32]:
    """Return the (m, n) matrix that resamples an axis of n samples to m; edges are continued by their last value.

    Resampling by splines is linear and separable: its effect on unit vectors defines it.
    """
    if order == 1:
        weights = _linear_weights(n, m)
    else:
        from skimage.transform import resize

        options = {"order": order, "mode": "edge", "anti_aliasing": m < n, "clip": False, "preserve_range": True}
        weights = np.asarray(resize(np.eye(n), (m, n), **options), dtype=np.float32)
    weights.setflags(write=False)  # it is shared by every caller
    return weights


def _linear_weights(n: int, m: int) -> NDArray[np.float32]:
    """Return the weights of order 1, to the last bit those of unit vectors, from the few that are not zero."""
    centre = np.clip((np.arange(m) + 0.5) * (n / m) - 0.5, 0, n - 1)
    low = np.floor(centre).astype(np.intp)
    high, share = np.minimum(low + 1, n - 1), centre - low
    sigma = max(0, (n / m - 1) / 2)
    radius = int(4 * sigma + 0.5)  # where SciPy cuts the Gaussian

    def smooth(size: int, index: int) -> NDArray[np.float64]:
        unit = np.zeros(size)
        unit[index] = 1
        return np.asarray(ndimage.gaussian_filter1d(unit, sigma, mode="nearest") if radius else unit)

    weights = np.zeros((m, n), dtype=np.float32)
    gaussian = smooth(2 * radius + 3, radius + 1)
    band = (1 - share)[:, None] * gaussian[1:] + share[:, None] * gaussian[:-1]
    column = low[:, None] + np.arange(-radius, radius + 2)
    inside = (column >= 0) & (column < n)
    weights[np.nonzero(inside)[0], column[inside]] = band[inside]
    for edge in (0, n - 1):  # which stand for all that lies beyond, too
        values = smooth(n, edge)
        weights[:, edge] = (1 - share) * values[low] + share * values[high]
    return weights


def _nearest(array: NDArray[Scalar], shape: tuple[int, ...]) -> NDArray[Scalar]:
    # In integers, so that no rounding moves a boundary.
    index = [(2 * np.arange(m) + 1) * n // (2 * m) for n, m in zip(array.shape, shape, strict=True)]
    return array[np.ix_(*index)]
