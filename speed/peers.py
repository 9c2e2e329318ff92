"""The loop against the one that users of MONAI write, on real cases.

Network, initial filters, loss, optimiser, batch size, cases and the law of the augmentation are the same. Each has a
process to itself, set up as its users have it: a run of ours decides what the C library does with freed memory, which
would help MONAI's way as well.
"""

import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from apart import Apart
from monai_way import Theirs
from real_run import EPOCHS, Size, find_work
from sampling import clock, median_ratio
from sheet import Options, Row, Skipped
from stepping import Recorder

from ssdg.benchmark.data.loader import Batches
from ssdg.benchmark.storage.run_folder import RunFolder
from ssdg.benchmark.training.build import build_method
from ssdg.benchmark.training.checkpoint import Checkpoints
from ssdg.benchmark.training.train import Row as HistoryRow
from ssdg.benchmark.training.train import fit
from ssdg.methods.erm import Erm

PAIRS = 5

SIZES = {
    "cpu": (
        Size("fundus", "drive", (256, 256), budget=1.2),
        Size("fundus", "drive", (256, 256), init_filters=8),
        Size("fundus", "drive", (512, 512), init_filters=8, budget=1.5, window=(128, 128), windows_per_image=4),
        Size("fundus", "drive", (512, 512), budget=1.5, window=(128, 128), windows_per_image=4),
        Size("fetal", "atlases", (48, 48, 48), init_filters=8),
    ),
    "cuda": (
        Size("fundus", "drive", (512, 512), budget=3.0),
        Size("fetal", "atlases", (144, 144, 144), budget=2.0),
    ),
}


def monai(options: Options) -> Iterator[Row]:
    """Samples a second of the loop with ``erm``, over those of MONAI's way at its best setting."""
    if not _has_ignite():
        raise Skipped("MONAI's SupervisedTrainer needs pytorch-ignite: pip install pytorch-ignite")
    for device in options.devices():
        for size in SIZES[device.type]:
            yield _row(size, device, options)


def _row(size: Size, device: torch.device, options: Options) -> Row:
    work = find_work(size, options, device)  # prepares what is missing, or says why not
    with Apart(Ours, size, options, device) as ours, Apart(Theirs, size, options, device) as theirs:
        tried: dict[str, float] = theirs.call("try_settings")
        ours.call("train")
        taken, needed = _in_turn(lambda: ours.call("train"), lambda: theirs.call("train"), options.samples(PAIRS))
    batch = work.request.training.batch_size
    steps = Batches(work.cases, None, batch, work.request.seed).steps_per_epoch
    batch *= size.windows_per_image
    samples = steps * (EPOCHS - 1) * batch
    shown = "; ".join(f"{name} {samples / seconds:.3g}" for name, seconds in tried.items())
    trainer = "SupervisedTrainer with AMP" if device.type == "cuda" else "SupervisedTrainer"
    note = (
        "samples/s of train.fit (erm, augmentation geometric, no validation) over those of MONAI's CacheDataset, "
        f"DataLoader and {trainer}: SegResNet, Dice, fused Adam, batch of {batch}, flips, rotations and zooms alike, "
        "of whole images before RandSpatialCropSamples cuts windows; "
        "each in a process of its own; "
        f"whole epochs taken in turn; {size.name} on {device}: {samples / min(taken):.3g} and "
        f"{samples / min(needed):.3g} samples/s at best; MONAI's settings tried, the fastest is compared: {shown}"
    )
    label = f"erm / MONAI's way, {size.name}, {device}"
    return Row(label, median_ratio(needed, taken), "x", size.budget, note, at_least=True)


class Ours:
    """The loop, in a process set up as a run's is."""

    def __init__(self, size: Size, options: Options, device: torch.device) -> None:
        options.devices()
        work = find_work(size, options, device)
        self.request = work.request
        self.batches = Batches(work.cases, None, work.request.training.batch_size, work.request.seed)
        self.method = build_method(Erm, work.spec, work.task, work.device)

    def train(self) -> float:
        """Train a block for EPOCHS; return the seconds of all but the first."""
        with tempfile.TemporaryDirectory() as folder:
            watch = Watch(RunFolder(Path(folder)), self.batches.device)
            checkpoints = Checkpoints(Path(folder), {}, interval=math.inf)
            fit(self.method, self.batches, {}, self.request, checkpoints, watch)
        return watch.ends[-1] - watch.ends[0]


class Watch(Recorder):
    """Keeps the history and notes when each epoch ended."""

    def __init__(self, store: RunFolder, device: torch.device) -> None:
        super().__init__(store)
        self.device = device
        self.ends: list[float] = []

    def epoch(self, row: HistoryRow, history: list[HistoryRow]) -> None:
        """Write the history and note the time."""
        super().epoch(row, history)
        self.ends.append(clock(self.device))


def _has_ignite() -> bool:
    from monai.utils import optional_import

    return bool(optional_import("ignite.engine")[1])


def _in_turn(ours: Callable[[], float], theirs: Callable[[], float], pairs: int) -> tuple[list[float], list[float]]:
    """Return the seconds of blocks taken in turn; who goes first changes from pair to pair."""
    times: tuple[list[float], list[float]] = ([], [])
    for index in range(pairs):
        for who in (0, 1) if index % 2 else (1, 0):
            times[who].append((ours, theirs)[who]())
    return times
