"""Verbs that work a suite off, here or on a cluster: ``bench sweep``, ``retry``, ``cancel``."""

import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from ..errors import FAILED, INCOMPLETE, INTERRUPTED, UsageError
from ..launching.job_file import JobFile, write_jobs
from ..launching.slurm.cancelling import cancel_jobs
from ..launching.slurm.cluster import Cluster, read_cluster
from ..launching.slurm.queue import read_queue, require_slurm
from ..launching.slurm.submissions import read_tickets
from ..outcomes.estimate import estimate_hours
from ..outcomes.planned_run import AGAIN, PlannedRun, tally
from ..settings import build, grid_shape
from ..spec import RunRequest
from ..storage.lease import Lease
from ..storage.run_folder import HELD_OUT, State
from ..suites.suite import Inventory
from ..training.runtime import Place
from . import options
from .selection import Selection, names, suite_options

F = TypeVar("F", bound=Callable[..., Any])

STARTS = 3
"""Starts in a row without progress after which a sweep's run is FAILED."""

LOOK = 10.0
"""Seconds between two looks at the queue under --wait."""


def launch_options(function: F) -> F:
    """Add the options that say how a sweep's runs are started."""
    for decorate in (
        *(_cluster_option(field) for field in reversed(dataclasses.fields(Cluster))),
        click.option(
            "--cluster",
            "profile",
            type=click.Path(path_type=Path, exists=True, dir_okay=False),
            help="TOML file with the Slurm options below; what is given here comes on top of it.",
        ),
        click.option("--wait", is_flag=True, help="With Slurm: stay until nothing of it is in the queue."),
        options.data_root,
        options.checkpoint_interval,
        click.option("--dry-run", is_flag=True, help="Show what would run, and run nothing."),
        click.option("--strict", is_flag=True, help="Refuse incomplete data sets."),
        click.option("--device", default="auto", show_default=True),
        click.option(
            "--jobs", type=click.IntRange(1), default=1, show_default=True, help="Local: runs at the same time."
        ),
        click.option(
            "--launcher", type=click.Choice(["local", "slurm"]), default="local", show_default=True, help="Where."
        ),
    ):
        function = decorate(function)
    return function


def _cluster_option(field: "dataclasses.Field[Any]") -> Callable[[F], F]:
    """Return the command-line option of a field of the cluster's options."""
    name, help_text = f"--{field.name.replace('_', '-')}", f"Slurm: {field.metadata['help']}"
    if field.name == "setup":
        return click.option(name, multiple=True, help=help_text)
    number = field.type in (int, int | None)
    shown = f" [default: {field.default}]" if field.default is not None else ""
    return click.option(name, type=click.IntRange(1) if number else str, help=help_text + shown)


@click.command()
@suite_options
@launch_options
def sweep(**given: Any) -> None:
    """Train and score everything a suite asks for that is not done yet.

    The same command again continues where it stopped: it starts, or submits, only what is missing. Failed runs are
    left alone; see `bench retry`.
    """
    _sweep(given, AGAIN)


@click.command()
@suite_options
@click.option("--state", "states", callback=names, default="failed,diverged", show_default=True)
@launch_options
def retry(**given: Any) -> None:
    """Try failed and diverged runs of a suite again."""
    known: tuple[State, ...] = ("FAILED", "DIVERGED", "STALE")
    wanted = tuple(state for state in known if state.lower() in given["states"])
    if len(wanted) != len(given["states"]):
        raise UsageError(f"--state takes some of {', '.join(known).lower()}, not {','.join(given['states'])}")
    _sweep(given, wanted)


@click.command()
@suite_options
def cancel(**given: Any) -> None:
    """Stop a suite's runs, wherever they wait or run; each saves a checkpoint, and `bench sweep` continues it."""
    selection = Selection(given)
    pending = (run.job for run in selection.planned_runs() if run.state != "DONE")
    for line in cancel_jobs([file for file in pending if file.path.exists()], selection.jobs_folder):
        click.echo(line)


