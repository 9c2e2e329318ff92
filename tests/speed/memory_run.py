"""What is measured: ``memory_run.py DATA_ROOT CACHE FOLDER [THREADS]`` prints its peaks as JSON, in bytes.

A little of everything a run does: two steps with a checkpoint, the held-out score, two cases on their native grid.
"""

import json
import math
import re
import resource
import sys
from pathlib import Path

import torch

from ssdg.benchmark.assemble import build_method, resolve
from ssdg.benchmark.checkpoint import Checkpoints
from ssdg.benchmark.evaluate import Predictor
from ssdg.benchmark.loader import Batches, pool
from ssdg.benchmark.material import Shelf, find_material
from ssdg.benchmark.progress import LineObserver
from ssdg.benchmark.spec import RunRequest
from ssdg.benchmark.train import Interrupted, fit
from ssdg.benchmark.validate import grid_dsc
from ssdg.datasets import TASKS
from ssdg.datasets.base import DataError
from ssdg.methods import load_method

STEPS = 2


def peak() -> int:
    """Return the highest resident set so far, in bytes.

    From the kernel's record of this memory image where it keeps one: getrusage also counts what the process that
    started this one held at that moment.
    """
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        found = None
    if found is not None:
        return 1024 * int(found[1])
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def silent(_: str) -> None:
    """Say nothing."""


def main(data_root: Path, cache: Path, folder: Path) -> dict[str, int]:
    """Return the peak after each part of the run."""
    device, task = torch.device("cpu"), TASKS["fundus"]
    request = RunRequest(task="fundus", source="drive", method="erm")
    shelf = Shelf(data_root, cache)
    try:
        material = find_material(request, task, ["lesav"], shelf, silent)
    except DataError:  # its images are the largest: where they are not there, the source's own are scored
        material = find_material(request, task, [], shelf, silent)
    peaks = {"finding its data": peak()}
    prepared = material.prepare(task, request.preprocess, cache)
    peaks["preparing"] = peak()
    cls = load_method("erm")
    source = prepared[material.source.domain.name]
    training = pool(source, material.training, device)
    held_out = pool(source, material.held_out, device)
    method = build_method(cls, resolve(request, task, cls, material), task, device)
    observer = Counter("memory")
    checkpoints = Checkpoints(folder, {}, interval=math.inf)
    batches = Batches(training, None, request.training.batch_size, request.seed)
    try:
        fit(method, batches, held_out, request, checkpoints, observer, lambda: observer.steps >= STEPS)
    except Interrupted:
        peaks[f"{STEPS} steps and a checkpoint"] = peak()
    grid_dsc(method.eval(), held_out, request.training.batch_size, request.training.precision)
    peaks["the held-out score"] = peak()
    scored = list(material.scored.values())[-1]
    predictor = Predictor(method, device, request.training.precision, request.evaluation.resample)
    for _ in predictor.native_labels(prepared[scored.found.domain.name], scored.ids[:2]):
        pass
    peaks[f"scoring on {scored.found.domain.name}"] = peak()
    return peaks


class Counter(LineObserver):
    """Counts the steps and prints nothing."""

    steps = 0

    def say(self, message: str) -> None:
        """Nothing: standard output carries the result."""

    def step(self, step: int) -> None:
        """Count."""
        self.steps = step


if __name__ == "__main__":
    if len(sys.argv) > 4:
        torch.set_num_threads(int(sys.argv[4]))
    print(json.dumps(main(*map(Path, sys.argv[1:4]))))
