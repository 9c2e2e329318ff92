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


def start_here(log: Path | None = None, job_id: str | None = None) -> Start:
    """Return the start of a run in this process."""
    return Start(
        time=environment.now(),
        host=socket.gethostname(),
        commit=environment.commit(),
        code=environment.code_digest(),
        log=str(log) if log else None,
        job_id=job_id,
    )


@dataclass(slots=True)
class Attempts:
    """Counter of a run's starts since it last made progress: a checkpoint, or a finished evaluation."""

    folder: Path  # of the run, owned by this process
    check_lease: Guard = no_guard  # called before every rename
    limit: int | None = None  # attempts in a row without progress, after which another one raises
    attempts_without_progress: int = 0
    starts: list[dict[str, Any]] = field(default_factory=list)

    def begin(self, start: Start, reset: bool) -> None:
        """Record a start; ``reset`` ignores the attempts before it (`bench retry`).

        Raises:
            NoProgress: the limit of attempts without progress is reached.
        """
        record = read_record(self.folder)
        self.attempts_without_progress = 0 if reset else int(record.get("without_progress", 0))
        self.starts = [*record.get("starts", []), asdict(start)]
        if self.limit is not None and self.attempts_without_progress >= self.limit:
            raise NoProgress(
                f"started {self.attempts_without_progress} times in a row without reaching a checkpoint: "
                "stopped, killed or timed out each time before it got anywhere; give it more time or memory, "
                "then `bench retry`"
            )
        self._write(self.attempts_without_progress + 1)

    def progressed(self) -> None:
        """Reset the count of attempts without progress."""
        if self.attempts_without_progress:
            self._write(0)

    def _write(self, attempts_without_progress: int) -> None:
        self.attempts_without_progress = attempts_without_progress
        record = {"without_progress": attempts_without_progress, "starts": self.starts}
        write_json(self.folder / FILE, record, self.check_lease)


def read_record(folder: Path) -> dict[str, Any]:
    """Return the content of ``starts.json``; empty where it is missing or unreadable."""
    return read_object(folder / FILE, lenient=True)


def last_start(folder: Path) -> Start | None:
    """Return the newest start of a run, None before the first."""
    starts = read_record(folder).get("starts") or []
    try:
        newest = dict(starts[-1])
        return Start(**{"job_id": newest.pop("slurm", None), **newest})  # "slurm": in earlier files
    except (IndexError, TypeError, ValueError):
        return None
