"""The counts of one case, as ``cases.csv`` has them: of a run's prediction, or of another program's."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssdg.datasets.base import Case, Domain, Task

from ..data.images import NativeImage
from ..data.labels import read_label, read_mask
from ..spec import PreprocessConfig
from ..storage.run_folder import CASE_COLUMNS
from .overlap import count


def count_case(
    predicted: NDArray[np.uint8], case: Case, domain: Domain, task: Task, image: NativeImage, config: PreprocessConfig
) -> tuple[NDArray[np.uint8], list[dict[str, Any]]]:
    """Return a prediction (*S) as it is scored, on the grid of its image, and its rows of ``cases.csv``.

    Raises:
        DataError: a label or mask that cannot be used.
    """
    label = read_label(case, domain, image, config)
    if domain.slices is not None and domain.slices.crop == "labelled":
        predicted = _within_labelled_slices(predicted, label, domain.slices.axis)
    counts = count(predicted, label, len(task.classes), read_mask(case, domain, image), task.scored.values())
    return predicted, [
        dict(zip(CASE_COLUMNS, (case.id, case.stratum, index, region, *values), strict=True))
        for index, (region, values) in enumerate(zip(task.scored, counts.T.tolist(), strict=True), start=1)
    ]


def _within_labelled_slices(predicted: NDArray[np.uint8], label: NDArray[np.uint8], axis: int) -> NDArray[np.uint8]:
    """Return a prediction cleared before the first and after the last labelled slice."""
    labelled = np.flatnonzero(label.any(axis=tuple(other for other in range(3) if other != axis)))
    kept = np.zeros_like(predicted)
    if len(labelled):
        inside: list[slice] = [slice(None)] * 3
        inside[axis] = slice(int(labelled[0]), int(labelled[-1]) + 1)
        kept[tuple(inside)] = predicted[tuple(inside)]
    return kept
