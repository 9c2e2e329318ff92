"""As what a suite's jobs were submitted to Slurm: one small file for each array, beside the job files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import UsageError
from ...storage import environment
from ...storage.files import read_json, write_json


@dataclass(frozen=True, slots=True)
class Ticket:
    """One allocation: Slurm's id for it, what it writes to, and whose jobs it runs."""

    slurm: str  # "12_3"
    log: Path
    stems: tuple[str, ...]  # of the job files


def record_submission(folder: Path, tickets: Sequence[Ticket]) -> None:
    """Write down what was submitted together."""
    write_json(
        _folder(folder) / f"{tickets[0].slurm.partition('_')[0]}.json",
        {
            "submitted": environment.now(),
            "allocations": [{"slurm": t.slurm, "log": str(t.log), "stems": t.stems} for t in tickets],
        },
    )


def read_tickets(folder: Path) -> dict[str, Ticket]:
    """Return the newest ticket of each job, by the stem of its file.

    Raises:
        UsageError: a record is damaged.
    """
    records = []
    for path in _folder(folder).glob("[0-9]*.json"):
        try:
            data = read_json(path)
            tickets = [Ticket(a["slurm"], Path(a["log"]), tuple(a["stems"])) for a in data["allocations"]]
            records.append((data["submitted"], tickets))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{path} is damaged ({error}); remove it: its jobs count as never submitted") from error
    records.sort(key=lambda record: record[0])
    return {stem: ticket for _, tickets in records for ticket in tickets for stem in ticket.stems}


def _folder(folder: Path) -> Path:
    return folder / "submissions"
