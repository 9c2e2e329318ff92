"""A method on a tiny synthetic task, for the contract's checks."""

import contextlib
import functools
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from ssdg import methods
from ssdg.methods.base import Batch, Frame, Method, StepContext
from ssdg.methods.networks import DEFAULT, load_network

from ..data.loader import Batches, Pool
from ..data.windows import WindowBatches, Windows
from ..spec import OptimizerConfig
from .train import OptimizedModule, minimise, optimized_modules

CPU = torch.device("cpu")

CLASSES = 3
FILTERS = 8
STEPS = 6
RATE = 1e-3
GRIDS = {2: (3, 32, 32), 3: (1, 16, 16, 16)}
"""Channels and sides of the network's input, 2D RGB and 3D single-channel: the smallest that it takes."""

SURROUNDINGS = 16
"""Voxels by which an image is larger than its window, along each axis."""


class CheckFailed(Exception):
    """A breach of the contract; the message names it and the way out."""


require = functools.partial(methods.require, error=CheckFailed)


def require_all_finite(values: Mapping[str, Tensor | None], what: str) -> None:
    """Raise CheckFailed naming the tensors with a NaN or infinity."""
    bad = [name for name, value in values.items() if value is not None and not bool(torch.isfinite(value).all())]
    require(not bad, f"{what} not finite: {', '.join(bad[:5])}")


@dataclass(frozen=True, slots=True)
class MethodUnderTest:
    """A method class under check, on images of one dimension, whole or in windows."""

    cls: type[Method]
    ndim: int
    windowed: bool = False
    network: str = DEFAULT
    device: torch.device = CPU

    @property
    def grid(self) -> tuple[int, ...]:
        """Sides of a whole image."""
        return tuple(side + SURROUNDINGS * self.windowed for side in GRIDS[self.ndim][1:])

    def method(self, seed: int = 0) -> Method:
        """Return the method with its default configuration; equal seeds give equal weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = load_network(self.network)(self.ndim, GRIDS[self.ndim][0], CLASSES, FILTERS)
            method = self.cls(network, self.cls.Config()).train()
        method.grid = self.grid
        return method.to(self.device)

    def batch(self, targets: bool = False) -> Batch:
        """Return two random images, or windows of them, labelled by intensity; with targets if asked for or "uda"."""
        target = self.images(2) if targets or self.cls.access == "uda" else None
        if self.windowed:
            return self._windows(target)
        image, foreground = self.images(1)
        batch = Batch(image, intensity_label(image), foreground)
        return batch if target is None else replace(batch, target=target[0], target_foreground=target[1])

    def images(self, seed: int) -> tuple[Tensor, Tensor]:
        """Return two random whole images and their foregrounds."""
        shape = (2, GRIDS[self.ndim][0], *self.grid)
        image = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
        foreground = torch.ones((2, 1, *self.grid), dtype=torch.bool)
        foreground[..., :2] = False
        return (image * foreground).to(self.device), foreground.to(self.device)

    def _windows(self, target: tuple[Tensor, Tensor] | None) -> Batch:
        method, case = self.method(), torch.arange(2, device=self.device)
        image, foreground = self.images(1)
        source = Pool(image.half(), intensity_label(image).byte(), foreground, case)
        unlabelled = None if target is None else Pool(target[0].half(), None, target[1], case)
        windows = Windows(GRIDS[self.ndim][1:], labelled=0.5, margin=method.margin())
        stream = WindowBatches(Batches(source, unlabelled, 2, 0), windows, method.statistics)
        return stream.at(0, None, torch.Generator(self.device).manual_seed(3), torch.Generator(self.device))

    def augmented_by(self, augment: Callable[[Batch], Batch]) -> "MethodUnderTest":
        """Return a subclass under test with another augmentation in place of the method's own."""
        members = {"augment": lambda _method, batch, _rng: augment(batch)}
        return replace(self, cls=type(self.cls.__name__, (self.cls,), members))


