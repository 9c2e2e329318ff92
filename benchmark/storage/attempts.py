"""Starts of a run, and how many of them in a row made no progress: ``starts.json`` in its folder."""

import socket
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .. import environment
from ..errors import NoProgress
from .files import Guard, no_guard, read_object, write_json

FILE = "starts.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One start of a run, with its log and the scheduler's id."""

    time: str
    host: str
    commit: str
    code: str  # digest of the sources
    log: str | None = None  # None: a person's terminal
    job_id: str | None = None  # the scheduler's id of the allocation it ran in, such as "12_3"
    device: str = ""  # "": not recorded, by an earlier version
    versions: dict[str, str] = field(default_factory=dict)  # of packages


def start_here(log: Path | None = None, job_id: str | None = None, device: str = "") -> Start:
    """Return the start of a run in this process, on the device of a name."""
    return Start(
        time=environment.now(),
        host=socket.gethostname(),
        commit=environment.commit(),
        code=environment.code_digest(),
        log=str(log) if log else None,
        job_id=job_id,
        device=device,
        versions=environment.package_versions(),
    )


class Attempts:
    """Counter of a run's starts since it last made progress: a checkpoint, a prepared domain, or scores on disk.

    The process holds the run's lease; ``guard`` is called before every change. ``limit``: attempts in a row without
    progress, after which another one raises.
    """

    def __init__(self, folder: Path, guard: Guard = no_guard, limit: int | None = None) -> None:
        self.folder, self.guard, self.limit = folder, guard, limit
        self.record = {"without_progress": 0, "starts": [], **read_record(folder)}

    def begin(self, start: Start, reset: bool) -> None:
        """Record a start, unless NoProgress: the limit is reached; ``reset`` ignores the attempts before it."""
        attempts = 0 if reset else int(self.record["without_progress"])
        if self.limit is not None and attempts >= self.limit:
            raise NoProgress(
                f"started {attempts} times in a row without reaching a checkpoint: stopped, killed or timed out each "
                "time before it got anywhere; give it more time or memory, then `bench retry`"
            )
        self._write(attempts + 1, [*self.record["starts"], asdict(start)])

    def progressed(self) -> None:
        """Reset the count of attempts without progress."""
        if self.record["without_progress"]:
            self._write(0, self.record["starts"])

    def forgive(self) -> None:
        """Take the last start back from the count: it ended by no fault of the run."""
        self._write(max(0, self.record["without_progress"] - 1), self.record["starts"])

    def _write(self, without_progress: int, starts: list[dict[str, Any]]) -> None:
        self.record = {"without_progress": without_progress, "starts": starts}
        write_json(self.folder / FILE, self.record, self.guard)


def read_record(folder: Path) -> dict[str, Any]:
    """Return the content of ``starts.json``; empty where it is missing or unreadable."""
    return read_object(f"{folder}/{FILE}", lenient=True)


def last_start(folder: Path) -> Start | None:
    """Return the newest start of a run, None before the first."""
    starts = read_record(folder).get("starts") or []
    try:
        newest = dict(starts[-1])
        return Start(**{"job_id": newest.pop("slurm", None), **newest})  # "slurm": in earlier files
    except (IndexError, TypeError, ValueError):
        return None
