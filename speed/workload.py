"""What is trained where no data are needed: a task of noise whose label follows the image, at any size."""

import math
from dataclasses import dataclass

import torch

from ssdg.benchmark.data.loader import Batches, Pool
from ssdg.benchmark.digests import to_json
from ssdg.benchmark.spec import NetworkConfig, RunRequest, RunSpec, TrainingConfig
from ssdg.benchmark.training.build import build_method
from ssdg.benchmark.training.train import Step
from ssdg.datasets.base import Task
from ssdg.methods import load_method
from ssdg.methods.base import Method

CASES = 16  # as many as DRIVE trains on
LABELLED = 230
"""Grey value of the first channel above which a voxel belongs to a class."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Sizes of one training run."""

    shape: tuple[int, ...]
    channels: int = 3
    classes: int = 2
    batch_size: int = 2
    init_filters: int = 8
    cases: int = CASES
    window: tuple[int, ...] | None = None  # None: whole images
    windows_per_image: int = 1
    augmentation: str = "none"

    @property
    def name(self) -> str:
        """The size in words, as "256²" or "windows of 128² in 512²"."""
        return in_words(self.shape, self.window)

    @property
    def samples(self) -> int:
        """Images or windows of a step."""
        return self.batch_size * self.windows_per_image

    @property
    def task(self) -> Task:
        """The task of this size."""
        names = ("background", *(f"class {index}" for index in range(1, self.classes)))
        return Task("speed", len(self.shape), self.channels, names, self.shape, {}, {})

    def pool(self, device: torch.device) -> Pool:
        """Return the cases, in the stored types."""
        rng = torch.Generator().manual_seed(0)
        image = torch.randint(0, 256, (self.cases, self.channels, *self.shape), generator=rng, dtype=torch.uint8)
        label = ((image[:, :1].int() - LABELLED).clamp(min=0) * self.classes) // (256 - LABELLED)
        return Pool(
            case=torch.arange(self.cases, device=device),
            image=image.to(device),
            label=label.to(torch.uint8).to(device),
            foreground=torch.ones(self.cases, 1, *self.shape, dtype=torch.bool, device=device),
        )

    def request(self, method: str, steps: int) -> RunRequest:
        """Return the request for a run of at least so many steps."""
        training = TrainingConfig(
            epochs=math.ceil(steps * self.batch_size / self.cases),
            batch_size=self.batch_size,
            augmentation=self.augmentation,
            window=self.window,
            windows_per_image=self.windows_per_image,
        )
        return RunRequest(
            task=self.task.name,
            source=self.task.name,
            method=method,
            training=training,
            network=NetworkConfig(init_filters=self.init_filters),
        )

    def method(self, name: str, device: torch.device) -> Method:
        """Return a method at its defaults, with its initial weights."""
        cls = load_method(name)
        config = to_json(cls.Config())
        assert isinstance(config, dict)
        spec = RunSpec(
            request=self.request(name, 1),
            method_version=cls.version,
            method_config=config,
            method_changed=(),
            source_manifest="",
            split="",
        )
        return build_method(cls, spec, self.task, device)

    def steps(self, name: str, device: torch.device, steps: int, cases: Pool | None = None) -> Step:
        """Return the loop's step of a method, for a run of so many; a UDA method adapts to the same images."""
        cases = self.pool(device) if cases is None else cases
        method, request = self.method(name, device), self.request(name, steps)
        unlabelled = cases if method.access == "uda" else None
        batches = Batches(cases, unlabelled, self.batch_size, request.seed)
        return Step.of(method.train(), batches, request)


def in_words(shape: tuple[int, ...], window: tuple[int, ...] | None) -> str:
    """Return a grid, or windows of one, in words."""
    grid, *inside = (f"{sides[0]}{'²' if len(sides) == 2 else '³'}" for sides in (shape, window) if sides)
    return f"windows of {inside[0]} in {grid}" if inside else grid
