"""``bench tune``: random trials of a row's settings, judged on held-out source cases alone."""

import dataclasses
import math
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

import click

from ssdg.methods import load_method

from ..errors import FAILED, INCOMPLETE, UsageError
from ..outcomes.planned_run import AGAIN
from ..storage.files import write_output
from ..suites.suite import Filters, Row
from ..suites.suite_file import base_lines, load_suite
from . import options
from .selection import Selection, part_options
from .sweep import launch_options, launch_runs

if TYPE_CHECKING:
    from ..outcomes.results import SuiteResults


@click.command()
@click.argument("suite", shell_complete=options.complete_suite)
@click.option("--row", "row_id", required=True, help="Row of the suite.")
@click.option(
    "--trials", type=options.WholeNumber(2), required=True, help="Runs for each seed; the first is the row as it is."
)
@click.option("--fields", callback=options.names, help="Only these settings, such as optimizer.lr,method.alpha.")
@click.option(
    "--output",
    type=options.OUTPUT_FILE,
    help="Suite file to which the best row is added.",
)
@part_options
@launch_options
def tune(
    selection: Selection,
    row_id: str,
    trials: int,
    fields: tuple[str, ...] | None,
    output: Path | None,
    **launch: Any,
) -> None:
    """Try random settings of a row; held-out source cases decide.

    No target is scored, and of targets only images are trained on, by rows that do so. Drawn are the learning rate,
    by the same values for every row, and the settings of the method that declare a range. Each trial is a run
    with the suite's first seed (or --seeds), scored on its source's held-out cases and on no target. The same
    command again continues, and shows the trials. Give every row of a table, the baseline included, the same number
    of trials.
    """
    from ..suites.tuning import TUNED, ranges, trial_rows, tuned_row  # imports torch

    selection.require_runs()
    suite = selection.plan.suite
    row = suite.row(row_id)
    if not row.trained_here:
        raise UsageError(f"row {row_id!r} is not trained here: there is nothing to tune")
    if not row.contender and row.access != "uda":
        raise UsageError(f"row {row_id!r} uses labels of the target: there is nothing to tune on the source")
    if any(run.request.training.selection == "oracle" for run in selection.plan.runs):
        raise UsageError("trials are judged on held-out source cases: leave out --selection oracle")
    rows = trial_rows(row, trials, ranges(load_method(row.method).Config), fields)
    if output is not None and output.exists():
        _check_output(output, f"{row.id}{TUNED}")
    _plan_trials(selection, row, rows)
    left = launch_runs(selection, (*AGAIN, "FAILED"), launch)
    if left is None:
        return
    scores = _print_trials(selection.results(), row)
    if "FAILED" in left:
        sys.exit(FAILED)
    if left - {"DIVERGED"} or not scores:
        sys.exit(INCOMPLETE)
    winner = max(scores, key=lambda index: (scores[index], -index))
    table = tuned_row(row, rows[winner], trials)
    click.echo(f"\ntrial {winner} is best on held-out source cases; as a row of a suite:\n\n{table}", nl=False)
    if output is not None:
        flags = {"plugins": "--plugin", "tasks": "--task"} if output.exists() else {}  # a new file names its own
        options = [f" {flag} {file}" for key, flag in flags.items() for file in selection.named_files[key]]
        _add_row(output, selection, table)
        click.echo(f"\nadded to {output}: bench sweep {output}{''.join(options)}")


def _add_row(output: Path, selection: Selection, table: str) -> None:
    """Write a row behind those of a suite's file, or as the first of a new file, which extends the suite."""
    if not output.exists():
        before = base_lines(selection.name, output.parent, selection.named_files)
    elif "rows" not in tomllib.loads(before := output.read_text(encoding="utf-8")):  # all are those it extends
        table = table.replace("[[rows]]", "[[more_rows]]")
    write_output(output, f"{before.rstrip()}\n\n{table}")


def _check_output(output: Path, row_id: str) -> None:
    """Refuse a suite that the row cannot be added to, before anything is trained."""
    if row_id in [row.id for row in load_suite(str(output)).rows]:
        raise UsageError(f"{output} has a row {row_id!r} already: remove it, or name another file")


def _plan_trials(selection: Selection, row: Row, rows: Sequence[Row]) -> None:
    """Replace the selection by a suite of trials, whose runs score no target."""
    suite = selection.plan.suite
    # The suite's own choice, unless there is another: trials of one seed are what a row of several can afford.
    seeds = suite.seeds[:1] if suite.seeds == selection.suite.seeds else suite.seeds
    suite = dataclasses.replace(suite, name=f"{suite.name}-tune-{row.id}", rows=tuple(rows), seeds=seeds)
    plan = suite.plan(Filters(), selection.inventory)
    runs = tuple(dataclasses.replace(run, columns=()) for run in plan.runs)
    selection.suite, selection.plan = suite, dataclasses.replace(plan, runs=runs)


def _print_trials(results: "SuiteResults", row: Row) -> dict[int, float]:
    """Print every trial; return the mean held-out DSC (0..1) over seeds and sources of those that finished."""
    from ..outcomes.convergence import held_out_mean

    scores: dict[int, float] = {}
    for index, trial in enumerate(results.suite.rows):
        runs = [run for run in results.planned_runs if run.row.id == trial.id]
        states = {run.state for run in runs} - {"DONE"}
        own = {key: value for key, value in trial.settings.items() if row.settings.get(key) != value}
        settings = ", ".join(f"{key} = {value}" for key, value in own.items()) or "as in the suite"
        if states:
            click.echo(f"trial {index}  {', '.join(sorted(states)).lower():>11}  {settings}")
            continue
        held_out = mean(held_out_mean(results, run) for run in runs)
        if math.isnan(held_out):
            click.echo(
                f"trial {index}  {'no score':>11}  {settings}: no held-out label has a class, nor was any found"
            )
            continue
        scores[index] = held_out
        click.echo(f"trial {index}  held out {100 * scores[index]:.2f}  {settings}")
    return scores
