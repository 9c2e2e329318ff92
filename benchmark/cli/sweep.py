"""Commands that run a suite, here or on a cluster: ``bench sweep``, ``retry``, ``cancel``."""

import dataclasses
import functools
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any

import click

from ssdg.datasets.base import AbsentData, DataError, Task
from ssdg.methods import METHODS, MethodError, load_method

from ..durations import duration
from ..errors import FAILED, INCOMPLETE, INTERRUPTED, UsageError, listed
from ..launching.cluster import OPTIONS, read_cluster
from ..launching.job_file import JobFile, write_jobs
from ..launching.registry import LOCAL, SCHEDULERS, find_scheduler
from ..launching.scheduler import Scheduler
from ..launching.submissions import cancel_jobs, submit_missing, wait_until_over
from ..outcomes.planned_run import AGAIN, PlannedRun, tally
from ..settings import fixed_grid
from ..spec import NetworkConfig, RunRequest
from ..storage.results_reader import StoredRun, training_seconds
from ..storage.run_folder import VALIDATION, State
from ..suites.suite import Inventory
from ..tracking.observers import check_observers
from ..training.runtime import Runtime
from . import options
from .selection import Selection, suite_options

SAMPLES = 3
"""Finished runs whose history tells the time of others; they differ in the seed alone."""

ROWS = 3
"""Rows that a message names."""

MAX_ATTEMPTS = 3
"""Consecutive starts without progress after which a sweep's run is FAILED."""


def _cluster_option(field: "dataclasses.Field[Any]") -> Callable[..., Any]:
    name, help_text = f"--{field.name.replace('_', '-')}", f"Slurm: {field.metadata['help']}"
    if field.name == "setup":
        return click.option(name, multiple=True, help=help_text)
    number = field.type in (int, int | None) and "read" not in field.metadata
    shown = f" [default: {field.default}]" if field.default is not None else ""
    return click.option(name, type=options.WholeNumber(1) if number else str, help=help_text + shown)


launch_options = options.combined(
    click.option(
        "--launcher",
        "scheduler",
        metavar=f"[{'|'.join([LOCAL, *SCHEDULERS])}]",
        default=LOCAL,
        show_default=True,
        callback=lambda _context, _parameter, name: None if name == LOCAL else find_scheduler(name),
        help="Where the runs are executed.",
    ),
    click.option(
        "--jobs",
        type=options.WholeNumber(1),
        default=1,
        show_default=True,
        help="Runs at the same time, on this machine.",
    ),
    options.device,
    click.option("--strict", is_flag=True, help="Refuse incomplete data sets."),
    click.option("--dry-run", is_flag=True, help="Show what would run, and run nothing."),
    options.checkpoint_interval,
    options.observe,
    options.data_root,
    click.option("--wait", is_flag=True, help="With Slurm: return when none of the runs is in the queue any more."),
    click.option(
        "--cluster",
        "profile",
        type=options.FILE,
        help="TOML file with the Slurm options below; an option given here overrides it.",
    ),
    *map(_cluster_option, OPTIONS),
)


@click.command()
@suite_options
@launch_options
def sweep(selection: Selection, **launch: Any) -> None:
    """Train and score what a suite asks for and is not done yet.

    The same command again continues where it stopped: it starts, or submits, only what is missing. Failed runs are
    left alone; see `bench retry`.
    """
    _sweep(selection, AGAIN, launch)


STATES = "Only runs in these states: failed, diverged, stale; comma-separated."


@click.command()
@suite_options
@click.option("--state", "states", callback=options.names, default="failed,diverged", show_default=True, help=STATES)
@launch_options
def retry(selection: Selection, states: tuple[str, ...], **launch: Any) -> None:
    """Try failed and diverged runs of a suite again."""
    retried: tuple[State, ...] = ("FAILED", "DIVERGED", "STALE")
    selected = tuple(state for state in retried if state.lower() in states)
    if len(selected) != len(states):
        raise UsageError(f"--state takes some of {', '.join(retried).lower()}, not {','.join(states)}")
    _sweep(selection, selected, launch)


