"""One run from request to results: the job of every launcher.

Data are located, checked and prepared first, so that a corrupt file of the last target is named before the first
step; then the run is trained from the source alone, unless it is already; then its targets are scored.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ssdg.datasets.base import Task
from ssdg.methods import load_method

from .. import environment
from ..data.loader import Batches, pool
from ..data.prepared import PreparedDomain
from ..data.run_data import DataSource, RunData, find_run_data
from ..errors import Diverged, Interrupted
from ..spec import EvaluationSpec, RunRequest, RunSpec, digest
from ..storage.attempts import Attempts, start_here
from ..storage.lease import Lease
from ..storage.run_folder import RunFolder, evaluation_path, failure, run_path
from .allocator import keep_freed_memory
from .build import build_method, device_name, find_device, load_run_method, resolve, use_threads
from .checkpoint import Checkpoints
from .evaluate import Predictor, Subject, evaluate
from .progress import RunObserver
from .runtime import Runtime
from .train import Row, fit
from .validation import autocast


def run_one(
    request: RunRequest,
    task: Task,
    targets: Sequence[str],
    runtime: Runtime,
    observer: RunObserver,
    should_stop: Callable[[], bool] = lambda: False,
) -> Path:
    """Train a run if needed, score it on its held-out source cases and on the targets; return its folder.

    Everything already done is left as it is, whatever was interrupted is continued.

    Args:
        request: what to train.
        task: the task the request names.
        targets: domains of the task to score; for an intra-domain request, its own target.
        runtime: execution settings.
        observer: follows the run.
        should_stop: called after each step, after each case that is prepared or scored, and while waiting.

    Raises:
        UsageError, DataError, StorageError, LeaseHeld, NoProgress: see their messages.
        Diverged: training met a non-finite loss; the run's folder says so.
        Interrupted: ``should_stop`` said so; the run can be continued.
        LeaseLost: another process took the run over; nothing of this one was written after that.
    """
    # A device that is not there is the command's fault, not the run's: nothing is recorded.
    device = find_device(runtime.device)
    autocast(device, request.training.precision)
    keep_freed_memory(device)

    def check_cancelled() -> None:
        if should_stop():
            raise Interrupted("stopped before it was done; the same command continues it")

    run_data = find_run_data(
        request, task, targets, DataSource(runtime.data_root, runtime.prepared, runtime.strict), observer.log
    )
    spec = resolve(request, task, load_method(request.method), run_data)
    folder = run_path(runtime.results_root, spec)
    with Lease(folder, wait=runtime.wait, look=check_cancelled) as lease:
        store = RunFolder(folder, lease.check)
        store.begin(spec)
        attempts = Attempts(folder, lease.check, runtime.max_attempts)
        run = _RunInProgress(spec, task, run_data, store, attempts, runtime, observer, check_cancelled)
        unscored = run.unscored()
        if store.trained and not unscored:
            observer.log(f"already done: {folder}")
            return folder
        failed = store.clear_failure()
        try:
            attempts.begin(start_here(runtime.log, runtime.job_id), reset=failed)
            prepared = run_data.prepare(task, request.preprocess, runtime.prepared, run.preparing)
            if not store.trained:
                # Of the targets, training is handed the one that its method or its selection may see, or none.
                target = run_data.target
                run.train(
                    prepared[run_data.source.domain.name],
                    prepared[target.domain.name] if target is not None else None,
                    should_stop,
                )
            run.score(prepared, unscored)
        except Diverged as error:
            store.mark("DIVERGED", failure(error))
            raise
        except Interrupted:
            raise
        except Exception as error:
            store.mark("FAILED", failure(error))
            raise
    return folder


@dataclass(frozen=True, slots=True)
class _RunInProgress:
    """A run whose lease this process holds."""

    spec: RunSpec
    task: Task
    run_data: RunData
    store: RunFolder
    attempts: Attempts
    runtime: Runtime
    observer: RunObserver
    check_cancelled: Callable[[], None]  # raises Interrupted

    def preparing(self, domain: str, done: int, total: int) -> None:
        self.observer.preparing(domain, done, total)
        self.check_cancelled()

    def scored(self) -> None:
        self.observer.scored()
        self.check_cancelled()

    def unscored(self) -> dict[str, EvaluationSpec]:
        """Return the evaluations that are not done, by domain."""
        specs = {name: self._evaluation(name) for name in self.run_data.scored}
        return {
            name: spec
            for name, spec in specs.items()
            if not (evaluation_path(self.store.path, spec) / "DONE").exists()
        }

    def train(self, source: PreparedDomain, target: PreparedDomain | None, should_stop: Callable[[], bool]) -> None:
        """Train and mark the run DONE.

        Args:
            source: its training cases train, its held-out cases validate.
            target: gives unlabelled images to a method that adapts, labelled cases to oracle selection; else None.
            should_stop: see :func:`run_one`.
        """
        request, run_data = self.spec.request, self.run_data
        device = find_device(self.runtime.device)
        threads = use_threads(device, self.store.environment().get("threads"), self.runtime.threads)
        if not self.store.environment():
            self.store.write_environment(environment.record(device_name(device), threads))
        cls, unlabelled = load_method(request.method), None
        validation = {"held_out_dsc": pool(source, run_data.validation, device)}
        if target is not None and cls.access == "uda":
            unlabelled = pool(target, target.ids, device, labelled=False)
        if target is not None and request.training.selection == "oracle":
            validation["oracle_dsc"] = pool(target, target.ids, device)
        training = pool(source, run_data.training, device)
        batches = Batches(training, unlabelled, request.training.batch_size, request.seed)
        method = build_method(cls, self.spec, self.task, device)
        checkpoints = Checkpoints(
            self.store.checkpoints,
            {"train_id": self.spec.train_id, "device": device.type, "threads": threads},
            interval=self.runtime.checkpoint_interval,
            guard=self.store.guard,
            warn=self.observer.log,
            saved=self._saved,
        )
        recorder = _Recorder(self.observer, self.store)
        progress = fit(method, batches, validation, request, checkpoints, recorder, should_stop)
        checkpoints.finish(method.state_dict())
        self.attempts.progressed()
        self.store.write_history(progress.history, final=True)
        best = {"best_epoch": progress.best_epoch} if progress.best_weights is not None else {}
        self.store.mark("DONE", {"finished": environment.now(), **progress.history[-1], **best})
        checkpoints.clear()  # not before DONE: a run killed in between would train again

    def score(self, prepared: Mapping[str, PreparedDomain], unscored: Mapping[str, EvaluationSpec]) -> None:
        """Evaluate the finished run on some domains; its weights are loaded once."""
        if not unscored:
            return
        request, commit = self.spec.request, environment.commit()
        device = find_device(self.runtime.device)
        method = load_run_method(self.store.path, self.spec, self.task, device)
        predictor = Predictor(method, device, request.training.precision, request.evaluation.resample)
        for name, evaluation in unscored.items():
            scored = self.run_data.scored[name]
            domain = scored.found.domain
            images = prepared[domain.name]
            provenance = {"counts": scored.counts(images), "commit": commit, "finished": environment.now()}
            subject = Subject(self.task, domain, images, scored.ids, provenance)
            self.observer.scoring(name, len(scored.ids))
            folder = evaluation_path(self.store.path, evaluation)
            evaluate(predictor, subject, evaluation, folder, self.store.guard, self.scored)
            self.attempts.progressed()

    def _saved(self, step: int) -> None:
        if step:  # that of step 0 comes with every first start
            self.attempts.progressed()

    def _evaluation(self, name: str) -> EvaluationSpec:
        request, scored = self.spec.request, self.run_data.scored[name]
        return EvaluationSpec(
            train_id=self.spec.train_id,
            domain=name,
            manifest=scored.found.manifest.digest,
            cases=digest(scored.ids),
            selection=request.training.selection,
            preprocess=request.preprocess,
            resample=request.evaluation.resample,
        )


@dataclass(frozen=True, slots=True)
class _Recorder:
    """Passes progress on and keeps ``history.csv`` up to date."""

    observer: RunObserver
    store: RunFolder

    def start(self, step: int, total_steps: int) -> None:
        self.observer.start(step, total_steps)

    def step(self, step: int) -> None:
        self.observer.step(step)

    def epoch(self, row: Row, history: list[Row]) -> None:
        self.store.write_history(history)
        self.observer.epoch(row, history)
