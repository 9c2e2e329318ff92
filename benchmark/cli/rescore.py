"""``bench rescore``: metrics from masks, from stored predictions."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import FAILED, INCOMPLETE, INTERRUPTED, unknown
from ..launching.worker import end_with_launcher
from ..outcomes.planned_run import match_plan, require_one_version
from ..scoring.metrics import METRICS, mask_metrics
from ..storage.run_folder import VALIDATION
from . import options
from .selection import Selection, echo_lines, suite_options

if TYPE_CHECKING:
    from ..scoring.rescore import RescoreItem


def _mask_metrics(context: object, parameter: object, value: str | None) -> tuple[str, ...] | None:
    metrics = options.names(context, parameter, value)
    for name in metrics or ():
        if name not in mask_metrics():
            raise unknown("metric from masks", name, mask_metrics())
    return metrics


def _listed(ndim: int) -> str:
    return ", ".join(name for name, m in METRICS.items() if m.source == "masks" and ndim in m.default_ndims)


@click.command()
@suite_options
@options.data_root
@click.option(
    "--metrics",
    callback=_mask_metrics,
    metavar="NAMES",
    help=f"Comma-separated; by default {_listed(2)} in 2D, {_listed(3)} in 3D, and those of installed packages.",
)
@click.option("--jobs", type=options.WholeNumber(1), help="Processes at a time.  [default: one for each core]")
@click.option("--again", is_flag=True, help="Also what has values: to audit the counts once more.")
def rescore(
    selection: Selection, data_root: Path, metrics: tuple[str, ...] | None, jobs: int | None, again: bool
) -> None:
    """Compute distances and clDice from stored predictions.

    Tables show them: `bench table SUITE --metric hd95`. Nothing is trained or predicted. Values go into
    metrics/NAME-vVERSION.csv beside cases.csv; what has values is left, and what was interrupted goes on. It is an
    audit too: tp, fp and fn are counted again, and a disagreement with cases.csv is named, as is a prediction that
    cannot be read; the others are computed, and the exit code is 1.

    Other conventions need no rescoring: see `bench table --help`.
    """
    from .. import environment
    from ..data.run_data import DataSource
    from ..progress import open_display
    from ..scoring.rescore import Rescorer, workers

    items = list(_items(selection))
    data_source = DataSource(data_root, selection.results_root / "prepared")
    try:
        with workers(jobs or environment.cores(), end_with_launcher) as compute, open_display("rescore") as display:
            rescorer = Rescorer(data_source, compute, environment.commit(), metrics, again)
            for item in items:
                rescorer.rescore(item, display)
    except KeyboardInterrupt:
        click.echo("bench: stopped; give the same command again to go on", err=True)
        sys.exit(INTERRUPTED)
    click.echo(f"{len(items)} evaluations: {rescorer.computed} cases computed, {rescorer.present} were there")
    if rescorer.failures:
        echo_lines(f"{len(rescorer.failures)} could not be computed", rescorer.failures)
        sys.exit(FAILED)
    if selection.problems or not items:
        sys.exit(INCOMPLETE)


def _items(selection: Selection) -> "Iterator[RescoreItem]":
    """Yield every finished evaluation that the suite's tables can show; print notes on runs that are left out."""
    from ..scoring.rescore import RescoreItem

    planned, notes = match_plan(selection.plan.runs, selection.stored)
    require_one_version(planned)
    for note in notes:
        click.echo(f"bench: {note}", err=True)
    paths, exported = set[Path](), set[Path]()
    for run in planned:
        for domain in (*(() if run.row.per_target else (VALIDATION,)), *run.targets):
            evaluation = run.evaluation(domain)
            if evaluation is not None and evaluation.export:
                exported.add(evaluation.path)
            elif run.stored is not None and evaluation is not None and evaluation.path not in paths:
                paths.add(evaluation.path)
                yield RescoreItem(
                    name=f"{run.name} on {domain}",
                    evaluation=evaluation,
                    task=selection.inventory.tasks[run.request.task],
                    domain=run.request.source if domain == VALIDATION else domain,
                    preprocess=run.stored.spec.request.preprocess,
                )
    if exported:
        text = "evaluations of exports are left out: their predictions are where they were made"
        click.echo(f"bench: {len(exported)} {text}", err=True)
