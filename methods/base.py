"""Interface of a method: its inputs, its outputs, and the steps to override.

A method is one :class:`torch.nn.Module` with two verbs: ``training_step(batch, context) -> terms`` and
``predict(image, foreground) -> logits``, which is ``prepare`` and then ``logits``. The benchmark owns everything
else: data, the network's construction, optimiser, schedule, precision, checkpoints, evaluation. :class:`Method`
itself is the source-only row.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from . import MethodError
from . import require as require  # methods import it from here
from .losses import soft_dice
from .networks.base import Features, SegmentationNetwork

Terms: TypeAlias = Mapping[str, Tensor]
"""Name of a loss term -> 0-d tensor, already weighted; the loop minimises their sum and logs each."""

Access: TypeAlias = Literal["ssdg", "uda"]
"""Training data of a method: the labelled source alone, or also unlabelled target images."""

Normalisation: TypeAlias = Literal["foreground", "grid"]
"""Voxels over which z-scoring takes its statistics."""


class Frame(NamedTuple):
    """Statistics for the normalisation of windows; see :meth:`Method.statistics`."""

    image: Tensor  # (B, n) of the image that the window lies in
    window: Tensor  # (B, n) of the window as it was drawn, before any change of intensities


@dataclass(frozen=True, slots=True)
class Batch:
    """One mini-batch of the source domain on the run's device; ``S`` is the 2D or 3D grid, or a window of it.

    Target labels have no field: they cannot reach a method.
    """

    image: Tensor  # (B, C, *S) float32 in [0, 1]
    label: Tensor  # (B, 1, *S) int64 class indices, 0 is background
    foreground: Tensor  # (B, 1, *S) bool: brain or field of view
    target: Tensor | None = None  # (B', C, *S) unlabelled target images in [0, 1]; None unless access == "uda"
    target_foreground: Tensor | None = None  # (B', 1, *S) bool
    frame: Frame | None = None  # of windows, to be handed to ``prepare``; None: images are whole
    target_frame: Frame | None = None
    margin: int = 0  # voxels around each window, on every side, that the method asked for; see Method.margin


@dataclass(frozen=True, slots=True)
class StepContext:
    """Position of a step in the run, and its own source of randomness."""

    rng: torch.Generator  # a function of (run seed, purpose, step) only; on the batch's device
    step: int  # 0 .. total_steps - 1
    total_steps: int
    epoch: int  # 0 .. total_epochs - 1
    total_epochs: int


@dataclass(frozen=True, slots=True)
class NoConfig:
    """Configuration of a method without hyper-parameters."""


class Method(nn.Module):
    """Source-only training ("w/o SSDG"), and the base class of every other method.

    Override ``augment`` for a pure augmentation, ``training_step`` for anything that needs more than one forward
    pass, ``prepare`` where the method replaces the normalisation, ``logits`` where prediction is not the network's.
    ``training_step``, ``adversary_step`` and ``example`` call ``augment`` once on their batch, first of all: a
    subclass of any method can so put another augmentation in front of it. Submodules, buffers and parameters
    registered here are saved, resumed and (if they require grad) optimised; there is no other state.

    Args:
        network: the shared network, already initialised; a method uses the members that its class lists.
        config: an instance of ``type(self).Config``; None takes its defaults.
    """

    access: ClassVar[Access] = "ssdg"
    version: ClassVar[int] = 1
    """Part of a run's identity: raise it when the mathematics changes, and finished runs are not reused."""
    ndims: ClassVar[frozenset[int]] = frozenset({2, 3})
    needs: ClassVar[frozenset[str]] = frozenset()
    """Needs beyond one labelled image at a time, of :data:`ssdg.methods.NEEDS`; ``bench list`` shows them."""
    windows: ClassVar[bool] = True
    """Whether the method can train on windows; False: on whole images alone, and ``training.window`` is refused."""
    networks: ClassVar[frozenset[str] | None] = None
    """Ids of the networks that the method works on; None: all of them."""
    Config: ClassVar[type[Any]] = NoConfig
    adversary_lr_ratio: float = 0.1
    """Learning rate of the adversary over that of the method, ``optimizer.lr``."""
    adversary_learning_rate: float | None = None
    """The adversary's learning rate itself, whatever ``optimizer.lr`` is; None: by the ratio."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "setting" in vars(cls):  # the name of `access` in version 0.1; goes with 0.3
            cls.access = vars(cls)["setting"]

    def __init__(self, network: SegmentationNetwork, config: Any = None) -> None:
        super().__init__()
        self.network = network
        self.config = self.Config() if config is None else config
        self.normalisation: Normalisation = "foreground"  # set by the benchmark from the protocol
        self.grid: tuple[int, ...] | None = None
        """Sides of the task's grid, of which inputs may be windows; set by the benchmark. None: the input's sides.

        Under ``preprocess.spacing`` every image has sides of its own and all voxels one size. The grid is the task's
        all the same: a length in proportion to it has one size in voxels in every image, and so one in millimetres
        (pixels of a picture).
        """
        # Not a class attribute: that would shadow the submodule a subclass assigns (nn.Module looks it up last).
        self.register_module("adversary", None)

    def augment(self, batch: Batch, rng: torch.Generator) -> Batch:  # noqa: ARG002 - the interface
        """Return the batch to train on; intensities stay in [0, 1]. Default: unchanged.

        Called once by each step, before the method's own views. Must not modify ``batch`` in place and must draw from
        ``rng`` alone.
        """
        return batch

    def prepare(self, image: Tensor, foreground: Tensor, frame: Frame | None = None) -> Tensor:
        """Normalise images for the network, in training and in prediction alike. Default: z-score per image.

        A window is normalised as its whole image would be: z-scored by its own statistics, for it may have been
        augmented, and then given the scale and offset that it had within its image before.

        Args:
            image: (B, C, *S) in [0, 1].
            foreground: (B, 1, *S) bool.
            frame: of windows; None for whole images.

        Returns:
            (B, C, *S) float32.
        """
        region = foreground if self.normalisation == "foreground" else None
        return standardise(image, region) if frame is None else standardise_within(image, region, frame)

    def statistics(self, image: Tensor, foreground: Tensor) -> Tensor:
        """Return the (B, n) numbers by which ``prepare`` lets a whole image decide. Default: mean and deviation.

        Override it together with ``prepare``: the benchmark calls it on whole images and on windows as drawn.
        """
        own = spread(image, foreground if self.normalisation == "foreground" else None)
        return torch.stack([moment.flatten() for moment in own], dim=1)

    def margin(self) -> int:
        """Return how many voxels around a window ``prepare`` has to see; the method cuts them off after it."""
        return 0

    def training_step(self, batch: Batch, context: StepContext) -> Terms:
        """Return the loss terms of one step. Default: segmentation loss of the augmented, normalised batch."""
        batch = self.augment(batch, context.rng)
        features: Features = self.network(self.prepare(batch.image, batch.foreground, batch.frame))
        return {"segmentation": soft_dice(features.logits, batch.label)}

    def predict(self, image: Tensor, foreground: Tensor) -> Tensor:
        """Return logits (B, classes, *S) for images (B, C, *S) in [0, 1]; deterministic, no augmentation.

        An image without foreground counts as foreground everywhere.
        """
        foreground = whole_if_empty(foreground)
        return self.logits(self.prepare(image, foreground), foreground)

    def logits(self, prepared: Tensor, foreground: Tensor) -> Tensor:  # noqa: ARG002 - the interface
        """Return logits (B, classes, *S) for prepared images (B, C, *S), whole or windows of them.

        Args:
            prepared: from ``prepare`` on whole images.
            foreground: (B, 1, *S) bool; empty only in a window that lies outside the foreground of its image.
        """
        features: Features = self.network(prepared)
        return features.logits

    def example(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Return one training view of the batch's images (B, C, *S) at the network's input, for figures."""
        batch = self.augment(batch, rng)
        return self.prepare(batch.image, batch.foreground, batch.frame)

    def adversary_step(self, batch: Batch, context: StepContext) -> Terms:
        """Return the terms minimised by the ``adversary`` submodule after the main step, if there is one."""
        raise NotImplementedError(f"{type(self).__name__} registers an adversary but has no adversary_step")


