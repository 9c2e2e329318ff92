"""Intensities of a volume: its bright part, the value that becomes 1, and volumes that need ``intensity``."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ssdg.datasets.base import Case, DataError, Domain

from .images import NativeImage

BACKGROUND = 1e-3
"""Fraction of a volume's maximum up to which a voxel is background: some atlases have 1e-16 there instead of 0."""

HOT = 10
"""Multiple of the 99.9th percentile of the positive voxels that the maximum is cut at: a few hot voxels do not count.
Volumes of brains and hearts reach 1.1 to 2.5 times the percentile."""

NEGATIVE = 0.01
"""Largest part of a volume's absolute intensity, of means over 3x3x3 voxels, that may be negative and becomes 0.
Resampling by splines and sincs leaves at most 0.004 (atlases, cardiac MR); CT without the air around a body has 0.02,
z-scored MR 0.5. The means take out undershoot, which lies next to what is bright, and noise."""

SMALLEST_BOX = 0.01
"""Fraction of a volume that the box of an automatic foreground has to fill."""

LEAST_LEVELS = 8
"""Grey levels of 255 that 99.9 % of a picture's pixels, or of a volume's values under ``intensity``, have to span."""

BULK = (0.05, 99.95)
"""Percentiles that 99.9 % of the values lie between."""

PERCENTILE = 99.9
"""Percentile of the intensities in the brain's bounding box that becomes 1."""


def bright(case: Case, image: NativeImage) -> NDArray[np.bool_]:
    """Return everything above the background of any channel, with its holes filled."""
    top = _tops(image.array)
    above = ((image.array > BACKGROUND * top) & (top > 0)).any(axis=0)
    foreground = np.asarray(ndimage.binary_fill_holes(above))
    sides = [side.stop - side.start for side in ndimage.find_objects(foreground.astype(np.uint8))[0]]
    if np.prod(sides) < SMALLEST_BOX * foreground.size:
        raise DataError(
            f"{case.image}: the voxels brighter than its background fill a box of {'x'.join(map(str, sides))}, less "
            f"than {SMALLEST_BOX:.0%} of the volume: a few outshine the rest; say what becomes 0 and 1, with "
            "intensity = { percentiles = [0.5, 99.5] }, or give the case a foreground mask"
        )
    return foreground


def _tops(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the largest value (C, 1, 1, 1) of each channel that is not of a hot voxel; at least 0."""
    tops = []
    for channel in array:
        positive = channel[channel > 0]
        # The lower neighbour of the percentile: between it and the maximum a single voxel would count again.
        high = HOT * np.percentile(positive, PERCENTILE, method="lower") if positive.size else 0
        tops.append(min(channel.max(), high))
    return np.array(tops, dtype=np.float32).reshape(-1, 1, 1, 1)


def require_positive(array: NDArray[np.float32], case: Case) -> None:
    """Raise DataError if more of a volume's channel is negative than resampling and noise leave behind."""
    if array.min() >= 0:
        return
    for channel, top in zip(array, _tops(array).flat, strict=True):
        bounded = np.clip(channel, -top, top) if top > 0 else channel  # without the weight of hot voxels
        means = ndimage.uniform_filter(bounded, 3)
        if -means[means < 0].sum(dtype=np.float64) <= NEGATIVE * np.abs(means).sum(dtype=np.float64):
            continue
        raise DataError(
            f"{case.image} has values from {array.min():g} to {array.max():g}, and the negative ones "
            f"({np.count_nonzero(array < 0) / array.size:.1%} of the voxels) would all become 0: say what becomes 0 "
            "and 1, with intensity = { window = [-160, 240] } (CT in Hounsfield units) or intensity = "
            "{ percentiles = [0.5, 99.5] } (z-scored MR)"
        )


def scaled_to_bulk(
    array: NDArray[np.float32], mask: NDArray[np.bool_], box: tuple[slice, ...], case: Case, domain: Domain
) -> NDArray[np.float32]:
    """Return intensities as [0, 1]: 0 to the 99.9th percentile of the brain's box.

    What the domain's ``intensity`` made [0, 1] stays as it is.
    """
    low, top, high = np.percentile(
        array[(slice(None), *box)], (BULK[0], PERCENTILE, BULK[1]), axis=(1, 2, 3), keepdims=True
    )
    if (top <= 0).any():
        raise DataError(f"{case.image} has fewer than 0.1 % positive voxels in its brain: it shows nothing")
    if domain.intensity is None:
        _require_bulk(array, mask, top, case)
    elif (high - low < LEAST_LEVELS / 255).any():
        raise DataError(
            f"{case.image}: by its domain's `intensity` 99.9 % of a channel are {low.flat[0]:.4g} to "
            f"{high.flat[0]:.4g} of 0 to 1: give a narrower window, or intensity = {{ percentiles = [0.5, 99.5] }}"
        )
    else:
        top = np.ones_like(top)
    # Departure: the parent code neither clips nor scales (it z-scores, which undoes a scale); the cut at the 99.9th
    # percentile and at the spline's overshoot bounds the range for methods that work on [0, 1] and float16.
    return np.asarray(np.clip(array / top.astype(np.float32), 0, 1))


def _require_bulk(array: NDArray[np.float32], mask: NDArray[np.bool_], top: NDArray[np.float64], case: Case) -> None:
    """Raise DataError if half of a channel's positive voxels are negligible against the intensity that becomes 1."""
    for number, (channel, high) in enumerate(zip(array, top.flat, strict=True)):
        inside = channel[mask & (channel > 0)]
        if inside.size and np.median(inside) <= BACKGROUND * high:
            raise DataError(
                f"{case.image}: in channel {number} half of the positive voxels are at most {np.median(inside):g}, "
                f"and {high:g} would become 1: a few outshine the rest; say what becomes 0 and 1, with "
                "intensity = { percentiles = [0.5, 99.5] }"
            )
