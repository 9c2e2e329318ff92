"""A suite and its runs as they are stored: in a results folder, and in the exports that it names."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ssdg.datasets import TASKS
from ssdg.datasets.base import Task
from ssdg.methods import registry

from ..storage.results_reader import StoredRun, scan
from ..suites.sources import suite_across
from ..suites.suite import Inventory, Plan, Row, Suite, check_column
from ..suites.suite_file import load_suite
from .ensembles import ensemble_rows, ensemble_runs
from .external import external_rows, external_runs, marked

if TYPE_CHECKING:
    from .exported import Export


def inventory_with(tasks: Iterable[Task]) -> Inventory:
    """Return the methods that are installed or plugged in, and the tasks of the package with a user's own."""
    return Inventory(registry(), {**TASKS, **{task.name: task for task in tasks}})


def open_suite(name: str, sources: Sequence[str] | None, inventory: Inventory, results_root: Path) -> Suite:
    """Return a suite across ``sources`` (None: its own columns), then rows scored in a column and not trained here.

    These are the external rows and ensembles of the results folder, and of the exports that the suite names.

    Raises:
        UsageError: no such suite or source, a column that its task does not have, a damaged ``row.json`` or export,
            or two rows with one id.
    """
    suite = load_suite(name)
    for column in suite.columns:
        check_column(column, inventory.task(column.task))
    suite = suite_across(suite, sources, inventory)
    suite = replace(suite, rows=tuple(marked(row) for row in suite.rows))
    suite = replace(suite, rows=(*suite.rows, *external_rows(suite, results_root)))
    suite = replace(suite, rows=(*suite.rows, *ensemble_rows(suite, results_root)))
    return replace(suite, rows=(*suite.rows, *_exported_rows(suite, inventory)))


def scan_plan(plan: Plan, results_root: Path) -> tuple[list[StoredRun], list[str]]:
    """Return every readable run of a results folder, a plan's external rows and ensembles as runs, and problems.

    Behind them are the scored runs of the exports that the suite names, but for what the folder has of them.
    """
    stored, problems = scan(results_root)
    external, further = external_runs(plan, results_root)
    ensembles, others = ensemble_runs(plan, stored, results_root)
    runs = [*stored, *external, *ensembles]
    for export in _exports(plan.suite, plan.inventory):
        runs = _with_exported(runs, export)
    return runs, [*problems, *further, *others]


def _exported_rows(suite: Suite, inventory: Inventory) -> Iterator[Row]:
    """Yield the rows of a suite's exports that nothing here trains, where they are scored in its columns."""
    ids = {row.id for row in suite.rows}
    places = {(column.task, column.source, column.target) for column in suite.columns}
    for export in _exports(suite, inventory):
        scored = {(c.task, c.source, c.target) for c in export.suite.columns} & places
        for row in export.suite.rows if scored else ():
            if row.external and row.id not in ids:
                ids.add(row.id)
                yield row


def _with_exported(stored: list[StoredRun], export: "Export") -> list[StoredRun]:
    """Return stored runs with those of an export; one that is in both has what it is scored on in either."""
    exported = {run.train_id: run for run in export.scored_runs()}
    runs = [_of_both(run, exported.pop(run.train_id, None)) for run in stored]
    return [*runs, *exported.values()]


def _of_both(run: StoredRun, exported: StoredRun | None) -> StoredRun:
    if exported is None:
        return run
    if not (run.trained or any(evaluation.done for evaluation in run.evaluations)):
        return exported
    scored = {evaluation.domain for evaluation in run.evaluations if evaluation.done}
    further = tuple(evaluation for evaluation in exported.evaluations if evaluation.domain not in scored)
    return replace(run, evaluations=(*run.evaluations, *further))


def _exports(suite: Suite, inventory: Inventory) -> "Iterator[Export]":
    if suite.exports:
        from .exported import Export  # imports numpy

        yield from (Export(Path(folder), inventory) for folder in suite.exports)
