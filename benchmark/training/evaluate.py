"""Scoring a trained method on a domain: predictions on the native grid, and integer counts per case and class."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ssdg.datasets.base import Case, Domain, Task
from ssdg.methods.base import Method

from ..data.geometry import Geometry, labels_to_native, probabilities_to_native
from ..data.images import read_image, read_label, read_mask, write_prediction
from ..data.loader import pool
from ..data.prepared import PreparedDomain
from ..data.preprocess import label_map_of
from ..scoring.overlap import count
from ..spec import EvaluationSpec, to_json
from ..storage.files import Guard, no_guard, write_json, write_text
from ..storage.run_folder import CASE_COLUMNS, prediction_path, to_csv
from .validation import autocast


@dataclass(frozen=True, slots=True)
class Predictor:
    """A trained method and how its output returns to the native grid."""

    method: Method
    device: torch.device
    precision: str  # as in TrainingConfig
    resample: str  # as in EvaluationConfig

    @torch.no_grad()
    def native_labels(self, domain: PreparedDomain, ids: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
        """Yield (case id, uint8 class indices on the case's native grid) for some cases of a prepared domain."""
        self.method.eval()
        cases = pool(domain, ids, self.device, labelled=False)
        geometries = dict(zip(domain.ids, domain.geometries, strict=True))
        for index, name in enumerate(ids):
            one = torch.tensor([index], device=self.device)
            with autocast(self.device, self.precision):
                logits = self.method.predict(cases.images(one), cases.foreground[one])
            yield name, self._to_native(logits[0].float(), geometries[name])

    def _to_native(self, logits: torch.Tensor, geometry: Geometry) -> np.ndarray:
        if self.resample == "nearest":
            grid = logits.argmax(dim=0).to(torch.uint8).cpu().numpy()
            return labels_to_native(grid, geometry)
        return probabilities_to_native(logits.softmax(dim=0), geometry)


@dataclass(frozen=True, slots=True)
class Subject:
    """What is scored: some cases of a domain, and what is recorded beside their results."""

    task: Task
    domain: Domain
    prepared: PreparedDomain
    ids: Sequence[str]
    provenance: Mapping[str, Any]  # case counts, commit, date


def evaluate(
    predictor: Predictor,
    subject: Subject,
    spec: EvaluationSpec,
    folder: Path,
    guard: Guard = no_guard,
    advance: Callable[[], None] = lambda: None,
) -> None:
    """Predict the subject's cases and write predictions, ``cases.csv``, ``evaluation.json`` and ``DONE``.

    Labels are read from their native files and never resampled; a voxel outside the prepared box is background.

    Args:
        predictor: the trained method.
        subject: the cases.
        spec: the evaluation's identity, written beside the results.
        folder: the evaluation's folder.
        guard: see :data:`Guard`.
        advance: called after each case.
    """
    cases = {case.id: case for case in subject.domain.cases}
    labels = label_map_of(subject.domain, spec.preprocess)
    rows: list[dict[str, Any]] = []
    for name, predicted in predictor.native_labels(subject.prepared, subject.ids):
        case = cases[name]
        write_prediction(predicted, case.image, prediction_path(folder, name, subject.task.ndim), guard)
        rows.extend(_count_rows(case, predicted, subject.task, labels))
        advance()
    write_text(folder / "cases.csv", to_csv(CASE_COLUMNS, rows), guard)
    identity = to_json(spec)
    assert isinstance(identity, dict)
    write_json(folder / "evaluation.json", {**identity, "eval_id": spec.eval_id, **subject.provenance}, guard)
    write_json(folder / "DONE", {"cases": len(subject.ids)}, guard)


def _count_rows(case: Case, predicted: np.ndarray, task: Task, labels: Mapping[int, int]) -> Iterable[dict[str, Any]]:
    """Return one row of ``cases.csv`` for each foreground class of a case."""
    assert case.label is not None
    image = read_image(case.image, task.ndim, task.channels)
    label = read_label(case.label, labels, image)
    foreground = read_mask(case.foreground, image) if case.foreground is not None else None
    counts = count(predicted, label, len(task.classes), foreground)
    for index in range(1, len(task.classes)):
        yield {
            "case": case.id,
            "stratum": case.stratum,
            "class_index": index,
            "class_name": task.classes[index],
            "tp": int(counts.tp[index]),
            "fp": int(counts.fp[index]),
            "fn": int(counts.fn[index]),
            "tp_outside": int(counts.tp_outside[index]),
            "fp_outside": int(counts.fp_outside[index]),
            "fn_outside": int(counts.fn_outside[index]),
        }
