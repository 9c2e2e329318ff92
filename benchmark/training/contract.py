"""The contract of a method as checks on tiny synthetic batches, run by ``bench check module:Class``."""

import io
import itertools
import json
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from torch import Tensor

from ssdg.methods.base import Batch, Method
from ssdg.methods.networks import DEFAULT, network_entry

from ..digests import to_json
from ..errors import UsageError
from ..settings import build
from .build import network_class
from .contract_fixture import (
    CLASSES,
    CPU,
    STEPS,
    CheckFailed,
    MethodUnderTest,
    changed,
    context,
    copies,
    darkened,
    differing,
    global_state,
    modules_of,
    require,
    require_all_finite,
    take_steps,
    tensors_of,
    without_onednn,
)
from .contract_needs import check_access, check_adversary, check_domains_apart, check_effect, check_labels
from .contract_windows import check_window_normalisation, check_window_prediction
from .train import minimise, require_terms


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Outcome of one check; the message is empty if it passed."""

    name: str  # "2D: finite terms"
    passed: bool
    message: str


def check_method(
    cls: type[Method], ndims: Iterable[int] | None = None, network: str = DEFAULT, device: torch.device = CPU
) -> list[CheckResult]:
    """Run every check on a method class, by default in all dimensions that it and the network declare.

    What a method does with windows is checked unless it declares that it needs whole images. What must come out
    bitwise equal on the CPU may differ by rounding on a GPU.

    Raises:
        UsageError: the method does not claim to work on the network; an error of a check is a result.
    """
    common = [ndim for ndim in cls.ndims if ndim in network_entry(network).ndims]
    ndims = sorted(common if ndims is None else ndims)
    subjects = [MethodUnderTest(cls, ndim, network=network, device=device) for ndim in ndims]
    for subject in subjects:
        network_class(network, cls, cls.__name__, subject.ndim)
    results = [run_check(name, subject) for subject in subjects for name in CHECKS]
    windowed = [replace(subject, windowed=True) for subject in subjects if cls.windows]
    return results + [run_check(name, subject) for subject in windowed for name in WINDOW_CHECKS]


def run_check(name: str, subject: MethodUnderTest) -> CheckResult:
    """Run one check of :data:`CHECKS`; an exception of the method is a failure."""
    title, checks = f"{subject.ndim}D{', windows' * subject.windowed}: {name}", CHECKS | WINDOW_CHECKS
    try:
        checks[name](subject)
    except CheckFailed as failure:
        return CheckResult(title, False, str(failure))
    except Exception as error:  # the method is a third party's and may fail in any way
        return CheckResult(title, False, f"{type(error).__name__}: {error}{_place(error, subject.cls)}")
    return CheckResult(title, True, "")


def _place(error: Exception, cls: type[Method]) -> str:
    """Return the innermost line of the method's own file that an exception came through: " (mine.py, line 12)"."""
    path = getattr(sys.modules.get(cls.__module__), "__file__", None)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return f" ({Path(path).name}, line {lines[-1]})" if path and lines else ""


def finite_step(method: Method, batch: Batch, bfloat16: bool = False) -> None:
    """Take an optimiser step; raise CheckFailed unless its terms and gradients are finite."""
    where = "under bfloat16 autocast, " if bfloat16 else ""
    with torch.autocast(batch.image.device.type, dtype=torch.bfloat16, enabled=bfloat16):
        terms = method.training_step(batch, context(batch))
    require(isinstance(terms, Mapping) and len(terms) > 0, "training_step must return a mapping of at least one term")
    for name, term in terms.items():
        fits = isinstance(name, str) and isinstance(term, Tensor) and term.ndim == 0 and term.is_floating_point()
        require(fits, f"term {name!r} must be a 0-d floating-point tensor: reduce it with .mean() or .sum()")
    require_terms(terms)
    require_all_finite(terms, f"{where}terms")
    minimise(terms, modules_of(method)[0], clip=None)
    gradients = {name: parameter.grad for name, parameter in method.named_parameters()}
    require_all_finite(gradients, f"{where}gradients")


