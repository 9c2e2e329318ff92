"""Comparisons of a suite's rows: which pairs, on which cases, and adjusted for how many."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import UsageError, unknown
from ..outcomes.headings import Heading, overall_headings, pair_rows
from ..outcomes.results import SuiteResults
from ..outcomes.scores import contenders
from ..scoring.metrics import DSC, Metric
from ..statistics import Comparison, compare, holm
from ..suites.suite import Row, Suite
from .ranking import RankStability, rank_stability

MISSED = (
    "A class that any of the rows compared misses in a case is left out of that case for all of them, and only the "
    "rows with the fewest misses are ranked; NSD counts a miss as 0"
)
UNEVEN = (
    "A case's score here is the mean of its classes that are defined; a table averages each class over its cases "
    "first, so that means differ where a class has no value in some cases"
)


@dataclass(frozen=True, slots=True)
class Contrast:
    """A row against another on the cases of one printed column."""

    row: Row
    other: Row
    heading: Heading
    comparison: Comparison  # row minus other, in stored units; a win is a case where the row is better
    adjusted: float  # p after Holm's method over the family


@dataclass(frozen=True, slots=True)
class Family:
    """Comparisons whose number p values are adjusted for, and those that could not be made."""

    contrasts: tuple[Contrast, ...]
    missing: tuple[str, ...]  # a line each


@dataclass(frozen=True, slots=True)
class Ranking:
    """The complete rows that saw the source alone, ranked on the cases of one printed column."""

    heading: Heading
    rows: tuple[Row, ...]
    stability: RankStability  # of these rows, in their order

    @property
    def order(self) -> list[int]:
        """Positions of the rows, the best first."""
        ranks, expected = self.stability.ranks, self.stability.expected
        return sorted(range(len(self.rows)), key=lambda i: (ranks[i], expected[i]))


def find_row(suite: Suite, name: str) -> Row:
    """Return a row by its id, or by its method where a single row has that.

    Raises:
        UsageError: no such row, or several.
    """
    rows = [row for row in suite.rows if row.id == name] or [row for row in suite.rows if row.method == name]
    if not rows:
        raise unknown(f"row or method of suite {suite.name!r}", name, {r.id for r in suite.rows})
    if len(rows) > 1:
        ids = ", ".join(row.id for row in rows)
        raise UsageError(f"several rows of suite {suite.name!r} run {name!r}; name one of them: {ids}")
    if rows[0].ensemble:
        raise UsageError(f"row {name!r} is an ensemble: one prediction, with no runs that vary: it is not compared")
    return rows[0]


def find_baseline(suite: Suite, name: str | None) -> Row:
    """Return the row that others are compared with: the one named, else the suite's source-only row.

    Of several that is the one without settings of its own.

    Raises:
        UsageError: no such row, or several.
    """
    if name is not None:
        return find_row(suite, name)
    rows = [row for row in suite.rows if row.access == "source-only" and row.contender and not row.external]
    if len(rows) > 1:
        rows = [row for row in rows if not row.settings] or rows
    if len(rows) != 1:
        has = ", ".join(row.id for row in rows) or "no source-only row"
        raise UsageError(f"suite {suite.name!r}, as chosen, has {has}: name the row to compare with by --baseline")
    return rows[0]


def contrast_rows(
    results: SuiteResults, rows: Sequence[Row], other: Row, headings: Sequence[Heading], metric: Metric = DSC
) -> Family:
    """Return the comparisons of other rows with the baseline ``other``: the family of Holm's adjustment.

    Cells without all their seeds are left out and named.
    """
    compared, missing = _contrasts(results, rows, other, headings, metric)
    return Family(_adjusted(compared), tuple(missing))


def contrast_suites(
    of_suites: Sequence[SuiteResults], baseline: str | None, metric: Metric = DSC
) -> tuple[list[tuple[SuiteResults, Contrast]], list[str]]:
    """Return every row minus the baseline of its suite, on all targets of each suite, and those that cannot be made.

    p values are adjusted for all comparisons together: one family over the suites.

    Raises:
        UsageError: a suite has no such row, or several.
    """
    owners, compared, missing = list[SuiteResults](), list[Contrast](), list[str]()
    for results in of_suites:
        other, headings = find_baseline(results.suite, baseline), overall_headings(results, metric)
        contrasts, lacking = _contrasts(results, results.suite.rows, other, headings, metric)
        owners += [results] * len(contrasts)
        compared += contrasts
        missing += [f"{line} ({results.suite.name})" for line in lacking]
    return list(zip(owners, _adjusted(compared), strict=True)), missing


def _contrasts(
    results: SuiteResults, rows: Sequence[Row], other: Row, headings: Sequence[Heading], metric: Metric
) -> tuple[list[Contrast], list[str]]:
    """Return the comparisons that can be made, not adjusted yet, and a line for each that cannot."""
    rows = [row for row in rows if row.id != other.id and not row.ensemble]
    compared, columns = [], dict.fromkeys(heading.column for heading in headings)
    missing = list(results.holes(metric, columns, [*rows, other]))
    for heading, row in itertools.product(headings, rows):
        if not all(results.is_complete(each, heading.column, metric) for each in (row, other)):
            continue
        comparison = _compare(results, row, other, heading, metric)
        if comparison.cases:
            compared.append(Contrast(row, other, heading, comparison, comparison.p))
        else:
            place = _place(heading)
            missing.append(f"{row.label} and {other.label} on {place}: no case has a score of every seed of both")
    return compared, missing


def _adjusted(contrasts: Sequence[Contrast]) -> tuple[Contrast, ...]:
    """Return comparisons with p adjusted by Holm's method for their number."""
    adjusted = holm([contrast.comparison.p for contrast in contrasts])
    return tuple(replace(contrast, adjusted=p) for contrast, p in zip(contrasts, adjusted, strict=True))


