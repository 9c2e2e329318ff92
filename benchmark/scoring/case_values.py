"""The prediction of one case against its label: counts and metrics, for `bench rescore`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ssdg.datasets.base import Case, DataError, Domain, Task

from ..data.images import read_image, read_prediction
from ..data.labels import read_label, read_mask
from ..spec import PreprocessConfig
from .metrics import find_metric
from .overlap import count
from .shapes import compute_classes


@dataclass(frozen=True, slots=True)
class CaseWork:
    """Files and metrics of a case, sent to a worker process."""

    case: Case
    prediction: Path
    domain: Domain  # without its cases, which every worker would be sent
    task: Task  # without its loaders
    preprocess: PreprocessConfig
    names: tuple[str, ...]  # of metrics from masks


@dataclass(frozen=True, slots=True)
class CaseValues:
    """The results of a case, one entry per scored region; or why there are none."""

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
    # In place of the image: the label is checked against its grid.
    like = read_prediction(work.prediction, work.domain)
    prediction = like.array[0]
    label = read_label(work.case, work.domain, like, work.preprocess)
    seen = read_image(work.case, work.domain, work.task) if work.domain.field_of_view is not None else like
    foreground = read_mask(work.case, work.domain, seen)
    scored = list(work.task.scored.values())
    counts = count(prediction, label, len(work.task.classes), foreground, scored)
    metrics = [find_metric(name) for name in work.names]
    values = {"image": compute_classes(prediction, label, scored, like.spacing, metrics)}
    if label.ndim == 2:
        values["foreground"] = values["image"]
        if foreground is not None:
            inside = prediction * foreground, label * foreground
            values["foreground"] = compute_classes(*inside, scored, like.spacing, metrics)
    return CaseValues(counts.T.tolist(), values)
