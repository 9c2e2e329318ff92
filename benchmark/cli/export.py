"""``bench export``: what is committed of a suite's results."""

from pathlib import Path

import click

from ..scoring.metrics import Metric
from . import options
from .selection import Selection, suite_options


@click.command()
@suite_options
@click.option(
    "--output",
    type=options.FOLDER,
    required=True,
    help="Folder; files of an earlier export are replaced, all others are left alone.",
)
@options.metric("metrics", text="A further table, of this metric; may be repeated.", multiple=True)
@click.option("--validation", is_flag=True, help="Also the scores on the source's validation cases, in the tables.")
def export(selection: Selection, output: Path, metrics: tuple[Metric, ...], validation: bool) -> None:
    """Write what is worth keeping of a suite's results, to be committed and to compute its tables from again.

    \b
    cases.csv        counts and scores of every row, seed, target, case and class
    runs.csv         every run: its state, time, device, versions and commit
    table.csv, table.md, table.tex
    report.html      the page of `bench report --no-images`
    provenance.json  the suite with every setting, data, commits, versions, and the digests of these files

    Equal results give equal bytes. No file shows a case, or says on which machine it was made. What is missing is
    listed, and the exit code is then 3.
    """  # noqa: D301 - click wants a backspace character there
    from ..report.export import export_suite, write_export

    files, missing = export_suite(selection.results(), metrics, validation)
    write_export(files, output)
    size = sum(len(text.encode()) for text in files.values())
    click.echo(f"{output}: {len(files)} files, {size / 1e6:.2f} MB")
    selection.require_complete(missing, f"the export has {len(missing)} holes")