EPSILON = 1e-6
"""Added to standard deviations: a constant image stays near zero."""


def standardise(image: Tensor, region: Tensor | None) -> Tensor:
    """Z-score each image, channels jointly, with the statistics of a region.

    Args:
        image: (B, C, *S).
        region: (B, 1, *S) bool; None or an empty region takes the whole grid.

    Returns:
        (B, C, *S), mean 0 and population standard deviation 1 inside the region.
    """
    mean, deviation = spread(image, region)
    return (image - mean) / (deviation + EPSILON)


def standardise_within(image: Tensor, region: Tensor | None, frame: Frame) -> Tensor:
    """Z-score windows, then undo it by the difference of the drawn window's statistics from its image's.

    A window as it was drawn becomes what the same window of the whole z-scored image is.
    """
    (whole_mean, whole_deviation), (mean, deviation) = (moments(statistics, image.ndim) for statistics in frame)
    standardised = standardise(image, region) * (deviation + EPSILON)
    return (standardised + (mean - whole_mean)) / (whole_deviation + EPSILON)


def moments_within(image: Tensor, statistics: Tensor, frame: Frame) -> tuple[Tensor, Tensor]:
    """Return mean and deviation (B, 1, *ones) by which :func:`standardise_within` z-scores windows.

    Those of the whole images, changed as the windows' own have changed since the windows were drawn; to the bit those
    of the whole images where nothing has changed.

    Args:
        image: (B, C, *S), the windows.
        statistics: (B, n), from :meth:`Method.statistics` of the windows as they are.
        frame: of the windows.
    """
    (whole_mean, whole_deviation), (drawn_mean, drawn_deviation), (mean, deviation) = (
        moments(each, image.ndim) for each in (*frame, statistics)
    )
    ratio = (deviation + EPSILON) / (drawn_deviation + EPSILON)
    # In this order: where nothing has changed, the ratio is 1 and all that is added is 0.
    return whole_mean * ratio + (mean - drawn_mean * ratio), whole_deviation * ratio + EPSILON * (ratio - 1)


