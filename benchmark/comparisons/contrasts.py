"""Comparisons of a suite's rows: which pairs, on which cases, and adjusted for how many."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import UsageError, unknown
from ..outcomes.headings import Heading, overall_headings, target_scores
from ..outcomes.results import SuiteResults
from ..outcomes.scores import contenders
from ..scoring.metrics import DSC, Metric
from ..statistics import ALPHA, LEAST_SEEDS, Comparison, compare, holm
from ..suites.suite import Row, Suite
from ..tables.wording import row_label
from .ranking import RankStability, rank_stability

MISSED = (
    "A class that any of the rows compared misses in a case is left out of that case for all of them, and only the "
    "rows with the fewest misses are ranked; NSD counts a miss as 0"
)


@dataclass(frozen=True, slots=True)
class Contrast:
    """A row against another on the cases of one printed column."""

    row: Row
    other: Row
    heading: Heading
    comparison: Comparison  # row minus other, in stored units; a win is a case where the row is better
    adjusted: float | None = None  # p after Holm's method over the family; None: too few seeds to be in it

    @property
    def has_verdict(self) -> bool:
        """Whether both rows have seeds enough to be told apart."""
        return min(self.comparison.seeds) >= LEAST_SEEDS

    @property
    def separated(self) -> bool:
        """Whether the rows are told apart."""
        return self.adjusted is not None and self.adjusted <= ALPHA


@dataclass(frozen=True, slots=True)
class Family:
    """Comparisons whose number p values are adjusted for, and those that could not be made."""

    contrasts: tuple[Contrast, ...]
    missing: tuple[str, ...]  # a line each

    @property
    def size(self) -> int:
        """Number of comparisons that p values are adjusted for."""
        return sum(contrast.has_verdict for contrast in self.contrasts)


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
    rows = [row for row in suite.rows if row.access == "source-only" and row.contender and row.trained_here]
    if len(rows) > 1:
        rows = [row for row in rows if not row.settings] or rows
    if len(rows) != 1:
        has = ", ".join(row.id for row in rows) or "no source-only row"
        raise UsageError(f"suite {suite.name!r}, as chosen, has {has}: name the row to compare with by --baseline")
    return rows[0]


def contrast_rows(
    results: SuiteResults, rows: Sequence[Row], other: Row, headings: Sequence[Heading], metric: Metric = DSC
) -> Family:
    """Return the comparisons of rows with the baseline ``other``: the family of Holm's adjustment.

    Cells without all their seeds are left out and named.
    """
    compared, missing = _contrasts(results, rows, other, headings, metric)
    return Family(_adjusted(compared), tuple(missing))


def contrast_contenders(
    results: SuiteResults, other: Row, headings: Sequence[Heading], metric: Metric = DSC
) -> Family:
    """Return the comparisons of every contender with the baseline; :func:`not_compared` names the other rows."""
    return contrast_rows(results, [row for row in results.suite.rows if row.contender], other, headings, metric)


def not_compared(results: SuiteResults, baseline: Row) -> list[str]:
    """Return the rows that are in no family of contenders, as a sentence; none where there is no such row."""
    labels = [row_label(row) for row in results.suite.rows if not row.contender and row.id != baseline.id]
    reason = "they saw target images or labels, or are an ensemble"
    return [f"Not compared, because {reason}: {', '.join(labels)}"] if labels else []


def require_distinct(suites: Sequence[SuiteResults]) -> None:
    """Raise UsageError where suites have a source and target in common: its cases would count twice."""
    owners: dict[tuple[str, str, str], str] = {}
    shared: dict[tuple[str, str], list[str]] = {}
    for results in suites:
        for column in results.suite.columns:
            place = column.task, column.source, column.target
            first = owners.setdefault(place, results.suite.name)
            if first != results.suite.name:
                shared.setdefault((first, results.suite.name), []).append(column.label or column.target)
    if shared:
        texts = [f"{first} and {second} both have {', '.join(names)}" for (first, second), names in shared.items()]
        raise UsageError(
            f"{'; '.join(texts)} from the same source: the same cases, and mostly the same runs, would count twice; "
            "name one of these suites"
        )


def contrast_suites(
    suites: Sequence[SuiteResults], baseline: str | None, metric: Metric = DSC
) -> tuple[list[tuple[SuiteResults, Contrast]], list[str]]:
    """Return each contender minus the baseline of its suite, on all targets of each suite, and those without scores.

    p values are adjusted for all comparisons together: one family over the suites.

    Raises:
        UsageError: a suite has no such row, or several; or suites have a source and target in common.
    """
    require_distinct(suites)
    owners, compared, missing = list[SuiteResults](), list[Contrast](), list[str]()
    for results in suites:
        other, headings = find_baseline(results.suite, baseline), overall_headings(results, metric)
        rows = [row for row in results.suite.rows if row.contender]
        contrasts, lines = _contrasts(results, rows, other, headings, metric)
        owners += [results] * len(contrasts)
        compared += contrasts
        missing += [f"{line} ({results.suite.name})" for line in lines]
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
            compared.append(Contrast(row, other, heading, comparison))
        else:
            place = _place(heading)
            missing.append(f"{row.label} and {other.label} on {place}: no case has a score of every seed of both")
    return compared, missing


def _adjusted(contrasts: Sequence[Contrast]) -> tuple[Contrast, ...]:
    """Return comparisons with p adjusted by Holm's method for the number of those with enough seeds."""
    adjusted = iter(holm([contrast.comparison.p for contrast in contrasts if contrast.has_verdict]))
    return tuple(replace(c, adjusted=next(adjusted)) if c.has_verdict else c for c in contrasts)


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
        common = target_scores(results, rows, heading, metric)
        scored = [not np.isnan(scores).any() for scores in common.scores]
        if sum(scored) > 1:
            kept = replace(common, scores=list(itertools.compress(common.scores, scored)))
            stability = rank_stability(kept, metric.sign)
            rankings.append(Ranking(heading, tuple(itertools.compress(rows, scored)), stability))
    return rankings


def misses_notes(results: SuiteResults, headings: Sequence[Heading], metric: Metric = DSC) -> list[str]:
    """Return the misses on each target, for which means may not be those of the table, as sentences."""
    notes = []
    for heading in headings if metric.skips_misses else ():
        rows = [row for row in results.suite.rows if results.is_complete(row, heading.column, metric)]
        tallies = {r.label: results.row_scores(r, heading.column, metric).tally(heading.stratum)[1] for r in rows}
        if any(tallies.values()):
            counts = ", ".join(f"{label} {missed}" for label, missed in tallies.items())
            notes.append(f"Misses on {_place(heading)}, which {metric.short} leaves out: {counts}")
    return [*notes, MISSED] if notes else []


def _place(heading: Heading) -> str:
    return f"{heading.column.label} {heading.label}".strip()


def _compare(results: SuiteResults, row: Row, other: Row, heading: Heading, metric: Metric) -> Comparison:
    common = target_scores(results, (row, other), heading, metric)
    comparison = compare(common.scores[0], common.scores[1], common.strata, common.case_means)
    if metric.better == "higher":
        return comparison
    return replace(comparison, wins=comparison.losses, losses=comparison.wins)
