"""Runs on the published data, at the sizes that loops are compared at."""

from dataclasses import dataclass, replace

import torch
from sheet import Options, Skipped
from workload import in_words

from ssdg.benchmark.data.loader import Pool, pool
from ssdg.benchmark.data.run_data import DataSource, find_run_data
from ssdg.benchmark.spec import NetworkConfig, RunRequest, RunSpec, TrainingConfig
from ssdg.benchmark.training.build import resolve
from ssdg.datasets import TASKS
from ssdg.datasets.base import Task
from ssdg.methods.erm import Erm

EPOCHS = 2
"""Epochs of a block; the first comes with the loops' own start-up and is not timed."""


@dataclass(frozen=True, slots=True)
class Size:
    """What is trained on, and how many times as fast as MONAI's way it shall be."""

    task: str
    source: str
    shape: tuple[int, ...]
    init_filters: int = 32
    budget: float | None = None
    window: tuple[int, ...] | None = None  # None: whole images
    windows_per_image: int = 1

    @property
    def name(self) -> str:
        """The size in words, as "drive 256², 8 filters"."""
        return f"{self.source} {in_words(self.shape, self.window)}, {self.init_filters} filters"


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
        training=TrainingConfig(epochs=EPOCHS, window=size.window, windows_per_image=size.windows_per_image),
        network=NetworkConfig(init_filters=size.init_filters),
    )
    options.cache.mkdir(parents=True, exist_ok=True)
    run_data = find_run_data(request, task, [], DataSource(options.data_root, options.cache), lambda _: None)
    prepared = run_data.prepare(task, request.preprocess, options.cache)[run_data.source.domain.name]
    return Work(request, resolve(request, task, Erm, run_data), task, pool(prepared, run_data.training, device))
