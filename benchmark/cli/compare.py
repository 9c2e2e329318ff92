"""``bench compare`` and ``bench rank``: whether rows of a suite differ, and how firm their order is."""

import itertools
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from ..scoring.metrics import DSC, Metric
from . import options
from .selection import Selection, part_options, suites_options

if TYPE_CHECKING:
    from ..comparisons.contrasts import Family
    from ..outcomes.results import SuiteResults

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

MEAN_RANKS = (
    "Of rows that saw the source alone and are complete in every suite; for other runs and cases of these targets, "
    "not for other targets. Ranks describe: {draws:,} draws of {level}, the same cases for all rows, a row's seeds "
    "together on all targets of a source (generator seed {seed}). What separates rows is their mean over the targets"
)

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
    from ..comparisons.contrasts import contrast_rows, find_row, pairing_notes
    from ..comparisons.render import comparison_lines, scope_text
    from ..outcomes.headings import stratum_headings

    suite = selection.plan.suite
    first, second = (find_row(suite, name) for name in (one, other))
    if first.id == second.id:
        raise UsageError(f"{one!r} and {other!r} are the same row of suite {suite.name!r}; name two")
    results = selection.results((first, second))
    headings = [heading for column in suite.columns for heading in stratum_headings(results, column, metric)]
    family = contrast_rows(results, [first], second, headings, metric)
    notes = [*results.notes(metric), *pairing_notes(results, headings, metric)]
    if as_json:
        _print_json(results, metric, family, notes, row=first.id, other=second.id)
    else:
        names = [scope_text(results, contrast, metric) for contrast in family.contrasts]
        _print_title(results, metric, f"{first.label} minus {second.label}")
        if names:
            _print_block(comparison_lines(family.contrasts, names, metric.scale))
        _print_notes(family, notes)
    _end([selection], family.missing)


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
    p values adjusted for all suites together.
    """
    suites = [selection.plan.suite.name for selection in selections]
    if len(set(suites)) < len(suites):
        raise UsageError(f"{', '.join(suites)}: name every suite once")
    if len(selections) == 1:
        _rank(selections[0], baseline, as_json, metric)
    elif baseline is not None:
        _separate_suites(selections, baseline, as_json, metric)
    else:
        _rank_suites(selections, as_json, metric)


def _separate_suites(selections: Sequence[Selection], baseline: str, as_json: bool, metric: Metric) -> None:
    from ..comparisons.contrasts import contrast_suites
    from ..comparisons.render import comparison_lines, contrast_data, level_text
    from ..tables.significance import ALPHA
    from ..tables.wording import row_label

    of_suites = [selection.results() for selection in selections]
    pairs, missing = contrast_suites(of_suites, baseline, metric)
    separated = [(results, contrast) for results, contrast in pairs if contrast.adjusted <= ALPHA]
    notes = _notes_of(of_suites, metric)
    if as_json:
        data = [
            {
                **{"suite": results.suite.name, **contrast_data(contrast, metric.scale)},
                "separated": contrast.adjusted <= ALPHA,
            }
            for results, contrast in pairs
        ]
        known = {"metric": metric.name, "baseline": baseline, "comparisons": data, "missing": missing, "notes": notes}
        click.echo(json.dumps(known, indent=2, ensure_ascii=False))
    else:
        names = ", ".join(results.suite.name for results in of_suites)
        count = f"{len(separated)} of {len(pairs)} differences are separated (Holm p at most {ALPHA:g})"
        click.echo(f"{names}: every row minus {baseline}, {metric.short}: {count}")
        if separated:
            lines = [f"{row_label(c.row)} on {c.heading.text} ({results.suite.name})" for results, c in separated]
            _print_block(comparison_lines([contrast for _, contrast in separated], lines, metric.scale))
        levels: dict[str, list[str]] = {}
        for results, group in itertools.groupby(pairs, key=lambda pair: pair[0]):
            text = level_text([contrast.comparison for _, contrast in group])
            levels.setdefault(text, []).append(results.suite.name)
        spoken = [text if len(levels) == 1 else f"{', '.join(of)}: {text}" for text, of in levels.items()]
        _print_block([f"* {note}." for note in [*spoken, FAMILY.format(count=len(pairs)), *notes]])
    _end(selections, missing)


def _rank_suites(selections: Sequence[Selection], as_json: bool, metric: Metric) -> None:
    from ..comparisons.mean_ranks import mean_ranks
    from ..comparisons.render import mean_rank_data, mean_rank_lines, separated_lines

    names = [selection.plan.suite.name for selection in selections]
    of_suites = [selection.results() for selection in selections]
    ranks = mean_ranks(of_suites, metric)
    notes = _notes_of(of_suites, metric)
    if as_json:
        data = {"suites": names, "metric": metric.name, **mean_rank_data(ranks, metric)}
        click.echo(json.dumps({**data, "missing": ranks.missing, "notes": notes}, indent=2, ensure_ascii=False))
    else:
        click.echo(f"{', '.join(names)}: mean rank by {metric.short} over {len(ranks.targets)} targets, 1 is best")
        _print_block(mean_rank_lines(ranks))
        _print_block(separated_lines(ranks, metric))
        scope = MEAN_RANKS.format(draws=ranks.draws, level=ranks.level, seed=ranks.seed)
        _print_block([f"* {note}." for note in [scope, *notes]])
    _end(selections, ranks.missing)


def _notes_of(of_suites: "Sequence[SuiteResults]", metric: Metric) -> list[str]:
    return [f"{results.suite.name}: {note}" for results in of_suites for note in results.notes(metric)]


def _rank(selection: Selection, baseline: str | None, as_json: bool, metric: Metric) -> None:
    from ..comparisons.contrasts import contrast_rows, find_baseline, pairing_notes, rank_rows
    from ..comparisons.render import comparison_lines, ranking_data, ranking_lines, scope_text, stability_text
    from ..outcomes.headings import overall_headings
    from ..tables.wording import row_label

    base = find_baseline(selection.plan.suite, baseline)
    results = selection.results()
    headings = overall_headings(results, metric)
    family = contrast_rows(results, results.suite.rows, base, headings, metric)
    notes = [*results.notes(metric), *pairing_notes(results, headings, metric)]
    notes += [f"{text[0].upper()}{text[1:]}"] if (text := results.convergence.text) else []
    rankings = rank_rows(results, headings, metric)
    if as_json:
        data = [ranking_data(ranking, metric.scale) for ranking in rankings]
        _print_json(results, metric, family, notes, baseline=base.id, rankings=data)
    else:
        _print_title(results, metric, f"every row minus {base.label}")
        for _, group in itertools.groupby(family.contrasts, key=lambda contrast: contrast.heading):
            contrasts = list(group)
            lines = comparison_lines(contrasts, [row_label(c.row) for c in contrasts], metric.scale)
            _print_block([scope_text(results, contrasts[0], metric), *lines])
        _print_notes(family, notes)
        for ranking in rankings:
            lines = [*ranking_lines(ranking, metric.scale), stability_text(ranking)]
            _print_block([f"{ranking.heading.text}: ranks", *lines])
        if rankings:
            _print_block([f"* {DESCRIPTIVE}."])
    _end([selection], family.missing)


def _print_json(results: "SuiteResults", metric: Metric, family: "Family", notes: Sequence[str], **more: Any) -> None:
    from ..comparisons.render import contrast_data

    suite = results.suite
    data = {
        "suite": suite.name,
        "title": suite.title,
        "protocol": suite.protocol,
        "metric": metric.name,
        "better": metric.better,
        "seeds": list(suite.seeds),
        "comparisons": [contrast_data(contrast, metric.scale) for contrast in family.contrasts],
        "missing": list(family.missing),
        "notes": list(notes),
        **more,
    }
    click.echo(json.dumps(data, indent=2, ensure_ascii=False))


def _print_title(results: "SuiteResults", metric: Metric, title: str) -> None:
    from ..comparisons.render import unit_text

    suite, better = results.suite, "" if metric.better == "higher" else ", lower is better"
    unit = unit_text(results, metric)
    click.echo(f"{suite.title}, protocol {suite.protocol}: {title}, {metric.short} in {unit}{better}")


def _print_notes(family: "Family", notes: Sequence[str]) -> None:
    from ..comparisons.render import level_text

    if family.contrasts:
        level = level_text([contrast.comparison for contrast in family.contrasts])
        notes = [level, FAMILY.format(count=len(family.contrasts)), *CONDITIONAL, *notes]
    if notes:
        _print_block([f"* {note}." for note in notes])


def _print_block(lines: Sequence[str]) -> None:
    click.echo("\n".join(["", *lines]))


def _end(selections: Sequence[Selection], missing: Sequence[str]) -> None:
    for line in missing:
        click.echo(f"bench: left out: {line}", err=True)
    for selection in selections:
        selection.require_complete(missing)
