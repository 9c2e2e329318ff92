"""When and where a run was started, and whether that came to anything: ``starts.json`` in its folder."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import NoProgress
from .files import Guard, no_guard, read_mapping, write_json

FILE = "starts.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One start of a run; every field is for people, or to find its log and its place in a queue."""

    time: str
    host: str
    commit: str
    code: str  # digest of the sources
    log: str | None = None  # None: a person's terminal
    slurm: str | None = None  # "12_3", where Slurm started it


@dataclass(slots=True)
class Attempts:
    """Counts the starts of a run since it last made progress: a checkpoint, or a finished evaluation.

    Args:
        folder: of the run, owned by this process.
        guard: called before every rename.
        limit: starts in a row without progress, after which another one raises; None: no limit.
    """

    folder: Path
    guard: Guard = no_guard
    limit: int | None = None
    idle: int = 0
    starts: list[dict[str, Any]] = field(default_factory=list)

    def begin(self, start: Start, forgive: bool) -> None:
        """Record a start.

        Args:
            start: this one.
            forgive: whether those before it do not count, because somebody asked to try again.

        Raises:
            NoProgress: the run has had all the starts it may have.
        """
        record = read_record(self.folder)
        self.idle = 0 if forgive else int(record.get("without_progress", 0))
        self.starts = [*record.get("starts", []), asdict(start)]
        if self.limit is not None and self.idle >= self.limit:
            raise NoProgress(
                f"started {self.idle} times in a row without reaching a checkpoint: stopped, killed or timed out "
                "each time before it got anywhere; give it more time or memory, then `bench retry`"
            )
        self._write(self.idle + 1)

    def progressed(self) -> None:
        """Note that this start has come to something."""
        if self.idle:
            self._write(0)

    def _write(self, idle: int) -> None:
        self.idle = idle
        write_json(self.folder / FILE, {"without_progress": idle, "starts": self.starts}, self.guard)


def read_record(folder: Path) -> dict[str, Any]:
    """Return what ``starts.json`` holds; empty where there is none, or it cannot be read."""
    return read_mapping(folder / FILE)


def last_start(folder: Path) -> Start | None:
    """Return the newest start of a run, None before the first."""
    starts = read_record(folder).get("starts") or []
    try:
        return Start(**starts[-1])
    except (IndexError, TypeError):
        return None
