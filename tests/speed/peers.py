"""The loop against the one that users of MONAI write: CacheDataset, DataLoader, SupervisedTrainer, on real cases.

Network, initial filters, loss, optimiser, batch size, cases and the law of the augmentation are the same. What costs
MONAI's way nothing here: its images are normalised once, before the augmentation, so that no foreground needs to
follow them; no schedule, no metric and no history is kept; metadata is switched off.
"""

import math
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from monai.data import CacheDataset, DataLoader, ThreadDataLoader, set_track_meta
from monai.losses import DiceLoss
from monai.networks.nets import SegResNet
from monai.transforms import Compose, RandFlipd, RandRotated, RandZoomd
from sampling import clock, median_ratio
from sheet import Options, Row, Skipped
from stepping import Recorder
from torch import Tensor, nn

from ssdg.benchmark.data.loader import Batches, Pool, pool
from ssdg.benchmark.data.material import Shelf, find_material
from ssdg.benchmark.spec import NetworkConfig, RunRequest, RunSpec, TrainingConfig
from ssdg.benchmark.storage.store import RunFolder
from ssdg.benchmark.training.assemble import build_method, resolve
from ssdg.benchmark.training.augment import moderate_geometry
from ssdg.benchmark.training.checkpoint import Checkpoints
from ssdg.benchmark.training.train import Row as HistoryRow
from ssdg.benchmark.training.train import fit, make_adam
from ssdg.datasets import TASKS
from ssdg.datasets.base import Task
from ssdg.methods.base import standardise
from ssdg.methods.erm import Erm

PAIRS = 5
EPOCHS = 2
"""Epochs of a block; the first comes with the loops' own start-up and is not timed."""

KEYS = ("image", "label")
Block = Callable[[], float]
"""Trains for EPOCHS and returns the seconds of all but the first."""


@dataclass(frozen=True, slots=True)
class Size:
    """What is trained on, and how many times as fast as MONAI's way it shall be."""

    task: str
    source: str
    shape: tuple[int, ...]
    init_filters: int = 32
    budget: float | None = None

    @property
    def name(self) -> str:
        """The size in words, as "drive 256², 8 filters"."""
        grid = f"{self.shape[0]}{'²' if len(self.shape) == 2 else '³'}"
        return f"{self.source} {grid}, {self.init_filters} filters"


SIZES = {
    "cpu": (
        Size("fundus", "drive", (256, 256), budget=1.2),
        Size("fundus", "drive", (256, 256), init_filters=8),
        Size("fetal", "atlases", (48, 48, 48), init_filters=8),
    ),
    "cuda": (
        Size("fundus", "drive", (512, 512), budget=3.0),
        Size("fetal", "atlases", (144, 144, 144), budget=2.0),
    ),
}


@dataclass(frozen=True, slots=True)
class Work:
    """A run on real cases, everything it needs loaded."""

    request: RunRequest
    spec: RunSpec
    task: Task
    cases: Pool

    @property
    def device(self) -> torch.device:
        """Where the cases are."""
        return self.cases.image.device


def monai(options: Options) -> Iterator[Row]:
    """Samples a second of the loop with ``erm``, over those of MONAI's way at its best setting."""
    if not _has_ignite():
        raise Skipped("MONAI's SupervisedTrainer needs pytorch-ignite: pip install pytorch-ignite")
    for device in options.devices():
        for size in SIZES[device.type]:
            yield _row(size, find_work(size, options, device), options)


def _row(size: Size, work: Work, options: Options) -> Row:
    ours = OurLoop(work)
    with WithoutMetadata():
        settings = {name: MonaiLoop(work, loader) for name, loader in loaders(work)}
        tried = {name: _second(block) for name, block in settings.items()}
        best = min(tried, key=lambda name: tried[name])
        ours()
        taken, theirs = _in_turn(ours, settings[best], options.samples(PAIRS))
    batch = work.request.training.batch_size
    samples = ours.batches.steps_per_epoch * (EPOCHS - 1) * batch
    shown = "; ".join(f"{name} {samples / seconds:.3g}" for name, seconds in tried.items())
    trainer = "SupervisedTrainer with AMP" if work.device.type == "cuda" else "SupervisedTrainer"
    note = (
        "samples/s of train.fit (erm, augmentation geometric, no validation) over those of MONAI's CacheDataset, "
        f"DataLoader and {trainer}: SegResNet, Dice, fused Adam, batch of {batch}, flips, rotations and zooms alike; "
        f"whole epochs taken in turn; {size.name} on {work.device}: {samples / min(taken):.3g} and "
        f"{samples / min(theirs):.3g} samples/s at best; MONAI's settings tried, the fastest is compared: {shown}"
    )
    label = f"erm / MONAI's way, {size.name}, {work.device}"
    return Row(label, median_ratio(theirs, taken), "x", size.budget, note, at_least=True)


def find_work(size: Size, options: Options, device: torch.device) -> Work:
    """Return a run on the training cases of a source, prepared at the size.

    Raises:
        Skipped: nobody said where the data are.
    """
    if options.data_root is None:
        raise Skipped("it needs the published data: set BENCH_DATA to their folder, or give --data-root")
    task = replace(TASKS[size.task], shape=size.shape)
    request = RunRequest(
        task=task.name,
        source=size.source,
        method="erm",
        training=TrainingConfig(epochs=EPOCHS),
        network=NetworkConfig(init_filters=size.init_filters),
    )
    options.cache.mkdir(parents=True, exist_ok=True)
    material = find_material(request, task, [], Shelf(options.data_root, options.cache), lambda _: None)
    prepared = material.prepare(task, request.preprocess, options.cache)[material.source.domain.name]
    return Work(request, resolve(request, task, Erm, material), task, pool(prepared, material.training, device))


