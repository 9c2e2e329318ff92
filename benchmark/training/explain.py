"""What one step of a run sees and costs, measured on its own data before anything is trained or written."""

import math
import resource
import time
from collections.abc import Iterator, Sequence

import torch

from ssdg.datasets.base import Task
from ssdg.methods import load_method
from ssdg.methods.base import Batch

from ..data.run_data import DataSource, find_run_data
from ..durations import duration
from ..progress import Display
from ..spec import RunRequest
from .build import build_method, device_name, find_device, resolve, use_threads
from .inference import Inference
from .runtime import Runtime
from .streams import training_data
from .train import Step

STEPS = 5
"""Steps measured, after one more in which buffers are allocated and kernels chosen."""


def explain(
    request: RunRequest, task: Task, targets: Sequence[str], runtime: Runtime, display: Display
) -> Iterator[str]:
    """Yield lines on the images, one step, the whole training, and prediction; only the prepared data are stored.

    Raises:
        UsageError, DataError, StorageError: as for the run itself.
    """
    device = find_device(runtime.device)
    data_source = DataSource(runtime.data_root, runtime.prepared, runtime.strict)
    run_data = find_run_data(request, task, targets, data_source, display.log)
    spec = resolve(request, task, load_method(request.method), run_data)
    prepared = run_data.prepare(task, request.preprocess, runtime.prepared, display.preparing)
    threads = use_threads(device, None, runtime.threads)
    batches, _ = training_data(request, run_data, prepared, device)
    method = build_method(load_method(request.method), spec, task, device)
    step = Step.of(method, batches, request)
    shapes = sorted(set(batches.source.shapes), key=math.prod)
    grids = " to ".join(_sides(shape) for shape in dict.fromkeys((shapes[0], shapes[-1])))
    yield f"{request.method} on {request.source}: {len(batches.source)} training images of {grids}"
    yield _seen(step.batch(0), step)
    seconds = _seconds(step, device)
    running = f"{device_name(device)}, {threads} thread{'s' * (threads > 1)}" if threads else device_name(device)
    yield f"one step takes {seconds:.3g} s ({running}) and the process {_memory(device):.2g} GiB"
    yield (
        f"{batches.steps_per_epoch} steps an epoch, {request.training.epochs} epochs: {step.total_steps} steps in "
        f"{duration(seconds * step.total_steps)}, validation not counted"
    )
    inference = Inference.of(request, request.overlap)
    how = "whole images" if inference.window is None else f"windows that overlap by {inference.overlap:.0%}"
    yield f"predicts {how}"


def _seen(batch: Batch, step: Step) -> str:
    sides = [side - 2 * batch.margin for side in batch.image.shape[2:]]
    count = len(batch.image)
    voxels = f"{count * math.prod(sides):,} {'pixels' if len(sides) == 2 else 'voxels'}"
    what = "whole images" if step.windows is None else step.windows.source.windows.described()
    return f"one step sees {voxels}: {count} {what}"


def _seconds(step: Step, device: torch.device) -> float:
    step.method.train()
    step(0)
    _wait(device)
    began = time.monotonic()
    for index in range(STEPS):
        step(index % step.total_steps)
    _wait(device)
    return (time.monotonic() - began) / STEPS


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _memory(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _sides(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