def _finite_terms(subject: MethodUnderTest) -> None:
    finite_step(subject.method(), subject.batch())


def _weights_move(subject: MethodUnderTest) -> None:
    method = subject.method()
    weights = dict(method.network.named_parameters())
    before = copies(weights)
    take_steps(method, modules_of(method), subject.batch(), [0])
    moved = changed(before, weights)
    still = [name for name in weights if name not in moved]
    require(not still, f"network weights that do not move in a step: {', '.join(still[:5])} ({len(still)} in all)")


def _predict(subject: MethodUnderTest) -> None:
    method, batch = subject.method().eval(), subject.batch()
    before = copies(method.state_dict())
    with torch.no_grad():  # as predictions are made: a method that adapts to an image may switch gradients on
        first = method.predict(batch.image, batch.foreground)
        second = method.predict(batch.image, batch.foreground)
    shape = (len(batch.image), CLASSES, *batch.image.shape[2:])
    require(tuple(first.shape) == shape, f"predict returns shape {tuple(first.shape)}, expected logits {shape}")
    require(first.is_floating_point(), f"predict returns {first.dtype}, expected floating-point logits")
    require_all_finite({"logits": first}, "predictions")
    same = not differing({"logits": first}, {"logits": second})
    require(same, "predict gives two answers for one image: it must be deterministic")
    require(not changed(before, method.state_dict()), "predict changes the method's parameters or buffers")


def _single_image(subject: MethodUnderTest) -> None:
    method, batch = subject.method().eval(), subject.batch()
    with torch.no_grad():
        alone = method.predict(batch.image[:1], batch.foreground[:1])
        together = method.predict(batch.image, batch.foreground)
    require(len(alone) == 1, f"predict returns {len(alone)} predictions for 1 image")
    close = torch.allclose(alone, together[:1], rtol=1e-3, atol=1e-3)
    require(close, "the prediction for an image depends on the others in its batch")


def _inputs_unchanged(subject: MethodUnderTest) -> None:
    method, batch = subject.method(), subject.batch()
    image, foreground = subject.images(1)
    inputs = {**tensors_of(batch), "image for predict": image, "foreground for predict": foreground}
    before = copies(inputs)
    take_steps(method, modules_of(method), batch, [0])
    with torch.no_grad():
        method.eval().predict(image, foreground)
    for name in changed(before, inputs):
        raise CheckFailed(f"batch.{name} is modified in place: work on a copy, return it with dataclasses.replace")


def _reproducible(subject: MethodUnderTest) -> None:
    batch = subject.batch()
    runs = []
    for disturbance in (11, 12):
        method = subject.method()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(disturbance)
            before = global_state(subject.device)
            terms = dict(method.training_step(batch, context(batch)))
            if method.adversary is not None:
                terms |= method.adversary_step(batch, context(batch))
            require(before == global_state(subject.device), "a step draws from a global generator, not context.rng")
        runs.append(terms)
    require(not differing(*runs), "the same weights, batch and context.rng give different terms")


def _resume(subject: MethodUnderTest) -> None:
    batch, method, half = subject.batch(), subject.method(), STEPS // 3
    modules = modules_of(method)
    take_steps(method, modules, batch, range(half))
    file = io.BytesIO()
    torch.save([method.state_dict(), *[module.optimizer.state_dict() for module in modules]], file)
    take_steps(method, modules, batch, range(half, 2 * half))
    file.seek(0)
    state, *optimizers = torch.load(file, weights_only=True)
    resumed = subject.method(seed=7)
    resumed.load_state_dict(state)
    modules = modules_of(resumed)
    for module, saved in zip(modules, optimizers, strict=True):
        module.optimizer.load_state_dict(saved)
    take_steps(resumed, modules, batch, range(half, 2 * half))
    # Of the state also what is not saved: predictions may depend on it, as on running statistics.
    states = [dict(itertools.chain(each.named_parameters(), each.named_buffers())) for each in (method, resumed)]
    require(
        not differing(*states, steps=half),
        "2 steps, a restart and 2 more differ from 4 steps: keep all state in parameters and buffers that are saved",
    )


