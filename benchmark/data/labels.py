"""Labels and masks of a case, on the grid of its image.

A file that cannot be used raises DataError naming it and the way out; nothing is repaired silently.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ssdg.datasets.base import Case, DataError, Domain, Layer

from ..errors import listed
from ..spec import PreprocessConfig
from .decode import read_volume, require_finite
from .images import NativeImage, on_grid
from .pictures import picture_values

LISTED = 5
"""Offending values that a message lists."""

ROUNDING = 1e-3
"""Distance from a whole number within which a value stored as float is that number."""

LEAST_INSIDE = 0.01
"""Part of a mask's positive values that is inside: hot voxels are fewer."""

MEDIAN = 5
"""Pixels of the side of the square whose median brightness is compared with a threshold."""


def label_map_of(domain: Domain, config: PreprocessConfig) -> Mapping[int, int]:
    """Return a domain's label map: the variant for ``preprocess.corpus_callosum`` where it has one."""
    return domain.label_variants.get(config.corpus_callosum, domain.label_map)


def read_label(case: Case, domain: Domain, image: NativeImage, config: PreprocessConfig) -> NDArray[np.uint8]:
    """Read a case's label on its image's grid as class indices (*S) uint8, by the domain's label map or layers.

    A 1-bit picture holds 0 and 1, or 0 and 255 if only that is in the map; a palette of greys stands for its greys,
    or for its indices if only those are in the map. Of layers the last lies on top, and what none marks is 0.

    Raises:
        DataError: no label, unreadable, on another grid, or with values that neither map nor layer knows.
    """
    if case.label is None:
        raise DataError(f"{case.image} has no label")
    if not domain.layers:
        remedy = "Map it in the domain's label_map, or repair the file (a label stored as JPEG needs `at_least`)"
        return mapped_values(case.label, domain, image, label_map_of(domain, config), remedy)
    label = np.zeros(image.shape, dtype=np.uint8)
    for path, layer in zip((case.label, *case.label_layers), domain.layers, strict=True):
        label[_layer_mask(path, layer, domain, image)] = layer.class_index
    return label


def read_mask(case: Case, domain: Domain, image: NativeImage) -> NDArray[np.bool_] | None:
    """Read a case's brain mask or field of view (*S): True above half of the file's largest value; None without one.

    Where the domain says so, the field of view is found in the picture instead.

    Raises:
        DataError: unreadable, on another grid than its image, empty, or a volume of several whole values: a map of
            tissues, half of whose largest number bounds nothing.
    """
    if case.foreground is None:
        return None if domain.field_of_view is None else _field_of_view(image, domain.field_of_view)
    values = _values_on_grid(case.foreground, image, domain)[0]
    top = values.max()
    if top <= 0:
        raise DataError(f"{case.foreground}: the mask is empty; repair it, or remove it to use the whole image")
    levels = _whole_levels(values) if image.affine is not None else ()
    if len(levels) > 2:
        raise DataError(
            f"{case.foreground}: a mask has two values, and this has {len(levels)}, "
            f"{listed([f'{value:g}' for value in levels], LISTED)}: if it is a map of parts of the inside, write "
            "what is above 0 into a file of its own"
        )
    inside, positive = values > top / 2, np.count_nonzero(values > 0)
    if np.count_nonzero(inside) < LEAST_INSIDE * positive:
        raise DataError(
            f"{case.foreground}: of {positive} values above 0 only {np.count_nonzero(inside)} are above half of the "
            f"largest ({top:g}), which are the inside of a mask: a few outshine the rest; repair the mask"
        )
    return np.asarray(inside)


def _whole_levels(values: NDArray[Any]) -> list[float]:
    """Return the distinct values of a mask if all are whole numbers but for rounding, else none."""
    ends = {float(np.rint(values.min())), float(np.rint(values.max()))}
    middle = values[(values > values.min()) & (values < values.max())]  # of most masks none: no sorting
    whole = np.rint(middle)
    return sorted(ends | set(np.unique(whole).tolist())) if (np.abs(middle - whole) <= ROUNDING).all() else []


