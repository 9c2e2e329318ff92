"""``bench table``: the aggregate of a suite."""

import sys
from pathlib import Path
from typing import Any

import click

from .cli_suites import Selection, suite_options
from .exit_codes import INCOMPLETE
from .files import write_text
from .render import FORMATS, render
from .tables import TableOptions, build_table


@click.command()
@suite_options
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="markdown", show_default=True)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="File instead of the terminal.")
@click.option("--no-published", is_flag=True, help="Leave out the paper's numbers and the differences to them.")
@click.option("--held-out", is_flag=True, help="Also the scores on the source's held-out cases.")
@click.option("--final", is_flag=True, help="Refuse a table with holes (exit code 3 and a list of them).")
def table(form: str, output: Path | None, no_published: bool, held_out: bool, final: bool, **given: Any) -> None:
    """Print a suite's table: mean ± sample SD over seeds, beside the published numbers.

    Every switch of the protocol is in the caption. Cells that are not there say why.
    """
    selection = Selection(given)
    choices = TableOptions(choice=selection.choice, published=not no_published, held_out=held_out)
    made = build_table(selection.suite, selection.runs, choices, selection.inventory)
    if final and not made.complete:
        click.echo(f"bench: the table has {len(made.missing)} holes:", err=True)
        for hole in made.missing:
            click.echo(f"  {hole}", err=True)
        sys.exit(INCOMPLETE)
    text = render(made, form)
    if output is None:
        click.echo(text, nl=not text.endswith("\n"))
    else:
        write_text(output, text)
    if selection.problems:
        sys.exit(INCOMPLETE)


commands = [table]
