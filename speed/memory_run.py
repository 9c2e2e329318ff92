"""A little of all a run does: two steps with a checkpoint, the held-out score, two cases on their native grid."""

import math
from pathlib import Path

import torch
from apart import peak_memory

from ssdg.benchmark.data.loader import Batches, pool
from ssdg.benchmark.data.run_data import DataSource, find_run_data
from ssdg.benchmark.errors import Interrupted
from ssdg.benchmark.progress import Display
from ssdg.benchmark.spec import RunRequest
from ssdg.benchmark.training.allocator import keep_freed_memory
from ssdg.benchmark.training.build import build_method, resolve
from ssdg.benchmark.training.checkpoint import Checkpoints
from ssdg.benchmark.training.evaluate import Predictor
from ssdg.benchmark.training.inference import Inference
from ssdg.benchmark.training.train import fit
from ssdg.benchmark.training.validation import grid_dsc
from ssdg.datasets import TASKS
from ssdg.datasets.base import DataError
from ssdg.methods import load_method

STEPS = 2


def silent(_: str) -> None:
    """Say nothing."""


def peaks_of_a_run(data_root: Path, cache: Path, folder: Path, threads: int | None) -> dict[str, int]:
    """Return the peak memory after each part of the run, in bytes, in this process."""
    if threads is not None:
        torch.set_num_threads(threads)
    keep_freed_memory(torch.device("cpu"))
    device, task = torch.device("cpu"), TASKS["fundus"]
    request = RunRequest(task="fundus", source="drive", method="erm")
    data_source = DataSource(data_root, cache)
    try:
        run_data = find_run_data(request, task, ["lesav"], data_source, silent)
    except DataError:  # its images are the largest: where they are not there, the source's own are scored
        run_data = find_run_data(request, task, [], data_source, silent)
    peaks = {"finding its data": peak_memory()}
    prepared = run_data.prepare(task, request.preprocess, cache)
    peaks["preparing"] = peak_memory()
    cls = load_method("erm")
    source = prepared[run_data.source.domain.name]
    training = pool(source, run_data.training, device)
    held_out = pool(source, run_data.held_out, device)
    method = build_method(cls, resolve(request, task, cls, run_data), task, device)
    display = Counter("memory")
    checkpoints = Checkpoints(folder, {}, interval=math.inf)
    batches = Batches(training, None, request.training.batch_size, request.seed)
    try:
        looked_at = {"held_out_dsc": held_out}
        fit(method, batches, looked_at, request, checkpoints, display, lambda: display.steps >= STEPS)
    except Interrupted:
        peaks[f"{STEPS} steps and a checkpoint"] = peak_memory()
    grid_dsc(method.eval(), held_out, request.training.batch_size, Inference.of(request))
    peaks["the held-out score"] = peak_memory()
    scored = list(run_data.scored.values())[-1]
    predictor = Predictor((method,), device, Inference.of(request, request.overlap), request.evaluation.resample)
    for _ in predictor.native_labels(prepared[scored.located.domain.name], scored.ids[:2]):
        pass
    peaks[f"scoring on {scored.located.domain.name}"] = peak_memory()
    return peaks


class Counter(Display):
    """Counts the steps and prints nothing."""

    steps = 0

    def say(self, message: str) -> None:
        """Nothing: the table is all there is to print."""

    def step(self, step: int) -> None:
        """Count."""
        self.steps = step