def border_is_background(label: NDArray[np.uint8]) -> bool:
    """Tell whether most border pixels of a label (*S) are background; if not, its values may be swapped.

    In 3D the border is that of the planes of the two longest axes: the ends of a stack of slices may show an organ.
    """
    inner = [slice(1, -1)] * label.ndim
    if label.ndim == 3:
        inner[2 - int(np.argmin(label.shape[::-1]))] = slice(None)  # of equal axes the last is the stack's
    border = np.ones(label.shape, dtype=np.bool_)
    border[tuple(inner)] = False
    return bool(2 * np.count_nonzero(label[border]) <= np.count_nonzero(border))


def require_plausible_labels(domain: Domain, inverted: int, empty: int) -> None:
    """Raise DataError if most of a domain's labels mark the border, as swapped values do, or if all mark nothing.

    Args:
        domain: all of its cases were read.
        inverted: cases with a labelled border.
        empty: cases without a labelled voxel on the network's grid.
    """
    if empty and empty == len(domain.cases):
        raise DataError(
            f"{domain.name}: none of {empty} labels marks anything: do its label_map, or the at_least or values of "
            "its layers, fit the files?"
        )
    if domain.border == "background" and 2 * inverted > len(domain.cases):
        raise DataError(
            f"{domain.name}: in {inverted} of {len(domain.cases)} labels most of the image's border is no "
            "background: does the label map swap classes, or belong to another release? If it is right, say "
            'border = "any" for this domain'
        )


def _field_of_view(image: NativeImage, threshold: float) -> NDArray[np.bool_] | None:
    """Return the largest part of a picture (H, W) brighter than a threshold, holes filled; None: nothing is."""
    # The median takes out the noise and the ringing of JPEG outside; vessels and lesions inside are filled. It is
    # above the threshold where most of its pixels are, and their share takes a thirtieth of the time.
    above = (image.array.max(axis=0) > threshold).astype(np.float32)
    parts, count = ndimage.label(ndimage.uniform_filter(above, MEDIAN) > 0.5)
    if not count:
        return None
    largest = 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    return np.asarray(ndimage.binary_fill_holes(parts == largest))


def _values_on_grid(path: Path, image: NativeImage, domain: Domain) -> list[NDArray[Any]]:
    """Return the possible readings (*S) of a label or mask file, likeliest first."""
    if image.affine is None:
        return [on_grid(path, values[None], None, image, domain)[0] for values in picture_values(path)]
    array, affine = read_volume(path, channels=1)
    require_finite(array, path)
    return [on_grid(path, array, affine, image, domain)[0]]


def mapped_values(
    path: Path, domain: Domain, image: NativeImage, classes: Mapping[int, int], remedy: str
) -> NDArray[np.uint8]:
    """Return the classes (*S) of a label file's values by a map, which must have them all.

    Raises:
        DataError: unreadable, on another grid than its image, or with values that the map lacks.
    """
    tallies = [_tally(array) for array in _values_on_grid(path, image, domain)]
    for values, _, position in tallies:
        if all(value in classes for value in values):
            return np.asarray(np.array([classes[value] for value in values], dtype=np.uint8)[position])
    values, counts, _ = tallies[0]
    bad = [(value, count) for value, count in zip(values, counts, strict=True) if value not in classes]
    texts = listed([f"{value:g} ({count} times)" for value, count in bad], LISTED)
    mapped = ", ".join(map(str, sorted(classes)))
    raise DataError(f"{path}: values not in the label map: {texts}; known values: {mapped}. {remedy}")


def _layer_mask(path: Path, layer: Layer, domain: Domain, image: NativeImage) -> NDArray[np.bool_]:
    if layer.at_least is None:
        classes = {0: 0} | dict.fromkeys(layer.values, 1)
        remedy = "Add it to the layer's `values`, give `at_least` instead, or repair the file"
        return np.asarray(mapped_values(path, domain, image, classes, remedy) == 1)
    masks = [values >= layer.at_least for values in _values_on_grid(path, image, domain)]
    # A picture of 1 bit holds 1 or 255: the reading that reaches the least value is the one it was written for.
    return np.asarray(next((mask for mask in masks if mask.any()), masks[0]))


def _tally(values: NDArray[Any]) -> tuple[list[Any], list[int], NDArray[Any]]:
    """Return the distinct values, how often each occurs, and for every voxel its value's position among them."""
    if values.dtype.kind == "f":
        rounded = np.rint(values)
        # Labels stored as float carry rounding such as 1.00000006; anything further off is a value of its own.
        if np.abs(values - rounded).max() <= ROUNDING and float(np.abs(rounded).max()) < 2**31:
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
