"""Commands that run a suite, here or on a cluster: ``bench sweep``, ``retry``, ``cancel``."""

import dataclasses
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import click

from ..durations import duration
from ..errors import FAILED, INCOMPLETE, INTERRUPTED, UsageError
from ..launching.cluster import OPTIONS, read_cluster
from ..launching.job_file import JobFile, read_jobs, write_jobs
from ..launching.registry import LOCAL, SCHEDULERS, find_scheduler
from ..launching.scheduler import Scheduler
from ..launching.submissions import cancel_jobs, submit_missing, wait_until_over
from ..outcomes.code_notes import code_notes
from ..outcomes.planned_run import AGAIN, PlannedRun, require_one_version, tally
from ..storage.attempts import last_start
from ..storage.results_reader import StoredRun, training_seconds
from ..storage.run_folder import VALIDATION, State
from ..tracking.observers import check_observers
from ..training.runtime import Runtime
from . import options
from .launch_checks import check_options, check_runs, outdated_lines, present_data
from .selection import Selection, suite_options

SAMPLES = 3
"""Finished runs whose history tells the time of others; they differ in the seed alone."""

MAX_ATTEMPTS = 3
"""Consecutive starts without progress after which a sweep's run is FAILED."""


def _cluster_option(field: "dataclasses.Field[Any]") -> Callable[..., Any]:
    scope = "" if field.name == "cpus" else "Slurm: "
    name, help_text = f"--{field.name.replace('_', '-')}", f"{scope}{field.metadata['help']}"
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
        help="Runs at the same time, on this machine; its cores are dealt out among them unless --cpus says how many "
        "threads each has (OMP_NUM_THREADS does not).",
    ),
    options.device,
    options.strict,
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

    Runs are stopped wherever they wait or run, here or on a cluster; each saves a checkpoint. What another suite, or
    `bench run`, trains is named and goes on.
    """
    planned = selection.planned_runs()
    # Of whatever targets, as a training cannot be stopped for some of them; and of whatever state, as what is DONE
    # may be in work again, on data that have changed.
    trainings = {run.job.job.training for run in planned}
    files = [file for file in read_jobs(selection.jobs_folder) if file.job.training in trainings]
    logs = {(file.log.parent.name, file.log.name) for file in files}
    running = sum(run.state == "RUNNING" and not _started_by(run, logs) for run in selection.stored)
    others = {run.name: who for run in planned if run.state == "RUNNING" and (who := _started_by(run.stored, logs))}
    left: defaultdict[str, list[tuple[str, ...]]] = defaultdict(list)  # targets of jobs, by what they train
    for file in files:
        if not file.cancelled:
            left[file.job.training].append(file.job.targets)
    waiting = sum(run.state in ("QUEUED", "STALE") and _is_left(run, left[run.job.job.training]) for run in planned)
    ended = list(cancel_jobs(files, selection.jobs_folder))
    for line in (*ended, *(f"{name} goes on: {who}" for name, who in others.items())):
        click.echo(line)
    if not (running or waiting or ended):
        click.echo(f"nothing to cancel: no run of {selection.name} runs or waits{' otherwise' if others else ''}")
        return
    click.echo(
        f"{running} running asked to stop with a checkpoint, {waiting} waiting taken from the queue; "
        f"`bench sweep {selection.name}`, same options, continues them"
    )


def _is_left(run: PlannedRun, jobs: Iterable[tuple[str, ...]]) -> bool:
    """Return whether a job of its training, by the targets of each, has targets to score."""
    return any(not run.has_weights or any(run.evaluation(target) is None for target in targets) for targets in jobs)


def _started_by(run: StoredRun | None, logs: Collection[tuple[str, str]]) -> str:
    """Return who started a running run and how it is stopped; "" for the jobs of these logs."""
    start = last_start(run.path) if run is not None else None
    if start is None or start.log is None:
        host = f" on {start.host}" if start is not None else ""
        return f"`bench run`{host} works on it; Ctrl-C stops it there"
    log = Path(start.log)
    if (log.parent.name, log.name) in logs:
        return ""
    return f"a job of suite {log.parent.name} works on it; `bench cancel {log.parent.name}` stops it"


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
    check_options(launch)
    runtime = Runtime(
        results_root=selection.results_root,
        # Another sweep may work on the same run: its result is as good. Here the job waits for it, but not in an
        # allocation that others could use.
        wait=0.0 if scheduler else float("inf"),
        threads=cluster.cpus if scheduler else launch["cpus"],
        max_attempts=MAX_ATTEMPTS,
        observers=check_observers(launch["observers"]),
        **{name: launch[name] for name in ("data_root", "device", "strict", "checkpoint_interval")},
    )
    data = present_data(selection, runtime)
    planned = selection.planned_runs(runtime, data=data)
    require_one_version(planned)
    pending = [run for run in planned if run.state in states and run.state != "DONE"]
    _announce(selection, planned, pending, states)
    for line in outdated_lines(data, runtime, selection.suite.exports):
        click.echo(line)
    for note in code_notes(planned):
        click.echo(note)
    files = [run.job for run in pending]
    if pending:
        check_runs(pending, selection.inventory, runtime, here=scheduler is None and not launch["dry_run"])
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
    return {run.state for run in selection.planned_runs(runtime, data=data)} - {"DONE"}


def _announce(
    selection: Selection, planned: Sequence[PlannedRun], pending: Sequence[PlannedRun], states: tuple[State, ...]
) -> None:
    for row in selection.unavailable():
        click.echo(f"bench: row {row!r} is left out: its method is not in this version", err=True)
    states_text = tally(run.state for run in planned)
    click.echo(f"{selection.suite.name}: {len(planned)} runs ({states_text}); {len(pending)} to do")
    if pending:
        untrained = [run for run in pending if not run.has_weights]
        scored = sum(run.state_of(target) != "DONE" for run in pending for target in (*run.targets, VALIDATION))
        time = _estimate_text(untrained, selection.stored)
        click.echo(f"{len(untrained)} to train, {scored} evaluation{'s' * (scored != 1)}; {time}")
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
        if run.state == "DONE" and not run.export:  # exports are of other machines
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


def _run_here(files: Sequence[JobFile], at_once: int) -> None:
    from ..launching.local import run_jobs  # imports rich

    try:
        undone = run_jobs(write_jobs(files), at_once)
    except KeyboardInterrupt:
        click.echo("bench: stopped; the same command continues it", err=True)
        sys.exit(INTERRUPTED)
    if undone and all(job.code == INTERRUPTED for job in undone):
        sys.exit(INTERRUPTED)