def rank_rows(results: SuiteResults, headings: Sequence[Heading], metric: Metric = DSC) -> list[Ranking]:
    """Return a ranking for each printed column where at least two rows can be ranked.

    Left out are rows that do not compete or have a seed without score, and cases without a score of every seed left.
    """
    rankings = []
    for heading in headings:
        place = (heading.column, heading.stratum, heading.average, metric)
        rows = contenders(results.suite.rows, {row.id: [results.cell(row, *place)] for row in results.suite.rows})
        if not rows:
            continue
        paired = pair_rows(results, rows, heading, metric)
        scored = [not np.isnan(scores).all(axis=1).any() for scores in paired.scores]
        kept = list(itertools.compress(paired.scores, scored))
        if len(kept) > 1 and not np.isnan(np.concatenate(kept)).any(axis=0).all():
            stability = rank_stability(kept, paired.strata, metric.better)
            rankings.append(Ranking(heading, tuple(itertools.compress(rows, scored)), stability))
    return rankings


def pairing_notes(results: SuiteResults, headings: Sequence[Heading], metric: Metric = DSC) -> list[str]:
    """Return why paired means may not be those of the table, as sentences: misses, and classes not defined."""
    notes, uneven = [], False
    for heading in headings:
        rows = [row for row in results.suite.rows if results.is_complete(row, heading.column, metric)]
        scores = {row.label: results.row_scores(row, heading.column, metric) for row in rows}
        tallies = {label: of_row.tally(heading.stratum) for label, of_row in scores.items()}
        several = any(len(of_row.classes) > 1 for of_row in scores.values())
        uneven |= several and any(undefined for undefined, _ in tallies.values())
        if metric.skips_misses and any(missed for _, missed in tallies.values()):
            counts = ", ".join(f"{label} {missed}" for label, (_, missed) in tallies.items())
            notes.append(f"Misses on {_place(heading)}, which {metric.short} leaves out: {counts}")
    return notes + ([MISSED] if notes else []) + ([UNEVEN] if uneven else [])


def _place(heading: Heading) -> str:
    return f"{heading.column.label} {heading.label}".strip()


def _compare(results: SuiteResults, row: Row, other: Row, heading: Heading, metric: Metric) -> Comparison:
    paired = pair_rows(results, (row, other), heading, metric)
    first, second = paired.scores
    comparison = compare(first, second, paired.strata)
    if metric.better == "higher":
        return comparison
    return replace(comparison, wins=comparison.losses, losses=comparison.wins)
