"""The schedulers that ``--launcher`` offers besides ``local``."""

from ..errors import unknown
from .scheduler import Scheduler
from .slurm.scheduler import Slurm

LOCAL = "local"

SCHEDULERS: dict[str, Scheduler] = {
    "slurm": Slurm(),
}
"""By name in lower case; a new one is a line here."""


def find_scheduler(name: str) -> Scheduler:
    """Return the scheduler of a name, in whatever case."""
    if name.lower() not in SCHEDULERS:
        raise unknown("launcher", name, [LOCAL, *SCHEDULERS])
    return SCHEDULERS[name.lower()]


def current_job() -> str | None:
    """Return the job id of the allocation this process runs in, None outside of one."""
    return next((job_id for scheduler in SCHEDULERS.values() if (job_id := scheduler.current_job())), None)
