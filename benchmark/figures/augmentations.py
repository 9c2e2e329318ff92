"""Figure of each method's augmentations of one image, as the network is fed them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ssdg.datasets.base import Case, Task
from ssdg.methods import load_method
from ssdg.methods.base import Batch
from ssdg.methods.networks.segresnet import SegResNet

from ..data.loader import unit_range
from ..data.preprocess import PreparedCase, prepare_case
from ..randomness import derived_seed, generator
from ..spec import PreprocessConfig
from .case_sheet import fullest_slice
from .style import DOUBLE, GAP, Sheet, height_of, lines_of, style, wrapped

FILTERS = 8  # of the untrained network that methods are built on; only a saliency map of it is ever shown


def load_batch(pictures: Sequence[tuple[Path, Path | None]], task: Task, config: PreprocessConfig) -> Batch:
    """Return pictures (image, label) on the task's grid as a batch; without a label everything is background.

    A single picture is doubled: some methods need a partner in the batch. The pictures are the unlabelled target too.
    """
    cases = [_prepare(*picture, task, config) for picture in (*pictures, *pictures)[: max(2, len(pictures))]]
    image = torch.stack([torch.from_numpy(case.image) for case in cases])
    image = unit_range(image)
    labels = [_classes(case, len(task.classes)) for case in cases]
    foreground = torch.stack([torch.from_numpy(case.foreground) for case in cases])[:, None]
    return Batch(
        image=image,
        label=torch.stack(labels)[:, None],
        foreground=foreground,
        target=image.flip(0),
        target_foreground=foreground.flip(0),
    )


def _prepare(image: Path, label: Path | None, task: Task, config: PreprocessConfig) -> PreparedCase:
    case = Case(id=image.name, image=image, label=label)
    any_value = {value: value for value in range(256)}
    rules = task.domain(task.source).domain  # the images are read as those of the source
    domain = replace(rules, cases=(case,), label_map=any_value, label_variants={}, layers=(), skull_stripped=False)
    prepared = prepare_case(case, domain, task, config)
    return fullest_slice(prepared) if prepared.slices else prepared


def _classes(case: PreparedCase, classes: int) -> torch.Tensor:
    """Return a label (*S) int64 whose values in rising order are classes; which is which does not matter here."""
    if case.label is None:
        return torch.zeros(case.image.shape[1:], dtype=torch.long)
    ranks = np.unique(case.label, return_inverse=True)[1].reshape(case.label.shape)
    return torch.from_numpy(np.minimum(ranks, classes - 1))


def examples(method: str, task: Task, batch: Batch, draws: int, seed: int) -> list[NDArray[np.float32]]:
    """Return (C, *S) views of the batch's first image, as the network would be fed them in training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "network"))
        network = SegResNet(task.ndim, task.channels, len(task.classes), FILTERS)
        built = load_method(method)(network)
    if built.access != "uda":
        batch = Batch(image=batch.image, label=batch.label, foreground=batch.foreground)
    return [
        built.example(batch, generator(seed, "figure", draw))[0].detach().float().numpy() for draw in range(draws)
    ]


def displayed(view: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return an image (H, W, 3 or 1) in [0, 1], of a volume the middle slice; stretched from 1st to 99th percentile.

    The stretch is needed because views are normalised images of any range; it hides a change of overall gain.
    """
    picture = view if view.ndim == 3 else view[..., view.shape[-1] // 2]
    low, high = np.percentile(picture, [1, 99])
    shown = np.clip((picture - low) / max(high - low, 1e-6), 0, 1)
    shown = np.moveaxis(shown, 0, -1)
    return shown if view.ndim == 3 else np.rot90(shown)


def augmentation_figure(
    rows: Mapping[str, Sequence[NDArray[np.float32]]], original: NDArray[np.float32], width: float = DOUBLE
) -> Figure:
    """Return methods side by side: one column a method, one row a draw, the image itself (C, *S) first.

    ``rows`` has the views (C, *S) of each method by its label; columns that exceed the width (inches) go on below.
    """
    columns = {"Image": [original], **rows}
    draws = max(len(views) for views in rows.values())
    lines, across = lines_of(len(columns), width)
    side = (width - (across - 1) * GAP) / across
    tall = side * displayed(original).shape[0] / displayed(original).shape[1]
    titles = [wrapped(label, side) for label in columns]
    top = max(height_of(title) for title in titles) + GAP
    block = top + draws * (tall + GAP)
    with style():
        sheet = Sheet(width, lines * block)
        for index, (title, views) in enumerate(zip(titles, columns.values(), strict=True)):
            line, column = divmod(index, across)
            left, above = column * (side + GAP), line * block
            sheet.text(left + side / 2, above + top - GAP, title, ha="center", va="baseline")
            for draw, view in enumerate(views):
                axes = sheet.axes(left, above + top + draw * (tall + GAP), side, tall)
                axes.imshow(displayed(view), cmap="gray", interpolation="nearest", aspect="auto")
    return sheet.figure
