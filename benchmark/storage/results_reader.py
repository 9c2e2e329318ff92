"""Reading a results folder: its runs, their evaluations and states.

Others may be writing meanwhile: nothing is locked, and a file is read whole or not at all. Each folder is listed once
and each file opened once, because with thousands of runs a reader mostly waits for the file system.
"""

import csv
import marshal
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from ..errors import UsageError
from ..settings import spec_from_json
from ..spec import RunSpec
from .files import read_object
from .lease import is_gone, read_owner
from .run_folder import MARKERS, State

VERSIONS = {"torch": "torch", "monai": "monai", "ssdg-bench": "ssdg_bench"}
"""Column of ``runs.csv`` by package."""

_Parsed: TypeAlias = dict[bytes, tuple[RunSpec, Callable[[int], str]]]
# Specs that differ in nothing but the seed are parsed, checked and digested once: worth 0.8 of 2.7 s of CPU for
# `bench status` of 5,000 runs; see RunSpec.train_id_of_seed.


@dataclass(frozen=True, slots=True)
class StoredEvaluation:
    """One evaluation of a run on disk."""

    path: Path
    domain: str
    selection: str
    resample: str
    done: bool
    data: Mapping[str, Any]  # evaluation.json
    overlap: float | None = None
    regions: str = ""
    export: str = ""  # name of the export that has it, where it has neither a folder nor predictions here

    @property
    def kind(self) -> tuple[str, str, str, float | None, str]:
        """What tells it from the run's others: its domain, and how that was predicted and scored."""
        return self.domain, self.selection, self.resample, self.overlap, self.regions


@dataclass(frozen=True)
class StoredRun:
    """One run on disk; further files are read on first use."""

    path: Path
    spec: RunSpec
    state: State
    evaluations: tuple[StoredEvaluation, ...]
    train_id: str  # as stored; to digest the specs of thousands of runs again takes seconds
    trained: bool  # its final weights are there
    export: str = field(default="", kw_only=True)  # name of the export that has it, where it has no folder here

    @cached_property
    def marker(self) -> dict[str, Any]:
        """Content of ``DONE``; empty if missing or damaged."""
        return read_object(self.path / "DONE", lenient=True)

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Content of ``environment.json``; empty if missing or damaged."""
        return read_object(self.path / "environment.json", lenient=True)

    @cached_property
    def history(self) -> list[dict[str, str]]:
        """Rows of ``history.csv``, values as text; none if it is missing."""
        return read_history(self.path)

    @property
    def epoch_seconds(self) -> list[float]:
        """Time of each epoch; empty if not recorded or damaged."""
        try:
            return [float(row.get("seconds") or 0) for row in self.history]
        except (ValueError, TypeError):
            return []

    @property
    def selected_epoch(self) -> int | None:
        """Epoch of the final weights, counted from 1."""
        epoch = self.marker.get("best_epoch", self.marker.get("epoch"))
        return None if epoch is None else int(epoch) + 1

    @property
    def recorded(self) -> dict[str, Any]:
        """Records of its training by column of ``runs.csv``; None if missing."""
        versions, seconds = self.environment.get("versions") or {}, self.epoch_seconds
        return {
            "version": self.spec.method_version,
            "train_id": self.train_id,
            "epochs": len(self.history) or None,
            "best_epoch": self.selected_epoch,
            "steps": self.history[-1].get("step") if self.history else None,
            "training_seconds": round(sum(seconds), 1) if seconds else None,
            "fastest_epoch": round(min(seconds), 2) if seconds else None,
            **{name: self.environment.get(name) for name in ("device", "threads", "commit", "started")},
            **{column: versions.get(name) for name, column in VERSIONS.items()},
            "finished": self.marker.get("finished"),
        }


def training_seconds(runs: Iterable[StoredRun], epochs: float | None = None) -> float | None:
    """Return the time of a training at the pace of the fastest epoch of trained runs; None if not recorded.

    Machines are shared: the fastest epoch is the one that other work slowed least. Of a run that does not record it,
    an export of before that column, the mean epoch stands for it. Checkpoints, preparing data and scoring are not
    counted. ``epochs`` None: as many as the runs had, on average.
    """
    records = [run.recorded for run in runs if run.trained]
    timed = [(record, int(record["epochs"])) for record in records if float(record["training_seconds"] or 0)]
    if not timed:
        return None
    pace = min(float(of.get("fastest_epoch") or 0) or float(of["training_seconds"]) / length for of, length in timed)
    return pace * (epochs or sum(length for _, length in timed) / len(timed))


def scan(results_root: Path) -> tuple[list[StoredRun], list[str]]:
    """Return every readable run of a results folder, and a message for each unreadable one."""
    runs: list[StoredRun] = []
    problems: list[str] = []
    parsed: _Parsed = {}
    tasks = _inside([results_root / "runs"], problems)
    for path in _inside(_inside(tasks, problems), problems):
        if not path.name.startswith("s") or "-" not in path.name:
            continue
        try:
            names = _names(path)
            if "spec.json" in names:  # else its writer has not got there yet
                runs.append(_read(path, names, parsed))
        except (OSError, ValueError, KeyError, TypeError, UsageError) as error:
            problems.append(f"{path} cannot be read: {error}")
    return runs, problems


def read_run(path: Path) -> StoredRun:
    """Return one run; UsageError if the folder is no run's or its spec.json is damaged or edited."""
    return _read(path, _names(path), {})