def _sweep(given: dict[str, Any], states: tuple[State, ...]) -> None:
    slurm = given["launcher"] == "slurm"
    cluster, further = read_cluster(given["profile"], {f.name: given[f.name] for f in dataclasses.fields(Cluster)})
    selection = Selection(given)
    place = Place(
        data_root=given["data_root"],
        results_root=selection.results_root,
        device=given["device"],
        strict=given["strict"],
        # Another sweep may work on the same run: its result is as good. Here one waits for it, but not in an
        # allocation that others could use.
        wait=0.0 if slurm else float("inf"),
        threads=cluster.cpus if slurm else None,
        starts=STARTS,
        checkpoint_interval=given["checkpoint_interval"],
    )
    everything = selection.planned_runs(place)
    chosen = [run for run in everything if run.state in states and run.state != "DONE"]
    _announce(selection, everything, chosen, states)
    files = [run.job for run in chosen]
    _check_settings([file.job.request for file in files], selection.inventory)
    if given["dry_run"]:
        for file in files:
            click.echo(f"  {file.job.name}: {file.job.request.source} -> {', '.join(file.job.targets)}")
        return
    if slurm:
        _submit(selection, files, cluster, further, given["wait"])
        if not given["wait"]:
            return
    else:
        _run_here(files, given["jobs"])
    selection.rescan()
    left = {run.state for run in selection.planned_runs(place)} - {"DONE"}
    if left & {"FAILED", "DIVERGED"}:
        sys.exit(FAILED)
    if left or selection.unavailable():
        sys.exit(INCOMPLETE)


def _announce(
    selection: Selection, everything: Sequence[PlannedRun], chosen: Sequence[PlannedRun], states: tuple[State, ...]
) -> None:
    """Say what is there, what will be done and how long that takes, and what is left alone."""
    for row in selection.unavailable():
        click.echo(f"bench: row {row!r} is left out: its method is not in this version", err=True)
    click.echo(
        f"{selection.suite.name}: {len(everything)} runs ({tally(run.state for run in everything)}); "
        f"{len(chosen)} to do"
    )
    if chosen:
        untrained = [run for run in chosen if not run.trained]
        scored = sum(run.state_of(target) != "DONE" for run in chosen for target in (*run.targets, HELD_OUT))
        estimate = estimate_hours(untrained, selection.stored)
        click.echo(f"{len(untrained)} to train, {scored} evaluations; {estimate.described}")
    for run in everything:
        if run.state != "DONE" and run.state not in states:
            click.echo(f"  {run.name} is {run.state}: {run.error or 'see bench retry'}")


def _check_settings(requests: Sequence[RunRequest], inventory: Inventory) -> None:
    """Refuse, before anything is started, a grid that does not fit a task and settings that a method lacks."""
    for request in requests:
        grid_shape(inventory.task(request.task), request.preprocess)
    told = {(request.method, str(request.method_settings)): request for request in requests}
    for request in told.values():
        if request.method_settings:
            from ssdg.methods import load_method  # imports torch: only where there is something to check

            build(load_method(request.method).Config, request.method_settings, f"method {request.method}")


def _run_here(files: Sequence[JobFile], at_once: int) -> None:
    from ..launching.sweep import run_jobs

    try:
        failed = run_jobs(write_jobs(files), at_once)
    except KeyboardInterrupt:
        click.echo("bench: stopped; the same command continues it", err=True)
        sys.exit(INTERRUPTED)
    if failed:
        sys.exit(INTERRUPTED if all(one.code == INTERRUPTED for one in failed) else FAILED)


def _submit(
    selection: Selection, files: Sequence[JobFile], cluster: Cluster, further: dict[str, Any], wait: bool
) -> None:
    """Submit what is not in the queue already; one sweep of a suite submits at a time."""
    require_slurm()
    folder = selection.jobs_folder
    with Lease(folder / "submissions", wait=float("inf")):
        queue, tickets = read_queue(), read_tickets(folder)
        queued = {stem for stem, ticket in tickets.items() if ticket.slurm in queue}
        missing = [file for file in files if file.path.stem not in queued or file.cancelled]
        if len(missing) < len(files):
            click.echo(f"{len(files) - len(missing)} are in the queue already")
        if missing:
            from ..launching.slurm.submit import submit

            for array in submit(write_jobs(missing), selection.suite.name, cluster, further, folder):
                runs = sum(len(ticket.stems) for ticket in array)
                first, last = array[0].slurm, array[-1].slurm
                click.echo(f"submitted {runs} runs as {first}{f' to {last}' if last != first else ''}")
    if wait:
        tickets = read_tickets(folder)
        ours = {tickets[file.path.stem].slurm for file in files if file.path.stem in tickets}
        while ours & read_queue().keys():
            time.sleep(LOOK)


commands = [sweep, retry, cancel]
