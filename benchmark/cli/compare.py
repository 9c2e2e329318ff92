"""``bench compare`` and ``bench rank``: whether rows of a suite differ, and how firm their order is."""

import itertools
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from ..errors import INCOMPLETE, UsageError
from ..scoring.metrics import DSC, Metric
from . import options
from .metric_option import metric_option
from .selection import Selection, part_options, suite_options

if TYPE_CHECKING:
    from ..comparisons.contrasts import Family, Ranking
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
    from ..comparisons.contrasts import contrast_rows, find_row, pairing_notes, stratum_headings

    selection = Selection({**given, "methods": None})
    suite = selection.plan.suite
    first, second = (find_row(suite, name) for name in (one, other))
    if first.id == second.id:
        raise UsageError(f"{one!r} and {other!r} are the same row of suite {suite.name!r}; name two")
    results = selection.results((first, second))
    headings = [h for column in suite.columns for h in stratum_headings(results, column, metric)]
    printed = Comparison(
        results,
        metric,
        contrast_rows(results, [first], second, headings, metric),
        [*results.notes(metric), *pairing_notes(results, headings, metric)],
    )
    if as_json:
        printed.print_json(row=first.id, other=second.id)
    else:
        printed.print_pair(f"{first.label} minus {second.label}")
    printed.end(selection)


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
    base = find_baseline(selection.plan.suite, baseline)
    results = selection.results()
    headings = overall_headings(results, metric)
    printed = Comparison(
        results,
        metric,
        contrast_rows(results, results.suite.rows, base, headings, metric),
        [*results.notes(metric), *pairing_notes(results, headings, metric)],
    )
    rankings = rank_rows(results, headings, metric)
    if as_json:
        from ..comparisons.render import ranking_data

        data = [ranking_data(ranking, metric.scale) for ranking in rankings]
        printed.print_json(baseline=base.id, rankings=data)
    else:
        printed.print_rank(rankings, base.label)
    printed.end(selection)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Differences of a suite's rows, to be printed."""

    results: "SuiteResults"
    metric: Metric
    family: "Family"
    notes: Sequence[str]

    def print_json(self, **more: Any) -> None:
        """Print everything as JSON."""
        from ..comparisons.render import contrast_data

        suite, scale = self.results.suite, self.metric.scale
        data = {
            "suite": suite.name,
            "title": suite.title,
            "protocol": suite.protocol,
            "metric": self.metric.name,
            "better": self.metric.better,
            "seeds": list(suite.seeds),
            "comparisons": [contrast_data(contrast, scale) for contrast in self.family.contrasts],
            "missing": list(self.family.missing),
            "notes": list(self.notes),
            **more,
        }
        click.echo(json.dumps(data, indent=2, ensure_ascii=False))

    def print_pair(self, title: str) -> None:
        """Print the differences of two rows, one line a target and stratum."""
        from ..comparisons.render import comparison_lines, scope_text

        self._print_title(title)
        names = [scope_text(self.results, contrast, self.metric) for contrast in self.family.contrasts]
        if names:
            click.echo("\n".join(["", *comparison_lines(self.family.contrasts, names, self.metric.scale)]))
        self._print_notes()

    def print_rank(self, rankings: "Sequence[Ranking]", baseline: str) -> None:
        """Print the differences to the baseline by target, and the rankings."""
        from ..comparisons.render import comparison_lines, ranking_lines, scope_text, stability_text
        from ..tables.wording import heading_text, row_label

        self._print_title(f"every row minus {baseline}")
        for _, group in itertools.groupby(self.family.contrasts, key=lambda contrast: contrast.heading):
            contrasts = list(group)
            names = [row_label(contrast.row) for contrast in contrasts]
            lines = comparison_lines(contrasts, names, self.metric.scale)
            click.echo("\n".join(["", scope_text(self.results, contrasts[0], self.metric), *lines]))
        self._print_notes()
        for ranking in rankings:
            title = f"{heading_text(ranking.heading)}: ranks"
            lines = [*ranking_lines(ranking, self.metric.scale), stability_text(ranking)]
            click.echo("\n".join(["", title, *lines]))
        if rankings:
            click.echo(f"\n* {DESCRIPTIVE}.")

    def end(self, selection: Selection) -> None:
        """Name what is missing, and end with the exit code for that if anything is."""
        for line in self.family.missing:
            click.echo(f"bench: left out: {line}", err=True)
        if self.family.missing or selection.problems:
            sys.exit(INCOMPLETE)

    def _print_title(self, title: str) -> None:
        from ..comparisons.render import unit_text

        suite, better = self.results.suite, "" if self.metric.better == "higher" else ", lower is better"
        unit = unit_text(self.results, self.metric)
        click.echo(f"{suite.title}, protocol {suite.protocol}: {title}, {self.metric.short} in {unit}{better}")

    def _print_notes(self) -> None:
        from ..comparisons.render import level_text

        notes = [f"{note}." for note in self.notes]
        if self.family.contrasts:
            level = level_text([contrast.comparison for contrast in self.family.contrasts])
            count = len(self.family.contrasts)
            notes = [f"{text}." for text in (level, FAMILY.format(count=count), *CONDITIONAL)] + notes
        if notes:
            click.echo("\n".join(["", *(f"* {note}" for note in notes)]))


commands = [compare, rank]
