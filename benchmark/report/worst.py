"""The worst cases on each target as thumbnails: input, label, prediction and errors, drawn as in a figure.

Images are read again from the data sets, as results hold predictions alone. Data that are missing, or not those that
were scored, do not fail a report: the thumbnails are left out and the reason is given.
"""

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ssdg.datasets.base import Case, DataError, Domain, Task

from ..errors import UsageError
from ..figures.case_view import RGB, class_colours, error_colours, outcomes, painted, stored_prediction, view_case
from ..outcomes.results import SuiteResults
from ..scoring.case_file import CaseFile
from ..spec import RunRequest
from ..storage.run_folder import prediction_path
from ..suites.suite import Column, Row
from ..tables.build import Table
from .sections import overall, seed_means

WORST = 3
"""Cases of a row and target that are shown."""

SIDE = 320
"""Pixels of a thumbnail's longer side."""

QUALITY = 78
"""WebP quality of input images; drawn classes are stored without loss, so that their colours are those of the key."""


@dataclass(frozen=True, slots=True)
class WorstCase:
    """A case to show, its score and its stored prediction."""

    case: str
    score: float  # percent, of this seed
    mean: float  # percent, over the seeds: what makes it one of the worst
    method: str  # label of the row
    request: RunRequest
    prediction: Path
    counts: CaseFile


def worst_of_targets(table: Table, results: SuiteResults, baseline: Row | None, root: Path) -> list[dict[str, Any]]:
    """Return the worst cases on each target, of the best contender and of the baseline, as the page reads them.

    Args:
        table: of DSC; says which row is best.
        results: that it was made from.
        baseline: the row that others are compared with, if there is one.
        root: the folder of the data sets.
    """
    targets = []
    for column in table.suite.columns:
        rows = _shown_rows(table, column, baseline)
        if not rows:
            continue
        task = results.inventory.task(column.task)
        domain, reason = None, ""
        try:
            domain = task.domain(column.target)(root)
        except DataError as error:
            reason = str(error).partition("\n")[0]
        colours = {"Errors": error_colours(task)}
        if len(task.classes) > 2:
            colours = {"Label and prediction": class_colours(task), **colours}
        worst = [
            (row.label, why, [(case, *_pictures(case, task, domain)) for case in _cases(row, column, results)])
            for row, why in rows
        ]
        terms = "" if domain is None else f"{domain.source}. Terms: {domain.licence}"
        targets.append({"label": column.label, "reason": reason, "terms": terms, "colours": colours, "rows": worst})
    return targets


def _shown_rows(table: Table, column: Column, baseline: Row | None) -> list[tuple[Row, str]]:
    """Return the rows shown and why: the best that saw the source alone, and the baseline; none without a best."""
    means = [(mean, row.row) for row in table.rows if (mean := overall(row, column).cell.mean) is not None]
    ranked = [(mean, row) for mean, row in means if row.contender]
    if not ranked:
        return []
    _, best = max(ranked, key=lambda pair: pair[0])
    if best == baseline:
        return [(best, "highest mean, and the baseline")]
    return [(best, "highest mean"), *((row, "baseline") for _, row in means if row == baseline)]


def _cases(row: Row, column: Column, results: SuiteResults) -> Iterator[WorstCase]:
    """Yield the cases with the lowest mean over a row's complete seeds, each as its worst seed left it."""
    scores = results.row_scores(row, column)
    by_seed, means = 100 * scores.case_means(), 100 * seed_means(scores)
    evaluations = [
        (run.request, evaluation.path, results.counts.case_file(evaluation))
        for run in results.counts.runs_of(row, column)
        if (evaluation := run.evaluation(column.target)) is not None
    ]
    ndim = results.inventory.task(column.task).ndim
    defined = [index for index in range(len(scores.cases)) if not isnan(means[index])]
    for index in sorted(defined, key=lambda index: (means[index], scores.cases[index]))[:WORST]:
        position = int(np.nanargmin(by_seed[:, index]))
        seed, case = scores.seeds[position], scores.cases[index]
        request, path, counts = next(
            (request, path, file)  # of the seed's folds the one that scored the case
            for request, path, file in evaluations
            if request.seed == seed and case in file.layout.cases
        )
        score, mean = float(by_seed[position, index]), float(means[index])
        yield WorstCase(case, score, mean, row.label, request, prediction_path(path, case, ndim), counts)


def _pictures(worst: WorstCase, task: Task, domain: Domain | None) -> tuple[list[dict[str, Any]], str]:
    """Return a case's thumbnails, or the reason for their absence where the domain is on disk."""
    if domain is None:
        return [], ""
    case = next((case for case in domain.cases if case.id == worst.case and case.label is not None), None)
    if case is None:
        return [], f"{domain.name} has no labelled case {worst.case!r}: these are not the data that were scored"
    if not worst.prediction.exists():
        return [], f"{worst.prediction} is missing: the prediction was removed, or not copied with the results"
    try:
        return _thumbnails(worst, case, task, domain), ""
    except (DataError, UsageError) as error:
        return [], str(error)


def _thumbnails(worst: WorstCase, case: Case, task: Task, domain: Domain) -> list[dict[str, Any]]:
    view = view_case(case, domain, task, worst.request.preprocess)
    prediction = stored_prediction(worst.prediction, worst.case, domain, view, worst.counts)
    if task.ndim == 3:
        view = replace(view, window=(*view.window[:-1], worst_slice(view.label, prediction)))
    label, predicted = view.plane(view.label), view.plane(prediction)
    places = outcomes(label, predicted, view.inside(worst.request.evaluation.region))
    classes, errors = class_colours(task), error_colours(task)
    of = f"case {worst.case} of {domain.name}"
    counts = ", ".join(f"{(places == place).sum()} {name}" for place, name in enumerate(errors, start=1))
    pictures = {
        "Input": (f"Image, {of}", view.picture()),
        "Label": (f"Label, {of}", painted(label, classes)),
        "Prediction": (f"Prediction of {worst.method}, {of}", painted(predicted, classes)),
        "Errors": (f"Errors of {worst.method}, {of}, in pixels: {counts}", painted(places, errors)),
    }
    return [
        {"caption": caption, "alt": alt, **_encoded(pixels, view.aspect, lossless=caption != "Input")}
        for caption, (alt, pixels) in pictures.items()
    ]


def worst_slice(label: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> int:
    """Return the axial slice of volumes (X, Y, Z) with the most wrong voxels among those that show much of the label.

    Much is half as many labelled voxels as the slice with the most: a slice at the edge of the brain, where a
    prediction may be all wrong, teaches nothing.
    """
    labelled = (label > 0).sum(axis=(0, 1))
    wrong = (label != predicted).sum(axis=(0, 1))
    return int(np.where(2 * labelled >= labelled.max(), wrong, -1).argmax())


def _encoded(pixels: RGB, aspect: float, lossless: bool) -> dict[str, Any]:
    size = (SIDE, max(1, round(SIDE * aspect))) if aspect <= 1 else (max(1, round(SIDE / aspect)), SIDE)
    # Averaging keeps vessels thinner than a pixel; the voxels of a coarse volume stay voxels.
    kind = Image.Resampling.BOX if size[0] < pixels.shape[1] else Image.Resampling.NEAREST
    content = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels)).resize(size, kind)
    image.save(content, format="WEBP", quality=QUALITY, method=6, lossless=lossless)
    uri = f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}"
    return {"uri": uri, "width": size[0], "height": size[1]}
