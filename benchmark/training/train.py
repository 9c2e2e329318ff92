"""The training loop of every method: batch, shared augmentation, loss terms, optimiser step, validation, checkpoint.

Nothing inside a step waits for the device. Everything that a later step depends on is in the method, the optimisers
and :class:`Progress`, so that a run continues from a checkpoint as if it had never stopped.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.optim import Adam

from ssdg.methods import MethodError
from ssdg.methods.base import Batch, Method, StepContext

from ..data.loader import Batches, Pool
from ..data.windows import WindowBatches, Windows, labelled_share
from ..errors import Diverged, Interrupted
from ..progress import NO_LOSSES, Display, Row
from ..randomness import generator
from ..spec import OptimizerConfig, RunRequest, TrainingConfig
from .augmentation import augmentation, exactly
from .checkpoint import Checkpoints
from .inference import Inference, autocast
from .validation import grid_dsc

SELECTED_BY = {"source-val": "held_out_dsc", "oracle": "oracle_dsc"}
"""Column of ``history.csv`` that selects the weights, by ``training.selection``; otherwise the last are kept."""


@dataclass(slots=True)
class Progress:
    """Progress of a run; with the method and the optimisers, the whole state to resume from."""

    step: int = 0
    history: list[Row] = field(default_factory=list)
    sums: dict[str, Tensor] = field(default_factory=dict)  # of this epoch's terms, on the device
    best_score: float = float("-inf")
    best_epoch: int = -1
    best_weights: dict[str, Tensor] | None = None
    seconds: float = 0.0  # of this epoch, up to the checkpoint


@dataclass(frozen=True, slots=True)
class OptimizedModule:
    """Parameters with the optimiser that moves them."""

    purpose: Literal["method", "adversary"]  # decides the loss, and the random numbers it draws
    parameters: list[nn.Parameter]
    optimizer: Adam
    rate: float  # initial learning rate


def fit(
    method: Method,
    batches: Batches,
    validation: Mapping[str, Pool],
    request: RunRequest,
    checkpoints: Checkpoints,
    display: Display,
    should_stop: Callable[[], bool] = lambda: False,
) -> Progress:
    """Train a method and leave the selected weights in it; Diverged if a term is not finite.

    ``validation`` holds labelled cases scored during training, by their column of ``history.csv``; they are never
    trained on. ``should_stop`` is called after each step: True saves a checkpoint and raises :class:`Interrupted`.
    """
    take_step = Step.of(method, batches, request)
    total_steps, windows = take_step.total_steps, take_step.windows
    if windows is not None:
        display.log(f"{request.training.windows_per_image} an image: {windows.source.windows.described()}")
    progress = restore(checkpoints, take_step)
    display.start(progress.step, total_steps)
    method.train()
    clock = time.monotonic() - progress.seconds
    while progress.step < total_steps and not has_converged(progress, request, batches.steps_per_epoch):
        for name, value in take_step(progress.step).items():
            # On the device; a term that is not finite stays in its sum for good.
            progress.sums[name] = progress.sums[name] + value.double() if name in progress.sums else value.double()
        progress.step += 1
        display.step(progress.step)
        if progress.step % batches.steps_per_epoch == 0:
            raise_if_diverged(progress, take_step, checkpoints)
            row = end_epoch(take_step, validation, progress)
            row["seconds"] = round(time.monotonic() - clock, 3)
            clock = time.monotonic()
            progress.history.append(row)
            checkpoints.save_history(progress.history)
            display.epoch(row, progress.history)
        stopping = should_stop()
        if stopping or checkpoints.due():
            raise_if_diverged(progress, take_step, checkpoints)
            progress.seconds = time.monotonic() - clock
            checkpoints.save(snapshot(take_step, progress))
        if stopping:
            raise Interrupted(f"stopped after step {progress.step} of {total_steps}; the same command continues it")
    if progress.best_weights is not None:
        method.load_state_dict(progress.best_weights)
    raise_unless_finite(method, f"{request.method}, seed {request.seed}")
    method.eval()
    return progress


def raise_unless_finite(method: Method, run: str) -> None:
    """Raise Diverged where the last step has left weights that are not finite: no later term tells of them."""
    if bad := [name for name, value in method.state_dict().items() if not torch.isfinite(value).all()]:
        raise Diverged(f"{run}: after the last step {bad[0]!r} is not finite")


def window_batches(method: Method, batches: Batches, training: TrainingConfig) -> WindowBatches | None:
    """Return the stream of windows that a run trains on; None if it sees whole images."""
    if training.window is None:
        return None
    share = labelled_share(batches.source, training.labelled_windows)
    windows = Windows(training.window, training.windows_per_image, share, method.margin())
    return WindowBatches(batches, windows, method.statistics)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of training: ``step -> terms``. Deterministic in the step and the weights."""

    method: Method
    modules: list[OptimizedModule]
    batches: Batches
    request: RunRequest
    total_steps: int
    windows: WindowBatches | None = None  # of these batches; None: whole images

    @classmethod
    def of(cls, method: Method, batches: Batches, request: RunRequest) -> Self:
        """Return the steps of a run, with new optimisers, on whole images or on windows as it asks for."""
        modules = optimized_modules(method, request.optimizer)
        total_steps = request.training.epochs * batches.steps_per_epoch
        return cls(method, modules, batches, request, total_steps, window_batches(method, batches, request.training))

    def __call__(self, step: int) -> dict[str, Tensor]:
        """Take the step and return its terms, detached, still on the device."""
        seed, device = self.request.seed, self.batches.device
        batch = self.batch(step)
        decay = (1 - step / self.total_steps) ** self.request.optimizer.poly_power
        losses = {"method": self.method.training_step, "adversary": self.method.adversary_step}
        terms: dict[str, Tensor] = {}
        for module in self.modules:
            context = StepContext(
                rng=generator(seed, module.purpose, step, device),
                step=step,
                total_steps=self.total_steps,
                epoch=step // self.batches.steps_per_epoch,
                total_epochs=self.request.training.epochs,
            )
            with autocast(device, self.request.training.precision):
                module_terms = losses[module.purpose](batch, context)
            require_terms(module_terms, terms)
            for group in module.optimizer.param_groups:
                group["lr"] = module.rate * decay
            terms |= minimise(module_terms, module, self.request.optimizer.clip)
        return terms

    def batch(self, step: int) -> Batch:
        """Return the images of a step after the shared augmentation, or windows of them."""
        training, seed, device = self.request.training, self.request.seed, self.batches.device
        augment = augmentation(training.augmentation, training.scaling)
        rng = generator(seed, "augmentation", step, device)
        if self.windows is None:
            return augment(self.batches.at(step), rng)
        affine = augment.affine(self.windows.shape)
        place = generator(seed, "window", step, device)
        with exactly(device):
            batch = self.windows.at(step, affine, place, rng)
        return augment.recoloured(batch, rng)