def intensity_label(image: Tensor) -> Tensor:
    """Return three classes (B, 1, *S) by the intensity of images (B, C, *S)."""
    return torch.bucketize(image.mean(dim=1, keepdim=True), torch.tensor([0.4, 0.6], device=image.device))


def context(batch: Batch, step: int = 0) -> StepContext:
    """Return the context of a step of a run of six steps in two epochs."""
    rng = torch.Generator(batch.image.device).manual_seed(100 + step)
    return StepContext(rng=rng, step=step, total_steps=STEPS, epoch=step // 3, total_epochs=2)


def take_steps(method: Method, modules: list[OptimizedModule], batch: Batch, steps: Iterable[int]) -> None:
    """Train as the loop does."""
    for step in steps:
        minimise(method.training_step(batch, context(batch, step)), modules[0], clip=None)
        for adversary in modules[1:]:
            minimise(method.adversary_step(batch, context(batch, step)), adversary, clip=None)


def modules_of(method: Method) -> list[OptimizedModule]:
    """Return the loop's optimisers for a method, at a rate large enough to move every weight."""
    return optimized_modules(method, OptimizerConfig(lr=RATE))


def darkened(batch: Batch) -> Batch:
    """Return the batch with squared intensities, mirrored together with its labels and foreground."""
    image, label, foreground = (values.flip(-1) for values in (batch.image, batch.label, batch.foreground))
    return replace(batch, image=image.square(), label=label, foreground=foreground)


def tensors_of(batch: Batch) -> dict[str, Tensor | None]:
    """Return a batch's tensors by name."""
    tensors: dict[str, Tensor | None] = {}
    for f in fields(batch):
        value = getattr(batch, f.name)
        parts = (
            {f"{f.name}.{name}": part for name, part in value._asdict().items()} if isinstance(value, Frame) else {}
        )
        tensors |= {f.name: value} if isinstance(value, Tensor) else parts
    return tensors


def box(start: int, sides: Sequence[int]) -> tuple[slice, ...]:
    """Return the index of a box of batches of maps (B, C, *S) that begins at one voxel along all axes."""
    return (slice(None), slice(None), *(slice(start, start + side) for side in sides))


def copies(tensors: Mapping[str, Tensor | None]) -> dict[str, Tensor | None]:
    """Return detached copies of tensors by name; None stays None."""
    return {name: None if value is None else value.detach().clone() for name, value in tensors.items()}


def changed(before: Mapping[str, Tensor | None], after: Mapping[str, Tensor | None]) -> list[str]:
    """Return the names of the tensors that differ in any element, or that only one mapping has."""

    def differ(old: Tensor | None, new: Tensor | None) -> bool:
        return old is not new if old is None or new is None else not torch.equal(old, new)

    return [name for name in {**before, **after} if differ(before.get(name), after.get(name))]


def differing(
    first: Mapping[str, Tensor | None], second: Mapping[str, Tensor | None], *, steps: int = 0
) -> list[str]:
    """Return the names of the tensors that two computations of the same give differently, after steps if any.

    On the CPU a different bit counts, on a GPU what its rounding does not explain: its sums have no fixed order, and
    Adam moves a weight whose gradient is rounding alone by a whole learning rate, either way.
    """

    def close(name: str) -> bool:
        a, b = first.get(name), second.get(name)
        if a is None or b is None or a.shape != b.shape or a.device.type == "cpu":
            return False
        return torch.allclose(a.double(), b.double(), rtol=1e-3, atol=1e-4 + 2 * RATE * steps)

    return [name for name in changed(first, second) if not close(name)]


def global_state(device: torch.device) -> tuple[bytes, ...]:
    """Return the state of the process's global generators: torch's, also that of a GPU, Python's and NumPy's."""
    states = [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]
    legacy = repr(np.random.get_state())  # noqa: NPY002 - methods must not draw from it
    return *(bytes(state.tolist()) for state in states), repr(random.getstate()).encode(), legacy.encode()


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
