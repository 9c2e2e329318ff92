"""The prediction of one case against its label: counts and metrics, for `bench rescore`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ssdg.datasets.base import Case, DataError

from ..data.decode import read_volume
from ..data.images import NativeImage, read_label, read_mask, read_prediction
from .metrics import find_metric
from .overlap import count
from .shapes import compute_classes


@dataclass(frozen=True, slots=True)
class CaseWork:
    """Files and metrics of a case, sent to a worker process."""

    case: Case
    prediction: Path
    label_map: Mapping[int, int]
    ndim: int
    classes: int
    names: tuple[str, ...]  # of metrics from masks


@dataclass(frozen=True, slots=True)
class CaseValues:
    """The results of a case, one entry per foreground class; or why there are none."""

    counts: Sequence[Sequence[int]] = ()  # as in cases.csv
    values: Mapping[str, Sequence[Mapping[str, float]]] = field(default_factory=dict)  # region -> class -> metric
    error: str = ""


def compute_case(work: CaseWork) -> CaseValues:
    """Return the counts and metrics of a case, or the error of a file that cannot be used."""
    try:
        return _compute(work)
    except (DataError, OSError, ValueError) as error:
        return CaseValues(error=f"case {work.case.id}: {error}")


def _compute(work: CaseWork) -> CaseValues:
    if work.case.label is None:
        raise DataError(f"{work.case.image} has no label")
    # As an image, because the label is checked against its grid.
    if work.ndim == 2:
        like = NativeImage(read_prediction(work.prediction)[None], None)
    else:
        like = NativeImage(*read_volume(work.prediction, channels=1))
    prediction = like.array[0].astype(np.uint8)
    label = read_label(work.case.label, work.label_map, like)
    foreground = read_mask(work.case.foreground, like) if work.case.foreground is not None else None
    counts = count(prediction, label, work.classes, foreground)
    metrics = [find_metric(name) for name in work.names]
    values = {"image": compute_classes(prediction, label, work.classes, like.spacing, metrics)}
    if work.ndim == 2:
        values["foreground"] = values["image"]
        if foreground is not None:
            inside = prediction * foreground, label * foreground
            values["foreground"] = compute_classes(*inside, work.classes, like.spacing, metrics)
    return CaseValues(counts.T[1:].tolist(), values)