def moments(statistics: Tensor, ndim: int) -> tuple[Tensor, Tensor]:
    """Return mean and deviation, the first two of :meth:`Method.statistics`, as (B, 1, *ones) of ``ndim`` axes."""
    mean, deviation = (values.view(-1, *[1] * (ndim - 1)) for values in statistics[:, :2].unbind(1))
    return mean, deviation


def spread(image: Tensor, region: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return each image's mean and population standard deviation (B, 1, *ones) in a region, channels jointly."""
    axes = tuple(range(1, image.ndim))
    if region is None:
        deviation, mean = torch.std_mean(image, dim=axes, correction=0, keepdim=True)
        return mean, deviation
    weight = region.to(image.dtype)
    filled = weight.sum(dim=axes, keepdim=True)
    weight = torch.where(filled > 0, weight, torch.ones_like(weight))
    count = weight.sum(dim=axes, keepdim=True) * image.shape[1]
    mean = (image * weight).sum(dim=axes, keepdim=True) / count
    variance = ((image - mean).square() * weight).sum(dim=axes, keepdim=True) / count
    return mean, variance.sqrt()


def whole_if_empty(foreground: Tensor) -> Tensor:
    """Return the foreground (B, 1, *S), or the whole grid for an image without foreground."""
    empty = ~foreground.flatten(1).any(dim=1)
    return foreground | empty.view(-1, *[1] * (foreground.ndim - 1))


def require_partner(count: int, name: str) -> None:
    """Raise MethodError for a batch of one image, given a method that mixes the images of a batch."""
    message = f"{name} mixes the images of a batch: training.batch_size must be 2 or more, not {count}"
    require(count > 1, message, MethodError)
