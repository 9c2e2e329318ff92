"""Building a run's method: resolved configuration, initial or trained weights, device and threads."""

import operator

import torch

from ssdg.datasets.base import Task
from ssdg.methods import METHODS
from ssdg.methods.base import Method
from ssdg.methods.networks import load_network
from ssdg.methods.networks.base import CHANNELS_LAST, SegmentationNetwork

from .. import environment
from ..data.run_data import RunData
from ..errors import UsageError
from ..randomness import derived_seed
from ..settings import BEFORE, build, counted_degrees, fixed_grid, weights_digest
from ..spec import PIPELINE_VERSION, RunRequest, RunSpec
from ..task_digests import task_digest
from .encoder_weights import check_weights, load_weights
from .method_config import VERSION, divide, preceded, resolve_config

ARITHMETIC = {"cudnn.allow_tf32": False, "cuda.matmul.allow_tf32": False, "cudnn.benchmark": False}
"""Settings of ``torch.backends`` on a GPU. TF32, torch's default for convolutions, has 10 bits of float32's 23."""


def check_request(request: RunRequest, task: Task, method: type[Method]) -> None:
    """Raise UsageError where a run cannot be, whatever its data: dimensions, windows, network, weights, settings."""
    _check_method(f"method {request.method!r}", method, request, task)
    own, front, of_before = divide(method, request.method_settings)
    if front is not None:
        _check_method(f"method.{BEFORE}={request.method_settings[BEFORE]}", front, request, task)
    _check_windows(request, task, method)
    network = network_class(request.network.name, method, request.method, task.ndim)
    filters, weights = request.network.init_filters, request.network.weights
    if weights is not None:
        with torch.device("meta"):  # sizes alone
            check_weights(_network(network, task, filters), weights)
    built = [(request.method, method, build(method.Config, own, f"method {request.method}"))]
    if front is not None:
        name = str(request.method_settings[BEFORE])
        built.append((name, front, build(front.Config, of_before, f"method.{BEFORE}")))
    for name, cls, config in built:
        # Of a method of one's own a constructor may need values, which a meta tensor has not.
        with torch.random.fork_rng(devices=[]), torch.device("meta" if name in METHODS else "cpu"):
            try:
                cls(_network(network, task, filters), config)
            except ValueError as error:
                raise UsageError(str(error)) from None
            except Exception:
                continue  # an error of that run alone, which will say more


def resolve(request: RunRequest, task: Task, method: type[Method], run_data: RunData) -> RunSpec:
    """Return the request with all it implies; UsageError as :func:`check_request`."""
    check_request(request, task, method)
    config, changed = resolve_config(method, request.method, request.method_settings)
    domains = [located.domain for located in (run_data.source, run_data.target) if located is not None]
    angles = [counted_degrees(domain, request.preprocess) for domain in domains]
    return RunSpec(
        request=request,
        method_version=method.version,
        method_config=config,
        method_changed=tuple(changed),
        task_definition=task_digest(task),
        source_manifest=run_data.source.manifest.digest,
        split=run_data.split,
        target_manifest=run_data.target.manifest.digest if run_data.target is not None else None,
        network_weights=weights_digest(request.network.weights),
        degrees=tuple(angle for angle in angles if angle is not None),
        pipeline=PIPELINE_VERSION,
    )


def _check_method(name: str, method: type[Method], request: RunRequest, task: Task) -> None:
    """Raise UsageError where a method is not for the task, its images or the batches asked for."""
    if task.ndim not in method.ndims:
        able = " and ".join(f"{n}D" for n in sorted(method.ndims))
        raise UsageError(f"{name} works in {able} only, and task {task.name!r} is {task.ndim}D")
    if "grey images" in method.needs and task.photographs:
        raise UsageError(
            f"{name} makes images from labels alone, and labels do not explain the colour photographs of task "
            f"{task.name!r}: use it for organs and tissues, or choose another method"
        )
    if "partner" in method.needs and request.training.batch_size < 2:
        raise UsageError(f"{name} mixes images of a batch: training.batch_size must be 2 or more, not 1")
    if request.training.window is not None and not method.windows:
        raise UsageError(f"{name} needs whole images: leave training.window out")


