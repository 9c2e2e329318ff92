"""What the loop adds to a step: ``train.fit`` itself against the bare step of the same network, taken in turn."""

import math
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from sampling import clock, median, median_ratio
from sheet import Options, Row
from workload import Workload

from ssdg.benchmark.data.loader import Batches
from ssdg.benchmark.storage.run_folder import RunFolder
from ssdg.benchmark.training.checkpoint import Checkpoints
from ssdg.benchmark.training.inference import autocast
from ssdg.benchmark.training.train import Row as HistoryRow
from ssdg.benchmark.training.train import fit, make_adam
from ssdg.methods.base import standardise
from ssdg.methods.losses import soft_dice
from ssdg.methods.networks.base import SegmentationNetwork

PAIRS = 120
WARMUP = 8
SIZE = Workload((256, 256), batch_size=4)


def loop(options: Options) -> Iterator[Row]:
    """Return the loop's step relative to the bare one, on the CPU and where there is one on the GPU."""
    for device in options.devices():
        ours, bare = paired_steps(device, options.samples(PAIRS))
        milliseconds = 1000 * median(bare).value
        note = (
            "train.fit with erm on device-resident cases (batch, normalisation, terms, finite check, history.csv of "
            "each epoch; no validation) against forward, soft Dice, backward and fused Adam of the same network: "
            "batch 4, 256² RGB, 8 filters, memory format and precision alike; "
            f"a bare step took {milliseconds:.0f} ms on {device}"
        )
        yield Row(f"loop / bare step, erm, {device}", median_ratio(ours, bare), "x", 1.05, note)


def paired_steps(device: torch.device, pairs: int) -> tuple[list[float], list[float]]:
    """Return the seconds of the loop's steps, and of the bare step taken before each of them."""
    cases, request = SIZE.pool(device), SIZE.request("erm", WARMUP + pairs + 1)
    batches = Batches(cases, None, SIZE.batch_size, request.seed)
    batch = batches.at(0)
    reference = SIZE.method("erm", device)  # the same initial weights and memory format
    bare = BareStep(reference.network, standardise(batch.image, batch.foreground), batch.label)
    alternation = Alternation(bare, device)
    with tempfile.TemporaryDirectory() as folder:
        fit(
            SIZE.method("erm", device),
            batches,
            {},  # nothing is looked at
            request,
            Checkpoints(Path(folder), {}, interval=math.inf),
            Recorder(RunFolder(Path(folder))),
            alternation,
        )
    ours, others = alternation.ours, alternation.bare[: len(alternation.ours)]
    return ours[WARMUP : WARMUP + pairs], others[WARMUP : WARMUP + pairs]


class BareStep:
    """The least a step can be: forward, loss, backward, update, on one batch that is ready."""

    def __init__(self, network: SegmentationNetwork, image: torch.Tensor, label: torch.Tensor) -> None:
        self.network = network.train()
        self.image = image.contiguous(memory_format=torch.channels_last)
        self.label = label
        self.optimizer = make_adam(list(network.parameters()), 1e-4, 0.0)

    def __call__(self) -> None:
        """Take the step."""
        self.optimizer.zero_grad(set_to_none=True)
        with autocast(self.image.device, "auto"):
            loss = soft_dice(self.network(self.image).logits, self.label)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()


class Alternation:
    """Takes a bare step between any two steps of the loop and notes both times.

    The loop calls it last in each step, as ``should_stop``: from one call's end to the next one's beginning lies
    everything the loop does for one step.
    """

    def __init__(self, bare: BareStep, device: torch.device) -> None:
        self.step = bare
        self.device = device
        self.ours: list[float] = []
        self.bare: list[float] = []
        self._began: float | None = None

    def __call__(self) -> bool:
        """Note the loop's step that ends here, take a bare one, and let the loop go on."""
        now = clock(self.device)
        if self._began is not None:  # the first step comes with the loop's own start-up
            self.ours.append(now - self._began)
        began = clock(self.device)
        self.step()
        self.bare.append(clock(self.device) - began)
        self._began = clock(self.device)
        return False


class Recorder:
    """A display that prints nothing and keeps ``history.csv`` up to date, as a run does."""

    def __init__(self, store: RunFolder) -> None:
        self.store = store

    def start(self, step: int, total_steps: int) -> None:
        """Nothing to record."""

    def step(self, step: int) -> None:
        """Nothing to record."""

    def epoch(self, row: HistoryRow, history: list[HistoryRow]) -> None:
        """Write the history."""
        self.store.write_history(history)
