"""What the verbs that work on a suite share: which part of it is meant, and what is there of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ssdg.datasets import TASKS

from ..outcomes.plan import Item, Work, survey
from ..settings import parse_assignments
from ..spec import PROTOCOLS
from ..storage.results_reader import StoredRun, scan
from ..suites.suite import Choice, Inventory, Suite, check_column
from ..suites.suite_file import load_suite
from ..training.runtime import Runtime
from . import options

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
        part_options,
        click.option("--methods", callback=names, help="Rows, or methods for all their rows; comma-separated."),
        click.argument("suite"),
    ):
        function = decorate(function)
    return function


def part_options(function: F) -> F:
    """Add the options that choose a part of a suite, but for its rows."""
    for decorate in (
        options.results_root,
        options.plugins,
        options.settings,
        click.option("--task", "tasks", multiple=True, help="TOML file of a task of your own that the suite names."),
        click.option(
            "--selection",
            type=click.Choice(["oracle"]),
            help="Also, for each row that saw the source alone, one whose checkpoint is chosen on the target (†).",
        ),
        click.option("--protocol", type=click.Choice(list(PROTOCOLS)), help="Instead of the suite's own."),
        click.option("--seeds", callback=numbers, help="Such as 0-2 or 0,4."),
        click.option("--targets", callback=names, help="Comma-separated."),
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
        self.name: str = given["suite"]  # as given: of a file, its path
        self.suite: Suite = load_suite(self.name)
        for column in self.suite.columns:
            check_column(column, self.inventory.task(column.task))
        self.choice = Choice(
            protocol=given["protocol"],
            methods=given["methods"],
            targets=given["targets"],
            seeds=given["seeds"],
            overrides=parse_assignments(given["assignments"]),
            selection=given["selection"],
        )
        self.plugins: tuple[Path, ...] = given["plugins"]
        self.results_root: Path = given["results_root"]
        self.runs: list[StoredRun]
        self.problems: list[str]
        self.rescan()
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

    def work(self, place: Runtime | None = None) -> list[Work]:
        """Return the planned runs with their jobs; without a place, only to look at them."""
        place = place or Runtime(data_root=Path(), results_root=self.results_root)
        return [Work(item, self.jobs_folder, place, self.task_files, self.plugins) for item in self.survey()]

    @property
    def jobs_folder(self) -> Path:
        """Where the suite's job files and logs are kept."""
        return self.results_root / "logs" / self.suite.name

    def rescan(self) -> None:
        """Look again at what is on disk."""
        self.runs, self.problems = scan(self.results_root)

    def nothing_finished(self) -> str:
        """Return what to say where nothing of the chosen part is finished, with the way out."""
        return (
            f"nothing that is asked for of suite {self.suite.name!r} is finished under {self.results_root}: "
            f"`bench status {self.name}` says what is there, `bench sweep {self.name}` makes it; "
            "or give another --results-root"
        )

    def unavailable(self) -> list[str]:
        """Return the rows whose method is not in this version."""
        rows = self.suite.narrowed(self.choice).rows
        return [row.id for row in rows if row.method not in self.inventory.methods]