class OurLoop:
    """Blocks of ``train.fit`` on one network."""

    def __init__(self, work: Work) -> None:
        self.request = work.request
        self.batches = Batches(work.cases, None, work.request.training.batch_size, work.request.seed)
        self.method = build_method(Erm, work.spec, work.task, work.device)

    def __call__(self) -> float:
        """Train a block, as :data:`Block` says."""
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


class MonaiLoop:
    """Blocks of MONAI's trainer on one network."""

    def __init__(self, work: Work, loader: DataLoader) -> None:
        config = work.request
        self.loader = loader
        self.device = work.device
        self.network = SegResNet(
            spatial_dims=work.task.ndim,
            init_filters=config.network.init_filters,
            in_channels=work.task.channels,
            out_channels=len(work.task.classes),
            blocks_down=(1, 2, 2, 4),
            blocks_up=(1, 1, 1),
        ).to(work.device)
        self.optimizer = make_adam(
            list(self.network.parameters()), config.optimizer.lr, config.optimizer.weight_decay
        )
        self.loss = monai_dice()

    def __call__(self) -> float:
        """Train a block, as :data:`Block` says."""
        from ignite.engine import Events
        from monai.engines import SupervisedTrainer

        ends: list[float] = []
        trainer = SupervisedTrainer(
            device=self.device,
            max_epochs=EPOCHS,
            train_data_loader=self.loader,
            network=self.network,
            optimizer=self.optimizer,
            loss_function=self.loss,
            non_blocking=True,
            amp=self.device.type == "cuda",
            decollate=False,  # only postprocessing needs it
            optim_set_to_none=True,
        )
        trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: ends.append(clock(self.device)))
        trainer.run()
        return ends[-1] - ends[0]


def monai_dice() -> nn.Module:
    """Return MONAI's Dice loss with the settings that make it ours."""
    loss: nn.Module = DiceLoss(softmax=True, to_onehot_y=True, squared_pred=True, batch=True)
    return loss


def loaders(work: Work) -> Iterator[tuple[str, DataLoader]]:
    """Return MONAI's ways of loading that may be the fastest, each with its name."""
    pinned = work.device.type == "cuda"
    common: dict[str, Any] = {"batch_size": work.request.training.batch_size, "shuffle": True}
    on_host = _cached(work, "cpu")
    for workers in sorted({0, 2, min(8, len(os.sched_getaffinity(0)))}):
        kept = workers > 0
        loader = DataLoader(on_host, num_workers=workers, persistent_workers=kept, pin_memory=pinned, **common)
        yield f"{workers} workers", loader
    if pinned:
        loader = ThreadDataLoader(_cached(work, work.device), num_workers=0, **common)
        yield "cached on the device, ThreadDataLoader", loader


def _cached(work: Work, device: torch.device | str) -> CacheDataset:
    """Return MONAI's data set of the cases; its items need no copy, because no transform writes into them."""
    transform = augmentation(work.task.shape)
    return CacheDataset(monai_cases(work.cases, device), transform, copy_cache=False, progress=False)


def monai_cases(cases: Pool, device: torch.device | str) -> list[dict[str, Tensor]]:
    """Return the cases as dictionaries of normalised images (C, *S) and labels (1, *S), float32."""
    found = []
    for index in range(len(cases)):
        one = torch.tensor([index], device=cases.image.device)
        assert cases.label is not None
        image = standardise(cases.images(one), cases.foreground[one])[0]
        found.append({"image": image.to(device), "label": cases.label[index].float().to(device)})
    return found


def augmentation(shape: tuple[int, ...]) -> Compose:
    """Return ``geometric`` in MONAI's transforms: the same ranges and probabilities, up to 1 / zoom = scaling."""
    geometry = moderate_geometry(shape)
    angle = math.radians(geometry.rotation)
    axes = ("range_x",) if len(shape) == 2 else ("range_x", "range_y", "range_z")
    linear = "bilinear" if len(shape) == 2 else "trilinear"
    low, high = geometry.scaling
    flips = [RandFlipd(KEYS, prob=geometry.flip_probability, spatial_axis=axis) for axis in geometry.flip_axes]
    rotation = RandRotated(
        KEYS,
        **dict.fromkeys(axes, angle),
        prob=geometry.rotation_probability,
        mode=("bilinear", "nearest"),  # MONAI's name in 3D as well
        padding_mode="zeros",
    )
    zoom = RandZoomd(
        KEYS,
        prob=geometry.scaling_probability,
        min_zoom=low,
        max_zoom=high,
        mode=(linear, "nearest"),
        padding_mode="constant",
    )
    # Not lazy: fused into one resampling they took longer, because that needs the metadata.
    return Compose([*flips, rotation, zoom])


class WithoutMetadata(AbstractContextManager[None]):
    """Switches MONAI's metadata off, which makes it faster, and on again."""

    def __enter__(self) -> None:
        set_track_meta(False)

    def __exit__(self, *_: object) -> None:
        set_track_meta(True)


def _has_ignite() -> bool:
    from monai.utils import optional_import

    return bool(optional_import("ignite.engine")[1])


def _second(block: Block) -> float:
    """Return the seconds of a block after one that is not counted."""
    block()
    return block()


def _in_turn(ours: Block, theirs: Block, pairs: int) -> tuple[list[float], list[float]]:
    """Return the seconds of blocks taken in turn; who goes first changes from pair to pair."""
    times: tuple[list[float], list[float]] = ([], [])
    for index in range(pairs):
        for who in (0, 1) if index % 2 else (1, 0):
            times[who].append((ours, theirs)[who]())
    return times
