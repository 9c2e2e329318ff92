"""The worst cases as thumbnails: input, label, prediction and errors, drawn as in a figure.

Images are read again from the data sets, as results hold predictions alone. Data that are missing, or not those that
were scored, do not fail a report: the thumbnails are left out and the reason is given.
"""

import base64
import io
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ssdg.datasets.base import Case, DataError, Domain, Task

from ..data.images import read_prediction
from ..errors import UsageError
from ..figures.case_view import (
    RGB,
    CaseView,
    class_colours,
    error_colours,
    outcomes,
    painted,
    require_counts,
    view_case,
)
from ..spec import RunRequest
from ..storage.results_reader import StoredEvaluation
from ..storage.run_folder import prediction_path

SIDE = 320
"""Pixels of a thumbnail's longer side."""

QUALITY = 78
"""WebP quality of input images; drawn classes are stored without loss, so that their colours are those of the key."""


class NoPicture(Exception):
    """A case cannot be shown; the message says why."""


@dataclass(frozen=True, slots=True)
class WorstCase:
    """A case to show, its score and its stored prediction."""

    case: str
    score: float  # percent, of this seed
    mean: float  # percent, over the seeds: what makes it one of the worst
    seed: int
    method: str  # label of the row
    evaluation: StoredEvaluation
    request: RunRequest


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A picture of a case, as part of a page."""

    caption: str
    alt: str
    uri: str  # data:
    width: int
    height: int


def colour_keys(task: Task) -> dict[str, dict[str, str]]:
    """Return the keys of a task's thumbnails: what a key explains -> name -> colour."""
    classes = {"Label and prediction": class_colours(task)} if len(task.classes) > 2 else {}
    return {**classes, "Errors": error_colours(task)}


def thumbnails(worst: WorstCase, task: Task, domain: Domain) -> list[Thumbnail]:
    """Return input, label, prediction and errors of a case; of a volume one axial slice.

    Args:
        worst: the case.
        task: its classes and dimensions.
        domain: as found on disk.

    Raises:
        NoPicture: the case is missing, cannot be read, or is not the one that was scored.
    """
    case = next((case for case in domain.cases if case.id == worst.case and case.label is not None), None)
    if case is None:
        raise NoPicture(f"{domain.name} has no labelled case {worst.case!r}: these are not the data that were scored")
    try:
        view, prediction = _read(worst, case, task, domain)
    except (DataError, UsageError) as error:
        raise NoPicture(str(error)) from None
    if task.ndim == 3:
        view = replace(view, window=(*view.window[:-1], worst_slice(view.label, prediction)))
    label, predicted = view.plane(view.label), view.plane(prediction)
    places = outcomes(label, predicted, view.inside(worst.request.evaluation.region))
    classes, errors = class_colours(task), error_colours(task)
    of = f"case {worst.case} of {domain.name}"
    counts = ", ".join(f"{(places == place).sum()} {name}" for place, name in enumerate(errors, start=1))
    return [
        _thumbnail("Input", f"Image, {of}", view.picture(), view.aspect, lossless=False),
        _thumbnail("Label", f"Label, {of}", painted(label, classes), view.aspect),
        _thumbnail("Prediction", f"Prediction of {worst.method}, {of}", painted(predicted, classes), view.aspect),
        _thumbnail(
            "Errors", f"Errors of {worst.method}, {of}, in pixels: {counts}", painted(places, errors), view.aspect
        ),
    ]


def worst_slice(label: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> int:
    """Return the axial slice of volumes (X, Y, Z) with the most wrong voxels among those that show much of the label.

    Much is half as many labelled voxels as the slice with the most: a slice at the edge of the brain, where a
    prediction may be all wrong, teaches nothing.
    """
    labelled = (label > 0).sum(axis=(0, 1))
    wrong = (label != predicted).sum(axis=(0, 1))
    return int(np.where(2 * labelled >= labelled.max(), wrong, -1).argmax())


def _read(worst: WorstCase, case: Case, task: Task, domain: Domain) -> tuple[CaseView, NDArray[np.uint8]]:
    path = prediction_path(worst.evaluation.path, worst.case, task.ndim)
    if not path.exists():
        raise NoPicture(f"{path} is missing: the prediction was removed, or not copied with the results")
    view = view_case(case, domain, task, worst.request.preprocess)
    prediction = read_prediction(path)
    rows = [row for row in worst.evaluation.rows() if row["case"] == worst.case]
    require_counts(view, prediction, rows, len(task.classes), str(path))
    return view, prediction


def _thumbnail(caption: str, alt: str, pixels: RGB, aspect: float, lossless: bool = True) -> Thumbnail:
    size = (SIDE, max(1, round(SIDE * aspect))) if aspect <= 1 else (max(1, round(SIDE / aspect)), SIDE)
    # Averaging keeps vessels thinner than a pixel; the voxels of a coarse volume stay voxels.
    kind = Image.Resampling.BOX if size[0] < pixels.shape[1] else Image.Resampling.NEAREST
    content = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels)).resize(size, kind)
    image.save(content, format="WEBP", quality=QUALITY, method=6, lossless=lossless)
    return Thumbnail(caption, alt, f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}", *size)
