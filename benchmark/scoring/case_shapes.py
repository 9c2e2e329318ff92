"""One case for `bench rescore`, in a process of its own: its prediction against its label, counted and measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.affines import voxel_sizes
from numpy.typing import NDArray

from ssdg.datasets.base import Case, DataError

from ..data.decode import read_volume
from ..data.images import NativeImage, read_label, read_mask, read_prediction
from .overlap import Counts, count
from .shapes import measure_classes


@dataclass(frozen=True, slots=True)
class CaseWork:
    """What to read and to compute; plain data, to be sent to a process."""

    case: Case
    prediction: Path
    label_map: Mapping[int, int]
    ndim: int
    classes: int
    names: tuple[str, ...]  # of measures


@dataclass(frozen=True, slots=True)
class CaseShapes:
    """What was found, one entry a foreground class; or why nothing was."""

    counts: tuple[tuple[int, ...], ...] = ()  # as in cases.csv
    values: tuple[Mapping[str, float], ...] = ()  # by column of shapes.csv
    error: str = ""


def measure_case(work: CaseWork) -> CaseShapes:
    """Return the counts and measures of a case; files that cannot be used are told, not raised."""
    try:
        return _measure(work)
    except (DataError, OSError, ValueError) as error:
        return CaseShapes(error=f"case {work.case.id}: {error}")


def _measure(work: CaseWork) -> CaseShapes:
    if work.case.label is None:
        raise DataError(f"{work.case.image} has no label")
    like = _as_image(work.prediction, work.ndim)
    prediction = like.array[0].astype(np.uint8)
    label = read_label(work.case.label, work.label_map, like)
    foreground = read_mask(work.case.foreground, like) if work.case.foreground is not None else None
    counts = count(prediction, label, work.classes, foreground)

    def measured(where: Any) -> list[dict[str, float]]:
        return measure_classes(prediction * where, label * where, work.classes, like.spacing, work.names)

    regions = {"image": measured(np.uint8(1))}
    if work.ndim == 2:
        regions["foreground"] = regions["image"] if foreground is None else measured(foreground)
    values = tuple(
        {f"{name}_{region}": value for region, found in regions.items() for name, value in found[index].items()}
        for index in range(work.classes - 1)
    )
    return CaseShapes(_by_class(counts), values)


def _as_image(path: Path, ndim: int) -> NativeImage:
    """Return a prediction as the image whose grid it was written in: labels are checked against that.

    Raises:
        DataError: unreadable or truncated.
    """
    if ndim == 2:
        array: NDArray[Any] = read_prediction(path)[None]
        return NativeImage(array, None, (1.0, 1.0))
    array, affine = read_volume(path, channels=1)
    return NativeImage(array, affine, tuple(float(size) for size in voxel_sizes(affine)))


def _by_class(counts: Counts) -> tuple[tuple[int, ...], ...]:
    """Return the counts of each foreground class in the order of ``cases.csv``."""
    columns = (counts.tp, counts.fp, counts.fn, counts.tp_outside, counts.fp_outside, counts.fn_outside)
    return tuple(tuple(int(column[index]) for column in columns) for index in range(1, len(counts.tp)))
