"""Submitting a sweep's jobs to Slurm through submitit.

One element of an array is one allocation, with one training run or several side by side. Nothing here waits: what
happened to a run is read from its folder, and Slurm is only asked what still waits or runs.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import submitit

from ...errors import UsageError
from ..job_file import JobFile
from .allocation import SAVING, Allocation
from .cluster import Cluster
from .queue import array_limit
from .submissions import Ticket, record_submission

SETUP = (
    "export PYTHONSAFEPATH=1",  # the folder one submits from must not be imported from
    "export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK",  # Slurm 22.05 to 23.02 do not pass it on
)

UNLIMITED = 1_000_000
"""Time-outs after which submitit gives a job up: never. What makes no progress ends itself."""


def submit(
    files: Sequence[JobFile], name: str, cluster: Cluster, further: Mapping[str, Any], folder: Path
) -> Iterator[list[Ticket]]:
    """Submit jobs, array by array; yield the tickets of each, already recorded.

    Args:
        files: written job files, visible from the nodes.
        name: of the suite, for the queue.
        cluster: what to ask for.
        further: options of ``sbatch`` beyond it.
        folder: where the suite's jobs are kept; logs and submitit's own files go to ``slurm/`` in it.

    Raises:
        UsageError: Slurm refused an array; those yielded before it stand.
    """
    groups = [tuple(files[i : i + cluster.pack]) for i in range(0, len(files), cluster.pack)]
    arrays = _cut(groups, array_limit())
    shares = _shares(len(arrays), cluster.max_parallel)
    submitted: list[str] = []
    for index, (array, share) in enumerate(zip(arrays, shares, strict=True)):
        # With more arrays than allocations at the same time, each follows the one so many before it.
        after = index - cluster.max_parallel if cluster.max_parallel is not None else -1
        dependency = f"afterany:{submitted[after]}" if after >= 0 else None
        executor = make_executor(name, cluster, further, folder / "slurm", share, dependency)
        tickets = _submit_array(executor, cluster, array)
        record_submission(folder, tickets)
        submitted.append(tickets[0].slurm.partition("_")[0])
        yield tickets


def make_executor(
    name: str,
    cluster: Cluster,
    further: Mapping[str, Any],
    folder: Path,
    parallel: int | None,
    dependency: str | None,
) -> Any:
    """Return submitit's executor for allocations of a cluster."""
    executor = submitit.AutoExecutor(folder=folder.resolve(), cluster="slurm", slurm_max_num_timeout=UNLIMITED)
    asked = {
        "slurm_partition": cluster.partition,
        "slurm_gres": cluster.gres,
        "slurm_account": cluster.account,
        "slurm_qos": cluster.qos,
        "slurm_constraint": cluster.constraint,
        "slurm_array_parallelism": parallel,
        "slurm_dependency": dependency,
        "mem_gb": cluster.memory,
        "slurm_additional_parameters": {"requeue": True, **further},
    }
    executor.update_parameters(
        name=f"bench-{name}",
        timeout_min=cluster.time,
        cpus_per_task=cluster.cpus * cluster.pack,
        slurm_setup=[*SETUP, *cluster.setup],
        slurm_signal_delay_s=cluster.delay,
        **{key: value for key, value in asked.items() if value is not None},
    )
    return executor


def _submit_array(executor: Any, cluster: Cluster, groups: Sequence[Sequence[JobFile]]) -> list[Ticket]:
    allocation = Allocation(min(SAVING, cluster.delay / 2))
    paths = [[str(file.path.resolve()) for file in group] for group in groups]
    try:
        jobs = executor.map_array(allocation, paths)
    except submitit.core.utils.FailedJobError as error:
        said = str(error).strip().splitlines()[-1]
        raise UsageError(f"Slurm refused the allocations: {said}; the same command submits what is left") from error
    return [
        Ticket(job.job_id, Path(job.paths.stdout), tuple(file.path.stem for file in group))
        for job, group in zip(jobs, groups, strict=True)
    ]


def _cut(groups: Sequence[Sequence[JobFile]], limit: int) -> list[Sequence[Sequence[JobFile]]]:
    """Return the allocations in arrays of nearly equal length, none above the cluster's limit."""
    count = -(-len(groups) // limit)
    bounds = [round(i * len(groups) / count) for i in range(count + 1)] if count else []
    return [groups[low:high] for low, high in pairwise(bounds)]


def _shares(arrays: int, parallel: int | None) -> list[int | None]:
    """Return how many elements of each array may run at the same time, so that all arrays together keep the limit."""
    if parallel is None:
        return [None] * arrays
    return [max(1, (parallel + i) // max(arrays, 1)) for i in range(arrays)]
