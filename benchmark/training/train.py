"""The one training loop, for every method. Read it from top to bottom.

The loop alone knows optimisers. Each step it draws a batch, applies the shared augmentation, asks the method for loss
terms and minimises their sum; nothing inside a step waits for the device. Everything that a later step depends on is
in the method, the optimisers and :class:`Progress`, so a run continues from a checkpoint as if it had never stopped.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Adam

from ssdg.methods.base import Batch, Method, StepContext

from ..data.loader import Batches, Pool
from ..errors import Diverged, Interrupted
from ..randomness import generator
from ..spec import OptimizerConfig, RunRequest
from .augmentation import augmentation
from .checkpoint import Checkpoints
from .validation import autocast, grid_dsc

Row = dict[str, float | int]
"""One epoch of ``history.csv``."""

SELECTED_BY = {"source-val": "held_out_dsc", "oracle": "oracle_dsc"}
"""The column of ``history.csv`` whose best epoch's weights are kept, by ``training.selection``; else the last are."""


class Observer(Protocol):
    """What is told how a run goes."""

    def start(self, step: int, total_steps: int) -> None:
        """Training begins or continues at a step."""

    def step(self, step: int) -> None:
        """A step is done (``step`` of them in all)."""

    def epoch(self, row: Row, history: list[Row]) -> None:
        """An epoch is done."""


@dataclass(slots=True)
class Progress:
    """How far a run is; with the method and the optimisers, all there is to resume from."""

    step: int = 0
    history: list[Row] = field(default_factory=list)
    sums: dict[str, Tensor] = field(default_factory=dict)  # of this epoch's terms, on the device
    best_score: float = float("-inf")
    best_epoch: int = -1
    best_weights: dict[str, Tensor] | None = None


@dataclass(frozen=True, slots=True)
class Player:
    """Parameters with the optimiser that moves them."""

    parameters: list[nn.Parameter]
    optimizer: Adam
    rate: float


def fit(
    method: Method,
    batches: Batches,
    looked_at: Mapping[str, Pool],
    request: RunRequest,
    checkpoints: Checkpoints,
    observer: Observer,
    should_stop: Callable[[], bool] = lambda: False,
) -> Progress:
    """Train a method and leave the selected weights in it.

    Args:
        method: on the batches' device, with its initial weights.
        batches: the stream of source (and unlabelled target) batches.
        looked_at: labelled cases that no label of trains, by the column of ``history.csv`` that reports their DSC;
            :data:`SELECTED_BY` says which of them select the weights.
        request: epochs, optimiser, schedule, selection, seed.
        checkpoints: where to continue from and save to.
        observer: told of every step and epoch.
        should_stop: looked at after each step; True saves a checkpoint and raises :class:`Interrupted`.

    Raises:
        Diverged: a term is not finite.
        Interrupted: see ``should_stop``.
    """
    training = request.training
    total_steps = training.epochs * batches.steps_per_epoch
    players = make_players(method, request.optimizer)
    take_step = Step(method, players, batches, request, total_steps)
    progress = restore(checkpoints, method, players, batches.device)
    observer.start(progress.step, total_steps)
    method.train()
    clock = time.monotonic()
    while progress.step < total_steps and not has_converged(progress, request, batches.steps_per_epoch):
        accumulate(progress.sums, take_step(progress.step))
        progress.step += 1
        observer.step(progress.step)
        if progress.step % batches.steps_per_epoch == 0:
            require_finite(progress, take_step, checkpoints)
            row = end_epoch(method, looked_at, progress, request, batches.steps_per_epoch)
            row["seconds"] = round(time.monotonic() - clock, 3)
            clock = time.monotonic()
            progress.history.append(row)
            observer.epoch(row, progress.history)
        stopping = should_stop()
        if stopping or checkpoints.due():
            require_finite(progress, take_step, checkpoints)
            checkpoints.save(snapshot(method, players, progress))
        if stopping:
            raise Interrupted(f"stopped after step {progress.step} of {total_steps}; the same command continues it")
    if progress.best_weights is not None:
        method.load_state_dict(progress.best_weights)
    method.eval()
    return progress


class Step:
    """One step of training: ``step -> terms`` (detached). Deterministic in the step and the weights."""

    def __init__(
        self, method: Method, players: list[Player], batches: Batches, request: RunRequest, total_steps: int
    ) -> None:
        self.method = method
        self.players = players
        self.batches = batches
        self.request = request
        self.total_steps = total_steps
        self.augment = augmentation(request.training.augmentation)

    def __call__(self, step: int) -> dict[str, Tensor]:
        """Take the step and return its terms, detached, still on the device."""
        seed, device = self.request.seed, self.batches.device
        batch = self.augment(self.batches.at(step), generator(seed, "augmentation", step, device))
        rate = (1 - step / self.total_steps) ** self.request.optimizer.poly_power
        main, *others = self.players
        terms = self._play(main, self.method.training_step, batch, self._context("method", step), rate)
        for adversary in others:
            terms |= self._play(adversary, self.method.adversary_step, batch, self._context("adversary", step), rate)
        return terms

    def _play(
        self,
        player: Player,
        terms_of: Callable[[Batch, StepContext], Mapping[str, Tensor]],
        batch: Batch,
        context: StepContext,
        rate: float,
    ) -> dict[str, Tensor]:
        with autocast(self.batches.device, self.request.training.precision):
            terms = terms_of(batch, context)
        for group in player.optimizer.param_groups:
            group["lr"] = player.rate * rate
        return minimise(terms, player, self.request.optimizer.clip)

    def _context(self, purpose: str, step: int) -> StepContext:
        return StepContext(
            rng=generator(self.request.seed, purpose, step, self.batches.device),
            step=step,
            total_steps=self.total_steps,
            epoch=step // self.batches.steps_per_epoch,
            total_epochs=self.request.training.epochs,
        )


