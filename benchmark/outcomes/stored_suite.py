"""A suite and its runs as they are stored: in a results folder, and in the exports that it names."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ssdg.datasets.base import Task

from ..errors import UsageError, unknown
from ..storage.results_reader import StoredRun, scan
from ..suites.inventory import Inventory
from ..suites.sources import suite_across
from ..suites.suite import Column, Plan, Suite
from .ensembles import ensemble_rows, ensemble_runs
from .external import external_rows, external_runs, marked


def open_suite(suite: Suite, sources: Sequence[str] | None, inventory: Inventory, results_root: Path) -> Suite:
    """Return a suite across ``sources`` (None: its own columns), with external rows and ensembles scored in a column.

    Raises:
        UsageError: no such source, a column that its task does not have, a damaged ``row.json``, or two rows
            with one id.
    """
    for column in suite.columns:
        check_column(column, inventory.task(column.task))
    suite = suite_across(suite, sources, inventory)
    suite = replace(suite, rows=tuple(marked(row) for row in suite.rows))
    suite = replace(suite, rows=(*suite.rows, *external_rows(suite, results_root)))
    return replace(suite, rows=(*suite.rows, *ensemble_rows(suite, results_root)))


def scan_plan(plan: Plan, results_root: Path) -> tuple[list[StoredRun], list[str]]:
    """Return every readable run of a results folder, a plan's external rows and ensembles as runs, and problems.

    Behind them are the scored runs of the exports that the suite names, but for what the folder has of them.
    """
    stored, problems = scan(results_root)
    external, further = external_runs(plan, results_root)
    ensembles, others = ensemble_runs(plan, stored, results_root)
    runs, problems = [*stored, *external, *ensembles], [*problems, *further, *others]
    for folder in plan.suite.exports:
        from .exported import Export  # imports numpy

        try:
            runs = _with_exported(runs, Export(Path(folder), plan.inventory).scored_runs())
        except UsageError as error:  # the runs that are here can still be shown, and stopped
            problems.append(str(error))
    return runs, problems


def _with_exported(stored: Sequence[StoredRun], exported: Sequence[StoredRun]) -> list[StoredRun]:
    """Return stored runs with those of an export; one that is in both has what it is scored on in either."""
    by_id = {run.train_id: run for run in exported}
    runs = [_of_both(run, by_id.pop(run.train_id, None)) for run in stored]
    return [*runs, *by_id.values()]


def _of_both(run: StoredRun, exported: StoredRun | None) -> StoredRun:
    if exported is None:
        return run
    if run.state == "QUEUED" and not run.evaluations:  # a folder and nothing in it
        return exported
    scored = {evaluation.kind for evaluation in run.evaluations if evaluation.done}
    further = tuple(evaluation for evaluation in exported.evaluations if evaluation.kind not in scored)
    return replace(run, evaluations=(*run.evaluations, *further))


def check_column(column: Column, task: Task) -> None:
    """Refuse a column whose source or target its task does not have."""
    for kind, name, names in (("source", column.source, task.sources), ("target", column.target, task.targets)):
        if name not in names:
            raise unknown(f"{kind} of task {task.name!r}", name, names)
