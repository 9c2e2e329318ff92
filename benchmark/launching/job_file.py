"""A job as plain data; a launcher hands its file to ``bench run FILE``."""

import contextlib
import json
import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..digests import digest, digest_of_text, identified, to_json
from ..errors import UsageError
from ..settings import request_from_json
from ..spec import RunRequest
from ..storage.files import read_json, write_json
from ..storage.run_folder import row_name
from ..training.runtime import Runtime

STARTED = "===== started "
"""Beginning of the line that a launcher writes into a job's log before it starts the job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One training run and the domains to score."""

    request: RunRequest
    targets: tuple[str, ...]
    runtime: Runtime
    task_file: Path | None = None  # a user's own task
    plugins: tuple[Path, ...] = ()
    row: str = ""  # of the suite it is for; several rows may have one method

    def __post_init__(self) -> None:
        if (weights := self.request.network.weights) is not None:  # it may be run from another folder
            network = replace(self.request.network, weights=str(Path(weights).resolve()))
            object.__setattr__(self, "request", replace(self.request, network=network))

    @property
    def name(self) -> str:
        """Short name for people."""
        return job_name(self.request, self.row)

    @property
    def stem(self) -> str:
        """Name of its files, which jobs of different requests never share."""
        readable = re.sub(r"[^\w.-]+", "-", self.name)
        return f"{readable}-{digest({'request': identified(self.request), 'targets': self.targets})}"

    @property
    def training(self) -> str:
        """Digest of what it trains; jobs that score other targets, or in another way, share it."""
        request = identified(self.request)
        return digest({name: value for name, value in request.items() if name not in ("protocol", "evaluation")})

    @property
    def data(self) -> dict[str, Any]:
        """The job as JSON data."""
        return {
            "request": to_json(self.request),
            "targets": self.targets,
            "runtime": {key: _absolute(value) for key, value in asdict(self.runtime).items()},
            "task_file": _absolute(self.task_file),
            "plugins": [_absolute(plugin) for plugin in self.plugins],
            "row": self.row,
        }


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
    except (OSError, ValueError, KeyError, TypeError, UsageError) as error:
        raise UsageError(
            f"{path} is neither a job nor a run's spec.json of this version: {error}; `bench sweep` writes jobs "
            "anew, and the version that wrote one still runs it"
        ) from error


@dataclass(frozen=True, slots=True)
class JobFile:
    """A job on disk, with its launcher's files next to it."""

    job: Job
    path: Path

    @property
    def stem(self) -> str:
        """Name that its files share, whatever its runtime."""
        return job_stem(self.path.stem)

    @property
    def log(self) -> Path:
        """Everything its processes print, one start after the other."""
        return self.path.with_name(f"{self.stem}.log")

    @property
    def last_line(self) -> str:
        """The last line that its process printed, "" if there is none yet."""
        return "".join(line for line in last_lines(self.log, 1) if not line.startswith(STARTED))

    @property
    def failure(self) -> Path:
        """Last line of a process that ended with an error, perhaps before there was a run that could say so."""
        return self.path.with_name(f"{self.stem}.failed")

    @property
    def cancelled(self) -> bool:
        """Whether it was asked to stop, or not to start."""
        return cancel_mark(self.path).exists()


def job_stem(name: str) -> str:
    """Return the stem of a job's files from the name of its JSON, which ends with the digest of its content.

    That of an earlier version does not.
    """
    return re.sub(r"(?<=-[0-9a-f]{12})\.[0-9a-f]{12}$", "", name)


def cancel_mark(path: Path) -> Path:
    """Return the file whose existence asks a job, wherever it runs or waits, to stop with a checkpoint."""
    return path.with_name(f"{job_stem(path.stem)}.cancel")


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


def read_jobs(folder: Path, stems: Container[str] | None = None) -> list[JobFile]:
    """Return the newest readable file of each job in a suite's folder, of some stems or all."""
    files = {}
    for path in sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns):
        if stems is None or job_stem(path.stem) in stems:
            with contextlib.suppress(UsageError):
                files[job_stem(path.stem)] = JobFile(read_job(path, {}), path)
    return list(files.values())


def write_jobs(files: Sequence[JobFile]) -> list[JobFile]:
    """Write jobs for a launcher, remove earlier cancellings and failures, and return the files to start.

    No file is ever changed: an allocation reads its own hours after another sweep, with another runtime, wrote one.
    """
    written = []
    for file in files:
        data = file.job.data
        content = digest_of_text(json.dumps(data, sort_keys=True))
        written.append(replace(file, path=file.path.with_name(f"{file.stem}.{content}.json")))
        write_json(written[-1].path, data)
        cancel_mark(file.path).unlink(missing_ok=True)
        file.failure.unlink(missing_ok=True)
    return written
