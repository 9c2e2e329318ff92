"""Scoring label files that another program made, by the code that scores runs; they are kept as an evaluation is."""

import dataclasses
import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssdg.datasets.base import Case, DataError, Task

from .. import environment
from ..data.each_case import OnCase, each_case, no_report
from ..data.images import file_ndim, image_grid, write_prediction
from ..data.labels import mapped_values
from ..data.run_data import EvaluationSet, LocatedDomain, require_labels
from ..digests import digest, to_json
from ..errors import UsageError
from ..spec import PreprocessConfig
from ..storage.csv_text import to_csv
from ..storage.files import read_object, write_json, write_text
from ..storage.lease import Lease
from ..storage.run_folder import CASE_COLUMNS, prediction_path
from ..task_digests import regions_digest, task_digest
from .case_counts import count_case
from .matching import LISTED, match_predictions

REMEDY = "Say what it stands for with --label-map VALUE=CLASS"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalPredictions:
    """Label files of one row, seed and target, and the rules that they are scored by."""

    train_id: str  # stands for a training that was not seen
    task: Task
    located: LocatedDomain  # the target
    source: str
    folder: Path
    label_map: Mapping[int, int]  # value in the files -> class index
    config: PreprocessConfig

    def identity(self, files: Mapping[str, Path]) -> dict[str, Any]:
        """Return what decides on the scores: the files by content, their map, the data and the task."""
        domain, hashes = self.located.domain, {}
        for case, path in sorted(files.items()):
            with path.open("rb") as stream:
                hashes[case] = hashlib.file_digest(stream, "sha256").hexdigest()
        variant = self.config.corpus_callosum if domain.label_variants else None
        return {
            "train_id": self.train_id,
            "task": self.task.name,
            "task_definition": task_digest(self.task),
            **({"regions": regions} if (regions := regions_digest(self.task)) else {}),
            "source": self.source,
            "domain": domain.name,
            "manifest": self.located.manifest.digest,
            "cases": digest(tuple(case.id for case in domain.cases)),
            "corpus_callosum": variant,
            "label_map": {str(value): index for value, index in sorted(self.label_map.items())},
            "sha256": hashes,
        }


def score_predictions(
    predictions: ExternalPredictions, output: Path, replace: bool = False, on_case: OnCase = no_report
) -> tuple[bool, list[str]]:
    """Score label files into a folder; return whether they had no scores yet, and the files of no case.

    The predictions are kept as class indices, in the form of a run's. On an error nothing is kept.

    Raises:
        DataError: a case without its file, or files that cannot be used, all of them in one message.
        UsageError: the folder has the scores of other files, and they are not to be replaced.
    """
    located, task = predictions.located, predictions.task
    domain = located.domain
    require_labels(domain.name, domain)
    files, extra = match_predictions(domain, predictions.folder, file_ndim(task, domain))
    identity = predictions.identity(files)
    if not replace and _is_scored(output, identity):
        return False, extra
    draft, before = (output.with_name(f".{output.name}.{name}") for name in ("draft", "before"))
    with Lease(output.parent) as lease:  # another command may be at the same target, or have been since it was asked
        if not replace and _is_scored(output, identity):
            return False, extra
        _score(predictions, files, identity, draft, on_case)
        lease.check()
        if output.exists():
            shutil.rmtree(before, ignore_errors=True)
            output.rename(before)
        draft.rename(output)
        shutil.rmtree(before, ignore_errors=True)
    return True, extra


def _is_scored(folder: Path, identity: Mapping[str, Any]) -> bool:
    if not (folder / "DONE").exists():
        return False
    stored = read_object(folder / "evaluation.json", lenient=True)
    if differing := sorted(name for name, value in identity.items() if stored.get(name) != value):
        raise UsageError(f"{_difference(stored, identity, differing)}; --replace scores these in their place")
    return True


def _score(
    predictions: ExternalPredictions,
    files: Mapping[str, Path],
    identity: Mapping[str, Any],
    draft: Path,
    on_case: OnCase,
) -> None:
    """Write an evaluation into a folder, which is there on success alone."""
    task, located = predictions.task, predictions.located
    shutil.rmtree(draft, ignore_errors=True)
    try:
        write_text(draft / "cases.csv", to_csv(CASE_COLUMNS, _counted(predictions, files, draft, on_case)))
        scored = EvaluationSet(located, tuple(case.id for case in located.domain.cases))
        made = {"counts": scored.counts(None, task), "commit": environment.commit(), "finished": environment.now()}
        data = {**identity, "preprocess": to_json(predictions.config), "eval_id": digest(identity), **made}
        write_json(draft / "evaluation.json", data)
        write_json(draft / "DONE", {"cases": len(located.domain.cases)})
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _counted(
    predictions: ExternalPredictions, files: Mapping[str, Path], draft: Path, on_case: OnCase
) -> list[dict[str, Any]]:
    """Return the rows of ``cases.csv``, and write the prediction of each case below a draft of the evaluation."""
    task, domain = predictions.task, predictions.located.domain
    ndim = file_ndim(task, domain)
    # same_grid = "shape" is for what is wrong in the headers of the published labels.
    by_affine = dataclasses.replace(domain, same_grid="affine")

    def count(case: Case) -> list[dict[str, Any]]:
        image = image_grid(case, domain, task)
        predicted = mapped_values(files[case.id], by_affine, image, predictions.label_map, REMEDY)
        predicted, rows = count_case(predicted, case, domain, task, image, predictions.config)
        write_prediction(predicted, case, domain, prediction_path(draft, case.id, ndim))
        return rows

    rows: list[dict[str, Any]] = []
    failures = []
    for _, result in each_case(domain, count, on_case):
        if isinstance(result, DataError):
            failures.append(str(result))
        else:
            rows += result
    if failures:
        shown = [*failures[:LISTED], *([f"and {len(failures) - LISTED} more"] if len(failures) > LISTED else [])]
        raise DataError("\n  ".join([f"{len(failures)} of {len(files)} predictions cannot be used:", *shown]))
    return rows


def _difference(stored: Mapping[str, Any], identity: Mapping[str, Any], differing: list[str]) -> str:
    hashes, earlier = identity["sha256"], stored.get("sha256") or {}
    changed = [case for case in hashes if earlier.get(case) != hashes[case]]
    what = ", ".join(name for name in differing if name != "sha256")
    parts = [f"other files of {len(changed)} of {len(hashes)} cases ({changed[0]}, …)"] if changed else []
    parts += [f"another {what}"] if what else []
    return f"{identity['domain']} was scored for this row and seed before, with {' and '.join(parts)}"