def last_error(run: Path) -> str:
    """Return the message of a run's FAILED or DIVERGED marker, "" without one."""
    contents = (read_object(run / marker, lenient=True) for marker in ("FAILED", "DIVERGED"))
    return next((str(content["message"]) for content in contents if "message" in content), "")


def read_history(run: Path) -> list[dict[str, str]]:
    """Return the rows of a run's ``history.csv``, values as text; none without one."""
    try:
        with (run / "history.csv").open(newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream))
    except OSError:
        return []


def numeric_history(run: Path) -> list[dict[str, float | int]]:
    """Return the rows of a run's ``history.csv`` as numbers; values that a row lacks are left out."""
    whole = ("epoch", "step")
    return [
        {name: int(text) if name in whole else float(text) for name, text in row.items() if text}
        for row in read_history(run)
    ]


def _inside(folders: Iterable[Path], problems: list[str]) -> Iterator[Path]:
    """Yield the content of folders, in order; add a message for each that cannot be listed."""
    for folder in folders:
        try:
            names = _names(folder)
        except OSError as error:
            problems.append(f"{folder} cannot be read: {error}")
            continue
        yield from (folder / name for name in sorted(names))


def _names(folder: str | Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries}
    except (FileNotFoundError, NotADirectoryError):
        return set()


def _read(path: Path, names: Collection[str], parsed: _Parsed) -> StoredRun:
    spec, train_id = _read_spec(path, parsed)
    # The other way round, a run that finishes in between would be DONE and lack its evaluations.
    state = _state(path, names)
    return StoredRun(path, spec, state, read_evaluations(path), train_id, state == "DONE" or "DONE" in names)


def read_evaluations(run: Path) -> tuple[StoredEvaluation, ...]:
    """Return the evaluations in a run's folder; UsageError for a damaged one."""
    folder = f"{run}/evaluations"
    return tuple(filter(None, (_read_evaluation(f"{folder}/{name}") for name in sorted(_names(folder)))))


def _read_spec(run: Path, parsed: _Parsed) -> tuple[RunSpec, str]:
    """Return the spec and id of a run; raise UsageError if its file is missing, damaged or edited."""
    try:
        data = read_object(f"{run}/spec.json")
        stored_id = data.pop("train_id")
        seed = data["request"].pop("seed")
        if type(seed) is not int:
            raise ValueError(f"seed is {seed!r}")
        key = marshal.dumps(data, 2)  # unlike equality, tells 1, 1.0 and true apart; a fourth of the time of repr
        if key not in parsed:
            spec = spec_from_json(data)
            parsed[key] = spec, spec.train_id_of_seed()
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{run} is not the folder of a run: it has no spec.json") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{run / 'spec.json'} is damaged ({type(error).__name__}: {error})") from None
    seedless, train_id_of = parsed[key]
    if (train_id := train_id_of(seed)) != stored_id:
        raise UsageError(f"spec.json says {stored_id} and describes {train_id}: edited, or of another version")
    return replace(seedless, request=replace(seedless.request, seed=seed)), train_id


def _state(run: Path, names: Collection[str]) -> State:
    if any(name.startswith("lease.") for name in names):
        owner = read_owner(run)
        if owner is not None and not is_gone(owner):
            return "RUNNING"  # behind DONE it scores
        if owner is not None and not any(marker in names for marker in MARKERS):
            return "STALE"
        names = _names(run)  # its owner left after the listing, perhaps with a marker
    unmarked: State = "STALE" if "checkpoints" in names else "QUEUED"
    return next((marker for marker in MARKERS if marker in names), unmarked)


def _read_evaluation(folder: str) -> StoredEvaluation | None:
    file = f"{folder}/evaluation.json"
    try:
        data = read_object(file)
        identity = {name: data[name] for name in ("domain", "selection", "resample")}
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError) as error:
        raise UsageError(
            f"{file} is damaged ({type(error).__name__}: {error}); remove that evaluation's "
            "folder and score the run again"
        ) from None
    return StoredEvaluation(
        path=Path(folder),
        **identity,
        done=os.path.exists(f"{folder}/DONE"),  # noqa: PTH110
        data=data,
        overlap=data.get("overlap"),
        regions=data.get("regions", ""),
    )
