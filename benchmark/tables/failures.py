"""How often and how badly a row fails, next to its mean: cases with a DSC below .50, and the worst 5 % of cases."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..outcomes.results import SuiteResults
from ..outcomes.scores import RowScores
from .printed import PrintedColumn

if TYPE_CHECKING:
    from .build import Table, TableRow

BELOW = 0.5
"""DSC (0..1) of a case below which it counts as failed."""

SHARE = 20  # one case in so many is among the worst

NAMES = {"cases_below_half": "cases < .50", "worst_5_percent": "worst 5 %"}

CAPTION = (
    "Cases < .50: share of the cases (%) whose DSC, the mean of the classes that are defined in them, is below .50. "
    "Worst 5 %: mean DSC (%) of the 5 % of the cases with the lowest, rounded down, at least one. Both are of each "
    "seed, then averaged over seeds"
)


@dataclass(frozen=True, slots=True)
class Failures:
    """Failures of a cell, in 0..1: means over its complete seeds."""

    cases_below_half: float  # share of its cases
    worst_5_percent: float  # mean DSC of the worst 5 % of its cases


def failures_of(scores: RowScores, stratum: str = "all") -> Failures | None:
    """Return the failures of a row on a stratum ("all", "average": every case); None without a defined score.

    Raises:
        UsageError: no case has that stratum.
    """
    if not scores.seeds:
        return None
    by_seed = [means[~np.isnan(means)] for means in scores.case_means()[:, scores.members(stratum)]]
    if not all(map(len, by_seed)):
        return None
    worst = [np.sort(means)[: max(1, len(means) // SHARE)].mean() for means in by_seed]
    below = [(means < BELOW).mean() for means in by_seed]
    return Failures(float(np.mean(below)), float(np.mean(worst)))


def with_failures(table: "Table", results: SuiteResults) -> "Table":
    """Return a table of DSC whose cells have their failures, and the sentence that says what these are."""
    rows = []
    for row in table.rows:
        scores = {entry.heading: results.row_scores(row.row, entry.heading.column) for entry in row.entries}
        entries = (replace(e, failures=failures_of(scores[e.heading], e.heading.stratum)) for e in row.entries)
        rows.append(replace(row, entries=tuple(entries)))
    lead = (*table.lead[:1], f"{CAPTION}.", *table.lead[1:])
    return replace(table, rows=tuple(rows), lead=lead, has_failures=True)


def failure_fields(failures: Failures | None) -> dict[str, Any]:
    """Return failures by name, in percent with four decimals, as programs read them."""
    return {name: None if failures is None else round(100 * getattr(failures, name), 4) for name in NAMES}


def failure_columns(table: "Table", columns: Sequence[PrintedColumn["TableRow"]]) -> list[PrintedColumn["TableRow"]]:
    """Return the printed columns of a table, those of its headings each followed by the two of its failures."""
    before = len(columns) - len(table.headings)
    interleaved = [*columns[:before]]
    for position, (column, heading) in enumerate(zip(columns[before:], table.headings, strict=True)):
        label = column.stacked[0]
        interleaved.append(replace(column, stacked=(label, heading.second_line or table.metric.short)))
        for name, words in NAMES.items() if heading.headline else ():
            stacked = (label, " ".join(filter(None, (heading.second_line, words))))
            text, value = _text(position, name, ".1f"), _text(position, name, ".4f")
            interleaved.append(PrintedColumn(f"{column.heading} {words}", text, value, unit="%", stacked=stacked))
    return interleaved


def _text(position: int, name: str, form: str) -> "Callable[[TableRow], str]":
    def text(row: "TableRow") -> str:
        failures = row.entries[position].failures
        return "" if failures is None else format(100 * getattr(failures, name), form)

    return text
