"""What a cluster's scheduler does for sweeps; ``registry.py`` lists the schedulers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from .cluster import Cluster
from .job_file import JobFile


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """An allocation that waits or runs."""

    state: str  # in the scheduler's words: PENDING, RUNNING, COMPLETING, …
    pending: bool  # not started: cancelling it interrupts no run
    reason: str = ""  # why it is pending
    name: str = ""  # the suite's that it was submitted with; "" where the scheduler does not say

    @property
    def described(self) -> str:
        """State and reason."""
        return f"{self.state} ({self.reason})" if self.reason else self.state


@dataclass(frozen=True, slots=True)
class Ticket:
    """A submitted allocation."""

    scheduler: str  # its name
    job_id: str  # in the scheduler's words, such as "12_3"
    log: Path  # of the allocation itself; its runs have logs of their own
    stems: tuple[str, ...]  # of the files of the jobs it runs


@dataclass(frozen=True, slots=True)
class Limits:
    """What a scheduler allows."""

    version: str
    array_length: int  # allocations submitted together


class Scheduler(Protocol):
    """A cluster's queue. No method waits for a job; each raises UsageError where the cluster does not answer."""

    @property
    def name(self) -> str:
        """Proper name for messages; ``--launcher`` takes it in lower case."""

    def submit(self, files: Sequence[JobFile], name: str, cluster: Cluster, folder: Path) -> Iterator[list[Ticket]]:
        """Submit written job files, and yield tickets as they are accepted; those yielded before an error stand.

        A node does a file with ``bench run FILE --log LOG``. The queue shows ``name``, the suite's. An option of the
        cluster that this scheduler lacks is a UsageError. ``folder`` is for the scheduler's own files.
        """

    def queue(self) -> Mapping[str, QueuedJob]:
        """Return this user's allocations that wait or run, by job id."""

    def cancel(self, job_ids: Iterable[str]) -> None:
        """End allocations; those that are over are no error."""

    def limits(self) -> Limits:
        """Return version and limits."""

    def current_job(self) -> str | None:
        """Return the id of the allocation this process runs in, None outside of one."""
