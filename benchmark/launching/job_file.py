"""A job as plain data: what to train, what to score, where. A launcher hands the file to ``bench run FILE``."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..settings import request_from_json
from ..spec import RunRequest, digest, to_json
from ..storage.files import read_json, write_json, write_text
from ..storage.run_folder import row_name
from ..training.runtime import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One training run and the domains to score."""

    request: RunRequest
    targets: tuple[str, ...]
    place: Place
    task_file: Path | None = None  # a user's own task
    plugins: tuple[Path, ...] = ()
    row: str = ""  # of the suite it is for; several rows may have one method

    @property
    def name(self) -> str:
        """A short name for people."""
        return job_name(self.request, self.row)

    @property
    def stem(self) -> str:
        """The name of its files; jobs of different requests never share one, jobs of one name may."""
        readable = re.sub(r"[^\w.-]+", "-", self.name)
        return f"{readable}-{digest({'request': to_json(self.request), 'targets': self.targets})}"

    def write(self, path: Path) -> None:
        """Write the job as JSON."""
        place = {name: getattr(self.place, name) for name in self.place.__dataclass_fields__}
        write_json(
            path,
            {
                "request": to_json(self.request),
                "targets": list(self.targets),
                "place": {key: str(v.resolve()) if isinstance(v, Path) else v for key, v in place.items()},
                "task_file": str(self.task_file.resolve()) if self.task_file else None,
                "plugins": [str(plugin.resolve()) for plugin in self.plugins],
                "row": self.row,
            },
        )


def job_name(request: RunRequest, row: str = "") -> str:
    """Return row (or method), seed, and target and fold where a run has them."""
    oracle = "-oracle" if request.training.selection == "oracle" else ""
    parts = [row or row_name(request) + oracle, f"s{request.seed}"]
    if request.target is not None or request.fold is not None:
        parts.append(request.target or request.source)
    if request.fold is not None:
        parts.append(f"fold{request.fold.index + 1}of{request.fold.count}")
    return " ".join(parts)


def read_job(path: Path, place: Mapping[str, Any]) -> Job:
    """Return the job of a file that :meth:`Job.write` or a run's ``spec.json`` holds.

    Args:
        path: the file.
        place: fields of :class:`Place` for a ``spec.json``, which has none.
    """
    try:
        data = read_json(path)
        request = request_from_json(data["request"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is neither a job nor a run's spec.json: {error}") from error
    there = {**place, **(data.get("place") or {})}
    for name in ("data_root", "results_root", "log"):
        there[name] = Path(there[name]) if there.get(name) else None
    task_file = data.get("task_file")
    return Job(
        request=request,
        targets=tuple(data.get("targets", ())),
        place=Place(**there),
        task_file=Path(task_file) if task_file else None,
        plugins=tuple(map(Path, data.get("plugins", ()))),
        row=data.get("row", ""),
    )


@dataclass(frozen=True, slots=True)
class JobFile:
    """A job on disk, with what its launcher keeps beside it."""

    job: Job
    path: Path

    @property
    def log(self) -> Path:
        """Everything its process prints."""
        return self.path.with_suffix(".log")

    @property
    def failure(self) -> Path:
        """Exists where its process ended with an error, perhaps before there was a run that could say so."""
        return self.path.with_suffix(".failed")

    @property
    def failed_with(self) -> str:
        """The last thing its process said before it failed; "" if it did not."""
        try:
            return self.failure.read_text()
        except OSError:
            return ""

    @property
    def cancelled(self) -> bool:
        """Whether it was asked to stop, or not to start."""
        return cancel_mark(self.path).exists()

    def cancel(self) -> None:
        """Ask it, wherever it runs or waits, to stop with a checkpoint; it looks every few seconds."""
        write_text(cancel_mark(self.path), "")

    def write(self) -> None:
        """Write the job for a launcher; what became of it before is forgotten, an earlier :meth:`cancel` included."""
        self.job.write(self.path)
        cancel_mark(self.path).unlink(missing_ok=True)
        self.failure.unlink(missing_ok=True)


def cancel_mark(path: Path) -> Path:
    """Return the file whose existence asks the job of a job file to stop."""
    return path.with_suffix(".cancel")


def job_file(folder: Path, job: Job) -> JobFile:
    """Return where a job is kept among a suite's."""
    return JobFile(job, folder / f"{job.stem}.json")


def write_jobs(files: Sequence[JobFile]) -> Sequence[JobFile]:
    """Write jobs for a launcher, and return them."""
    for file in files:
        file.write()
    return files
