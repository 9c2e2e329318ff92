"""``bench table``: the aggregate of a suite."""

from pathlib import Path
from typing import Any

import click

from ..scoring.metrics import DSC, Metric
from ..storage.files import write_output
from . import options
from .selection import Selection, suite_options

FORMATS = ("csv", "markdown", "latex", "json")


@click.command()
@suite_options
@click.option("--format", "form", type=click.Choice(FORMATS), default="markdown", show_default=True)
@options.metric(text="What to print; published numbers stand beside dsc only.", default=DSC.name)
@click.option("--output", type=options.OutputFile(), help="File instead of the terminal.")
@options.no_published
@click.option("--validation", is_flag=True, help="Also the scores on the source's validation cases.")
@click.option("--conventions", is_flag=True, help="How means and ranks change with region, empty rule and average.")
@click.option("--final", is_flag=True, help="Refuse a table with holes (exit code 3 and a list of them).")
def table(
    selection: Selection,
    form: str,
    output: Path | None,
    conventions: bool,
    final: bool,
    metric: Metric,
    **values: Any,
) -> None:
    """Print a suite's table: mean ± sample SD over seeds, beside the published numbers.

    Every switch of the protocol is in the caption. Cells that are not there say why.

    \b
    Other conventions, from what is stored and without training again:
      --set evaluation.region=image     the whole image, not only the field of view (2D)
      --set evaluation.empty=one        what a class scores that a case lacks: one, skip, zero-fp
      --set evaluation.average=strata   which average stands in front
      --conventions                     all of these beside each other
      --metric hd95, nsd, cldice        after `bench rescore SUITE`
      --set evaluation.resample=nearest after `bench sweep SUITE` with the same --set, which predicts again
    """  # noqa: D301 - click wants a backspace character there
    results = selection.results()
    if conventions:
        from ..comparisons.conventions import build_conventions
        from ..comparisons.conventions_text import render_conventions

        means = build_conventions(results, metric, values["validation"])
        text, missing = render_conventions(means, form), means.missing
    else:
        from ..tables.build import build_table
        from ..tables.render import render

        cells = build_table(results, metric, published=not values["no_published"], validation=values["validation"])
        text, missing = render(cells, form), cells.missing
    if final and missing:
        selection.require_complete(missing, f"the table has {len(missing)} holes")
    if output is None:
        click.echo(text, nl=not text.endswith("\n"))
    else:
        write_output(output, text)
    selection.require_complete()
