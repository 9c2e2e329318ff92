"""Slurm's commands: what is in the queue, how long an array may be, and cancelling."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ...errors import UsageError
from ..cluster import Cluster
from ..job_file import JobFile
from ..scheduler import Limits, QueuedJob, Ticket

PREFIX = "bench-"
"""Of the names of this benchmark's jobs. An id alone may be another's: of another cluster, or after a reset."""

TIMEOUT = 30
"""Seconds that Slurm may take for an answer."""

IDS_PER_COMMAND = 200
"""Job ids on one command line of ``scancel``."""


class Slurm:
    """Slurm, for a user of one of its login nodes."""

    name = "Slurm"

    def submit(self, files: Sequence[JobFile], name: str, cluster: Cluster, folder: Path) -> Iterator[list[Ticket]]:
        """Submit jobs as arrays through submitit."""
        from .submit import submit  # imports submitit

        return submit(files, name, cluster, folder, self.limits().array_length)

    def queue(self) -> dict[str, QueuedJob]:
        """Return this user's jobs of suites that are not over, by id ("12", or "12_3" for an element of an array)."""
        # By number: a user of a container may have no name.
        answer = _ask("squeue", "--array", "--noheader", "--user", str(os.getuid()), "--format", "%i|%T|%r|%j")
        rows = (line.strip().split("|", 3) for line in answer.splitlines() if line.count("|") >= 3)
        return {
            job_id: QueuedJob(state, state == "PENDING", "" if why == "None" else why, name.removeprefix(PREFIX))
            for job_id, state, why, name in rows
            if name.startswith(PREFIX)
        }

    def cancel(self, job_ids: Iterable[str]) -> None:
        """Cancel jobs; those that are over are no error."""
        ids = sorted(job_ids)
        for first in range(0, len(ids), IDS_PER_COMMAND):
            _ask("scancel", *ids[first : first + IDS_PER_COMMAND])

    def limits(self) -> Limits:
        """Return Slurm's version and MaxArraySize, which is one above an array's largest index."""
        answer = _ask("scontrol", "show", "config")
        values = dict(re.findall(r"^(\w+)\s*=\s*(\S+)", answer, re.MULTILINE))
        return Limits(f"slurm {values.get('SLURM_VERSION', '?')}", int(values.get("MaxArraySize", 1001)))

    def current_job(self) -> str | None:
        """Return the job this process is part of, as ``squeue`` names it."""
        array, index = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
        return f"{array}_{index}" if array and index else os.environ.get("SLURM_JOB_ID")


def _ask(*command: str) -> str:
    if shutil.which("squeue") is None or shutil.which("sbatch") is None:
        raise UsageError(
            "sbatch and squeue are not on the path: go to a login node of the cluster, or sweep with --launcher local"
        )
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True)
    except FileNotFoundError:
        raise UsageError(f"{command[0]} is not on the path: is this a node of the cluster?") from None
    except subprocess.TimeoutExpired:
        raise UsageError(f"{command[0]} did not answer within {TIMEOUT} s: is Slurm's controller up?") from None
    except subprocess.CalledProcessError as error:
        message = error.stderr.strip() or f"exit code {error.returncode}"
        raise UsageError(f"{command[0]} failed: {message}") from None
    return result.stdout
