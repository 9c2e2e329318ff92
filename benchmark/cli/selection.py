"""Options shared by suite commands, and the runs they select."""

import functools
import gc
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from click.core import ParameterSource

from ..errors import INCOMPLETE, UsageError
from ..launching.job_file import Job, JobFile, job_file
from ..outcomes.answering import PresentData, is_current
from ..outcomes.planned_run import PlannedRun, match_plan
from ..outcomes.stored_suite import open_suite, scan_plan
from ..spec import PROTOCOLS
from ..storage.results_reader import StoredRun
from ..suites.inventory import inventory_with
from ..suites.sources import ALL
from ..suites.suite import Filters, Plan, Planned, Row
from ..suites.suite_file import is_export, load_suite, require_own_columns
from ..training.runtime import Runtime
from . import options

if TYPE_CHECKING:
    from ..comparisons.regimes import RegimeStudy
    from ..outcomes.exported import Export
    from ..outcomes.results import SuiteResults
    from ..scoring.metrics import Metric


MAKERS = ("sweep", "retry", "tune", "score")
"""Commands that make the results folder where it is missing."""

SAYING = ("status", "cancel", "report")
"""Commands that say themselves that nothing was run."""


class Selection:
    """A suite, the selected part of it, and what is on disk: the runs of a results folder, or an export alone."""

    def __init__(
        self,
        suite: str,
        filters: Filters,
        tasks: tuple[str, ...],
        plugins: tuple[Path, ...],
        results_root: Path,
        sources: tuple[str, ...] | None = None,
    ) -> None:
        # What a new file that extends the suite has to name: what the command line does.
        self.named_files = {"plugins": plugins, "tasks": tuple(filter(None, map(options.task_file, tasks)))}
        loaded = None if is_export(suite) else load_suite(suite)
        if loaded is not None:
            plugins = (*plugins, *options.register(tuple(map(Path, loaded.plugins))))
            tasks = (*tasks, *loaded.tasks)
        own = [(options.find_task(name), options.task_file(name)) for name in tasks]
        self.task_files = {task.name: file for task, file in own}
        self.name = suite  # as on the command line: of a file, its path
        self.plugins, self._results_root, self.problems = plugins, results_root, list[str]()
        self._export: Export | None = None
        self.inventory = inventory_with(task for task, _ in own)
        if loaded is None:
            from ..outcomes import exported  # imports numpy

            require_own_columns(suite, sources)
            self._export = exported.Export(Path(suite), self.inventory)
            self.suite, self.inventory = self._export.suite, self._export.inventory
        else:
            self.suite = open_suite(loaded, sources, self.inventory, results_root)
        self.plan = self.suite.plan(filters, self.inventory)
        if self._export is None:
            self.rescan()
        for problem in self.problems:
            click.echo(f"bench: {problem}", err=True)

    def require_runs(self) -> None:
        """Raise UsageError for an export, which has scores and no runs."""
        if self._export is not None:
            raise UsageError(
                f"{self.name} is an export, which has scores and no runs: name its suite, {self.suite.name!r}"
            )

    @property
    def is_export(self) -> bool:
        """Whether it is an export alone, which has scores and no runs."""
        return self._export is not None

    @property
    def results_root(self) -> Path:
        """Folder of runs and prepared data."""
        self.require_runs()
        return self._results_root

    @property
    def stored(self) -> Sequence[StoredRun]:
        """Runs of the results folder."""
        self.require_runs()
        return self._stored

    def rescan(self) -> None:
        """Read the results folder again."""
        self._stored, self.problems = scan_plan(self.plan, self.results_root)

    def results(self, rows: tuple[Row, ...] | None = None, plan: Plan | None = None) -> "SuiteResults":
        """Return the results of the selected part of the suite, of some rows of it, or of another plan."""
        from ..outcomes.results import SuiteResults  # imports numpy

        plan = plan or self.plan
        if rows is not None:
            plan = replace(plan.suite, rows=rows).plan(Filters(), self.inventory)
        if self._export is not None:
            return self._export.results(plan)
        return SuiteResults(plan, self.stored, self.problems, self.results_root, self._job)

    def planned_runs(
        self,
        runtime: Runtime | None = None,
        external: bool = False,
        data: PresentData | None = None,
    ) -> list[PlannedRun]:
        """Return the planned runs; those of another version of the code do not count as done.

        Args:
            runtime: of their jobs; None where nothing is to be run.
            external: also the rows of which nothing is run here.
            data: stored runs and evaluations of other versions of it do not count as done; None: all do.
        """
        current = [run for run in self.stored if is_current(run.spec, self.inventory.methods)]
        job_of = functools.partial(self._job, runtime=runtime)
        runs = match_plan(self.plan.runs, current, job_of, data)[0]
        return [run for run in runs if external or run.row.trained_here]

    def _job(self, planned: Planned, runtime: Runtime | None = None) -> JobFile:
        job = Job(
            request=planned.request,
            targets=tuple(column.target for column in planned.columns),
            runtime=runtime or Runtime(data_root=Path(), results_root=self.results_root),
            task_file=self.task_files.get(planned.request.task),
            plugins=self.plugins,
            row=planned.row.id,
        )
        return job_file(self.jobs_folder, job)

    @property
    def jobs_folder(self) -> Path:
        """Folder of the suite's job files and logs."""
        return self.results_root / "logs" / self.suite.name

    def nothing_finished(self) -> NoReturn:
        """Exit as INCOMPLETE and name the commands that produce results."""
        click.echo(
            f"bench: nothing that is asked for of suite {self.suite.name!r} is finished under {self.results_root}: "
            f"`bench status {self.name}` says what is there, `bench sweep {self.name}` makes it; "
            "or give another --results-root",
            err=True,
        )
        sys.exit(INCOMPLETE)

    def unavailable(self) -> list[str]:
        """Return the rows whose method is not in this version."""
        trained = [row for row in self.plan.suite.rows if row.trained_here]
        return [row.id for row in trained if row.method not in self.inventory.methods]

    def require_complete(self, missing: Collection[Any] = (), title: str = "") -> None:
        """Print what is missing under a title, if any, and exit as INCOMPLETE unless everything is there."""
        if missing and title:
            echo_lines(title, missing)
        if missing or self.problems:
            sys.exit(INCOMPLETE)


