"""No step of any method waits for the device: nothing on the host asks for a value that the device computes.

On a GPU, CUDA itself says so (``tests/gpu``). Without one, the host is told apart on the CPU: what is drawn from a
generator on the host, or made without naming a device, lies there; everything else is taken to be on a GPU.
"""

import sys
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ssdg.benchmark.data.loader import Batches, Pool
from ssdg.benchmark.spec import RunRequest, TrainingConfig
from ssdg.benchmark.training.contract_fixture import GRIDS, MethodUnderTest, intensity_label
from ssdg.benchmark.training.train import Step, optimized_modules, window_batches
from ssdg.methods import load_method, registry
from ssdg.methods.base import Method
from ssdg.methods.bigaug import BigAug
from ssdg.methods.parts.host import host_generator, offspring

SUBJECTS = [(name, ndim) for name, entry in registry().items() for ndim in sorted(entry.ndims)]
CASES, STEPS = 8, 4
"""Four steps of two cases: one pass, whose order is moved to the device before the first of them."""


class Waits(AssertionError):
    """The host asked the device for a value, or sent it one in a way that waits."""


READS = {"tolist", "item", "numpy", "cpu", "__bool__", "__int__", "__float__", "__index__", "__array__"}
MAKERS = {"tensor", "as_tensor"}
SIZED_BY_VALUES = {
    *("_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "masked_select", "bincount"),
    *("_unique", "_unique2", "unique_dim", "unique_consecutive"),
}


class Kernels(TorchDispatchMode):
    """Refuses operators that wait on a GPU for a value or for the size of their own result."""

    def __init__(self):
        super().__init__()
        self.on_host = False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        indices = args[1] if name in ("index", "index_put", "index_put_") else ()
        chosen_by_value = any(index is not None and index.dtype == torch.bool for index in indices)
        if (name in SIZED_BY_VALUES or chosen_by_value) and not self.on_host:
            raise Waits(f"{name} of values on the device")
        return func(*args, **(kwargs or {}))


class Placement(TorchFunctionMode):
    """Follows which tensors would lie on the host, and refuses to read others or to mix the two."""

    def __init__(self, kernels, generators):
        super().__init__()
        self.kernels = kernels
        self.generators = generators

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        host = [getattr(tensor, "lies_on_host", False) for tensor in tensors]
        if name in READS and not all(host):
            raise Waits(f"{name} of a tensor on the device")
        if name in MAKERS and kwargs.get("device") is not None:
            raise Waits(f"torch.{name} copies values to the device and waits")
        if name == "__setitem__" and not host[0] and (not isinstance(args[2], torch.Tensor) or host[-1]):
            raise Waits("a number assigned to part of a tensor, which is copied to the device")
        moved = name == "to" and any(isinstance(leaf, torch.device) for leaf in tree_leaves((args, kwargs)))
        if moved and all(host) and not kwargs.get("non_blocking"):
            raise Waits("a copy to the device that waits")
        if any(large(tensor) for tensor in tensors) and not all(host):
            raise Waits(f"{name} of tensors on the host and on the device")
        self.kernels.on_host = bool(host) and all(host)
        try:
            result = func(*args, **kwargs)
        finally:
            self.kernels.on_host = False
        if not moved and self.stays(tensors, host, kwargs):
            for leaf in tree_leaves(result):
                if isinstance(leaf, torch.Tensor):
                    leaf.lies_on_host = True
        return result

    def stays(self, tensors, host, kwargs):
        """Tell whether the result of a call would lie on the host."""
        if tensors:
            return all(host)
        drawn = kwargs.get("generator")
        return kwargs.get("device") is None if drawn is None else drawn in self.generators


def large(tensor):
    """Tell whether a tensor lies on the host and is more than a number, which a kernel would take as an argument."""
    return getattr(tensor, "lies_on_host", False) and tensor.ndim > 0


@contextmanager
def pretended_gpu(monkeypatch):
    generators = []

    def apart(rng):
        with torch._C.DisableTorchFunction():  # a generator's state is a tensor on the host
            generators.append(offspring(rng))
        return generators[-1]

    for name, module in list(sys.modules.items()):
        if name.startswith("ssdg.methods.") and getattr(module, "host_generator", None) is host_generator:
            monkeypatch.setattr(module, "host_generator", apart)
    with Kernels() as kernels, Placement(kernels, generators):
        yield


def make_step(cls, name, ndim, device, windowed=False):
    """Return the loop's own step of a method on tiny cases, or on windows of them."""
    subject = MethodUnderTest(cls, ndim, windowed)

    def pool(image, foreground):
        image, label = (255 * image).byte(), intensity_label(image).byte()
        parts = [part.repeat(CASES // 2, *[1] * (ndim + 1)).to(device) for part in (image, label, foreground)]
        return Pool(*parts, torch.arange(CASES, device=parts[0].device))

    target = pool(*subject.images(2)) if cls.access == "uda" else None
    window = GRIDS[ndim][1:] if windowed else None
    training = TrainingConfig(window=window, labelled_windows=0.5 if windowed else None)
    request = RunRequest(task="toy", source="toy", method=name, training=training)
    method = subject.method().to(device)
    batches = Batches(pool(*subject.images(1)), target, CASES // STEPS, seed=0)
    windows = window_batches(method, batches, training)
    return Step(method, optimized_modules(method, request.optimizer), batches, request, STEPS, windows)


def take(step, watch):
    step(0)  # what is computed once, such as filters for a grid, may wait
    with watch:
        for index in range(1, STEPS):
            step(index)


@pytest.mark.parametrize(("name", "ndim"), SUBJECTS)
def test_no_step_looks_at_the_device(name, ndim, monkeypatch):
    step = make_step(load_method(name), name, ndim, torch.device("cpu"))
    take(step, pretended_gpu(monkeypatch))


@pytest.mark.parametrize(("name", "ndim"), [("erm", 2), ("erm", 3), ("freesdg", 2), ("cutmix", 2), ("slaug", 2)])
def test_no_step_on_windows_looks_at_the_device(name, ndim, monkeypatch):
    take(make_step(load_method(name), name, ndim, torch.device("cpu"), windowed=True), pretended_gpu(monkeypatch))


def test_no_step_that_renormalises_windows_looks_at_the_device(monkeypatch):
    class Renormalising(BigAug):
        @dataclass(frozen=True, slots=True)
        class Config(BigAug.Config):
            renormalise: bool = True

    take(make_step(Renormalising, "bigaug", 2, torch.device("cpu"), windowed=True), pretended_gpu(monkeypatch))


def read_mean(image, rng):
    return image * float(image.mean())


def read_draw(image, rng):
    return image * torch.randint(1, 3, (2,), generator=rng, device=image.device).tolist()[0]


def branch(image, rng):
    return image if image.max() > 2 else 0.5 * image


def inside(image, rng):
    return image - image[image > 0.5].mean()


def count(image, rng):
    return image * len(torch.unique((4 * image).byte()))


def send(image, rng):
    return image * torch.tensor([0.5], device=image.device)


def assign(image, rng):
    copy = image.clone()
    copy[0] = 0.5
    return copy


def assign_tensor(image, rng):
    copy = image.clone()
    copy[0] = torch.tensor(0.5)
    return copy


def mix(image, rng):
    return image[:, torch.randperm(image.shape[1])]


def move(image, rng):
    return image * torch.ones(1).to(image.device)


PLANTED = [read_mean, read_draw, branch, inside, count, send, assign, assign_tensor, mix, move]


@pytest.mark.parametrize("change", PLANTED)
def test_a_step_that_waits_is_found(change, monkeypatch):
    class Waiting(Method):
        def prepare(self, image, foreground, frame=None):
            return change(super().prepare(image, foreground, frame), None)

    class Drawing(Method):
        def augment(self, batch, rng):
            change(batch.image, rng)
            return batch

    step = make_step(Drawing if change is read_draw else Waiting, "planted", 2, torch.device("cpu"))
    take(step, nullcontext())
    with pytest.raises(Waits):
        take(step, pretended_gpu(monkeypatch))
