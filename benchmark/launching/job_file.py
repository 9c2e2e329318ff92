"""A job as plain data; a launcher hands its file to ``bench run FILE``."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..digests import digest, identified, to_json
from ..errors import UsageError
from ..settings import request_from_json
from ..spec import RunRequest
from ..storage.files import read_json, write_json
from ..storage.run_folder import row_name
from ..training.runtime import Runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One training run and the domains to score."""

    request: RunRequest
    targets: tuple[str, ...]
    runtime: Runtime
    task_file: Path | None = None  # a user's own task
    plugins: tuple[Path, ...] = ()
    row: str = ""  # of the suite it is for; several rows may have one method

    @property
    def name(self) -> str:
        """Short name for people."""
        return job_name(self.request, self.row)

    @property
    def stem(self) -> str:
        """Name of its files, which jobs of different requests never share."""
        readable = re.sub(r"[^\w.-]+", "-", self.name)
        return f"{readable}-{digest({'request': identified(self.request), 'targets': self.targets})}"

    def write(self, path: Path) -> None:
        """Write the job as JSON."""
        data = {
            "request": to_json(self.request),
            "targets": self.targets,
            "runtime": {key: _absolute(value) for key, value in asdict(self.runtime).items()},
            "task_file": _absolute(self.task_file),
            "plugins": [_absolute(plugin) for plugin in self.plugins],
            "row": self.row,
        }
        write_json(path, data)


def _absolute(value: Any) -> Any:
    return str(value.resolve()) if isinstance(value, Path) else value


def job_name(request: RunRequest, row: str = "") -> str:
    """Return row (or method), seed, and target and fold where a run has them."""
    oracle = "-oracle" if request.training.selection == "oracle" else ""
    parts = [row or row_name(request) + oracle, f"s{request.seed}"]
    if request.target is not None or request.fold is not None:
        parts.append(request.target or request.source)
    if request.fold is not None:
        parts.append(f"fold{request.fold.index + 1}of{request.fold.count}")
    return " ".join(parts)


def read_job(path: Path, runtime: Mapping[str, Any]) -> Job:
    """Return the job of a job file, or of a run's ``spec.json`` with these fields of :class:`Runtime`."""
    try:
        data = read_json(path)
        request = request_from_json(data["request"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is neither a job nor a run's spec.json: {error}") from error
    stored = dict(data.get("runtime") or data.get("place") or {})  # "place", "starts": in earlier files
    if "starts" in stored:
        stored["max_attempts"] = stored.pop("starts")
    fields = {**runtime, **stored}
    for name in ("data_root", "results_root", "log"):
        fields[name] = Path(fields[name]) if fields.get(name) else None
    fields["observers"] = tuple(fields.get("observers", ()))
    task_file = data.get("task_file")
    return Job(
        request=request,
        targets=tuple(data.get("targets", filter(None, [request.target]))),  # a spec.json has none
        runtime=Runtime(**fields),
        task_file=Path(task_file) if task_file else None,
        plugins=tuple(map(Path, data.get("plugins", ()))),
        row=data.get("row", ""),
    )


@dataclass(frozen=True, slots=True)
class JobFile:
    """A job on disk, with its launcher's files next to it."""

    job: Job
    path: Path

    @property
    def log(self) -> Path:
        """Everything its process prints."""
        return self.path.with_suffix(".log")

    @property
    def last_line(self) -> str:
        """The last line of its log, "" if there is none yet."""
        return "".join(last_lines(self.log, 1))

    @property
    def failure(self) -> Path:
        """Last line of a process that ended with an error, perhaps before there was a run that could say so."""
        return self.path.with_suffix(".failed")

    @property
    def cancelled(self) -> bool:
        """Whether it was asked to stop, or not to start."""
        return cancel_mark(self.path).exists()


def cancel_mark(path: Path) -> Path:
    """Return the file whose existence asks a job, wherever it runs or waits, to stop with a checkpoint."""
    return path.with_suffix(".cancel")


def last_lines(log: Path, count: int) -> list[str]:
    """Return the last lines of a log that are not empty; none where it cannot be read."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - 500 * (count + 3)))
            lines = stream.read().decode(errors="replace").split("\n")
    except OSError:
        return []
    return [line.rstrip() for line in lines if line.strip()][-count:]


def job_file(folder: Path, job: Job) -> JobFile:
    """Return a job's file among a suite's."""
    return JobFile(job, folder / f"{job.stem}.json")


def write_jobs(files: Sequence[JobFile]) -> Sequence[JobFile]:
    """Write jobs for a launcher, remove earlier cancellings and failures, and return the files."""
    for file in files:
        file.job.write(file.path)
        cancel_mark(file.path).unlink(missing_ok=True)
        file.failure.unlink(missing_ok=True)
    return files
