"""``bench compare`` and ``bench rank``: whether rows of a suite differ, and how firm their order is."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ..errors import UsageError
from ..scoring.metrics import DSC, Metric
from . import options
from .selection import Selection, part_options, suites_options

if TYPE_CHECKING:
    from ..comparisons.answers import Answer

metric = options.metric(text="Metric to compare.", default=DSC.name)


@click.command()
@part_options
@click.option(
    "--suite",
    required=True,
    shell_complete=options.complete_suite,
    help="Suite of the rows (`bench list suites`), or its TOML file.",
)
@metric
@options.as_json
@click.argument("one", metavar="ROW")
@click.argument("other", metavar="ROW")
def compare(selection: Selection, one: str, other: str, as_json: bool, metric: Metric) -> None:
    """Compare two rows of a suite: the first minus the second.

    Compared are each target and group of cases. A row is named by its id, or by its method where one row alone has
    that. Differences are paired by case.
    """
    from ..comparisons.answers import compare_rows
    from ..comparisons.contrasts import find_row

    suite = selection.plan.suite
    first, second = (find_row(suite, name) for name in (one, other))
    if first.id == second.id:
        raise UsageError(f"{one!r} and {other!r} are the same row of suite {suite.name!r}; name two")
    _print([selection], compare_rows(selection.results((first, second)), first, second, metric), as_json)


@click.command()
@suites_options
@options.baseline
@metric
@options.as_json
def rank(selections: Sequence[Selection], baseline: str | None, as_json: bool, metric: Metric) -> None:
    """Compare every row with the baseline, and rank the rows.

    Printed too is how firm the order of the rows is. The rows' differences to the baseline on all targets are one
    family, for which p values are adjusted.

    With several suites: the mean rank, over all their targets, of every row that all of them have, with an interval,
    and which pairs of rows are separated. With --baseline too: where a row of any of them is separated from that one,
    p values adjusted for all suites together. No two of them may have a source and target in common.
    """
    from ..comparisons.answers import rank_suite, rank_suites, separate_suites
    from ..comparisons.contrasts import find_baseline

    names = [selection.plan.suite.name for selection in selections]
    if len(set(names)) < len(names):
        raise UsageError(f"{', '.join(names)}: name every suite once")
    if len(selections) == 1:
        base = find_baseline(selections[0].plan.suite, baseline)
        answer = rank_suite(selections[0].results(), base, metric)
    else:
        suites = [selection.results() for selection in selections]
        answer = rank_suites(suites, metric) if baseline is None else separate_suites(suites, baseline, metric)
    _print(selections, answer, as_json)


def _print(selections: Sequence[Selection], answer: "Answer", as_json: bool) -> None:
    from ..comparisons.answers import without_nan

    if as_json:
        click.echo(json.dumps(without_nan(answer.data), indent=2, ensure_ascii=False))
    else:
        click.echo("\n\n".join("\n".join(lines) for lines in answer.blocks))
    for line in answer.missing:
        click.echo(f"bench: left out: {line}", err=True)
    for selection in selections:
        selection.require_complete(answer.missing)
