"""The results on disk: one folder a run, one folder an evaluation in it, and what state each is in.

``runs/<task>/<row>/s<seed>-<train_id>/`` holds ``spec.json``, ``environment.json``, ``history.csv``,
``checkpoints/``, a marker (``DONE``, ``FAILED`` or ``DIVERGED``) and ``evaluations/<domain>-<eval_id>/`` with
``evaluation.json``, ``cases.csv``, ``predictions/`` and a ``DONE`` of its own. Only the holder of the run's lease
writes there; readers need nothing but this module, which imports neither torch nor pandas.
"""

import csv
import io
import json
import re
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from .files import Guard, no_guard, read_json, write_json, write_text
from .lease import is_gone, read_owner
from .settings import UsageError, spec_from_json
from .spec import EvaluationSpec, RunRequest, RunSpec, to_json

State: TypeAlias = Literal["QUEUED", "RUNNING", "STALE", "DONE", "FAILED", "DIVERGED"]

MARKERS: tuple[State, ...] = ("DIVERGED", "FAILED", "DONE")
"""Looked at in this order: a run that is trained (DONE) and whose scoring failed is FAILED."""

CASE_COLUMNS = (
    "case",
    "stratum",
    "class_index",
    "class_name",
    "tp",
    "fp",
    "fn",
    "tp_outside",
    "fp_outside",
    "fn_outside",
)
"""Of ``cases.csv``: voxel counts inside the foreground (field of view, brain), and outside it."""

HELD_OUT = "held-out"
"""Domain name of the evaluation on the source's held-out cases."""


@dataclass(frozen=True, slots=True)
class StoredEvaluation:
    """One evaluation of a run, as found on disk."""

    path: Path
    domain: str
    selection: str
    resample: str
    done: bool
    data: Mapping[str, Any]  # evaluation.json

    def rows(self) -> list[dict[str, str]]:
        """Return ``cases.csv``: one row a case and foreground class, values as text."""
        with (self.path / "cases.csv").open(newline="") as stream:
            return list(csv.DictReader(stream))


@dataclass(frozen=True, slots=True)
class StoredRun:
    """One run, as found on disk."""

    path: Path
    spec: RunSpec
    state: State
    evaluations: tuple[StoredEvaluation, ...]


class RunFolder:
    """The folder of one run, for its writer.

    Args:
        path: the folder.
        guard: called before every rename; the lease's check.
    """

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
        content = {"train_id": spec.train_id, **_object(to_json(spec))}
        if not path.exists():
            write_json(path, content, self.guard)
            return
        there = read_json(path)
        differing = sorted(key for key in content if there.get(key) != content[key])
        if there.get("train_id") != spec.train_id:
            raise UsageError(f"{path} is of another run (differing: {', '.join(differing)}); move that folder away")

    def mark(self, state: State, detail: Mapping[str, Any]) -> None:
        """Write the final marker of a run."""
        write_json(self.path / state, detail, self.guard)

    def clear_failure(self) -> None:
        """Forget an earlier failure, to try again."""
        for name in ("FAILED", "DIVERGED"):
            (self.path / name).unlink(missing_ok=True)

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        """Record where the run started."""
        write_json(self.path / "environment.json", environment, self.guard)

    def environment(self) -> dict[str, Any]:
        """Return where the run first started; empty before that."""
        path = self.path / "environment.json"
        return _object(read_json(path)) if path.exists() else {}

    def write_history(self, history: list[dict[str, Any]], final: bool = False) -> None:
        """Write ``history.csv``, one row an epoch; the final one waits for the disk."""
        columns = list(dict.fromkeys(name for row in history for name in row))
        # Every checkpoint holds it too: waiting for the disk each epoch would cost short epochs dearly.
        write_text(self.path / "history.csv", to_csv(columns, history), self.guard, durable=final)


def to_csv(columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as CSV text; a missing value is empty, floats have six significant digits."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()})
    return text.getvalue()


def row_name(request: RunRequest) -> str:
    """Return the folder a run's method is kept under: the method's id, or ``intra`` for folds of the target."""
    return "intra" if request.fold is not None else _folder_name(request.method)


def run_path(results_root: Path, spec: RunSpec) -> Path:
    """Return the folder of a run."""
    request = spec.request
    return results_root / "runs" / _folder_name(request.task) / row_name(request) / f"s{request.seed}-{spec.train_id}"


def evaluation_path(run: Path, spec: EvaluationSpec) -> Path:
    """Return the folder of an evaluation of a run."""
    return run / "evaluations" / f"{_folder_name(spec.domain)}-{spec.eval_id}"


def _folder_name(name: str) -> str:
    """Return a name without what would make it several folders: methods and tasks may be named by a path."""
    return re.sub(r"[/\\:\0]+", "-", name).lstrip(".") or "-"


def read_state(run: Path) -> State:
    """Return the state of a run's folder: its marker, else whether a live process holds its lease."""
    for marker in MARKERS:
        if (run / marker).exists():
            return marker
    owner = read_owner(run)
    if owner is not None:
        return "STALE" if is_gone(owner) else "RUNNING"
    return "STALE" if (run / "checkpoints").exists() else "QUEUED"


def scan(results_root: Path) -> tuple[list[StoredRun], list[str]]:
    """Return every readable run of a results folder, and a message for each that is not.

    Args:
        results_root: the folder that holds ``runs/``; a missing one is empty.
    """
    runs, problems = [], []
    for path in sorted((results_root / "runs").glob("*/*/s*-*")):
        if not (path / "spec.json").exists():
            continue  # its writer has not got there yet
        try:
            runs.append(read_run(path))
        except (OSError, ValueError, KeyError, TypeError, UsageError) as error:
            problems.append(f"{path} cannot be read: {error}")
    return runs, problems


def read_run(path: Path) -> StoredRun:
    """Return one run from its folder.

    Raises:
        UsageError: the folder is not a run's, or its spec.json is damaged or edited.
    """
    try:
        data = _object(read_json(path / "spec.json"))
        identity = data.pop("train_id")
        spec = spec_from_json(data)
    except FileNotFoundError:
        raise UsageError(f"{path} is not the folder of a run: it has no spec.json") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path / 'spec.json'} is damaged ({type(error).__name__}: {error})") from None
    if spec.train_id != identity:
        raise UsageError(f"spec.json says {identity} and describes {spec.train_id}: edited, or of another version")
    evaluations = [_read_evaluation(folder) for folder in sorted(path.glob("evaluations/*"))]
    return StoredRun(path, spec, read_state(path), tuple(e for e in evaluations if e is not None))


def _read_evaluation(folder: Path) -> StoredEvaluation | None:
    path = folder / "evaluation.json"
    if not path.exists():
        return None
    data = _object(read_json(path))
    return StoredEvaluation(
        path=folder,
        domain=data["domain"],
        selection=data["selection"],
        resample=data["resample"],
        done=(folder / "DONE").exists(),
        data=data,
    )


def failure(error: BaseException) -> dict[str, Any]:
    """Return what a FAILED or DIVERGED marker holds."""
    return {
        "type": type(error).__name__,
        "message": str(error),
        "traceback": traceback.format_exception(error)[-12:],
    }


def last_error(run: Path) -> str:
    """Return the message of a run's FAILED or DIVERGED marker, "" if there is none."""
    for marker in ("FAILED", "DIVERGED"):
        try:
            return str(read_json(run / marker)["message"])
        except (OSError, json.JSONDecodeError, KeyError):
            continue
    return ""


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, found {type(value).__name__}")
    return value
