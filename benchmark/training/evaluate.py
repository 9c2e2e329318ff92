"""Scoring a trained method on a domain: predictions on the native grid, and counts per case and class."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssdg.datasets.base import Task
from ssdg.methods import load_method
from ssdg.methods.base import Method

from .. import environment
from ..data.geometry import Geometry, labels_to_native, probabilities_to_native, probability_to_native
from ..data.images import file_ndim, image_grid, write_prediction
from ..data.loader import pool
from ..data.prepared import PreparedDomain
from ..data.run_data import EvaluationSet
from ..digests import digest, to_json
from ..errors import UsageError
from ..scoring.case_counts import count_case
from ..settings import counted_degrees, plugin_digests
from ..spec import EvaluationSpec, RunRequest, RunSpec
from ..storage.csv_text import to_csv
from ..storage.files import read_object, write_json, write_text
from ..storage.run_folder import CASE_COLUMNS, RunFolder, evaluation_path, final_weights_digest, prediction_path
from ..task_digests import regions_digest, task_digest
from .build import build_method
from .checkpoint import load_final
from .inference import Inference

PARTIAL = "cases.partial.json"
"""Counts of an evaluation that is not done."""

SAVE_INTERVAL = 5.0
"""Seconds between two writes of it, which hold all cases so far."""


@dataclass(frozen=True, slots=True)
class Predictor:
    """Trained methods, whose softmax probabilities are averaged, and how their output returns to the native grid."""

    methods: tuple[Method, ...]
    device: torch.device
    inference: Inference
    resample: str  # as in EvaluationConfig
    weights: tuple[str, ...] = ()  # digest of each method's
    plugins: Mapping[str, str] = field(default_factory=dict)  # method -> digest of the file it is in

    @classmethod
    def of_run(cls, run: Path, spec: RunSpec, task: Task, device: torch.device) -> Self:
        """Return a finished run's method with its final weights.

        UsageError: there are none, or the run was trained on another task of that name.
        """
        if not spec.is_of(task_digest(task)):
            raise UsageError(
                f"{run} was trained on another task called {task.name!r} (its dimensions, channels, classes or grid "
                "differ): give the file of that task with --task FILE"
            )
        method = build_method(load_method(spec.request.method), spec, task, device, trained=True)
        method.load_state_dict(load_final(run / "checkpoints", spec.train_id))
        inference = Inference.of(spec.request, spec.request.overlap)
        plugins = plugin_digests(spec.request.method, spec.method_config, imported=True)
        weights = (final_weights_digest(run),)
        return cls((method,), device, inference, spec.request.evaluation.resample, weights, plugins)

    @classmethod
    def of_ensemble(cls, members: "Sequence[Predictor]") -> "Predictor":
        """Return the predictor that averages the probabilities of others, which return to the native grid alike."""
        methods = tuple(method for member in members for method in member.methods)
        weights = tuple(digest for member in members for digest in member.weights)
        return replace(members[0], methods=methods, weights=weights)

    def native_labels(self, domain: PreparedDomain, ids: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
        """Yield (case id, uint8 class indices on the case's native grid) for some cases of a prepared domain."""
        for name in ids:
            yield name, _stacked([self._labels(*image) for image in self._outputs(domain, name)], domain)

    def native_probabilities(
        self, domain: PreparedDomain, name: str
    ) -> tuple[NDArray[np.uint8], Iterator[NDArray[np.float32]]]:
        """Return a case's class indices and, one class after the other, its probabilities, on the native grid (*S).

        They add up to 1 and are resampled linearly; outside the prepared box the background has 1. Where labels
        return by ``resample`` "probabilities", they are the argmax of these.
        """
        outputs = list(self._outputs(domain, name))
        labels = _stacked([self._labels(*image) for image in outputs], domain)
        images = [(self._probabilities(output), geometry) for output, geometry in outputs]
        classes = range(len(images[0][0]))
        return labels, (
            _stacked([probability_to_native(p[k], geometry, float(k == 0)) for p, geometry in images], domain)
            for k in classes
        )

    def _outputs(self, domain: PreparedDomain, name: str) -> Iterator[tuple[Tensor, Geometry]]:
        """Yield the logits of one method, or the mean probabilities of several, (K, *shape), of a case's images."""
        for method in self.methods:
            method.eval()
        geometry = domain.geometry[name]
        images = pool(domain, [name], self.device, labelled=False)
        first, *others = self.methods
        for index in range(len(images)):
            position = torch.tensor([index], device=self.device)
            image, foreground = images.images(position), images.foreground[position]
            output = self.inference.logits(first, image, foreground)[0].float()
            if others:
                output = output.softmax(dim=0)
                for method in others:
                    output += self.inference.logits(method, image, foreground)[0].float().softmax(dim=0)
                output /= len(self.methods)
            yield output, geometry

    def _probabilities(self, output: Tensor) -> Tensor:
        return output if len(self.methods) > 1 else output.softmax(dim=0)

    def _labels(self, output: Tensor, geometry: Geometry) -> NDArray[np.uint8]:
        if self.resample == "nearest":
            # Of one method's logits, which softmax may round to one probability.
            return labels_to_native(output.argmax(dim=0).to(torch.uint8).cpu().numpy(), geometry)
        return probabilities_to_native(self._probabilities(output), geometry)


def _stacked(planes: Sequence[NDArray[Any]], domain: PreparedDomain) -> NDArray[Any]:
    """Return the one image of a case, or its slices as a volume."""
    return planes[0] if domain.slice_axis is None else np.stack(planes, axis=domain.slice_axis)


def evaluation_spec(
    request: RunRequest, train_id: str, task: Task, domain: str, scored: EvaluationSet
) -> EvaluationSpec:
    """Return the identity of an evaluation of trained weights, or of an ensemble, as a request asks for it."""
    return EvaluationSpec(
        train_id=train_id,
        domain=domain,
        manifest=scored.located.manifest.digest,
        cases=digest(scored.ids),
        selection=request.training.selection,
        preprocess=request.preprocess,
        resample=request.evaluation.resample,
        overlap=request.overlap,
        degrees=counted_degrees(scored.located.domain, request.preprocess),
        regions=regions_digest(task),
    )


def evaluate(
    predictor: Predictor,
    task: Task,
    scored: EvaluationSet,
    prepared: PreparedDomain,
    spec: EvaluationSpec,
    store: RunFolder,
    advance: Callable[[bool], None],
) -> None:
    """Predict cases and write predictions, ``cases.csv``, ``evaluation.json`` and ``DONE``.

    Labels are read from their native files and never resampled; a voxel outside the prepared box is background.
    Cases that the same weights and code have scored before an interruption are not predicted again. ``advance`` is
    called after each case, with whether its counts and those before it were saved.
    """
    domain, guard = scored.located.domain, store.guard
    folder, ndim = evaluation_path(store.path, spec), file_ndim(task, domain)
    cases = {case.id: case for case in domain.cases}
    partial, maker = folder / PARTIAL, [environment.code_digest(), *predictor.weights, *predictor.plugins.values()]
    stored = read_object(partial, lenient=True)
    counted: dict[str, list[dict[str, Any]]] = stored["cases"] if stored.get("maker") == maker else {}
    counted = {name: rows for name, rows in counted.items() if prediction_path(folder, name, ndim).exists()}
    for _ in counted:
        advance(False)  # no progress of this start
    saved = time.monotonic()
    for name, predicted in predictor.native_labels(prepared, [name for name in scored.ids if name not in counted]):
        case = cases[name]
        predicted, counted[name] = count_case(
            predicted, case, domain, task, image_grid(case, domain, task), spec.preprocess
        )
        write_prediction(predicted, case, domain, prediction_path(folder, name, ndim), guard)
        if is_due := time.monotonic() - saved >= SAVE_INTERVAL:
            write_json(partial, {"maker": maker, "cases": counted}, guard)
            saved = time.monotonic()
        advance(is_due)
    rows = [row for name in scored.ids for row in counted[name]]
    write_text(folder / "cases.csv", to_csv(CASE_COLUMNS, rows), guard)
    provenance = {
        "weights": predictor.weights,
        "counts": scored.counts(prepared, task),
        **trained_on(store.environment(), predictor.inference.precision),
        **({"plugins": predictor.plugins} if predictor.plugins else {}),
        "commit": environment.commit(),
        "finished": environment.now(),
    }
    write_json(folder / "evaluation.json", {**to_json(spec), "eval_id": spec.eval_id, **provenance}, guard)
    write_json(folder / "DONE", {"cases": len(scored.ids)}, guard)
    if partial.exists():
        guard()
        partial.unlink()


def trained_on(environment: Mapping[str, Any], precision: str) -> dict[str, str]:
    """Return the device and number format of a training on a GPU, for its evaluations; nothing of one on the CPU."""
    device = str(environment.get("device", "cpu")).split(" ")[0]
    return {} if device == "cpu" else {"trained_on": f"{device} in {'fp32' if precision == 'fp32' else 'bf16'}"}
