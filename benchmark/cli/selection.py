"""Options shared by suite commands, and the runs they select."""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ssdg.datasets import TASKS

from ..launching.job_file import Job, JobFile, job_file
from ..outcomes.planned_run import PlannedRun, match_plan
from ..settings import parse_assignments
from ..spec import PROTOCOLS
from ..storage.results_reader import StoredRun, scan
from ..suites.suite import Filters, Inventory, Plan, Planned, Row, Suite, check_column
from ..suites.suite_file import load_suite
from ..training.runtime import Runtime
from . import options

if TYPE_CHECKING:
    from ..outcomes.results import SuiteResults

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
        self.choice = Filters(
            protocol=given["protocol"],
            methods=given["methods"],
            targets=given["targets"],
            seeds=given["seeds"],
            overrides=parse_assignments(given["assignments"]),
            selection=given["selection"],
        )
        self.plugins: tuple[Path, ...] = given["plugins"]
        self.results_root: Path = given["results_root"]
        self.stored: list[StoredRun]
        self.problems: list[str]
        self.rescan()
        for problem in self.problems:
            click.echo(f"bench: {problem}", err=True)

    @cached_property
    def plan(self) -> Plan:
        """The chosen part of the suite, and the runs it asks for."""
        return self.suite.plan(self.choice, self.inventory)

    def results(self, rows: tuple[Row, ...] | None = None) -> "SuiteResults":
        """Return the results of the chosen part of the suite, or of some rows of it."""
        from ..outcomes.results import SuiteResults  # imports numpy

        plan = self.plan
        if rows is not None:
            plan = replace(plan.suite, rows=rows).plan(Filters(), self.inventory)
        return SuiteResults(plan, self.stored, self.problems, self.results_root, self._job_of(self._to_look_at))

    def planned_runs(self, runtime: Runtime | None = None) -> list[PlannedRun]:
        """Return the planned runs; those of an older version of a method do not count as done.

        Args:
            runtime: where and how their jobs are to run; None: only to look at them.
        """
        methods = self.inventory.methods
        current = [
            run
            for run in self.stored
            if run.spec.request.method not in methods
            or run.spec.method_version == methods[run.spec.request.method].version
        ]
        return match_plan(self.plan.runs, current, self._job_of(runtime or self._to_look_at))[0]

    @property
    def _to_look_at(self) -> Runtime:
        return Runtime(data_root=Path(), results_root=self.results_root)

    def _job_of(self, runtime: Runtime) -> Callable[[Planned], JobFile]:
        def job_of(planned: Planned) -> JobFile:
            job = Job(
                request=planned.request,
                targets=tuple(column.target for column in planned.columns),
                runtime=runtime,
                task_file=self.task_files.get(planned.request.task),
                plugins=self.plugins,
                row=planned.row.id,
            )
            return job_file(self.jobs_folder, job)

        return job_of

    @property
    def jobs_folder(self) -> Path:
        """Where the suite's job files and logs are kept."""
        return self.results_root / "logs" / self.suite.name

    def rescan(self) -> None:
        """Look again at what is on disk."""
        self.stored, self.problems = scan(self.results_root)

    def nothing_finished(self) -> str:
        """Return what to say where nothing of the chosen part is finished, with the way out."""
        return (
            f"nothing that is asked for of suite {self.suite.name!r} is finished under {self.results_root}: "
            f"`bench status {self.name}` says what is there, `bench sweep {self.name}` makes it; "
            "or give another --results-root"
        )

    def unavailable(self) -> list[str]:
        """Return the rows whose method is not in this version."""
        return [row.id for row in self.plan.suite.rows if row.method not in self.inventory.methods]
