"""Figures for looking at methods: what each does to an image before the network sees it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ssdg.datasets.base import Case, Domain, Task
from ssdg.methods import load_method
from ssdg.methods.base import Batch, Method
from ssdg.methods.network import SegmentationNetwork

from .preprocess import PreparedCase, prepare_case
from .randomness import derived_seed, generator
from .settings import UsageError
from .spec import PreprocessConfig

FILTERS = 8
"""Of the untrained network that methods are built on; only a saliency of it is ever seen."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An image to show the effect of augmentations on, with its label where there is one."""

    image: Path
    label: Path | None


def load_batch(pictures: Sequence[Picture], task: Task, config: PreprocessConfig) -> Batch:
    """Return pictures on the task's grid as a batch; without a label everything is background.

    A single picture is doubled: some methods need a partner in the batch. The pictures are the unlabelled target too.
    """
    cases = [_prepare(picture, task, config) for picture in (*pictures, *pictures)[: max(2, len(pictures))]]
    image = torch.stack([torch.from_numpy(case.image) for case in cases])
    image = image.float() / 255 if image.dtype == torch.uint8 else image.float()
    labels = [_classes(case, len(task.classes)) for case in cases]
    foreground = torch.stack([torch.from_numpy(case.foreground) for case in cases])[:, None]
    return Batch(
        image=image,
        label=torch.stack(labels)[:, None],
        foreground=foreground,
        target=image.flip(0),
        target_foreground=foreground.flip(0),
    )


def _prepare(picture: Picture, task: Task, config: PreprocessConfig) -> PreparedCase:
    case = Case(id=picture.image.name, image=picture.image, label=picture.label)
    any_value = {value: value for value in range(256)}
    domain = Domain("figure", "", (case,), any_value, str(picture.image), "", skull_stripped=False)
    return prepare_case(case, domain, task, config)


def _classes(case: PreparedCase, classes: int) -> torch.Tensor:
    """Return a label (*S) int64 whose values in rising order are classes; which is which does not matter here."""
    if case.label is None:
        return torch.zeros(case.image.shape[1:], dtype=torch.long)
    ranks = np.unique(case.label, return_inverse=True)[1].reshape(case.label.shape)
    return torch.from_numpy(np.minimum(ranks, classes - 1))


def examples(method: str, task: Task, batch: Batch, draws: int, seed: int) -> list[NDArray[np.float32]]:
    """Return (C, *S) views of the batch's first image, as the network would be fed them in training."""
    torch_method = _build(method, task, seed)
    step_batch = batch if torch_method.setting == "uda" else _without_target(batch)
    return [
        torch_method.example(step_batch, generator(seed, "figure", draw))[0].detach().float().numpy()
        for draw in range(draws)
    ]


def _without_target(batch: Batch) -> Batch:
    return Batch(image=batch.image, label=batch.label, foreground=batch.foreground)


def _build(name: str, task: Task, seed: int) -> Method:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "network"))
        network = SegmentationNetwork(task.ndim, task.channels, len(task.classes), FILTERS)
        return load_method(name)(network)


def displayed(view: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return an image (H, W, 3 or 1) in [0, 1], of a volume the middle slice; stretched from 1st to 99th percentile.

    The stretch is needed because views are normalised images of any range; it hides a change of overall gain.
    """
    picture = view if view.ndim == 3 else view[..., view.shape[-1] // 2]
    low, high = np.percentile(picture, [1, 99])
    shown = np.clip((picture - low) / max(high - low, 1e-6), 0, 1)
    shown = np.moveaxis(shown, 0, -1)
    return shown if view.ndim == 3 else np.rot90(shown)


def augmentation_figure(rows: Mapping[str, Sequence[NDArray[np.float32]]], original: NDArray[np.float32]) -> Figure:
    """Return methods side by side: one column a method, one row a draw, the image itself first.

    Args:
        rows: method label -> its views (C, *S).
        original: the image (C, *S).
    """
    draws = max(len(views) for views in rows.values())
    columns = {"image": [original], **rows}
    figure = Figure(figsize=(1.35 * len(columns), 1.5 * draws), layout="constrained", dpi=200)
    axes = figure.subplots(draws, len(columns), squeeze=False)
    for column, (label, views) in enumerate(columns.items()):
        axes[0, column].set_title(label, fontsize=7)
        for draw in range(draws):
            axes[draw, column].set_axis_off()
            if draw < len(views):
                axes[draw, column].imshow(displayed(views[draw]), cmap="gray", interpolation="nearest")
    return figure


def save_figure(figure: Figure, output: Path) -> None:
    """Write a figure as PNG or PDF, by its suffix."""
    if output.suffix not in (".png", ".pdf"):
        raise UsageError(f"a figure is written as .png or .pdf, not {output.suffix or 'a file without suffix'}")
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output)
