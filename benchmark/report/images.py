"""The cases that went worst, as small pictures: input, label, prediction, and where the two differ.

Pictures are read again from the data sets: results hold predictions alone. Data that are not there, or not the ones
that were scored, are no error of a report: they are left out, and the reason is given.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ssdg.datasets.base import Case, DataError, Domain, Task

from ..data.images import read_prediction
from ..errors import UsageError
from ..figures.case_view import RGB, CaseView, require_counts, view_case
from ..figures.style import AREAS, ORANGE, PURPLE, SKY
from ..spec import RunRequest
from ..storage.results_reader import StoredEvaluation
from ..storage.run_folder import prediction_path

SIDE = 320
"""Pixels of a picture's longer side."""

QUALITY = 78
"""Of WebP: what it loses does not show in pictures this small."""

WHITE = "#F5F5F5"

ERROR_COLOURS = {
    "true positive": WHITE,
    "false positive": ORANGE,
    "false negative": SKY,
    "another class": PURPLE,
}
"""What is right is grey, so that errors alone have colours; "another class" only where there are several."""


class NoPicture(Exception):
    """A case cannot be shown; the message says why."""


@dataclass(frozen=True, slots=True)
class WorstCase:
    """A case to show: which one, how it was scored, and where its prediction is kept."""

    case: str
    score: float  # percent, of this seed
    mean: float  # percent, over the seeds: what makes it one of the worst
    seed: int
    method: str  # label of the row
    evaluation: StoredEvaluation
    request: RunRequest


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of a case."""

    caption: str
    alt: str
    uri: str  # data:
    width: int
    height: int


def class_colours(classes: Sequence[str]) -> dict[str, str]:
    """Return the colour of each foreground class; a single one is white, more than seven repeat."""
    if len(classes) == 1:
        return {classes[0]: WHITE}
    return {name: AREAS[index % len(AREAS)] for index, name in enumerate(classes)}


def error_colours(classes: Sequence[str]) -> dict[str, str]:
    """Return the colour of each outcome in a task with these foreground classes."""
    return {name: c for name, c in ERROR_COLOURS.items() if len(classes) > 1 or name != "another class"}


def pictures(wanted: WorstCase, task: Task, domain: Domain) -> list[Picture]:
    """Return input, label, prediction and errors of a case; of a volume one axial slice.

    Args:
        wanted: the case.
        task: its classes and dimensions.
        domain: as found on disk.

    Raises:
        NoPicture: the case is not there, cannot be read, or is not the one that was scored.
    """
    case = next((case for case in domain.cases if case.id == wanted.case and case.label is not None), None)
    if case is None:
        raise NoPicture(
            f"{domain.name} has no labelled case {wanted.case!r}: these are not the data that were scored"
        )
    try:
        view, predicted = _read(wanted, case, task, domain)
    except (DataError, UsageError) as error:
        raise NoPicture(str(error)) from None
    if task.ndim == 3:
        view = replace(view, window=(*view.window[:-1], worst_slice(view.label, predicted)))
    classes = task.classes[1:]
    label, drawn, image = view.plane(view.label), view.plane(predicted), view.picture()
    outcome = _outcome(label, drawn, _counted(view, wanted, task))
    colours = list(class_colours(classes).values())
    of = f"case {wanted.case} of {domain.name}"
    found = ", ".join(f"{(outcome == i).sum()} {name}" for i, name in enumerate(error_colours(classes), start=1))
    panels = {
        "Input": (f"Image, {of}", image),
        "Label": (f"Label, {of}", _painted(label, colours)),
        "Prediction": (f"Prediction of {wanted.method}, {of}", _painted(drawn, colours)),
        "Errors": (f"Errors of {wanted.method}, {of}, in pixels: {found}", _errors_over(image, outcome)),
    }
    return [_picture(caption, alt, pixels, view.aspect) for caption, (alt, pixels) in panels.items()]


def worst_slice(label: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> int:
    """Return the axial slice of volumes (X, Y, Z) with the most wrong voxels among those that show much of the label.

    Much is half as many labelled voxels as the slice with the most: a slice beside the brain, where a prediction may
    be all wrong, shows nothing to learn from.
    """
    labelled = (label > 0).sum(axis=(0, 1))
    wrong = (label != predicted).sum(axis=(0, 1))
    return int(np.where(2 * labelled >= labelled.max(), wrong, -1).argmax())


def _read(wanted: WorstCase, case: Case, task: Task, domain: Domain) -> tuple[CaseView, NDArray[np.uint8]]:
    path = prediction_path(wanted.evaluation.path, wanted.case, task.ndim)
    if not path.exists():
        raise NoPicture(f"{path} is missing: the prediction was removed, or not copied with the results")
    view = view_case(case, domain, task, wanted.request.preprocess)
    predicted = read_prediction(path)
    rows = [row for row in wanted.evaluation.rows() if row["case"] == wanted.case]
    require_counts(view, predicted, rows, len(task.classes), str(path))
    return view, predicted


def _counted(view: CaseView, wanted: WorstCase, task: Task) -> NDArray[np.bool_]:
    """Return which of the shown pixels count: volumes are scored whole, pictures perhaps in their field of view."""
    everything = np.ones(view.plane(view.label).shape, dtype=np.bool_)
    if task.ndim == 3 or wanted.request.evaluation.region == "image" or view.foreground is None:
        return everything
    return view.plane(view.foreground)


def _outcome(label: NDArray[np.uint8], predicted: NDArray[np.uint8], counted: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return 0 for agreed background and what is not counted, else the place in ``ERROR_COLOURS``, from 1."""
    kind = np.zeros(label.shape, dtype=np.uint8)
    kind[(label > 0) & (predicted == label)] = 1
    kind[(label == 0) & (predicted > 0)] = 2
    kind[(label > 0) & (predicted == 0)] = 3
    kind[(label > 0) & (predicted > 0) & (predicted != label)] = 4
    return np.where(counted, kind, 0).astype(np.uint8)


def _painted(classes: NDArray[np.uint8], colours: Sequence[str]) -> RGB:
    """Return classes in their colours on black."""
    return _palette(colours)[classes]


def _errors_over(image: RGB, outcome: NDArray[np.uint8]) -> RGB:
    """Return outcomes in their colours over the picture, which is made grey and dim."""
    grey = np.repeat(0.4 * image.mean(axis=-1, keepdims=True), 3, axis=-1).astype(np.uint8)
    return np.where(outcome[..., None] > 0, _palette(list(ERROR_COLOURS.values()))[outcome], grey)


def _palette(colours: Sequence[str]) -> RGB:
    return np.array([(0, 0, 0), *(tuple(bytes.fromhex(colour[1:])) for colour in colours)], dtype=np.uint8)


def _picture(caption: str, alt: str, pixels: RGB, aspect: float) -> Picture:
    size = (SIDE, max(1, round(SIDE * aspect))) if aspect <= 1 else (max(1, round(SIDE / aspect)), SIDE)
    # Averaging keeps vessels thinner than a pixel; the voxels of a coarse volume stay voxels.
    kind = Image.Resampling.BOX if size[0] < pixels.shape[1] else Image.Resampling.NEAREST
    content = io.BytesIO()
    drawn = Image.fromarray(np.ascontiguousarray(pixels)).resize(size, kind)
    drawn.save(content, format="WEBP", quality=QUALITY, method=6)
    return Picture(caption, alt, f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}", *size)
