"""Ensembles: the mean of the probabilities of finished runs, scored as each of them is."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ssdg.datasets.base import Task

from ..data.prepared import prepare_domain
from ..data.run_data import DataSource, EvaluationSet, find_domain, require_labels
from ..progress import Display
from ..spec import RunRequest
from ..storage.ensembles import StoredEnsemble, ensemble_id, has_weights_of
from ..storage.files import read_object
from ..storage.lease import Lease
from ..storage.results_reader import StoredRun
from ..storage.run_folder import RunFolder, evaluation_path
from .build import find_device
from .evaluate import Predictor, evaluate, evaluation_spec


def score_ensemble(  # noqa: PLR0913 - keyword arguments
    *,
    members: Sequence[StoredRun],
    request: RunRequest,
    task: Task,
    targets: Sequence[str],
    row: StoredEnsemble,
    data_source: DataSource,
    device: str,
    display: Display,
    check_cancelled: Callable[[], None] = lambda: None,
) -> dict[str, tuple[Path, bool]]:
    """Average the probabilities of trained runs on targets; return each evaluation and whether it was still to do.

    ``request`` says how predictions are made and scored, as for a run; labels enter the scores alone.

    Raises:
        UsageError, DataError, LeaseHeld: see their messages.
    """
    identity = ensemble_id(run.train_id for run in members)
    scored: dict[str, tuple[Path, bool]] = {}
    predictor: Predictor | None = None
    with Lease(row.folder) as lease:
        store = RunFolder(row.folder, lease.check)
        for target in targets:
            located = find_domain(task, target, data_source, display.log)
            require_labels(target, located.domain)
            cases = EvaluationSet(located, tuple(case.id for case in located.domain.cases))
            spec = evaluation_spec(request, identity, task, target, cases)
            path = evaluation_path(row.folder, spec)
            if not has_weights_of(read_object(path / "evaluation.json", lenient=True), [run.path for run in members]):
                lease.check()
                shutil.rmtree(path)  # with its distances: a member was trained anew
            scored[target] = path, not (path / "DONE").exists()
            if not scored[target][1]:
                continue
            config, manifest = request.preprocess, located.manifest.digest
            images = prepare_domain(
                located.domain, task, config, manifest, data_source.cache, display.preparing, check_cancelled
            )
            predictor = predictor or _predictor(members, request, task, device)
            display.scoring(target, len(cases.ids))

            def advance(_saved: bool) -> None:
                display.scored()
                check_cancelled()

            evaluate(predictor, task, cases, images, spec, store, advance)
        lease.check()
        row.write()
    return scored


def _predictor(members: Sequence[StoredRun], request: RunRequest, task: Task, device: str) -> Predictor:
    """Return the predictor of an ensemble, in the windows and by the resampling that are asked for now."""
    predictors = []
    for run in members:
        asked_for = replace(run.spec.request, evaluation=request.evaluation)
        spec = replace(run.spec, request=asked_for)
        predictors.append(Predictor.of_run(run.path, spec, task, find_device(device)))
    return Predictor.of_ensemble(predictors)
