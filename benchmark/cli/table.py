"""``bench table``: the aggregate of a suite."""

import sys
from pathlib import Path
from typing import Any

import click

from ..errors import INCOMPLETE
from ..scoring.metrics import DSC
from ..storage.files import write_text
from . import options
from .metric_option import metric_option
from .selection import Selection, suite_options

FORMATS = ("csv", "markdown", "latex", "json")


@click.command()
@suite_options
@click.option("--format", "form", type=click.Choice(FORMATS), default="markdown", show_default=True)
@metric_option(text="What to print; published numbers stand beside dsc only.", default=DSC.name, show_default=True)
@click.option("--output", type=options.OutputFile(), help="File instead of the terminal.")
@options.no_published
@click.option("--validation", is_flag=True, help="Also the scores on the source's validation cases.")
@click.option("--conventions", is_flag=True, help="How means and ranks change with region, empty rule and average.")
@click.option("--final", is_flag=True, help="Refuse a table with holes (exit code 3 and a list of them).")
def table(form: str, output: Path | None, conventions: bool, final: bool, **given: Any) -> None:
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
    selection = Selection(given)
    text, missing = (_conventions if conventions else _table)(selection, form, given)
    if final and missing:
        click.echo(f"bench: the table has {len(missing)} holes:", err=True)
        for hole in missing:
            click.echo(f"  {hole}", err=True)
        sys.exit(INCOMPLETE)
    if output is None:
        click.echo(text, nl=not text.endswith("\n"))
    else:
        write_text(output, text)
    if selection.problems:
        sys.exit(INCOMPLETE)


def _table(selection: Selection, form: str, given: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Return the table as text, and its holes."""
    from ..tables.build import TableOptions, build_table
    from ..tables.render import render

    shown = TableOptions(published=not given["no_published"], validation=given["validation"], metric=given["metric"])
    made = build_table(selection.results(), shown)
    return render(made, form), made.missing


def _conventions(selection: Selection, form: str, given: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Return means and ranks under each convention as text, and the holes."""
    from ..comparisons.conventions import build_conventions
    from ..comparisons.conventions_text import render_conventions

    made = build_conventions(selection.results(), given["metric"], given["validation"])
    return render_conventions(made, form), made.missing


commands = [table]
