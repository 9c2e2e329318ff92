"""Results on disk, for their writer.

``runs/<task>/<row>/s<seed>-<train_id>/`` holds ``spec.json``, ``environment.json``, ``history.csv``,
``checkpoints/``, a marker (``DONE``, ``FAILED`` or ``DIVERGED``) and ``evaluations/<domain>-<eval_id>/`` with
``evaluation.json``, ``cases.csv``, ``predictions/`` and a ``DONE`` of its own. Only the holder of the run's lease
writes there, except for the ``metrics/`` of `bench rescore`.
"""

import re
import traceback
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

from ..digests import digest, to_json
from ..errors import UsageError
from ..spec import EvaluationSpec, RunRequest, RunSpec
from .csv_text import to_csv
from .files import Guard, no_guard, read_json, write_json, write_text

State: TypeAlias = Literal["QUEUED", "RUNNING", "STALE", "DONE", "FAILED", "DIVERGED"]

MARKERS: tuple[State, ...] = ("DIVERGED", "FAILED", "DONE")
"""In order of precedence: a run that is trained (DONE) and whose scoring failed is FAILED."""

COUNTS = ("tp", "fp", "fn", "tp_outside", "fp_outside", "fn_outside")
"""Voxels inside the foreground (field of view, brain), and outside it."""

CASE_COLUMNS = ("case", "stratum", "class_index", "class_name", *COUNTS)
"""Of ``cases.csv``."""

VALIDATION = "held-out"
"""Domain name of the evaluation on the source's held-out cases."""


class RunFolder:
    """The folder of one run, for its writer; the guard is called before every change."""

    def __init__(self, path: Path, guard: Guard = no_guard) -> None:
        self.path = path
        self.guard = guard

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints and final weights."""
        return self.path / "checkpoints"

    @property
    def trained(self) -> bool:
        """Whether the run's final weights are there; its evaluations have markers of their own."""
        return (self.path / "DONE").exists()

    def begin(self, spec: RunSpec) -> None:
        """Record the spec on the first start; refuse a folder that holds another one."""
        path = self.path / "spec.json"
        content = {"train_id": spec.train_id, **to_json(spec)}
        stored = read_json(path) if path.exists() else None
        if stored is None:
            write_json(path, content, self.guard)
        elif stored.get("train_id") != spec.train_id:
            differing = ", ".join(sorted(key for key in content if stored.get(key) != content[key]))
            raise UsageError(f"{path} is of another run (differing: {differing}); move that folder away")

    def mark(self, state: State, detail: Mapping[str, Any]) -> None:
        """Write the final marker of a run."""
        write_json(self.path / state, detail, self.guard)

    def clear_failure(self) -> bool:
        """Remove the marker of an earlier failure; return whether there was one."""
        markers = [self.path / name for name in ("FAILED", "DIVERGED") if (self.path / name).exists()]
        for marker in markers:
            self.guard()
            marker.unlink()
        return bool(markers)

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        """Record where the run started."""
        write_json(self.path / "environment.json", environment, self.guard)

    def environment(self) -> dict[str, Any]:
        """Return where the run first started; empty before that."""
        path = self.path / "environment.json"
        return dict(read_json(path)) if path.exists() else {}

    def write_history(self, history: list[dict[str, Any]], final: bool = False) -> None:
        """Write ``history.csv``, one row an epoch; the final one waits for the disk."""
        columns = list(dict.fromkeys(name for row in history for name in row))
        # Every checkpoint holds it too, so that only the last one needs to wait.
        write_text(self.path / "history.csv", to_csv(columns, history), self.guard, durable=final)


def row_name(request: RunRequest) -> str:
    """Return the folder a run's method is kept under: the method's id, or ``intra`` for folds of the target."""
    return "intra" if request.fold is not None else folder_name(request.method)


def run_path(results_root: Path, spec: RunSpec) -> Path:
    """Return the folder of a run."""
    request = spec.request
    return results_root / "runs" / folder_name(request.task) / row_name(request) / f"s{request.seed}-{spec.train_id}"


def evaluation_path(run: Path, spec: EvaluationSpec) -> Path:
    """Return the folder of an evaluation of a run."""
    return run / "evaluations" / f"{folder_name(spec.domain)}-{spec.eval_id}"


def prediction_path(folder: Path, case: str, ndim: int) -> Path:
    """Return where an evaluation's prediction of a case is kept: PNG in 2D, compressed NIfTI in 3D."""
    return folder / "predictions" / f"{case}{'.png' if ndim == 2 else '.nii.gz'}"


def final_weights_digest(run: Path) -> str:
    """Return the digest of a run's final weights, by the checksums in their file; "" if there are none."""
    try:
        with zipfile.ZipFile(run / "checkpoints" / "final.pt") as archive:
            return digest([(entry.filename, entry.CRC) for entry in archive.infolist()])
    except (OSError, zipfile.BadZipFile):
        return ""


def folder_name(name: str) -> str:
    """Return the name of a folder for what may be named by a path, such as a method or a task."""
    return re.sub(r"[/\\:\0]+", "-", name).lstrip(".") or "-"


def failure(error: BaseException) -> dict[str, Any]:
    """Return the content of a FAILED or DIVERGED marker."""
    lines = traceback.format_exception(error)[-12:]
    return {"type": type(error).__name__, "message": str(error), "traceback": lines}
