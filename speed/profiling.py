"""Where the time of a training step on windows goes, by kinds of work, from torch's profiler."""

from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import Any

import torch
from cost import WINDOWS
from sampling import median, repeat
from sheet import Options, Row
from torch.autograd.profiler import record_function
from torch.profiler import profile
from workload import Workload

from ssdg.benchmark.training.train import Step
from ssdg.methods.base import Batch, Method

METHODS = ("erm", "ras4dg")
STEPS = 10
WARMUP = 3

KINDS = {
    "windows and shared augmentation": ("step: batch",),
    "the method's augmentation and normalisation": ("step: views",),
    "optimiser": ("Optimizer.", "step: optimiser"),
    "convolutions": ("convolution", "conv2d", "ConvolutionBackward"),
    "group normalisation and ReLU": ("group_norm", "GroupNorm", "relu", "threshold_backward", "clamp_min"),
    "upsampling": ("upsample", "Upsample"),
}
"""Kind of work -> parts of the names of the operators, or of the blocks around them, that it consists of."""

REST = "loss, sums and everything else"


def windows(options: Options) -> Iterator[Row]:
    """Seconds of a step of each method at each width, and the share of each kind of work."""
    for device in options.devices():
        for method in METHODS:
            for size in WINDOWS:
                yield from _rows(size, method, device, options.samples(STEPS))


def _rows(size: Workload, method: str, device: torch.device, steps: int) -> Iterator[Row]:
    take, index = size.steps(method, device, WARMUP + 2 * steps), count()
    times = repeat(lambda: take(next(index)), steps, WARMUP, device)
    where = f"{method}, {size.samples} {size.name}, {size.init_filters} filters, {device}"
    note = f"the loop's step: windows cut and moved ({size.augmentation}), forward, backward, Adam"
    yield Row(f"step, {where}", median([1000 * seconds for seconds in times]), "ms", None, note)
    named = labelled(take)
    shares: dict[str, list[float]] = {kind: [] for kind in (*KINDS, REST)}
    for _ in range(steps):
        with profile() as recorded:
            named(next(index))
        spent = by_kind(recorded.events(), device)
        for kind, samples in shares.items():
            samples.append(100 * spent[kind] / spent.total())
    note = "share of the time in operators, without the interpreter's between them, by torch's profiler"
    for kind, samples in shares.items():
        yield Row(f"{kind}, {where}", median(samples), "%", None, note)


def by_kind(events: Any, device: torch.device) -> Counter[str]:
    """Return the time of each kind, of the innermost block or operator that has one."""
    spent: Counter[str] = Counter()
    for event in events:
        taken = event.self_cpu_time_total if device.type == "cpu" else event.self_device_time_total
        outer, kind = event, None
        while outer is not None:
            kind = next((kind for kind, parts in KINDS.items() if any(part in outer.name for part in parts)), kind)
            outer = outer.cpu_parent
        spent[kind or REST] += taken
    return spent


def labelled(step: Step) -> Step:
    """Return the step with its blocks named in the profile."""
    method: Method = step.method
    for name in ("augment", "prepare"):
        setattr(method, name, _named("step: views", getattr(method, name)))
    for module in step.modules:
        module.optimizer.step = _named("step: optimiser", module.optimizer.step)
    return _NamedBatch(**{name: getattr(step, name) for name in Step.__slots__})


class _NamedBatch(Step):
    def batch(self, step: int) -> Batch:
        with record_function("step: batch"):
            return super().batch(step)


def _named(name: str, function: Any) -> Any:
    def call(*positional: Any, **keywords: Any) -> Any:
        with record_function(name):
            return function(*positional, **keywords)

    return call