def require_terms(terms: Any, taken: Mapping[str, Tensor] = MappingProxyType({})) -> None:
    """Raise MethodError unless terms are a mapping, none called as a column of ``history.csv`` or a ``taken`` one."""
    if not isinstance(terms, Mapping):
        raise MethodError(f"a step returns its loss terms by name, {{'segmentation': …}}, not {type(terms).__name__}")
    if names := [name for name in terms if name in taken or name in NO_LOSSES]:
        raise MethodError(
            f"the term {names[0]!r} has the name of another column of history.csv, or of one of the method's own "
            "terms if it is the adversary's: give it another"
        )


def minimise(terms: Mapping[str, Tensor], module: OptimizedModule, clip: float | None) -> dict[str, Tensor]:
    """Take one optimiser step on the sum of the terms; only the module's own parameters get gradients."""
    module.optimizer.zero_grad(set_to_none=True)
    total = torch.stack([term.float() for term in terms.values()]).sum()
    torch.autograd.backward(total, inputs=module.parameters)
    if clip is not None:
        nn.utils.clip_grad_norm_(module.parameters, clip)
    module.optimizer.step()
    return {name: term.detach() for name, term in terms.items()}


def optimized_modules(method: Method, config: OptimizerConfig) -> list[OptimizedModule]:
    """Return the method's own parameters and, if it has one, its adversary's, each with an optimiser."""
    adversary = {id(p) for p in method.adversary.parameters()} if isinstance(method.adversary, nn.Module) else set()
    trainable = [p for p in method.parameters() if p.requires_grad]

    def optimized(purpose: Literal["method", "adversary"], rate: float) -> OptimizedModule:
        group = [p for p in trainable if (id(p) in adversary) == (purpose == "adversary")]
        return OptimizedModule(purpose, group, make_adam(group, rate, config.weight_decay), rate)

    modules = [optimized("method", config.lr)]
    if adversary:
        rate = method.adversary_learning_rate or method.adversary_lr_ratio * config.lr
        modules.append(optimized("adversary", rate))
    return modules