def regime_study(selection: Selection, metric: "Metric") -> "RegimeStudy":
    """Return the study of a selection's rows under every regime; the error for missing runs says what makes them."""
    from ..comparisons.regimes import REGIMES, study_regimes  # imports numpy

    selection.require_runs()
    try:
        return study_regimes({r.name: selection.results(plan=r.plan(selection.plan)) for r in REGIMES}, metric)
    except UsageError as error:
        sweeps = "\n  ".join(f"bench sweep {selection.name} {regime.options}" for regime in REGIMES)
        raise UsageError(
            f"{error}\nmissing runs are made, with the other options of this command, by\n  {sweeps}"
        ) from None


def echo_lines(title: str, lines: Collection[str]) -> None:
    """Print an error's title and its indented lines."""
    click.echo(f"bench: {title}:", err=True)
    for line in lines:
        click.echo(f"  {line}", err=True)


def _selecting(*decorators: Callable[..., Any], several: bool = False) -> Callable[..., Any]:
    """Return a decorator that adds options, and passes the :class:`Selection` they describe as first argument.

    ``several``: a tuple of them, one for each of the suites.
    """

    def decorate(function: Callable[..., None]) -> Any:
        @functools.wraps(function)
        def command(**values: Any) -> None:
            gc.set_threshold(2_000_000, 50, 50)  # thousands of runs are no garbage: 0.25 of 1.7 s of `bench status`
            filters = Filters(**{f.name: values.pop(f.name) for f in fields(Filters) if f.name in values})
            if values.get("matrix") and values["sources"] is None and not is_export(values["suite"]):
                values["sources"] = (ALL,)  # the columns of an export are as they are
            names = ("suite", "tasks", "plugins", "results_root", "sources")
            part = {name: values.pop(name) for name in names if name in values}
            suites = values.pop("suites") if several else (part.pop("suite"),)
            selections = tuple(Selection(suite, filters, **part) for suite in suites)
            for selection in selections:
                _note_absent_runs(selection)
            function(selections if several else selections[0], **values)

        return options.combined(*decorators)(command)

    return decorate


def _note_absent_runs(selection: Selection) -> None:
    """Refuse a results folder that is named and not there; where nothing was run, say which command does it."""
    context = click.get_current_context()
    if selection.is_export or any(not run.export for run in selection.stored) or context.info_name in MAKERS:
        return
    root, verb = selection.results_root, context.info_name
    named = context.get_parameter_source("results_root") is ParameterSource.COMMANDLINE
    if named and not root.is_dir() and verb != "status":  # the status of what is not started yet is an answer
        raise UsageError(f"--results-root {root} does not exist: name the folder that `bench sweep` wrote to")
    if selection.stored:  # of exports
        return
    if root.is_dir() and verb in SAYING:
        return
    state = f"{root} has no run of it" if root.is_dir() else f"there is no folder {root}"
    click.echo(
        f"bench: suite {selection.suite.name!r} was not run: {state}; `bench sweep {selection.name}` runs it, "
        "--results-root names another folder",
        err=True,
    )


_protocol = click.option("--protocol", type=click.Choice(list(PROTOCOLS)), help="Instead of the suite's protocol.")
_SHARED_OPTIONS = (
    click.option(
        "--task", "tasks", multiple=True, help="TOML file of a task of your own that the suite names; repeatable."
    ),
    options.settings,
    options.plugins,
    options.results_root,
)
_PART_OPTIONS = (
    click.option("--targets", callback=options.names, help="Only these targets; comma-separated."),
    click.option(
        "--sources",
        callback=options.names,
        help="Instead of the suite's columns: these sources (comma-separated, or all), each against every other "
        "domain of its task.",
    ),
    click.option("--seeds", callback=options.numbers, help="Instead of the suite's seeds, such as 0-2 or 0,4."),
    _protocol,
    click.option(
        "--selection",
        type=click.Choice(["oracle"]),
        help="Add, for each row that saw the source alone, one whose checkpoint is chosen on target labels (†).",
    ),
    *_SHARED_OPTIONS,
)
part_options = _selecting(*_PART_OPTIONS)
"""Adds the options that select a part of a suite, but for its rows."""

_methods = click.option(
    "--methods", callback=options.names, help="Only these rows, or all rows of these methods; comma-separated."
)

scoring_options = _selecting(
    click.argument("suite", shell_complete=options.complete_suite), _protocol, *_SHARED_OPTIONS
)
"""Adds SUITE and the options that say how it is scored."""

suites_options = _selecting(
    click.argument("suites", metavar="SUITE...", nargs=-1, required=True, shell_complete=options.complete_suite),
    _methods,
    *_PART_OPTIONS,
    several=True,
)
"""Adds SUITE... and the options that select a part of each."""

suite_options = _selecting(click.argument("suite", shell_complete=options.complete_suite), _methods, *_PART_OPTIONS)
"""Adds SUITE and the options that select a part of it."""