def _augment(subject: MethodUnderTest) -> None:
    # As a subclass would put another augmentation in front of the method.
    steps: dict[str, Callable[[Method, Batch], Mapping[str, Tensor]]] = {
        "training_step": lambda method, batch: method.training_step(batch, context(batch)),
        "adversary_step": lambda method, batch: method.adversary_step(batch, context(batch)),
        "example": lambda method, batch: {"image": method.example(batch, context(batch).rng)},
    }
    if subject.method().adversary is None:
        del steps["adversary_step"]
    calls: list[Batch] = []

    def front(batch: Batch) -> Batch:
        calls.append(batch)
        return darkened(batch)

    for name, outputs in steps.items():
        calls.clear()
        shown = outputs(subject.augmented_by(front).method(), subject.batch())
        require(len(calls) > 0, f"{name} never calls self.augment: call it once, on the batch, before all else")
        count = len(calls)
        require(count == 1, f"{name} calls self.augment {count} times: call it once, make all views of its result")
        expected = outputs(subject.augmented_by(lambda batch: batch).method(), darkened(subject.batch()))
        require(not differing(shown, expected), f"{name} takes images, labels or foregrounds not from self.augment")


def _config(subject: MethodUnderTest) -> None:
    config = subject.cls.Config
    parameters = getattr(config, "__dataclass_params__", None)
    require(parameters is not None and parameters.frozen, "Config must be a frozen dataclass")
    silent = [f.name for f in fields(config) if not f.metadata.get("source")]
    require(not silent, f"Config fields without metadata={{'source': ...}}: {', '.join(silent)}")
    stored = json.loads(json.dumps(to_json(config())))
    require(build(config, stored, "method") == config(), "Config changes on its way through JSON and back")
    try:
        build(config, {"no_such_setting": 1}, "method")
    except UsageError:
        return
    raise CheckFailed("Config accepts a setting that does not exist")


def _precision(subject: MethodUnderTest) -> None:
    method, batch = subject.method(), subject.batch()
    with without_onednn():
        finite_step(method, batch, bfloat16=True)
        with torch.autocast(subject.device.type, dtype=torch.bfloat16), torch.no_grad():
            logits = method.eval().predict(batch.image, batch.foreground)
        require_all_finite({"logits": logits}, "under bfloat16 autocast, predictions")


def _foreground(subject: MethodUnderTest) -> None:
    for value in (False, True):
        method, batch = subject.method(), subject.batch()
        batch = replace(batch, foreground=torch.full_like(batch.foreground, value))
        require_all_finite(method.training_step(batch, context(batch)), f"with foreground all {value}, terms")
        with torch.no_grad():
            logits = method.eval().predict(batch.image, batch.foreground)
        require_all_finite({"logits": logits}, f"with foreground all {value}, predictions")


CHECKS: dict[str, Callable[[MethodUnderTest], None]] = {
    "finite terms": _finite_terms,
    "every network weight moves": _weights_move,
    "predict": _predict,
    "predict on a single image": _single_image,
    "inputs unchanged": _inputs_unchanged,
    "reproducible": _reproducible,
    "resume": _resume,
    "augment": _augment,
    "effect": check_effect,
    "access": check_access,
    "domains apart": check_domains_apart,
    "labels": check_labels,
    "adversary apart": check_adversary,
    "configuration": _config,
    "bfloat16": _precision,
    "empty and full foreground": _foreground,
}
"""Name -> check; each raises :class:`CheckFailed`, or whatever the method raises."""

OF_TRAINING = ("finite terms", "every network weight moves", "inputs unchanged", "reproducible", "augment")

WINDOW_CHECKS: dict[str, Callable[[MethodUnderTest], None]] = {
    **{name: CHECKS[name] for name in OF_TRAINING},
    "normalisation": check_window_normalisation,
    "prediction": check_window_prediction,
}
"""Name -> check of a method on windows of images, as in :data:`CHECKS`."""
