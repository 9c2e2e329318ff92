"""Submissions of a suite's jobs: recorded next to the job files, so that no job is in a queue twice."""

import contextlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click

from .. import environment
from ..errors import UsageError, listed
from ..storage.files import read_json, write_json, write_text
from ..storage.lease import Lease
from .cluster import Cluster
from .job_file import JobFile, cancel_mark, job_stem, read_jobs, write_jobs
from .registry import find_scheduler
from .scheduler import QueuedJob, Scheduler, Ticket

RECORDS = "submissions"
GRACE = 60.0
"""Seconds that jobs in an allocation get to stop by themselves before the allocation is ended."""

CANCEL_POLL, WAIT_POLL = 10.0, 20.0
"""Seconds between two requests for the queue: while allocations end, and under --wait."""

PATIENCE = 600.0
"""Seconds without an answer of the scheduler after which --wait ends; controllers restart, and are busy at times."""


def submit_missing(
    scheduler: Scheduler, files: Sequence[JobFile], suite: str, cluster: Cluster, folder: Path
) -> Iterator[str]:
    """Submit the jobs of a suite's folder that are not in the queue, one process at a time; yield messages.

    Nor is a job whose training is in the queue, for other targets or another suite: it would be trained twice.
    """
    with Lease(folder / RECORDS, wait=float("inf")):
        queue = scheduler.queue()
        queued = _queued_stems(folder, scheduler.name, queue)
        missing = [file for file in files if file.stem not in queued]
        if len(missing) < len(files):
            yield f"{len(files) - len(missing)} are in the queue already"
        if not missing:
            return
        trained: dict[str, str] = {}
        for other in sorted({folder, *(records.parent for records in folder.parent.glob(f"*/{RECORDS}"))}):
            try:
                stems = queued if other == folder else _queued_stems(other, scheduler.name, queue)
            except UsageError as error:  # of another suite: no reason to stop this one
                yield str(error)
                continue
            trained |= {file.job.training: other.name for file in read_jobs(other, stems)}
        suites = [trained[file.job.training] for file in missing if file.job.training in trained]
        if suites:
            yield (
                f"{len(suites)} not submitted: jobs in the queue, of suite {listed(list(dict.fromkeys(suites)), 3)}, "
                "train the same for other targets; once they are over, the same command scores what is then missing"
            )
            missing = [file for file in missing if file.job.training not in trained]
        if not missing:
            return
        # Not their times: clocks of login nodes differ.
        sequence = max((number for number, *_ in _records(folder)), default=0) + 1
        for array in scheduler.submit(write_jobs(missing), suite, cluster, folder / scheduler.name.lower()):
            data = {
                "sequence": sequence,
                "submitted": environment.now(),
                "scheduler": scheduler.name,
                "allocations": [{"job_id": t.job_id, "log": str(t.log), "stems": t.stems} for t in array],
            }
            name = re.sub(r"[^\w-]", "-", f"{scheduler.name.lower()}-{array[0].job_id}")
            write_json(folder / RECORDS / f"{name}.json", data)
            runs, last = sum(len(ticket.stems) for ticket in array), array[-1].job_id
            yield f"submitted {runs} runs as {array[0].job_id}{f' to {last}' if len(array) > 1 else ''}"


def wait_until_over(scheduler: Scheduler, files: Sequence[JobFile], folder: Path) -> None:
    """Return once no job is in the scheduler's queue; UsageError where that does not answer for long."""
    stems = {file.stem for file in files}
    job_ids = {t.job_id for t in read_tickets(folder) if t.scheduler == scheduler.name and stems & {*t.stems}}
    answered, told = time.monotonic(), False
    while True:
        try:
            if not job_ids & suite_queue(scheduler.queue(), folder).keys():
                return
            answered = time.monotonic()
        except UsageError as error:
            if time.monotonic() - answered > PATIENCE:
                raise
            if not told:
                click.echo(f"bench: {error}; still waiting, and asking again", err=True)
            told = True
        time.sleep(WAIT_POLL)


def cancel_jobs(files: Sequence[JobFile], folder: Path) -> Iterator[str]:
    """Ask jobs of a suite's folder to stop, and end the allocations that hold no others; yield messages."""
    for file in files:
        if not file.cancelled:
            write_text(cancel_mark(file.path), "")
    stems = {file.stem for file in files}
    whole = [ticket for ticket in read_tickets(folder) if stems.issuperset(ticket.stems)]
    for name in sorted({ticket.scheduler for ticket in whole}):
        scheduler = find_scheduler(name)
        try:
            queue = suite_queue(scheduler.queue(), folder)
        except UsageError as error:
            raise UsageError(f"some jobs were submitted to {name}: {error}") from error
        left = {ticket.job_id for ticket in whole if ticket.scheduler == name} & queue.keys()
        ended, pending = len(left), {job_id for job_id in left if queue[job_id].pending}
        scheduler.cancel(pending)
        left -= pending
        deadline = time.monotonic() + GRACE
        while left and time.monotonic() < deadline:
            time.sleep(CANCEL_POLL)
            with contextlib.suppress(UsageError):  # it answered a minute ago
                left &= suite_queue(scheduler.queue(), folder).keys()
        scheduler.cancel(left)
        if ended:
            yield f"{ended} allocations ended" + (f", {len(left)} of them by force" if left else "")


def suite_queue(queue: Mapping[str, QueuedJob], folder: Path) -> dict[str, QueuedJob]:
    """Return what of a queue was submitted for a suite's folder: an id may be another job's by now."""
    return {job_id: job for job_id, job in queue.items() if job.name in ("", folder.name)}


def _queued_stems(folder: Path, scheduler: str, queue: Mapping[str, QueuedJob]) -> set[str]:
    """Return the stems of a folder's jobs that are in the queue, and not asked to stop."""
    own = suite_queue(queue, folder)
    tickets = [ticket for ticket in read_tickets(folder) if ticket.scheduler == scheduler and ticket.job_id in own]
    stems = {stem for ticket in tickets for stem in ticket.stems}
    return {stem for stem in stems if not (folder / f"{stem}.cancel").exists()}


def read_tickets(folder: Path) -> list[Ticket]:
    """Return the tickets of a suite's folder, oldest first."""
    return [ticket for *_, ticket in sorted(_records(folder), key=lambda record: record[:3])]


def _records(folder: Path) -> Iterator[tuple[int, str, int, Ticket]]:
    """Yield number, time and time of writing of each ticket's submission; earlier ones have no number."""
    for path in (folder / RECORDS).glob("*.json"):
        if path.name.startswith("lease."):
            continue
        try:
            data = read_json(path)
            scheduler = data.get("scheduler", "Slurm")  # earlier records lack it, and their key for job_id is "slurm"
            for a in data["allocations"]:
                stems = tuple(map(job_stem, a["stems"]))
                ticket = Ticket(scheduler, a.get("job_id") or a["slurm"], Path(a["log"]), stems)
                yield int(data.get("sequence", 0)), data["submitted"], path.stat().st_mtime_ns, ticket
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"{path} is damaged ({error}); remove it: its jobs count as never submitted") from error
