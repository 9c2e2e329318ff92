"""Overlap of a predicted and a true label map: integer counts per class, and coefficients from them.

Results store counts of each case, so that region, empty-class rule and averaging are applied later.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

Empty: TypeAlias = Literal["skip", "one", "zero-fp"]
"""Score of a class in a case whose label lacks it; see :func:`apply_empty_rule`."""

Values: TypeAlias = NDArray[np.float64]


def count(
    prediction: NDArray[Any],
    label: NDArray[Any],
    classes: int,
    foreground: NDArray[np.bool_] | None = None,
    regions: Iterable[Sequence[int]] | None = None,
) -> NDArray[np.int64]:
    """Return the six counts of ``cases.csv`` for each region, a union of classes: (6, regions).

    Args:
        prediction: (*S) class indices.
        label: (*S), likewise.
        classes: background included.
        foreground: (*S) field of view or brain; None: everything is inside.
        regions: class indices of each; None: every class is one, background included.

    Raises:
        ValueError: shapes differ, or a value is not one of the classes.
    """
    for name, array in (("prediction", prediction), ("label", label)):
        _check_indices(name, array, classes)
    if prediction.shape != label.shape or (foreground is not None and foreground.shape != label.shape):
        shapes = [array.shape for array in (prediction, label, foreground) if array is not None]
        raise ValueError(f"prediction, label and foreground have different shapes: {', '.join(map(str, shapes))}")
    # One index per voxel into (region, true class, predicted class), in the smallest type that holds it.
    kind = np.uint16 if 2 * classes**2 <= 2**16 else np.int64
    outcome: NDArray[Any] = label.astype(kind)
    outcome *= classes
    outcome += prediction.astype(kind, copy=False)
    if foreground is not None:
        outside: NDArray[Any] = (~foreground.astype(bool, copy=False)).astype(kind)
        outside *= classes**2
        outcome += outside
    table = np.bincount(outcome.ravel(), minlength=2 * classes**2).astype(np.int64).reshape(2, classes, classes)
    members = np.array([np.isin(range(classes), region) for region in regions or zip(range(classes))], dtype=np.int64)
    tp = np.einsum("rt,xtp,rp->xr", members, table, members)
    predicted, true = table.sum(axis=1) @ members.T, table.sum(axis=2) @ members.T
    return np.stack([tp, predicted - tp, true - tp], axis=1).reshape(6, len(members))


def dice(tp: Values, fp: Values, fn: Values) -> Values:
    """Return 2 tp / (2 tp + fp + fn); NaN where all are 0."""
    return _ratio(2 * tp, 2 * tp + fp + fn)


def sensitivity(tp: Values, _fp: Values, fn: Values) -> Values:
    """Return tp / (tp + fn); NaN for a class that the label lacks."""
    return _ratio(tp, tp + fn)


def precision(tp: Values, fp: Values, _fn: Values) -> Values:
    """Return tp / (tp + fp); 0 for a class that only the prediction lacks, so that missing it never pays."""
    return np.where(tp + fp == 0, 0.0, _ratio(tp, tp + fp))


def volume_similarity(tp: Values, fp: Values, fn: Values) -> Values:
    """Return 1 - |fp - fn| / (2 tp + fp + fn), which compares sizes and not positions.

    Source: Taha and Hanbury, Metrics for evaluating 3D medical image segmentation, BMC Medical Imaging 2015.
    """
    return 1 - _ratio(np.abs(fp - fn), 2 * tp + fp + fn)


def apply_empty_rule(values: Values, tp: ArrayLike, fp: ArrayLike, fn: ArrayLike, empty: Empty) -> Values:
    """Return values with those of classes that the label lacks replaced; arrays broadcast.

    "skip": NaN (left out of means). "zero-fp": NaN if the prediction lacks the class too, else 0 (a false positive).
    "one": 1 if the prediction lacks it too, else 0. ValueError for another rule.
    """
    if empty not in get_args(Empty):
        raise ValueError(f"no rule {empty!r} for empty classes; known are {', '.join(get_args(Empty))}")
    both_empty = 1.0 if empty == "one" else np.nan
    false_positive = np.nan if empty == "skip" else 0.0
    lacking = np.asarray(tp) + np.asarray(fn) == 0
    return np.where(lacking, np.where(np.asarray(fp) == 0, both_empty, false_positive), values)


def _ratio(part: Values, whole: Values) -> Values:
    return part / np.where(whole == 0, np.nan, whole)


def _check_indices(name: str, array: NDArray[Any], classes: int) -> None:
    if array.dtype.kind not in "bui":
        raise ValueError(f"{name} holds {array.dtype}, not class indices")
    if array.size and (array.min() < 0 or array.max() >= classes):
        foreign = [int(value) for value in np.unique(array) if not 0 <= value < classes]
        raise ValueError(f"{name} has values outside the {classes} classes 0..{classes - 1}: {foreign[:8]}")