def minimise(terms: Mapping[str, Tensor], player: Player, clip: float | None) -> dict[str, Tensor]:
    """Take one optimiser step on the sum of the terms; only the player's own parameters get gradients."""
    player.optimizer.zero_grad(set_to_none=True)
    total = torch.stack([term.float() for term in terms.values()]).sum()
    torch.autograd.backward(total, inputs=player.parameters)
    if clip is not None:
        nn.utils.clip_grad_norm_(player.parameters, clip)
    player.optimizer.step()
    return {name: term.detach() for name, term in terms.items()}


def make_players(method: Method, config: OptimizerConfig) -> list[Player]:
    """Return the method's own parameters and, where it registers one, its adversary's, each with an optimiser."""
    adversary = {id(p) for p in method.adversary.parameters()} if isinstance(method.adversary, nn.Module) else set()
    trainable = [p for p in method.parameters() if p.requires_grad]
    own = [p for p in trainable if id(p) not in adversary]
    players = [Player(own, make_adam(own, config.lr, config.weight_decay), config.lr)]
    if adversary:
        theirs = [p for p in trainable if id(p) in adversary]
        rate = method.adversary_learning_rate
        players.append(Player(theirs, make_adam(theirs, rate, config.weight_decay), rate))
    return players


def make_adam(parameters: list[nn.Parameter], rate: float, weight_decay: float) -> Adam:
    """Return the shared optimiser: Adam with default betas, as one fused kernel where the device has it."""
    return Adam(parameters, lr=rate, weight_decay=weight_decay, fused=True)


def accumulate(sums: dict[str, Tensor], terms: Mapping[str, Tensor]) -> None:
    """Add a step's terms to the epoch's sums, on the device; a non-finite term stays in its sum for good."""
    for name, value in terms.items():
        sums[name] = sums[name] + value.double() if name in sums else value.double()


def require_finite(progress: Progress, take_step: Step, checkpoints: Checkpoints) -> None:
    """Raise Diverged, naming the first step and term that is not finite, if any sum of this epoch is not.

    The steps since the last good checkpoint are replayed with a look at every term, so that the loop need not look.
    """
    bad = [name for name, value in progress.sums.items() if not torch.isfinite(value)]
    if not bad:
        return
    request = take_step.request
    who = f"{request.method}, seed {request.seed}"
    start = restore(checkpoints, take_step.method, take_step.players, take_step.batches.device).step
    take_step.method.train()
    for step in range(start, progress.step):
        for name, value in take_step(step).items():
            if not torch.isfinite(value):
                raise Diverged(f"{who}, step {step}: term {name!r} is {value.item()}")
    raise Diverged(
        f"{who}, between steps {start} and {progress.step}: term {bad[0]!r} was not finite; "
        "a replay of these steps was, so the device does not repeat itself exactly"
    )


def end_epoch(
    method: Method, looked_at: Mapping[str, Pool], progress: Progress, request: RunRequest, steps: int
) -> Row:
    """Close an epoch: mean terms, the DSC of the cases looked at where it is due, and the best weights so far."""
    epoch = progress.step // steps - 1
    row: Row = {"epoch": epoch, "step": progress.step}
    row |= {name: value.item() / steps for name, value in progress.sums.items()}
    progress.sums.clear()
    training = request.training
    last = epoch + 1 == training.epochs
    if (epoch + 1) % training.validation_interval == 0 or last:
        method.eval()
        for name, cases in looked_at.items():
            if len(cases):
                row[name] = grid_dsc(method, cases, training.batch_size, training.precision)
        method.train()
        score = row.get(SELECTED_BY.get(training.selection, ""))
        if score is not None and score > progress.best_score + training.min_delta:
            progress.best_score, progress.best_epoch = score, epoch
            progress.best_weights = {name: value.detach().clone() for name, value in method.state_dict().items()}
    return row


def has_converged(progress: Progress, request: RunRequest, steps_per_epoch: int) -> bool:
    """Tell whether source-val selection has seen no improvement for ``patience`` epochs.

    Oracle selection looks until the last epoch: stopped early, it would be no upper bound.
    """
    if request.training.selection != "source-val" or progress.best_epoch < 0:
        return False
    return progress.step // steps_per_epoch - 1 - progress.best_epoch >= request.training.patience


def snapshot(method: Method, players: list[Player], progress: Progress) -> dict[str, Any]:
    """Return everything a checkpoint holds."""
    return {
        "method": method.state_dict(),
        "optimizers": [player.optimizer.state_dict() for player in players],
        "step": progress.step,
        "history": progress.history,
        "sums": progress.sums,
        "best_score": progress.best_score,
        "best_epoch": progress.best_epoch,
        "best_weights": progress.best_weights,
    }


def restore(checkpoints: Checkpoints, method: Method, players: list[Player], device: torch.device) -> Progress:
    """Load the newest checkpoint into method and optimisers; where there is none, write that of step 0.

    The checkpoint of step 0 is what a divergence in the first minute is replayed from, and it proves before any
    training that the folder can be written.
    """
    state = checkpoints.load(device)
    if state is None:
        checkpoints.save(snapshot(method, players, Progress()))
        return Progress()
    method.load_state_dict(state.pop("method"))
    for player, saved in zip(players, state.pop("optimizers"), strict=True):
        player.optimizer.load_state_dict(saved)
    return Progress(**state)