@click.command()
@suite_options
def cancel(selection: Selection) -> None:
    """Stop a suite's runs; `bench sweep` continues them later.

    Runs are stopped wherever they wait or run, here or on a cluster; each saves a checkpoint.
    """
    runs = [run for run in selection.planned_runs() if run.state != "DONE" and run.job.path.exists()]
    running = sum(run.state == "RUNNING" for run in runs)
    waiting = sum(run.state in ("QUEUED", "STALE") and not run.job.cancelled for run in runs)
    ended = list(cancel_jobs([run.job for run in runs], selection.jobs_folder))
    for line in ended:
        click.echo(line)
    if not (running or waiting or ended):
        click.echo(f"nothing to cancel: no run of {selection.name} runs or waits")
        return
    click.echo(
        f"{running} running asked to stop with a checkpoint, {waiting} waiting taken from the queue; "
        f"`bench sweep {selection.name}`, same options, continues them"
    )


def _sweep(selection: Selection, states: tuple[State, ...], launch: dict[str, Any]) -> None:
    left = launch_runs(selection, states, launch)
    if left is None:
        return
    if left & {"FAILED", "DIVERGED"}:
        sys.exit(FAILED)
    if left or selection.unavailable():
        sys.exit(INCOMPLETE)


def launch_runs(selection: Selection, states: tuple[State, ...], launch: dict[str, Any]) -> set[State] | None:
    """Start, or submit, the selected runs that are in one of some states.

    Returns:
        The states of what is not done afterwards; None where it was not waited for.
    """
    scheduler: Scheduler | None = launch["scheduler"]
    cluster = read_cluster(launch["profile"], {option.name: launch[option.name] for option in OPTIONS})
    runtime = Runtime(
        results_root=selection.results_root,
        # Another sweep may work on the same run: its result is as good. Here the job waits for it, but not in an
        # allocation that others could use.
        wait=0.0 if scheduler else float("inf"),
        threads=cluster.cpus if scheduler else None,
        max_attempts=MAX_ATTEMPTS,
        observers=check_observers(launch["observers"]),
        **{name: launch[name] for name in ("data_root", "device", "strict", "checkpoint_interval")},
    )
    planned = selection.planned_runs(runtime)
    pending = [run for run in planned if run.state in states and run.state != "DONE"]
    _announce(selection, planned, pending, states)
    files = [run.job for run in pending]
    if pending:
        _check_runs(pending, selection.inventory, runtime, here=scheduler is None and not launch["dry_run"])
    if launch["dry_run"]:
        for run in pending:
            click.echo(f"  {run.name}: {run.request.source} -> {', '.join(run.targets) or 'its held-out cases'}")
        return None
    if scheduler is None:
        _run_here(files, launch["jobs"])
    else:
        for line in submit_missing(scheduler, files, selection.suite.name, cluster, selection.jobs_folder):
            click.echo(line)
        if not launch["wait"]:
            return None
        wait_until_over(scheduler, files, selection.jobs_folder)
    selection.rescan()
    return {run.state for run in selection.planned_runs(runtime)} - {"DONE"}


def _announce(
    selection: Selection, planned: Sequence[PlannedRun], pending: Sequence[PlannedRun], states: tuple[State, ...]
) -> None:
    for row in selection.unavailable():
        click.echo(f"bench: row {row!r} is left out: its method is not in this version", err=True)
    states_text = tally(run.state for run in planned)
    click.echo(f"{selection.suite.name}: {len(planned)} runs ({states_text}); {len(pending)} to do")
    if pending:
        untrained = [run for run in pending if not run.trained]
        scored = sum(run.state_of(target) != "DONE" for run in pending for target in (*run.targets, VALIDATION))
        time = _estimate_text(untrained, selection.stored)
        click.echo(f"{len(untrained)} to train, {scored} evaluations; {time}")
    for run in planned:
        if run.state != "DONE" and run.state not in states:
            click.echo(f"  {run.name} is {run.state}: {run.error or 'see bench retry'}")
    if any(run.state not in ("DONE", *states) for run in planned):
        click.echo(f"They are left alone. Once the cause is gone: `bench retry {selection.name}`, same options")


