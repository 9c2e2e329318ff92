"""What each method costs beside the source-only baseline: the loop's own step, and the memory it needs."""

from collections.abc import Callable, Iterator
from itertools import count

import torch
from apart import apart, peak_memory, resident_memory
from sampling import alternate, exact, mean, median
from sheet import Options, Row
from workload import Workload

from ssdg.methods import METHODS

BASELINE = "erm"
PAIRS = 12
MEMORY_STEPS = 3

PLANE, VOLUME = Workload((256, 256)), Workload((64, 64, 64), channels=1, classes=8, cases=4)
FULL_PLANE = Workload((512, 512), init_filters=32)
FULL_VOLUME = Workload((144, 144, 144), channels=1, classes=8, init_filters=32, cases=4)
WINDOWS = tuple(
    Workload((512, 512), init_filters=filters, window=(128, 128), windows_per_image=4, augmentation="geometric")
    for filters in (8, 32)
)
SIZES = {"cpu": (PLANE, VOLUME), "cuda": (FULL_PLANE, FULL_VOLUME)}


def steps(options: Options) -> Iterator[Row]:
    """The step of each method against that of the baseline, taken in turn."""
    pairs = options.samples(PAIRS)
    for device in options.devices():
        for size in SIZES[device.type]:
            for name in others(size):
                ours, base = (stepper(size, method, device, pairs) for method in (name, BASELINE))
                taken, reference = alternate(ours, base, pairs, device=device)
                ratio = mean([one / other for one, other in zip(taken, reference, strict=True)])
                note = (
                    f"the loop's step (batch of {size.batch_size}, forward, backward, Adam) of each method at its "
                    f"defaults, {size.init_filters} filters, no shared augmentation; the mean over pairs, because "
                    "what some methods draw decides what they cost"
                )
                own = 1000 * median(taken).value
                yield Row(f"{name} / {BASELINE} step, {size.name}, {device} ({own:.0f} ms)", ratio, "x", None, note)


def memory(options: Options) -> Iterator[Row]:
    """The memory that a few steps of each method need beyond the cases, each in a process of its own."""
    for device in options.devices():
        for size in SIZES[device.type]:
            base = apart(needed, size, BASELINE, str(device), options.threads)
            for name in others(size):
                own = apart(needed, size, name, str(device), options.threads)
                note = (
                    f"weights, optimiser and the peak of {MEMORY_STEPS} steps, beyond what the cases take; "
                    f"{size.name} on {device}: {BASELINE} needed {base / 1e9:.2f} GB"
                )
                label = f"{name} / {BASELINE} memory, {size.name}, {device} ({own / 1e9:.2f} GB)"
                yield Row(label, exact(own / base), "x", None, note)


def others(size: Workload) -> list[str]:
    """Return the methods that work at a size, but for the baseline."""
    return [name for name, entry in METHODS.items() if name != BASELINE and len(size.shape) in entry.ndims]


def stepper(size: Workload, method: str, device: torch.device, pairs: int) -> Callable[[], object]:
    """Return an action that takes a method's next step."""
    take, index = size.steps(method, device, 2 * pairs), count()
    return lambda: take(next(index))


def needed(size: Workload, method: str, device_name: str, threads: int | None) -> int:
    """Return the bytes that a method's steps need, in this process, which has done nothing else."""
    if threads is not None:
        torch.set_num_threads(threads)
    device = torch.device(device_name)
    cases = size.pool(device)
    before = torch.cuda.memory_allocated(device) if device.type == "cuda" else resident_memory()
    take = size.steps(method, device, MEMORY_STEPS, cases)
    for step in range(MEMORY_STEPS):
        take(step)
    return (torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_memory()) - before
