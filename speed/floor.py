"""How much of the device's arithmetic a training step uses: its operations a second over those of matrix products."""

from collections.abc import Iterator
from functools import partial
from itertools import count

import torch
from cost import BASELINE, FULL_PLANE, FULL_VOLUME, SIZES, WINDOWS
from sampling import exact, median, repeat
from sheet import Options, Row
from torch.utils.flop_counter import FlopCounterMode
from workload import Workload

from ssdg.methods.base import Batch, StepContext

STEPS = 10
PRODUCTS = 10
WARMUP = 3
SIDES = {"cpu": (1024, 2048), "cuda": (4096, 8192, 16384)}
"""Sides of the square matrices; the fastest product is the device's rate."""

GOALS: dict[str, dict[tuple[str, int], float]] = {
    "cuda": {("512²", 32): 20.0, ("144³", 32): 25.0},
    "cpu": {("windows of 128² in 512²", 32): 45.0},
}
"""Per cent of the measured rate that are aimed at, by size and initial filters."""

DESIGNED = {"512²": (FULL_PLANE, 0.373), "144³": (FULL_VOLUME, 4.95)}
"""TFLOP of one training sample that the goals were derived from."""


def share(options: Options) -> Iterator[Row]:
    """The device's rate, the operations of a sample, and the share of the rate that steps of ``erm`` reach."""
    for name, (size, designed) in DESIGNED.items():
        counted = sample_flop(size) / 1e12
        note = (
            f"operations of forward and backward of {BASELINE} with {size.init_filters} filters, counted on tensors "
            f"without data; the goals were derived from {designed:g}, which this is {counted / designed:.3f} times"
        )
        yield Row(f"TFLOP of a training sample, {name}", exact(counted), "TFLOP", None, note)
    for device in options.devices():
        rates = {side: rate(side, device, options.samples(PRODUCTS)) for side in SIDES[device.type]}
        fastest = max(rates, key=lambda side: rates[side])
        shown = ", ".join(f"{side}: {value / 1e12:.3g}" for side, value in rates.items())
        note = f"fastest of the medians of square products in {_precision(device)}; TFLOP/s by side {shown}"
        yield Row(f"matrix rate, {device}", exact(rates[fastest] / 1e12), "TFLOP/s", None, note)
        for size in (*SIZES[device.type], *WINDOWS):
            yield _share(size, device, rates[fastest], options.samples(STEPS))


def _share(size: Workload, device: torch.device, peak: float, steps: int) -> Row:
    take, index = size.steps(BASELINE, device, WARMUP + steps), count()
    times = repeat(lambda: take(next(index)), steps, WARMUP, device)
    work = size.samples * sample_flop(size)
    reached = [100 * work / seconds / peak for seconds in times]
    note = (
        f"the loop's step (batch of {size.samples}, forward, backward, Adam), {size.init_filters} filters, shared "
        f"augmentation {size.augmentation}; operations of forward and backward alone count; {size.name} on {device}: "
        f"{1000 * median(times).value:.1f} ms, {work / median(times).value / 1e12:.3g} TFLOP/s"
    )
    goal = GOALS[device.type].get((size.name, size.init_filters))
    label = f"share of the matrix rate, {BASELINE} step, {size.name}, {size.init_filters} filters, {device}"
    return Row(label, median(reached), "%", goal, note, at_least=True)


def sample_flop(size: Workload) -> int:
    """Return the floating-point operations of one sample's training step, a multiply-add counted as two.

    Counted on the operators that forward and backward really call. Meta tensors have shapes and no data: a volume
    that no memory holds is counted in a moment, and the count is the same on every device.
    """
    meta = torch.device("meta")
    method = size.method(BASELINE, torch.device("cpu")).to(meta)
    image = torch.empty((1, size.channels, *(size.window or size.shape)), device=meta)
    batch = Batch(image, torch.empty_like(image[:, :1], dtype=torch.long), torch.empty_like(image[:, :1]) > 0)
    context = StepContext(torch.Generator(), step=0, total_steps=1, epoch=0, total_epochs=1)
    with FlopCounterMode(display=False) as counter:
        terms = method.training_step(batch, context)
        torch.autograd.backward(torch.stack(list(terms.values())).sum())
    return int(counter.get_total_flops())


def rate(side: int, device: torch.device, repeats: int) -> float:
    """Return the operations a second of products of square matrices of a side, by the median of their times."""
    kind = _precision(device)
    left, right = (torch.randn((side, side), device=device).to(kind) for _ in range(2))
    result = torch.empty_like(left)
    times = repeat(partial(torch.mm, left, right, out=result), repeats, WARMUP, device)
    return 2 * side**3 / median(times).value


def _precision(device: torch.device) -> torch.dtype:
    """Return the type that the loop's convolutions compute in."""
    return torch.float32 if device.type == "cpu" else torch.bfloat16