def make_adam(parameters: list[nn.Parameter], rate: float, weight_decay: float) -> Adam:
    """Return the shared optimiser: Adam with default betas, as one fused kernel where the device has it."""
    return Adam(parameters, lr=rate, weight_decay=weight_decay, fused=True)


def raise_if_diverged(progress: Progress, take_step: Step, checkpoints: Checkpoints) -> None:
    """Raise Diverged, naming the first step and term that is not finite, if any sum of this epoch is not.

    Only then are the steps since the last checkpoint replayed and every term checked, which waits for the device.
    """
    bad = [name for name, value in progress.sums.items() if not torch.isfinite(value)]
    if not bad:
        return
    request = take_step.request
    run = f"{request.method}, seed {request.seed}"
    start = restore(checkpoints, take_step).step
    take_step.method.train()
    for step in range(start, progress.step):
        for name, value in take_step(step).items():
            if not torch.isfinite(value):
                raise Diverged(f"{run}, step {step}: term {name!r} is {value.item()}")
    raise Diverged(
        f"{run}, between steps {start} and {progress.step}: term {bad[0]!r} was not finite; "
        "a replay of these steps was, so the device does not repeat itself exactly"
    )


def end_epoch(take_step: Step, validation: Mapping[str, Pool], progress: Progress) -> Row:
    """Close an epoch: mean terms, validation DSC where it is due, and the best weights so far."""
    method, training, steps = take_step.method, take_step.request.training, take_step.batches.steps_per_epoch
    epoch = progress.step // steps - 1
    row: Row = {"epoch": epoch, "step": progress.step}
    row |= {name: value.item() / steps for name, value in progress.sums.items()}
    progress.sums.clear()
    if (epoch + 1) % training.validation_interval == 0 or epoch + 1 == training.epochs:
        method.eval()
        inference = Inference.of(take_step.request)
        for name, cases in validation.items():
            if len(cases):
                row[name] = grid_dsc(method, cases, training.batch_size, inference)
        method.train()
        score = row.get(SELECTED_BY.get(training.selection, ""))
        if score is not None and score > progress.best_score + training.min_delta:
            progress.best_score, progress.best_epoch = score, epoch
            progress.best_weights = {name: value.detach().clone() for name, value in method.state_dict().items()}
    return row


def has_converged(progress: Progress, request: RunRequest, steps_per_epoch: int) -> bool:
    """Tell whether source-val selection may stop: no improvement for ``patience`` epochs, late enough in the run."""
    training, epochs = request.training, progress.step // steps_per_epoch
    # Oracle selection never stops early: it would be no upper bound.
    if training.selection != "source-val" or progress.best_epoch < 0:
        return False
    late = epochs >= training.earliest_stop * training.epochs
    return late and epochs - 1 - progress.best_epoch >= training.patience


def snapshot(take_step: Step, progress: Progress) -> dict[str, Any]:
    """Return everything a checkpoint holds."""
    return {
        "method": take_step.method.state_dict(),
        "optimizers": [module.optimizer.state_dict() for module in take_step.modules],
        **{name: getattr(progress, name) for name in Progress.__slots__},
    }


def restore(checkpoints: Checkpoints, take_step: Step) -> Progress:
    """Load the newest checkpoint into method and optimisers; without one, write that of step 0.

    A divergence before the first periodic checkpoint is replayed from it, and it proves that the folder is writable.
    """
    state, device = checkpoints.load(), take_step.batches.device
    if state is None:
        checkpoints.save(snapshot(take_step, Progress()))
        return Progress()
    take_step.method.load_state_dict(state.pop("method"))
    for module, saved in zip(take_step.modules, state.pop("optimizers"), strict=True):
        module.optimizer.load_state_dict(saved)
    progress = Progress(**state)
    for values in (progress.sums, progress.best_weights or {}):
        values.update({name: value.to(device) for name, value in values.items()})
    return progress
