"""Submission to Slurm through submitit: an element of an array is an allocation, with one run or several."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import submitit

from ...errors import UsageError
from ..cluster import Cluster
from ..job_file import JobFile
from ..scheduler import Ticket
from .allocation import SAVING, Allocation
from .scheduler import PREFIX

SETUP = (
    "export PYTHONSAFEPATH=1",  # the folder one submits from must not be imported from
    "export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK",  # Slurm 22.05 to 23.02 do not pass it on
)

PASSED_ON = ("partition", "gres", "account", "qos", "constraint")

UNLIMITED = 1_000_000
"""Time-outs after which submitit gives a job up: never. A run without progress ends itself."""


def submit(
    files: Sequence[JobFile], name: str, cluster: Cluster, folder: Path, array_length: int
) -> Iterator[list[Ticket]]:
    """Submit jobs in arrays of nearly equal length, at most ``array_length``; see :meth:`Scheduler.submit`."""
    groups = [tuple(files[i : i + cluster.pack]) for i in range(0, len(files), cluster.pack)]
    count = -(-len(groups) // array_length)
    bounds = [round(i * len(groups) / count) for i in range(count + 1)] if count else []
    parallel, allocation = cluster.max_parallel, Allocation(min(SAVING, cluster.delay / 2))
    submitted: list[str] = []
    for index, (low, high) in enumerate(pairwise(bounds)):
        array = groups[low:high]
        # The shares of the arrays add up to --max-parallel; with more arrays than that, each has one element at a
        # time and starts after the array --max-parallel places before it.
        share = None if parallel is None else max(1, (parallel + index) // count)
        after = index - parallel if parallel is not None else -1
        dependency = f"afterany:{submitted[after]}" if after >= 0 else None
        paths = [[str(file.path.resolve()) for file in group] for group in array]
        try:
            jobs = make_executor(name, cluster, folder, share, dependency).map_array(allocation, paths)
        except submitit.core.utils.FailedJobError as error:
            message = str(error).strip().splitlines()[-1]
            text = f"Slurm refused the allocations: {message}; the same command submits what is left"
            raise UsageError(text) from error
        submitted.append(jobs[0].job_id.partition("_")[0])
        yield [
            Ticket("Slurm", job.job_id, Path(job.paths.stdout), tuple(file.path.stem for file in group))
            for job, group in zip(jobs, array, strict=True)
        ]


def make_executor(name: str, cluster: Cluster, folder: Path, parallel: int | None, dependency: str | None) -> Any:
    """Return submitit's executor for allocations of a cluster; UsageError where its profile renames them."""
    if cluster.sbatch.keys() & {"job-name", "job_name", "J"}:
        raise UsageError(f"leave the job's name out of [sbatch]: the queue is searched for {PREFIX}{name}")
    executor = submitit.AutoExecutor(
        folder=folder.resolve(), cluster="slurm", slurm_max_num_timeout=UNLIMITED, slurm_python=cluster.python
    )
    options = {f"slurm_{name}": getattr(cluster, name) for name in PASSED_ON} | {
        "slurm_array_parallelism": parallel,
        "slurm_dependency": dependency,
        "mem_gb": cluster.memory,
        "slurm_additional_parameters": {"requeue": True, **cluster.sbatch},
    }
    executor.update_parameters(
        name=f"{PREFIX}{name}",
        timeout_min=cluster.time,
        cpus_per_task=cluster.cpus * cluster.pack,
        slurm_setup=[*SETUP, *cluster.setup],
        slurm_signal_delay_s=cluster.delay,
        **{key: value for key, value in options.items() if value is not None},
    )
    return executor
