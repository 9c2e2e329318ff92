"""One run from request to results: its data are located and checked, then it is trained, then its targets scored."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ssdg.datasets.base import Task
from ssdg.methods import load_method

from .. import environment
from ..data.prepared import PreparedDomain
from ..data.run_data import DataSource, RunData, find_run_data
from ..digests import JSON, flatten, to_json
from ..errors import Diverged, Interrupted, StorageError, memory_advice
from ..progress import Display, Row
from ..settings import edited, grid_shape, plugin_digests
from ..spec import SECTIONS, EvaluationSpec, RunRequest, RunSpec
from ..storage.attempts import Attempts, start_here
from ..storage.lease import Lease
from ..storage.run_folder import RunFolder, evaluation_path, failure, run_path
from ..tracking.observers import ObservedRun, Observers
from .allocator import keep_freed_memory
from .build import ARITHMETIC, build_method, device_name, find_device, resolve, use_threads
from .checkpoint import Checkpoints, clear_checkpoints
from .evaluate import Predictor, evaluate, evaluation_spec
from .inference import autocast
from .runtime import Runtime
from .streams import training_data
from .train import fit


def run_one(
    request: RunRequest,
    task: Task,
    targets: Sequence[str],
    runtime: Runtime,
    display: Display,
    should_stop: Callable[[], bool] = lambda: False,
    observers: Observers | None = None,
) -> Path:
    """Train a run if needed, score it on its validation cases and the targets, and return its folder.

    What is done already stays, what was interrupted is continued. ``should_stop`` is called after each step, after
    each case that is prepared or scored, and while waiting. The target of an intra-domain request is its own.
    ``observers`` get the run and its epochs.

    Raises:
        UsageError, DataError, StorageError, LeaseHeld, NoProgress: see their messages.
        Diverged: training met a non-finite loss; the run's folder says so.
        Interrupted: ``should_stop`` said so; the run can be continued.
        LeaseLost: another process took the run over; nothing of this one was written after that.
    """
    # A missing device is the command's fault, not the run's: nothing is recorded.
    device = find_device(runtime.device)
    autocast(device, request.training.precision)
    keep_freed_memory(device)

    def check_cancelled() -> None:
        if should_stop():
            raise Interrupted("stopped before it was done; the same command continues it")

    data_source = DataSource(runtime.data_root, runtime.prepared, runtime.strict)
    run_data = find_run_data(request, task, targets, data_source, display.log)
    spec = resolve(request, task, load_method(request.method), run_data)
    folder = run_path(runtime.results_root, spec)
    observers = observers or Observers((), "", display.log)
    observers.open(ObservedRun(spec.train_id, request.task, folder, runtime.tracking, _flat_settings(spec)))
    with Lease(folder, wait=runtime.wait, look=check_cancelled) as lease:
        store = RunFolder(folder, lease.check)
        store.begin(spec)
        attempts = Attempts(folder, lease.check, runtime.max_attempts)
        run = _RunInProgress(
            spec, task, run_data, store, attempts, runtime, device, display, check_cancelled, observers
        )
        unscored = run.unscored()
        if store.trained:  # a kill right behind DONE leaves its checkpoints
            clear_checkpoints(store.checkpoints, store.guard)
        run.heed_plugins()
        if store.trained and not unscored:
            display.log(f"already done: {folder}")
            return folder
        failed = store.clear_failure()
        try:
            attempts.begin(start_here(runtime.log, runtime.job_id, device_name(device)), reset=failed)
            with memory_advice(_smaller(request, task)):
                prepared = run_data.prepare(
                    task,
                    request.preprocess,
                    runtime.prepared,
                    on_case=run.preparing,
                    look=run.waiting,
                    trains=not store.trained,
                    scored=unscored,
                )
                if not store.trained:
                    run.train(prepared, should_stop)
                run.score(prepared, unscored)
        except Diverged as error:
            store.mark("DIVERGED", failure(error))
            raise
        except Interrupted:
            raise
        except StorageError:  # not the run's fault: the same command continues it
            with contextlib.suppress(StorageError):
                attempts.forgive()
            raise
        except Exception as error:
            store.mark("FAILED", failure(error))
            raise
    return folder


def _flat_settings(spec: RunSpec) -> dict[str, JSON]:
    request = spec.request
    own = {name: getattr(request, name) for name in ("task", "source", "target", "method", "seed", "protocol")}
    sections = {name: to_json(getattr(request, name)) for name in SECTIONS}
    return own | flatten({**sections, "method": to_json(spec.method_config)})


def _smaller(request: RunRequest, task: Task) -> str:
    training = request.training
    whole = training.window is None
    name = "preprocess.shape" if whole else "training.window"
    sides = ",".join(map(str, training.window or grid_shape(task, request.preprocess)))
    return (
        f"--set a smaller training.batch_size (here {training.batch_size}) or {name} (here {sides}), "
        "or give the same command on a machine or GPU with more memory"
    )


@dataclass(frozen=True, slots=True)
class _RunInProgress:
    """A run whose lease this process holds."""

    spec: RunSpec
    task: Task
    run_data: RunData
    store: RunFolder
    attempts: Attempts
    runtime: Runtime
    device: torch.device
    display: Display
    check_cancelled: Callable[[], None]  # raises Interrupted
    observers: Observers

    def preparing(self, domain: str, done: int, total: int) -> None:
        self.display.preparing(domain, done, total)
        if done == total:  # a domain that is prepared in part is begun anew
            self.attempts.progressed()
        self.check_cancelled()

    def waiting(self) -> None:
        self.attempts.progressed()  # another process makes it
        self.check_cancelled()

    def scored(self, saved: bool) -> None:
        self.display.scored()
        if saved:
            self.attempts.progressed()
        self.check_cancelled()

    @property
    def plugins(self) -> dict[str, str]:
        return plugin_digests(self.spec.request.method, self.spec.method_config, imported=True)

    def heed_plugins(self) -> None:
        """Begin a training anew whose plugin was edited since it began; say so of one that is done."""
        if not (names := edited(self.store.environment(), self.plugins)):
            return
        if self.store.trained:
            self.display.log(
                f"the plugin of {names[0]} was edited after training: raise its version to train it anew, or move "
                f"{self.store.path} away"
            )
        else:
            self.display.log(f"the plugin of {names[0]} was edited since training began: it begins anew")
            clear_checkpoints(self.store.checkpoints, self.store.guard)

    def unscored(self) -> dict[str, EvaluationSpec]:
        request = self.spec.request
        evaluations = {
            name: evaluation_spec(request, self.spec.train_id, self.task, name, scored)
            for name, scored in self.run_data.scored.items()
        }
        return {n: e for n, e in evaluations.items() if not (evaluation_path(self.store.path, e) / "DONE").exists()}

    def save_history(self, history: list[Row]) -> None:
        self.store.write_history(history)
        self.observers.history(history)

    def train(self, prepared: Mapping[str, PreparedDomain], should_stop: Callable[[], bool]) -> None:
        request, device = self.spec.request, self.device
        threads = use_threads(device, self.store.environment().get("threads"), self.runtime.threads)
        arithmetic = ARITHMETIC if device.type == "cuda" else {}
        record = environment.record(device_name(device), threads, arithmetic)
        record |= {"plugins": self.plugins} if self.plugins else {}
        batches, validation = training_data(request, self.run_data, prepared, device)
        method = build_method(load_method(request.method), self.spec, self.task, device)
        checkpoints = Checkpoints(
            self.store.checkpoints,
            {"train_id": self.spec.train_id, "device": device.type, "threads": threads},
            interval=self.runtime.checkpoint_interval,
            guard=self.store.guard,
            warn=self.display.log,
            # Not before: a start that failed may have been on another device.
            begins=lambda: self.store.write_environment(record),
            progressed=self.attempts.progressed,
            save_history=self.save_history,
        )
        progress = fit(method, batches, validation, request, checkpoints, self.display, should_stop)
        checkpoints.finish(method.state_dict())
        self.attempts.progressed()
        self.store.write_history(progress.history, final=True)
        best = {"best_epoch": progress.best_epoch} if progress.best_weights is not None else {}
        self.store.mark("DONE", {"finished": environment.now(), **progress.history[-1], **best})
        # Not before DONE: a run killed in between would train again.
        clear_checkpoints(self.store.checkpoints, self.store.guard)

    def score(self, prepared: Mapping[str, PreparedDomain], unscored: Mapping[str, EvaluationSpec]) -> None:
        if not unscored:
            return
        predictor = Predictor.of_run(self.store.path, self.spec, self.task, self.device)
        for name, evaluation in unscored.items():
            scored = self.run_data.scored[name]
            images = prepared[scored.located.domain.name]
            self.display.scoring(name, len(scored.ids))
            evaluate(predictor, self.task, scored, images, evaluation, self.store, self.scored)
            self.attempts.progressed()
