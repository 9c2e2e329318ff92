"""Asking Slurm: what is in its queue, how long an array may be; and telling it to cancel. Never waits for a job."""

import getpass
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from ...errors import UsageError

PATIENCE = 30
"""Seconds that Slurm may take for an answer."""

FEW = 200
"""Job ids on one command line of ``scancel``."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job in Slurm's queue."""

    state: str  # PENDING, RUNNING, COMPLETING, …
    reason: str  # why it is pending

    @property
    def described(self) -> str:
        """State, and the reason where it says something."""
        return self.state if self.reason in ("None", "") else f"{self.state} ({self.reason})"


def available() -> bool:
    """Tell whether Slurm's commands are on the path."""
    return shutil.which("squeue") is not None and shutil.which("sbatch") is not None


def require_slurm() -> None:
    """Raise UsageError where Slurm's commands are missing."""
    if not available():
        raise UsageError(
            "sbatch and squeue are not on the path: sweep from a login node of the cluster, or with --launcher local"
        )


def read_queue() -> dict[str, Waiting]:
    """Return this user's jobs that are not over, by id ("12", or "12_3" for an element of an array).

    Raises:
        UsageError: Slurm does not answer.
    """
    lines = _ask("squeue", "--array", "--noheader", "--user", getpass.getuser(), "--format", "%i|%T|%r").splitlines()
    fields = (line.strip().split("|", 2) for line in lines if line.count("|") >= 2)
    return {name: Waiting(state, reason) for name, state, reason in fields}


def array_limit() -> int:
    """Return how many elements an array may have: Slurm's MaxArraySize, one above its largest index."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", _ask("scontrol", "show", "config"), re.MULTILINE)
    return int(found[1]) if found else 1001


def cancel(ids: Iterable[str]) -> None:
    """Cancel jobs; those that are over are no error."""
    names = sorted(ids)
    for first in range(0, len(names), FEW):
        _ask("scancel", *names[first : first + FEW])


def _ask(*command: str) -> str:
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    except FileNotFoundError:
        raise UsageError(f"{command[0]} is not on the path: is this a node of the cluster?") from None
    except subprocess.TimeoutExpired:
        raise UsageError(f"{command[0]} did not answer within {PATIENCE} s: is Slurm's controller up?") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip() or f"exit code {error.returncode}"
        raise UsageError(f"{command[0]} failed: {said}") from None
    return result.stdout
