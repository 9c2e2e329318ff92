"""Verbs that work on a suite: ``bench sweep``, ``status``, ``retry``, ``table``."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ssdg.datasets import TASKS

from . import cli_options as options
from .exit_codes import FAILED, INCOMPLETE, INTERRUPTED
from .jobs import Place
from .plan import AGAIN, Item, jobs_of, survey, tally
from .settings import UsageError, parse_assignments
from .spec import PROTOCOLS
from .store import State, StoredRun, row_name, scan
from .suite import Choice, Inventory, Suite, check_column
from .suite_file import load_suite

F = TypeVar("F", bound=Callable[..., Any])


def names(_context: object, _parameter: object, value: str | None) -> tuple[str, ...] | None:
    """Return the names of a comma-separated list."""
    if value is None:
        return None
    found = tuple(name.strip() for name in value.split(",") if name.strip())
    if not found:
        raise click.BadParameter(f"takes names separated by commas, not {value!r}")
    return found


def numbers(_context: object, _parameter: object, value: str | None) -> tuple[int, ...] | None:
    """Return the numbers of a list like 0,1,4 or a range like 0-2."""
    if value is None:
        return None
    found: list[int] = []
    for part in value.split(","):
        first, dash, last = part.partition("-")
        try:
            part_of = range(int(first), int(last if dash else first) + 1)
        except ValueError:
            part_of = range(0)
        if not part_of:
            raise click.BadParameter(f"takes numbers like 0,1,2 or 0-2, not {value!r}")
        found += part_of
    return tuple(dict.fromkeys(found))


def suite_options(function: F) -> F:
    """Add SUITE and the options that choose a part of it."""
    for decorate in (
        options.results_root,
        options.plugins,
        options.settings,
        click.option("--task", "tasks", multiple=True, help="TOML file of a task of your own that the suite names."),
        click.option("--protocol", type=click.Choice(list(PROTOCOLS)), help="Instead of the suite's own."),
        click.option("--seeds", callback=numbers, help="Such as 0-2 or 0,4."),
        click.option("--targets", callback=names, help="Comma-separated."),
        click.option("--methods", callback=names, help="Rows, or methods for all their rows; comma-separated."),
        click.argument("suite"),
    ):
        function = decorate(function)
    return function


def launch_options(function: F) -> F:
    """Add the options that say how a sweep's runs are started."""
    for decorate in (
        options.data_root,
        click.option("--dry-run", is_flag=True, help="Show what would run, and run nothing."),
        click.option("--strict", is_flag=True, help="Refuse incomplete data sets."),
        click.option("--device", default="auto", show_default=True),
        click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Runs at the same time."),
        click.option("--launcher", type=click.Choice(["local"]), default="local", show_default=True),
    ):
        function = decorate(function)
    return function


class Selection:
    """A suite, the part of it that is meant, and what is on disk."""

    def __init__(self, given: dict[str, Any]) -> None:
        from ssdg.methods import registry

        choices = [options.find_task(name) for name in given["tasks"]]
        self.task_files = {choice.task.name: choice.file for choice in choices if choice.file is not None}
        self.inventory = Inventory(registry(), {**TASKS, **{choice.task.name: choice.task for choice in choices}})
        self.suite: Suite = load_suite(given["suite"])
        for column in self.suite.columns:
            check_column(column, self.inventory.task(column.task))
        self.choice = Choice(
            protocol=given["protocol"],
            methods=given["methods"],
            targets=given["targets"],
            seeds=given["seeds"],
            overrides=parse_assignments(given["assignments"]),
        )
        self.results_root: Path = given["results_root"]
        self.runs: list[StoredRun]
        self.runs, self.problems = scan(self.results_root)
        for problem in self.problems:
            click.echo(f"bench: {problem}", err=True)

    def survey(self) -> list[Item]:
        """Return the planned runs with what is there of each; runs of an older version of a method do not count."""
        methods = self.inventory.methods
        current = [
            run
            for run in self.runs
            if run.spec.request.method not in methods
            or run.spec.method_version == methods[run.spec.request.method].version
        ]
        return survey(self.suite.requests(self.choice, self.inventory), current)

    def unavailable(self) -> list[str]:
        """Return the rows whose method is not in this version."""
        rows = self.suite.narrowed(self.choice).rows
        return [row.id for row in rows if row.method not in self.inventory.methods]


