"""``bench report``: everything there is to say about a suite's results, on one page."""

from pathlib import Path

import click

from ..storage.files import write_output
from . import options
from .selection import Selection, suite_options


@click.command()
@suite_options
@options.data_root
@click.option(
    "--output",
    type=options.OutputFile(),
    default=Path("report.html"),
    show_default=True,
    help="One file that loads nothing: it can be mailed, printed and kept.",
)
@options.baseline
@click.option("--no-images", is_flag=True, help="Leave out whatever shows a case, where the data's terms ask for it.")
@options.no_published
def report(
    selection: Selection,
    data_root: Path,
    output: Path,
    baseline: str | None,
    no_images: bool,
    no_published: bool,
) -> None:
    """Write a suite's report: tables, differences, cases, classes, learning, cost, provenance, and what is missing.

    The data sets are read for pictures of the worst cases alone; where they are not there, the page says so.
    """
    from ..report.page import render_page

    results = selection.results()
    pictures = None if no_images else data_root
    page = render_page(results, published=not no_published, data_root=pictures, baseline=baseline)
    write_output(output, page)
    click.echo(f"{output}: {len(page.encode()) / 1e6:.2f} MB")
    # A page without a number is written, because it says what failed, and is no success.
    if not results.evaluations:
        selection.nothing_finished()
    selection.require_complete()
