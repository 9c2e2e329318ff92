"""The intensities of an image and the values of a label or mask, from pictures as stored.

Two programs that open a picture may disagree about it: each such property is read in full or refused by name, as the
table in ``docs/data.md`` says ("Read right, or refused").

Orientation: viewers turn such a picture and array libraries do not. Whether a label was drawn on the turned or on the
stored picture cannot be seen in square or upside-down ones, so neither reading is safe.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssdg.datasets.base import DataError, Intensity

from .decode import require_finite
from .picture_files import Picture, stored_picture

LEAST_BITS = 15
"""Bits of 16 that an image has to use: with 14 of them, three quarters of the 8-bit grey levels would be empty."""

HOT = 10
"""Multiple of the 99.9th percentile that the largest sample of more than 8 bits may have: beyond, a few hot pixels
would leave the others 26 grey levels."""


def picture_intensities(path: Path, channels: int, intensity: Intensity | None = None) -> NDArray[np.float32]:
    """Return a picture as (C, H, W) in [0, 1] by its bit depth or ``intensity``; grey is repeated to ``channels``.

    A window or percentiles are of stored values, over all channels together; see the module for what is dropped.

    Raises:
        DataError: unreadable, of several frames, turned, in colour where the task is grey, with values beyond its
            depth or of an unknown depth, or constant at 8 bits.
    """
    picture = stored_picture(path)
    samples = picture.samples if picture.palette is None else picture.palette[picture.samples[..., 0]]
    require_finite(samples, path)
    low, high = _range(picture, samples, intensity, path)
    exact = samples.dtype.itemsize <= 2 or samples.dtype == np.float32
    array: NDArray[Any] = samples.astype(np.float32 if exact else np.float64)
    if picture.white_is_zero:
        array = high - array
    elif low:
        array -= low
    array = (array / array.dtype.type(high - low)).astype(np.float32, copy=False)
    extent = f"values from {samples.min():g} to {samples.max():g}"
    if intensity is not None and intensity.bits is None:
        array = array.clip(0, 1)
    elif array.min() < 0 or array.max() > 1:
        raise DataError(
            f"{path} has {extent}, beyond 0 to {high:g}: write the values that become black and white in the "
            "domain's file, such as intensity = { window = [-160, 240] }, or the bits in use"
        )
    if _is_constant(array):
        raise DataError(
            f"{path} is constant at the 8 bits of a prepared image ({extent}): it shows nothing; replace it, or "
            "stretch it with intensity = { percentiles = [0.5, 99.5] }"
        )
    return _with_channels(array, channels, path)


def picture_values(path: Path) -> list[NDArray[Any]]:
    """Return the possible readings of a label or mask picture (H, W), likeliest first.

    Raises:
        DataError: unreadable, of several frames, turned, in colour, with varying alpha, or with NaN.
    """
    picture = stored_picture(path)
    samples, alpha = picture.samples, picture.alpha
    if alpha is not None and (alpha != alpha[0, 0]).any():
        raise DataError(
            f"{path} is transparent in places, and its values may be in its colours or in its alpha: save it as one "
            "grey value a pixel, without transparency"
        )
    if picture.ambiguous:
        raise DataError(f"{path} is {picture.ambiguous}: save it as a grey PNG, one value a pixel")
    if samples.shape[2] > 1 and (samples != samples[..., :1]).any():
        raise DataError(f"{path} is in colour; a label or mask is one grey value a pixel: convert it")
    require_finite(samples, path)
    if picture.palette is not None:
        return _palette_values(samples[..., 0], picture.palette)
    values = samples[..., 0]
    few = (
        picture.top < 255 and values.dtype == np.uint8
    )  # programs that stretch 1, 2 and 4 bits to 8 made the label map
    return [values, (values * (255 / picture.top)).round().astype(np.uint8)] if few else [values]


def _is_constant(array: NDArray[np.float32]) -> bool:
    for step in (16, 1):  # a sparse look settles almost every picture
        levels = np.rint(array[::step, ::step] * 255)
        if (levels != levels[:1, :1]).any():
            return False
    return True


def _range(picture: Picture, values: NDArray[Any], intensity: Intensity | None, path: Path) -> tuple[float, float]:
    """Return the stored values that become 0 and 1."""
    if intensity is None:
        _require_depth(picture, path)
        return 0, picture.top
    if intensity.window is not None:
        return intensity.window
    if intensity.percentiles is None:
        return 0, 2 ** (intensity.bits or 8) - 1
    low, high = np.percentile(values, intensity.percentiles)
    if low >= high:
        raise DataError(
            f"{path}: percentiles {list(intensity.percentiles)} of its values are all {low:g}: widen them"
        )
    return float(low), float(high)


def _require_depth(picture: Picture, path: Path) -> None:
    """Refuse integers of more than 8 bits that fill few of them: the camera's depth is unknown."""
    container = picture.top.bit_length()
    if container < 15:
        return
    least, peak = int(picture.samples.min()), int(picture.samples.max())
    used = peak.bit_length()
    if least < 0 or least == peak:
        return
    bright = int(np.percentile(picture.samples, 99.9, method="lower"))
    if container <= 16 and used >= LEAST_BITS and peak > HOT * bright:
        raise DataError(
            f"{path} has {picture.samples.dtype} values up to {peak}, and 99.9 % of them are at most {bright}, which "
            f"would keep {bright * 255 // picture.top + 1} grey levels of 256: a few outshine the rest. Say what "
            f"becomes black and white, with intensity = {{ percentiles = [0.5, 99.5] }}, or with bits = {container} "
            "if the picture is that dark"
        )
    if container <= 16 and used >= LEAST_BITS:
        return
    raise DataError(
        f"{path} has {picture.samples.dtype} values from {least} to {peak}: {used} bits in use, and by the file's "
        f"{container} bits it would keep {peak * 255 // picture.top + 1} grey levels of 256. Write the camera's bits "
        f"in the domain's file: intensity = {{ bits = {used} }}, or bits = {container} if the picture is that dark"
    )


def _with_channels(array: NDArray[np.float32], channels: int, path: Path) -> NDArray[np.float32]:
    k = array.shape[2]
    grey = k == 1 or bool((array == array[..., :1]).all())
    if k != channels and not grey:
        raise DataError(f"{path} is in colour ({k} channels) and the task has channels = {channels}: make them agree")
    picked = array if k == channels else np.repeat(array[..., :1], channels, axis=2)
    return np.moveaxis(picked, 2, 0)


def _palette_values(index: NDArray[Any], palette: NDArray[np.uint8]) -> list[NDArray[Any]]:
    used = palette[np.unique(index)]
    if (used != used[:, :1]).any():
        return [index]
    greys = palette[:, 0][index]
    # A palette from white to black would swap vessel and background if its indices were taken for values.
    rising = bool((np.diff(used[:, 0].astype(np.int64)) > 0).all())
    return [greys, index] if rising else [greys]
