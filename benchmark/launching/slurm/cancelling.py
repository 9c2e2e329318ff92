"""Stopping a suite's jobs, on whatever machine they are, without losing what they did."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...errors import UsageError
from ..job_file import JobFile
from .queue import available, cancel, read_queue
from .submissions import read_tickets

GRACE = 60.0
"""Seconds that jobs in an allocation get to stop by themselves before the allocation is ended."""

LOOK = 1.0
"""Seconds between two looks."""


def cancel_jobs(files: Sequence[JobFile], folder: Path) -> Iterator[str]:
    """Ask jobs to stop, and end the allocations that hold nothing else; yield what happened, in words.

    Args:
        files: the jobs, some of which may not wait or run at all.
        folder: where the suite's jobs are kept.
    """
    for file in files:
        file.cancel()
    yield f"{len(files)} jobs asked to stop; those that run save a checkpoint first"
    tickets = read_tickets(folder)
    stems = {file.path.stem for file in files}
    whole = {t.slurm for stem, t in tickets.items() if stem in stems and stems.issuperset(t.stems)}
    if not whole:
        return
    if not available():
        raise UsageError(
            "some jobs were submitted to Slurm, whose commands are not on the path: cancel from its node"
        )
    ours = {name: waiting for name, waiting in read_queue().items() if name in whole}
    cancel(name for name, waiting in ours.items() if waiting.state == "PENDING")
    deadline = time.monotonic() + GRACE
    left = list(ours)
    while left and time.monotonic() < deadline:
        time.sleep(LOOK)
        queue = read_queue()
        left = [name for name in left if name in queue]
    cancel(left)
    if ours:
        yield f"{len(ours)} allocations ended" + (f", {len(left)} of them by force" if left else "")
