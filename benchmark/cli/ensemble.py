"""``bench ensemble``: the mean of the probabilities of a row's seeds, as a row of its own."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ..errors import INCOMPLETE, Interrupted, UsageError
from ..launching.worker import stop_on_request
from ..outcomes.ensembles import Members, members_of
from ..outcomes.planned_run import PlannedRun
from ..storage.ensembles import StoredEnsemble, ensemble_folder
from ..suites.ensemble_row import EnsembleRow, make_ensemble_row
from . import options
from .selection import Selection, echo_lines, part_options

if TYPE_CHECKING:
    from ..data.run_data import DataSource
    from ..progress import Display


@click.command()
@click.argument("suite")
@click.option("--row", "row_id", required=True, metavar="ID", help="Row of the suite whose seeds are averaged.")
@part_options
@options.data_root
@options.device
@click.option("--strict", is_flag=True, help="Refuse an incomplete data set.")
def ensemble(selection: Selection, row_id: str, **values: Any) -> None:
    """Add the mean of a row's seeds as a row of its own.

    The softmax probabilities of the seeds are averaged on each target, and scored as a run is scored. The seeds have
    to be trained: the final weights of each predict again, nothing is trained. The row ID-ensemble (of some --seeds
    alone: ID-ensemble-0+1) is in every table, report and export of the suite, marked as an ensemble. It computes as
    often as it has seeds: it is never bold, and neither compared nor ranked.

    The same command again does what is missing; where a seed was trained anew, or the way of predicting is another,
    that is all of it.
    """
    from ..data.run_data import DataSource
    from ..progress import open_display

    row = _ensemble_row(selection, row_id)
    stored = [run.stored for run in selection.planned_runs() if run.stored is not None]
    groups = list(members_of(selection.plan, row, stored))
    if missing := [
        f"{run.name}: {_why_missing(run)}"
        for members in groups
        for run in members.runs.values()
        if not run.has_weights
    ]:
        echo_lines("members are missing: `bench sweep` trains them, or choose others by --seeds", missing)
        sys.exit(INCOMPLETE)
    data_source = DataSource(values["data_root"], selection.results_root / "prepared", values["strict"])
    stop = stop_on_request(None)

    def check_cancelled() -> None:
        if stop():
            raise Interrupted("stopped before it was done; the same command continues it")

    with open_display(row.id) as display:
        for members in groups:
            _score(selection, row, members, data_source, values["device"], display, check_cancelled)


def _why_missing(run: PlannedRun) -> str:
    if run.stored is not None and run.stored.export:
        return f"in the export {run.stored.export}, which has no weights: a suite without `exports` trains it"
    return f"{run.state}{f', {run.error}' if run.error else ''}"


def _ensemble_row(selection: Selection, row_id: str) -> EnsembleRow:
    """Return the row of the ensemble that is asked for; UsageError for a row that cannot have one."""
    suite = selection.plan.suite
    base = suite.row(row_id)
    if not base.trained_here or base.folds is not None or base.selection is not None:
        what = "trains or selects on the target's labels" if base.trained_here else "is not trained here"
        raise UsageError(f"row {row_id!r} {what}: it has no ensemble")
    if row_id in selection.unavailable():
        raise UsageError(f"row {row_id!r}: method {base.method!r} is not in this version")
    whole = suite.seeds == selection.suite.seeds
    name = f"{row_id}-ensemble" + ("" if whole else f"-{'+'.join(map(str, suite.seeds))}")
    if any(row.id == name and not row.ensemble for row in selection.suite.rows):
        raise UsageError(f"suite {suite.name!r} has another row {name!r}: rename it")
    return make_ensemble_row(name, base, suite.seeds, (suite.protocol,))


def _score(
    selection: Selection,
    row: EnsembleRow,
    members: Members,
    data_source: "DataSource",
    device: str,
    display: "Display",
    check_cancelled: Callable[[], None],
) -> None:
    """Make what is missing of an ensemble in some columns, and print its scores."""
    from ..tables.run_summary import score_text
    from ..training.ensemble import score_ensemble

    suite = selection.plan.suite
    task = selection.inventory.task(members.columns[0].task)
    folder = ensemble_folder(selection.results_root, suite.name, row.id)
    first = next(iter(members.runs.values()))
    scored = score_ensemble(
        members=[run.stored for run in members.runs.values() if run.stored is not None],
        request=first.request,
        task=task,
        targets=[column.target for column in members.columns],
        row=StoredEnsemble(folder=folder, id=row.id, base=row.base.id, members=row.members, protocols=row.protocols),
        data_source=data_source,
        device=device,
        display=display,
        check_cancelled=check_cancelled,
    )
    for target, (path, is_new) in scored.items():
        text = score_text(path, suite.sections()["evaluation"], task.scored_ndim)
        state = "" if is_new else ", as before: the same members"
        click.echo(f"{row.label}, {target}: {text}{state}; in {path}")
