"""The worst cases on each target as thumbnails: input, label, prediction and errors, drawn as in a figure.

Images are read again from the data sets, as results hold predictions alone. Data that are missing, or not those that
were scored, do not fail a report: the thumbnails are left out and the reason is given.
"""

import base64
import io
from collections.abc import Iterator
from dataclasses import replace
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ssdg.datasets.base import DataError, Domain, Task

from ..data.images import file_ndim
from ..errors import UsageError
from ..figures.case_view import RGB, class_colours, error_colours, painted, pixel_errors, stored_prediction, view_case
from ..figures.prediction_cases import scored_runs
from ..outcomes.results import SuiteResults
from ..scoring.case_file import CaseFile
from ..spec import RunRequest
from ..storage.run_folder import prediction_path
from ..suites.suite import Column, Row
from ..tables.build import Table
from ..tables.significance import best_first
from .sections import overall, seed_means

WORST = 3  # cases of a row and target that are shown
SIDE = 320  # pixels of a thumbnail's longer side
QUALITY = 78  # of input images as WebP; drawn classes keep the colours of the key: they are stored without loss


def worst_of_targets(table: Table, results: SuiteResults, baseline: Row | None, root: Path) -> list[dict[str, Any]]:
    """Return the worst cases on each target, of the best contender and of the baseline, as the page reads them.

    The table of DSC says which row is best; ``root`` is the folder of the data sets.
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
        worst = [(row.label, why, list(_cases(row, column, results, task, domain))) for row, why in rows]
        terms = "" if domain is None else f"{domain.source}. Terms: {domain.licence}"
        targets.append({"label": column.label, "reason": reason, "terms": terms, "colours": colours, "rows": worst})
    return targets


def _shown_rows(table: Table, column: Column, baseline: Row | None) -> list[tuple[Row, str]]:
    cells = {row.row.id: overall(row, column).cell for row in table.rows}
    rows = [row.row for row in table.rows if cells[row.row.id].mean is not None]
    shown = best_first(rows, [cells[row.id] for row in rows]) if rows else []
    why = "highest mean"
    if not shown:
        shown = sorted((r for r in rows if r.contender), key=lambda row: cells[row.id].state != "complete")
        why = "only complete row" if shown and cells[shown[0].id].state == "complete" else "no row is complete"
    if shown[:1] == [baseline]:
        return [(shown[0], f"{why}, and the baseline")]
    return [*((row, why) for row in shown[:1]), *((row, "baseline") for row in rows if shown and row == baseline)]


def _cases(
    row: Row, column: Column, results: SuiteResults, task: Task, domain: Domain | None
) -> Iterator[dict[str, Any]]:
    """Yield the cases with the lowest mean over a row's complete seeds, each as its worst seed left it."""
    scores = results.row_scores(row, column)
    by_seed, means = 100 * scores.case_means(), 100 * seed_means(scores)
    evaluations = [
        (run.request, evaluation.path, results.counts.case_file(evaluation))
        for run, evaluation in scored_runs(results, row, column)
    ]
    defined = [index for index in range(len(scores.cases)) if not isnan(means[index])]
    for index in sorted(defined, key=lambda index: (means[index], scores.cases[index]))[:WORST]:
        position = int(np.nanargmin(by_seed[:, index]))
        seed, case = scores.seeds[position], scores.cases[index]
        request, path, counts = next(
            (request, path, file)  # of the seed's folds the one that scored the case
            for request, path, file in evaluations
            if request.seed == seed and case in file.layout.cases
        )
        pictures, reason = [], ""
        if domain is not None:
            try:
                pictures = _thumbnails(row, case, task, domain, request, path, counts)
            except (DataError, UsageError) as error:
                reason = str(error)
        yield {
            **{"case": case, "seed": seed, "score": by_seed[position, index], "mean": means[index]},
            **{"pictures": pictures, "reason": reason},
        }


def _thumbnails(
    row: Row, name: str, task: Task, domain: Domain, request: RunRequest, evaluation: Path, counts: CaseFile
) -> list[dict[str, Any]]:
    case = next((case for case in domain.cases if case.id == name and case.label is not None), None)
    if case is None:
        raise UsageError(f"{domain.name} has no labelled case {name!r}: these are not the data that were scored")
    path = prediction_path(evaluation, name, file_ndim(task, domain))
    if not path.exists():
        raise UsageError(f"{path} is missing: the prediction was removed, or not copied with the results")
    view = view_case(case, domain, task, request.preprocess)
    prediction = stored_prediction(path, name, domain, view, counts)
    if view.label.ndim == 3:
        view = replace(view, window=(*view.window[:-1], worst_slice(view.label, prediction)))
    label, predicted = view.plane(view.label), view.plane(prediction)
    places = pixel_errors(label, predicted, view.inside(request.evaluation.region))
    classes, errors = class_colours(task), error_colours(task)
    of = f"case {name} of {domain.name}"
    tallies = ", ".join(f"{(places == place).sum()} {outcome}" for place, outcome in enumerate(errors, start=1))
    pictures = {
        "Input": (f"Image, {of}", view.picture()),
        "Label": (f"Label, {of}", painted(label, classes)),
        "Prediction": (f"Prediction of {row.label}, {of}", painted(predicted, classes)),
        "Errors": (f"Errors of {row.label}, {of}, in pixels: {tallies}", painted(places, errors)),
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
