"""The loop that users of MONAI write: CacheDataset, DataLoader, SupervisedTrainer.

What costs it nothing here: its images are normalised once, before the augmentation, so that no foreground needs to
follow them; no schedule, no metric and no history is kept; metadata is switched off.
"""

import math
import os
from collections.abc import Iterator
from typing import Any

import torch
from monai.data import CacheDataset, DataLoader, ThreadDataLoader, set_track_meta
from monai.losses import DiceLoss
from monai.networks.nets import SegResNet
from monai.transforms import Compose, RandFlipd, RandRotated, RandSpatialCropSamplesd, RandZoomd
from real_run import EPOCHS, Size, Work, find_work
from sampling import clock
from sheet import Options
from torch import Tensor, nn

from ssdg.benchmark.data.loader import Pool
from ssdg.benchmark.training.augmentation import moderate_geometry
from ssdg.benchmark.training.train import make_adam
from ssdg.methods.base import standardise

KEYS = ("image", "label")


class Theirs:
    """MONAI's way, in a process that is as Python starts it."""

    def __init__(self, size: Size, options: Options, device: torch.device) -> None:
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        set_track_meta(False)  # which makes it faster
        work = find_work(size, options, device)
        self.settings: dict[str, MonaiLoop] = {name: MonaiLoop(work, loader) for name, loader in loaders(work)}
        self.best = next(iter(self.settings))

    def try_settings(self) -> dict[str, float]:
        """Return the seconds of a block for each setting, after one that is not counted; the fastest is kept."""
        tried = {}
        for name, block in self.settings.items():
            block()
            tried[name] = block()
        self.best = min(tried, key=lambda name: tried[name])
        return tried

    def train(self) -> float:
        """Train a block of the fastest setting for EPOCHS; return the seconds of all but the first."""
        return self.settings[self.best]()


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
        """Train a block for EPOCHS; return the seconds of all but the first."""
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
    training = work.request.training
    if training.window is not None:
        cut = RandSpatialCropSamplesd(KEYS, training.window, training.windows_per_image, random_size=False)
        transform = Compose([*transform.transforms, cut])
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
