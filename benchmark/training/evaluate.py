"""Scoring a trained method on a domain: predictions on the native grid, and counts per case and class."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from ssdg.datasets.base import Case, Task
from ssdg.methods import load_method
from ssdg.methods.base import Method

from .. import environment
from ..data.geometry import labels_to_native, probabilities_to_native
from ..data.images import read_image, read_label, read_mask, write_prediction
from ..data.loader import pool
from ..data.prepared import PreparedDomain
from ..data.preprocess import label_map_of
from ..data.run_data import EvaluationSet
from ..scoring.overlap import count
from ..spec import EvaluationSpec, RunSpec, to_json
from ..storage.files import write_json, write_text
from ..storage.run_folder import CASE_COLUMNS, RunFolder, evaluation_path, prediction_path, to_csv
from .build import build_method
from .checkpoint import load_final
from .validation import autocast


@dataclass(frozen=True, slots=True)
class Predictor:
    """A trained method and how its output returns to the native grid."""

    method: Method
    device: torch.device
    precision: str  # as in TrainingConfig
    resample: str  # as in EvaluationConfig

    @classmethod
    def of_run(cls, run: Path, spec: RunSpec, task: Task, device: torch.device) -> Self:
        """Return a finished run's method with its final weights; UsageError without them."""
        method = build_method(load_method(spec.request.method), spec, task, device)
        method.load_state_dict(load_final(run / "checkpoints", device))
        return cls(method, device, spec.request.training.precision, spec.request.evaluation.resample)

    @torch.no_grad()
    def native_labels(self, domain: PreparedDomain, ids: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
        """Yield (case id, uint8 class indices on the case's native grid) for some cases of a prepared domain."""
        self.method.eval()
        cases = pool(domain, ids, self.device, labelled=False)
        geometries = dict(zip(domain.ids, domain.geometries, strict=True))
        for index, name in enumerate(ids):
            position = torch.tensor([index], device=self.device)
            with autocast(self.device, self.precision):
                logits = self.method.predict(cases.images(position), cases.foreground[position])[0].float()
            if self.resample == "nearest":
                grid = logits.argmax(dim=0).to(torch.uint8).cpu().numpy()
                yield name, labels_to_native(grid, geometries[name])
            else:
                yield name, probabilities_to_native(logits.softmax(dim=0), geometries[name])


def evaluate(
    predictor: Predictor,
    task: Task,
    scored: EvaluationSet,
    prepared: PreparedDomain,
    spec: EvaluationSpec,
    store: RunFolder,
    advance: Callable[[], None],
) -> None:
    """Predict cases and write predictions, ``cases.csv``, ``evaluation.json`` and ``DONE``.

    Labels are read from their native files and never resampled; a voxel outside the prepared box is background.
    """
    domain, guard = scored.located.domain, store.guard
    folder = evaluation_path(store.path, spec)
    cases = {case.id: case for case in domain.cases}
    labels = label_map_of(domain, spec.preprocess)
    rows: list[dict[str, Any]] = []
    for name, predicted in predictor.native_labels(prepared, scored.ids):
        case = cases[name]
        write_prediction(predicted, case.image, prediction_path(folder, name, task.ndim), guard)
        rows.extend(_count_rows(case, predicted, task, labels))
        advance()
    write_text(folder / "cases.csv", to_csv(CASE_COLUMNS, rows), guard)
    provenance = {"counts": scored.counts(prepared), "commit": environment.commit(), "finished": environment.now()}
    write_json(folder / "evaluation.json", {**to_json(spec), "eval_id": spec.eval_id, **provenance}, guard)
    write_json(folder / "DONE", {"cases": len(scored.ids)}, guard)


def _count_rows(case: Case, predicted: np.ndarray, task: Task, labels: Mapping[int, int]) -> Iterable[dict[str, Any]]:
    assert case.label is not None
    image = read_image(case.image, task.ndim, task.channels)
    label = read_label(case.label, labels, image)
    foreground = read_mask(case.foreground, image) if case.foreground is not None else None
    counts = count(predicted, label, len(task.classes), foreground)
    for index, values in enumerate(counts.T[1:].tolist(), start=1):
        yield dict(zip(CASE_COLUMNS, (case.id, case.stratum, index, task.classes[index], *values), strict=True))