_kind = attrgetter(
    *("task", "source", "method", "network", "preprocess.shape", "preprocess.spacing", "training.batch_size"),
    *("training.window", "training.windows_per_image", "training.selection"),
)
"""What runs share whose epochs take equally long, on whatever device."""


def _estimate_text(planned: Sequence[PlannedRun], stored: Iterable[StoredRun]) -> str:
    """Return the training time of planned runs, one after the other, at the pace of finished ones."""
    finished: defaultdict[tuple[Any, ...], list[StoredRun]] = defaultdict(list)
    for run in stored:
        if run.state == "DONE":
            finished[_kind(run.spec.request)].append(run)
    paces = {kind: training_seconds(finished[kind][:SAMPLES], 1) for kind in {_kind(run.request) for run in planned}}
    timed = [(run, paces[_kind(run.request)]) for run in planned]
    times = [pace * run.request.training.epochs for run, pace in timed if pace is not None]
    unknown = dict.fromkeys(run.row.id for run, pace in timed if pace is None)
    text = f"about {duration(sum(times))} of training for {len(times)} of them, one at a time on an idle machine"
    parts = [text] if times else []
    if unknown:
        parts.append(f"no finished run tells the time of {', '.join(unknown)}")
    return "; ".join(parts) or "no training"


def _check_runs(pending: Sequence[PlannedRun], inventory: Inventory, runtime: Runtime, here: bool) -> None:
    """Refuse what would end runs before their first step, as `bench run` does, before anything is started.

    ``here``: the runs read their data on this machine, now; elsewhere a data set may be that is not on this one.
    """
    from ..data.run_data import DataSource, divide_cases, domain_names, load_domain  # imports numpy

    source = DataSource(runtime.data_root, runtime.prepared, runtime.strict)
    load = functools.cache(lambda task, name: load_domain(inventory.task(task), name, source, lambda _gap: None))
    faults: dict[str, list[str]] = {}
    kinds = {(r.row.id, r.request.task, r.request.source, r.targets, r.request.fold): r for r in pending}
    for run in kinds.values():  # runs that differ in the seed alone have the same faults
        request = run.request
        try:
            _check_request(request, inventory.task(request.task))
            domains = {name: load(request.task, name) for name in domain_names(request, run.targets)}
            divide_cases(request, domains, run.targets)
        except (UsageError, DataError, MethodError) as error:
            if here or not isinstance(error, AbsentData):
                faults.setdefault(str(error), []).append(run.row.id)
    if faults:
        texts = [f"row {listed(list(dict.fromkeys(rows)), ROWS)}: {text}" for text, rows in faults.items()]
        raise UsageError("\n".join(["nothing is started, because runs would fail:", *texts]))


def _check_request(request: RunRequest, task: Task) -> None:
    fixed_grid(task, request.preprocess)
    training, network = request.training, request.network
    default_network = network == NetworkConfig(init_filters=network.init_filters)
    whole = training.window is None and training.batch_size > 1
    if request.method in METHODS and whole and default_network and not request.method_settings:
        return  # every built-in method takes it: two seconds for torch are saved
    from ..training.build import check_request  # imports torch

    check_request(request, task, load_method(request.method))


def _run_here(files: Sequence[JobFile], at_once: int) -> None:
    from ..launching.local import run_jobs  # imports rich

    try:
        undone = run_jobs(write_jobs(files), at_once)
    except KeyboardInterrupt:
        click.echo("bench: stopped; the same command continues it", err=True)
        sys.exit(INTERRUPTED)
    if undone and all(job.code == INTERRUPTED for job in undone):
        sys.exit(INTERRUPTED)