def _check_windows(request: RunRequest, task: Task, method: type[Method]) -> None:
    """Raise UsageError where windows do not fit the task or its grid, or a method that predicts on its own."""
    window, grid = request.training.window, fixed_grid(task, request.preprocess)
    if window is None:
        return
    sides = ",".join(map(str, window))
    if len(window) != task.ndim:
        raise UsageError(f"training.window={sides} has {len(window)} sides; task {task.name!r} needs {task.ndim}")
    if grid is not None and any(side > whole for side, whole in zip(window, grid, strict=True)):
        raise UsageError(f"training.window={sides} is larger than the grid, {','.join(map(str, grid))}")
    if method.predict is not Method.predict:
        raise UsageError(
            f"method {request.method!r} replaces predict(), which sees whole images alone: move what it does to "
            "logits(), which sees windows, or leave training.window out"
        )


def network_class(name: str, method: type[Method], method_name: str, ndim: int) -> type[SegmentationNetwork]:
    """Return the class of a network; UsageError where the method or the dimension is not for it."""
    network = load_network(name)
    if method.networks is not None and name not in method.networks:
        able = ", ".join(sorted(method.networks))
        raise UsageError(f"method {method_name!r} works on network.name={able} only, not on {name!r}")
    if ndim not in network.ndims:
        raise UsageError(f"network {name!r} is not for {ndim}D tasks: see `bench list networks`")
    return network


def _network(network: type[SegmentationNetwork], task: Task, init_filters: int) -> SegmentationNetwork:
    return network(task.ndim, task.channels, len(task.classes), init_filters)


def _set_protocol(method: Method, request: RunRequest, task: Task) -> None:
    method.normalisation = request.preprocess.normalisation
    method.grid = request.preprocess.shape or task.shape


def build_method(cls: type[Method], spec: RunSpec, task: Task, device: torch.device, trained: bool = False) -> Method:
    """Return the method on the device with its initial weights; methods of one seed share those of the network.

    Args:
        cls: class of the method.
        spec: of the run.
        task: of the run.
        device: where the method goes.
        trained: its weights come later, and the file of initial ones need not exist any more.
    """
    request = spec.request
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(request.seed, "network"))
        network = _network(load_network(request.network.name), task, request.network.init_filters)
        if request.network.weights is not None and not trained:
            load_weights(network, request.network.weights)
        own, before, of_before = divide(cls, spec.method_config)
        if before is not None:
            torch.manual_seed(derived_seed(request.seed, "method before"))
            # On a network of its own: what it adds to one is not part of the run, and its augment() needs none.
            spare = _network(load_network(request.network.name), task, request.network.init_filters)
            settings = {key: value for key, value in of_before.items() if key != VERSION}
            front = before(spare, build(before.Config, settings, f"method.{BEFORE}"))
            _set_protocol(front, request, task)
            cls = preceded(cls, front.to(device))
        torch.manual_seed(derived_seed(request.seed, "method"))
        method = cls(network, build(cls.Config, own, f"method {request.method}"))
    _set_protocol(method, request, task)
    for parameter in method.parameters():
        if parameter.ndim == task.ndim + 2:  # a convolution's weight
            parameter.data = parameter.data.contiguous(memory_format=CHANNELS_LAST[parameter.ndim])
    return method.to(device)


def find_device(name: str) -> torch.device:
    """Return the named device, a GPU set to compute float32 in full; "auto" is one of the GPUs if there are any.

    Jobs of one launcher, side by side on a machine, each have a slot: their "auto" is dealt out by it.
    """
    if name == "auto" and torch.cuda.is_available():
        name = f"cuda:{environment.job_slot() % torch.cuda.device_count()}"
    try:
        device = torch.device("cpu" if name == "auto" else name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"unknown device {name!r}: use auto, cpu, cuda or cuda:1")
    if device.type == "cuda" and not (device.index or 0) < torch.cuda.device_count():
        raise UsageError(
            f"--device {name}: this machine has no such usable GPU (see `bench doctor`); use --device cpu"
        )
    if device.type == "cuda":
        for switch, value in ARITHMETIC.items():
            owner, _, attribute = switch.rpartition(".")
            setattr(operator.attrgetter(owner)(torch.backends), attribute, value)
    return device


def device_name(device: torch.device) -> str:
    """Return a device's name for the records: "cpu", or "cuda" with the name of the GPU."""
    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


def use_threads(device: torch.device, stored: int | None, asked: int | None) -> int:
    """Set torch's CPU threads to the stored count, else the one asked for, and return it; 0 on other devices."""
    # Sums of different thread counts differ in their last bits: a resumed CPU run keeps its count.
    if device.type != "cpu":
        return 0
    threads = stored or asked or torch.get_num_threads()
    torch.set_num_threads(threads)
    return threads
