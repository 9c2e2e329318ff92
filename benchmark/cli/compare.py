"""``bench compare`` and ``bench rank``: whether rows of a suite differ, and how firm their order is."""

import itertools
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from ..errors import INCOMPLETE, UsageError
from ..scoring.metrics import DSC, Metric
from ..suites.suite import Suite
from . import options
from .metric_option import metric_option
from .selection import Selection, part_options, suite_options

if TYPE_CHECKING:
    from ..comparisons.contrasts import Family, Ranking
    from ..outcomes.collect import Collected

FAMILY = "Holm p: adjusted for the number of comparisons here, {count}"
CONDITIONAL = (
    "Wilcoxon p: signed-rank over cases, conditional on these trained models; where runs vary it calls equal methods "
    "different far more often than it says",
    "cases: with a score of every seed of both rows; win/tie/loss: those where the mean over seeds is better, equal, "
    "worse",
)
DESCRIPTIVE = (
    "Probability of each rank in percent among the rows that saw the source alone; descriptive: with few seeds a "
    "bootstrap is too narrow"
)

metric = metric_option(text="What to compare.", default=DSC.name, show_default=True)


@click.command()
@part_options
@click.option("--suite", required=True, help="That the rows are of; see `bench list suites`.")
@metric
@options.as_json
@click.argument("one", metavar="METHOD")
@click.argument("other", metavar="METHOD")
def compare(one: str, other: str, as_json: bool, metric: Metric, **given: Any) -> None:
    """Compare two rows of a suite: the first minus the second, on each target and group of cases.

    A row is named by its id, or by its method where one row alone has that. Differences are paired by case.
    """
    from ..comparisons.contrasts import contrast_rows, find_row, group_headings, pairing_notes

    selection = Selection({**given, "methods": None})
    suite = selection.suite.narrowed(selection.choice)
    first, second = (find_row(suite, name) for name in (one, other))
    if first.id == second.id:
        raise UsageError(f"{one!r} and {other!r} are the same row of suite {suite.name!r}; name two")
    collected = _collect(selection, replace(suite, rows=(first, second)), metric)
    headings = [heading for column in collected.columns for heading in group_headings(collected, column)]
    collected = replace(collected, notes=(*collected.notes, *pairing_notes(collected, headings)))
    family = contrast_rows(collected, [first], second, headings)
    if as_json:
        _print_json(collected, family, row=first.id, other=second.id)
    else:
        _print_pair(collected, family, f"{first.label} minus {second.label}")
    _end(selection, family)


@click.command()
@suite_options
@options.baseline
@metric
@options.as_json
def rank(baseline: str | None, as_json: bool, metric: Metric, **given: Any) -> None:
    """Compare every row of a suite with its baseline, and show how firm the order of the rows is.

    The rows' differences to the baseline on all targets are one family, for which p values are adjusted.
    """
    from ..comparisons.contrasts import contrast_rows, find_baseline, overall_headings, pairing_notes, rank_rows

    selection = Selection(given)
    suite = selection.suite.narrowed(selection.choice)
    base = find_baseline(suite, baseline)
    collected = _collect(selection, suite, metric)
    headings = overall_headings(collected)
    collected = replace(collected, notes=(*collected.notes, *pairing_notes(collected, headings)))
    family = contrast_rows(collected, suite.rows, base, headings)
    rankings = rank_rows(collected, headings)
    if as_json:
        from ..comparisons.render import ranking_data

        scale = collected.measure.scale
        _print_json(collected, family, baseline=base.id, rankings=[ranking_data(one, scale) for one in rankings])
    else:
        _print_rank(collected, family, rankings, base.label)
    _end(selection, family)


def _collect(selection: Selection, suite: Suite, metric: Metric) -> "Collected":
    from ..outcomes.collect import collect

    return collect(suite, selection.runs, selection.inventory, measure=metric)


def _print_json(collected: "Collected", family: "Family", **more: Any) -> None:
    from ..comparisons.render import contrast_data

    suite, scale = collected.suite, collected.measure.scale
    data = {
        "suite": suite.name,
        "title": suite.title,
        "protocol": suite.protocol,
        "metric": collected.measure.name,
        "better": collected.measure.better,
        "seeds": list(suite.seeds),
        "comparisons": [contrast_data(contrast, scale) for contrast in family.contrasts],
        "missing": list(family.missing),
        "notes": list(collected.notes),
        **more,
    }
    click.echo(json.dumps(data, indent=2, ensure_ascii=False))


def _print_pair(collected: "Collected", family: "Family", what: str) -> None:
    from ..comparisons.render import comparison_lines, scope_text

    _print_title(collected, what)
    names = [scope_text(collected, contrast) for contrast in family.contrasts]
    if names:
        click.echo("\n".join(["", *comparison_lines(family.contrasts, names, collected.measure.scale)]))
    _print_notes(collected, family)


def _print_rank(collected: "Collected", family: "Family", rankings: "Sequence[Ranking]", baseline: str) -> None:
    from ..comparisons.render import comparison_lines, ranking_lines, scope_text, stability_text
    from ..tables.wording import heading_text, row_label

    scale = collected.measure.scale
    _print_title(collected, f"every row minus {baseline}")
    for _, group in itertools.groupby(family.contrasts, key=lambda contrast: contrast.heading):
        contrasts = list(group)
        names = [row_label(contrast.row) for contrast in contrasts]
        lines = comparison_lines(contrasts, names, scale)
        click.echo("\n".join(["", scope_text(collected, contrasts[0]), *lines]))
    _print_notes(collected, family)
    for ranking in rankings:
        of = f"{heading_text(ranking.heading)}: ranks"
        click.echo("\n".join(["", of, *ranking_lines(ranking, scale), stability_text(ranking)]))
    if rankings:
        click.echo(f"\n* {DESCRIPTIVE}.")


def _print_title(collected: "Collected", what: str) -> None:
    from ..comparisons.render import unit_text

    measure, suite = collected.measure, collected.suite
    better = "" if measure.better == "higher" else ", lower is better"
    click.echo(f"{suite.title}, protocol {suite.protocol}: {what}, {measure.short} in {unit_text(collected)}{better}")


def _print_notes(collected: "Collected", family: "Family") -> None:
    from ..comparisons.render import level_text

    notes = [f"{note}." for note in collected.notes]
    if family.contrasts:
        level = level_text([contrast.comparison for contrast in family.contrasts])
        count = len(family.contrasts)
        notes = [f"{text}." for text in (level, FAMILY.format(count=count), *CONDITIONAL)] + notes
    if notes:
        click.echo("\n".join(["", *(f"* {note}" for note in notes)]))


def _end(selection: Selection, family: "Family") -> None:
    """Name what is missing, and end with the exit code for that if anything is."""
    for line in family.missing:
        click.echo(f"bench: left out: {line}", err=True)
    if family.missing or selection.problems:
        sys.exit(INCOMPLETE)


commands = [compare, rank]