@click.command()
@suite_options
@launch_options
def sweep(**given: Any) -> None:
    """Train and score everything a suite asks for that is not done yet.

    The same command again continues where it stopped. Failed runs are left alone; see `bench retry`.
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


def _sweep(given: dict[str, Any], states: tuple[State, ...]) -> None:
    selection = Selection(given)
    for row in selection.unavailable():
        click.echo(f"bench: row {row!r} is left out: its method is not in this version", err=True)
    items = selection.survey()
    place = Place(
        data_root=given["data_root"],
        results_root=selection.results_root,
        device=given["device"],
        strict=given["strict"],
    )
    pending = [item for item in items if item.state != "DONE"]
    jobs = jobs_of(pending, place, states, selection.task_files, given["plugins"])
    click.echo(f"{selection.suite.name}: {len(items)} runs ({tally(items)}); {len(jobs)} to do")
    for item in pending:
        if item.state not in states:
            click.echo(f"  {_name(item)} is {item.state}: {item.error or 'see bench retry'}")
    if given["dry_run"]:
        for job in jobs:
            click.echo(f"  {job.name}: {job.request.source} -> {', '.join(job.targets)}")
        return
    from .sweep import run_jobs

    try:
        failed = run_jobs(jobs, selection.results_root / "logs" / selection.suite.name, given["jobs"])
    except KeyboardInterrupt:
        click.echo("bench: stopped; the same command continues it", err=True)
        sys.exit(INTERRUPTED)
    if failed:
        sys.exit(FAILED)
    if len(jobs) < len(pending) or selection.unavailable():
        sys.exit(INCOMPLETE)


@click.command()
@suite_options
@options.as_json
def status(as_json: bool, **given: Any) -> None:
    """Show the state of every run of a suite."""
    selection = Selection(given)
    items = selection.survey()
    if as_json:
        click.echo(json.dumps([_as_data(item) for item in items], indent=2))
    else:
        for line in _matrix(items):
            click.echo(line)
        click.echo(f"{len(items)} runs: {tally(items)}")
    if selection.problems or any(item.state != "DONE" for item in items):
        sys.exit(FAILED if any(item.state in ("FAILED", "DIVERGED") for item in items) else INCOMPLETE)


def _name(item: Item) -> str:
    request = item.planned.request
    fold = f" fold {request.fold.index + 1}/{request.fold.count}" if request.fold is not None else ""
    return f"{item.planned.row.id} s{request.seed}{fold}"


def _as_data(item: Item) -> dict[str, Any]:
    request = item.planned.request
    return {
        "row": item.planned.row.id,
        "method": request.method,
        "folder": row_name(request),
        "seed": request.seed,
        "fold": request.fold.index if request.fold is not None else None,
        "source": request.source,
        "state": item.state,
        "targets": {target: item.state_of(target) for target in item.targets},
        "path": str(item.run.path) if item.run is not None else None,
        "error": item.error,
    }


def _matrix(items: list[Item]) -> list[str]:
    """Return one line a run: row and seed, then each target with its state, then an error if there is one."""
    width = max((len(_name(item)) for item in items), default=0)
    lines = []
    for item in items:
        cells = "  ".join(f"{target} {item.state_of(target):8}" for target in item.targets)
        lines.append(
            f"{_name(item).ljust(width)}  {cells}  {item.error.splitlines()[0] if item.error else ''}".rstrip()
        )
    return lines


commands = [sweep, retry, status]
