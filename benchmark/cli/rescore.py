"""``bench rescore``: measures of shapes, from stored predictions."""

import sys
from typing import Any

import click

from ..errors import FAILED, INCOMPLETE, INTERRUPTED
from ..scoring.shape_file import SHAPES
from ..suites.suite import check_names
from . import options
from .selection import Selection, names, suite_options


@click.command()
@suite_options
@options.data_root
@click.option(
    "--metrics",
    callback=names,
    help=f"Comma-separated: {', '.join(SHAPES)}; the default is all, in 3D all but cldice, which takes long there.",
)
@click.option(
    "--jobs", type=click.IntRange(1), help="Processes at a time; the default is one a core that this one may use."
)
@click.option("--again", is_flag=True, help="Also what is there already: to audit the counts once more.")
def rescore(jobs: int | None, again: bool, **given: Any) -> None:
    """Compute distances and clDice from a suite's stored predictions, for `bench table SUITE --metric hd95`.

    Nothing is trained or predicted. Values go into shapes.csv beside cases.csv; what is there already is left, and
    what was interrupted goes on. It is an audit too: tp, fp and fn are counted again, and a disagreement with
    cases.csv is named, as is a prediction that cannot be read; the others are measured, and the exit code is 1.

    Other conventions need no rescoring: see `bench table --help`.
    """
    from .. import environment
    from ..data.run_data import Shelf
    from ..outcomes.rescore import Rescorer, find_subjects, workers
    from ..training.progress import observer

    check_names("measure of shapes", given["metrics"] or (), list(SHAPES))
    selection = Selection(given)
    plan = selection.suite.requests(selection.choice, selection.inventory)
    subjects, notes = find_subjects(plan, selection.runs, selection.inventory.tasks)
    for note in notes:
        click.echo(f"bench: {note}", err=True)
    shelf = Shelf(given["data_root"], selection.results_root / "prepared")
    try:
        with workers(jobs or environment.cores()) as compute, observer("rescore") as watcher:
            rescorer = Rescorer(shelf, compute, environment.commit(), given["metrics"], again)
            for subject in subjects:
                rescorer.rescore(subject, watcher)
    except KeyboardInterrupt:
        click.echo("bench: stopped; give the same command again to go on", err=True)
        sys.exit(INTERRUPTED)
    outcome = rescorer.outcome
    click.echo(f"{len(subjects)} evaluations: {outcome.measured} cases measured, {outcome.there} were there")
    if outcome.failures:
        click.echo(f"bench: {len(outcome.failures)} could not be measured:", err=True)
        for failure in outcome.failures:
            click.echo(f"  {failure}", err=True)
        sys.exit(FAILED)
    if selection.problems or not subjects:
        sys.exit(INCOMPLETE)


commands = [rescore]
