"""A method on a tiny synthetic task, for the contract's checks."""

import contextlib
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ssdg.methods.base import Batch, Method, StepContext
from ssdg.methods.networks import DEFAULT, load_network

from ..spec import OptimizerConfig
from .train import OptimizedModule, minimise, optimized_modules

CLASSES = 3
FILTERS = 8
STEPS = 6
GRIDS = {2: (3, 32, 32), 3: (1, 16, 16, 16)}
"""Channels and sides of the synthetic images: 2D RGB and 3D single-channel, as small as the network takes."""


@dataclass(frozen=True, slots=True)
class MethodUnderTest:
    """A method class under check, on images of one dimension."""

    cls: type[Method]
    ndim: int
    network: str = DEFAULT

    def method(self, seed: int = 0) -> Method:
        """Return the method with its default configuration; equal seeds give equal weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = load_network(self.network)(self.ndim, GRIDS[self.ndim][0], CLASSES, FILTERS)
            return self.cls(network, self.cls.Config()).train()

    def batch(self, targets: bool = False) -> Batch:
        """Return two random images with labels by intensity; with target images if asked for, or for "uda"."""
        image, foreground = self._images(1)
        label = torch.bucketize(image.mean(dim=1, keepdim=True), torch.tensor([0.4, 0.6]))
        batch = Batch(image, label, foreground)
        if self.cls.access == "ssdg" and not targets:
            return batch
        target, target_foreground = self._images(2)
        return replace(batch, target=target, target_foreground=target_foreground)

    def augmented_by(self, augment: Callable[[Batch], Batch]) -> "MethodUnderTest":
        """Return a subclass under test with another augmentation in place of the method's own."""
        members = {"augment": lambda _method, batch, _rng: augment(batch)}
        return replace(self, cls=type(self.cls.__name__, (self.cls,), members))

    def _images(self, seed: int) -> tuple[Tensor, Tensor]:
        channels, *sides = GRIDS[self.ndim]
        image = torch.rand((2, channels, *sides), generator=torch.Generator().manual_seed(seed))
        foreground = torch.ones((2, 1, *sides), dtype=torch.bool)
        foreground[..., :2] = False
        return image * foreground, foreground


def context(step: int = 0) -> StepContext:
    """Return the context of a step of a run of six steps in two epochs."""
    rng = torch.Generator().manual_seed(100 + step)
    return StepContext(rng=rng, step=step, total_steps=STEPS, epoch=step // 3, total_epochs=2)


def take_steps(method: Method, modules: list[OptimizedModule], batch: Batch, steps: Iterable[int]) -> None:
    """Train as the loop does."""
    for step in steps:
        minimise(method.training_step(batch, context(step)), modules[0], clip=None)
        for adversary in modules[1:]:
            minimise(method.adversary_step(batch, context(step)), adversary, clip=None)


def modules_of(method: Method) -> list[OptimizedModule]:
    """Return the loop's optimisers for a method, at a rate large enough to move every weight."""
    return optimized_modules(method, OptimizerConfig(lr=1e-3))


def darkened(batch: Batch) -> Batch:
    """Return the batch with squared intensities, mirrored together with its labels and foreground."""
    image, label, foreground = (values.flip(-1) for values in (batch.image, batch.label, batch.foreground))
    return replace(batch, image=image.square(), label=label, foreground=foreground)


def copies(tensors: Mapping[str, Tensor | None]) -> dict[str, Tensor | None]:
    """Return detached copies of tensors by name; None stays None."""
    return {name: None if value is None else value.detach().clone() for name, value in tensors.items()}


def changed(before: Mapping[str, Tensor | None], after: Mapping[str, Tensor | None]) -> list[str]:
    """Return the names of the tensors that differ in any element, or that only one mapping has."""

    def differ(old: Tensor | None, new: Tensor | None) -> bool:
        return old is not new if old is None or new is None else not torch.equal(old, new)

    return [name for name in {**before, **after} if differ(before.get(name), after.get(name))]


def global_state() -> tuple[bytes, str, str]:
    """Return the state of the process's global generators: torch's, Python's and NumPy's."""
    legacy = repr(np.random.get_state())  # noqa: NPY002 - methods must not draw from it
    return bytes(torch.get_rng_state().tolist()), repr(random.getstate()), legacy


@contextlib.contextmanager
def without_onednn() -> Iterator[None]:
    """Turn oneDNN off: some CPUs get non-finite bfloat16 weight gradients from it on 2³ maps (torch 2.13)."""
    # Not its own context manager, which also sets a flag that warns on machines without Intel GPUs.
    enabled: bool = torch.backends.mkldnn.enabled  # type: ignore[assignment]  # torch types it as a descriptor
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = enabled  # type: ignore[assignment]
