"""Submissions of a suite's jobs: recorded next to the job files, so that no job is in a queue twice."""

import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from .. import environment
from ..errors import UsageError
from ..storage.files import read_json, write_json, write_text
from ..storage.lease import Lease
from .cluster import Cluster
from .job_file import JobFile, cancel_mark, write_jobs
from .registry import find_scheduler
from .scheduler import Scheduler, Ticket

RECORDS = "submissions"
GRACE = 60.0
"""Seconds that jobs in an allocation get to stop by themselves before the allocation is ended."""

CANCEL_POLL, WAIT_POLL = 1.0, 10.0
"""Seconds between two requests for the queue: while allocations end, and under --wait."""


def submit_missing(
    scheduler: Scheduler, files: Sequence[JobFile], suite: str, cluster: Cluster, folder: Path
) -> Iterator[str]:
    """Submit the jobs of a suite's folder that are not in the queue, one process at a time; yield messages."""
    with Lease(folder / RECORDS, wait=float("inf")):
        queue, tickets = scheduler.queue(), read_tickets(folder, scheduler.name)
        queued = {stem for stem, ticket in tickets.items() if ticket.job_id in queue}
        missing = [file for file in files if file.path.stem not in queued or file.cancelled]
        if len(missing) < len(files):
            yield f"{len(files) - len(missing)} are in the queue already"
        if not missing:
            return
        for array in scheduler.submit(write_jobs(missing), suite, cluster, folder / scheduler.name.lower()):
            data = {
                "submitted": environment.now(),
                "scheduler": scheduler.name,
                "allocations": [{"job_id": t.job_id, "log": str(t.log), "stems": t.stems} for t in array],
            }
            name = re.sub(r"[^\w-]", "-", f"{scheduler.name.lower()}-{array[0].job_id}")
            write_json(folder / RECORDS / f"{name}.json", data)
            runs, last = sum(len(ticket.stems) for ticket in array), array[-1].job_id
            yield f"submitted {runs} runs as {array[0].job_id}{f' to {last}' if len(array) > 1 else ''}"


def wait_until_over(scheduler: Scheduler, files: Sequence[JobFile], folder: Path) -> None:
    """Return once no job is in the scheduler's queue."""
    tickets = read_tickets(folder, scheduler.name)
    job_ids = {tickets[file.path.stem].job_id for file in files if file.path.stem in tickets}
    while job_ids & scheduler.queue().keys():
        time.sleep(WAIT_POLL)


def cancel_jobs(files: Sequence[JobFile], folder: Path) -> Iterator[str]:
    """Ask jobs of a suite's folder to stop, and end the allocations that hold no others; yield messages."""
    for file in files:
        write_text(cancel_mark(file.path), "")
    stems = {file.path.stem for file in files}
    tickets = [ticket for stem, ticket in read_tickets(folder).items() if stem in stems]
    whole = [ticket for ticket in tickets if stems.issuperset(ticket.stems)]
    for name in sorted({ticket.scheduler for ticket in whole}):
        scheduler = find_scheduler(name)
        try:
            queue = scheduler.queue()
        except UsageError as error:
            raise UsageError(f"some jobs were submitted to {name}: {error}") from error
        left = {ticket.job_id for ticket in whole if ticket.scheduler == name} & queue.keys()
        ended = len(left)
        scheduler.cancel(job_id for job_id in left if queue[job_id].pending)
        deadline = time.monotonic() + GRACE
        while left and time.monotonic() < deadline:
            time.sleep(CANCEL_POLL)
            left &= scheduler.queue().keys()
        scheduler.cancel(left)
        if ended:
            yield f"{ended} allocations ended" + (f", {len(left)} of them by force" if left else "")


def read_tickets(folder: Path, name: str = "") -> dict[str, Ticket]:
    """Return the newest ticket of each job, by the stem of its file; with a scheduler's name, where it is of that."""
    records = []
    for path in (folder / RECORDS).glob("*.json"):
        if path.name.startswith("lease."):
            continue
        try:
            data = read_json(path)
            scheduler = data.get("scheduler", "Slurm")  # earlier records lack it, and their key for job_id is "slurm"
            for a in data["allocations"]:
                ticket = Ticket(scheduler, a.get("job_id") or a["slurm"], Path(a["log"]), tuple(a["stems"]))
                records.append((data["submitted"], path.stat().st_mtime_ns, ticket))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"{path} is damaged ({error}); remove it: its jobs count as never submitted") from error
    records.sort(key=lambda record: record[:2])
    newest = {stem: ticket for *_, ticket in records for stem in ticket.stems}
    return {stem: ticket for stem, ticket in newest.items() if name in ("", ticket.scheduler)}
