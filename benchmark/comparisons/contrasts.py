"""Comparisons of a suite's rows: which pairs, on which cases, and adjusted for how many."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import UsageError, unknown
from ..outcomes.aggregate import SeedResult, tally
from ..outcomes.collect import Collected
from ..outcomes.paired_scores import pair
from ..statistics import Comparison, compare, holm
from ..suites.suite import Column, Row, Suite
from ..tables.build import Heading, column_headings, holes
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


def find_row(suite: Suite, name: str) -> Row:
    """Return a row by its id, or by its method where a single row has that.

    Raises:
        UsageError: no such row, or several.
    """
    found = [row for row in suite.rows if row.id == name] or [row for row in suite.rows if row.method == name]
    if not found:
        raise unknown(f"row or method of suite {suite.name!r}", name, {r.id for r in suite.rows})
    if len(found) > 1:
        ids = ", ".join(row.id for row in found)
        raise UsageError(f"several rows of suite {suite.name!r} run {name!r}; name one of them: {ids}")
    return found[0]


def find_baseline(suite: Suite, name: str | None) -> Row:
    """Return the row that others are compared with: the one named, else the suite's source-only row.

    Of several that is the one without settings of its own.

    Raises:
        UsageError: no such row, or several.
    """
    if name is not None:
        return find_row(suite, name)
    found = [row for row in suite.rows if row.setting == "source-only" and row.saw_source_alone]
    if len(found) > 1:
        found = [row for row in found if not row.settings] or found
    if len(found) != 1:
        has = ", ".join(row.id for row in found) or "no source-only row"
        raise UsageError(f"suite {suite.name!r}, as chosen, has {has}: name the row to compare with by --baseline")
    return found[0]


def overall_headings(collected: Collected) -> list[Heading]:
    """Return one printed column a target: all its cases, by the protocol's average; else each group it prints."""
    chosen = []
    for column in collected.columns:
        headings = group_headings(collected, column)
        chosen += [one for one in headings if one.group in ("all", "average")] or headings
    return chosen


def group_headings(collected: Collected, column: Column) -> list[Heading]:
    """Return the groups of cases that a target prints, "average" only as the protocol means it."""
    average = collected.suite.sections()["evaluation"].average
    return [one for one in column_headings(column, average, collected.units[column]) if one.headline]


def contrast_rows(collected: Collected, rows: Sequence[Row], other: Row, headings: Sequence[Heading]) -> Family:
    """Return the comparisons of rows with one other row; together they are the family of Holm's adjustment.

    Args:
        collected: what is there of the suite.
        rows: to compare; the other one is left out of them.
        other: the baseline.
        headings: where.

    Cells without all their seeds are left out and named.
    """
    rows = [row for row in rows if row.id != other.id]
    made, missing = [], _holes(collected, [*rows, other], headings)
    for heading in headings:
        for row in rows:
            if not all(is_complete(collected, one, heading) for one in (row, other)):
                continue
            comparison = _compare(collected, row, other, heading)
            if comparison.cases:
                made.append((row, heading, comparison))
            else:
                missing.append(
                    f"{row.label} and {other.label} on {_where(heading)}: no case has a score of every seed of both"
                )
    adjusted = holm([comparison.p for _, _, comparison in made])
    contrasts = [Contrast(row, other, where, c, p) for (row, where, c), p in zip(made, adjusted, strict=True)]
    return Family(tuple(contrasts), tuple(missing))


def rank_rows(collected: Collected, headings: Sequence[Heading]) -> list[Ranking]:
    """Return a ranking for each printed column where at least two rows can be ranked.

    Left out are rows that saw the target, that lack seeds, or have a seed without any score, and more misses than
    others under a measure that leaves misses out; and cases without a score of every seed of the rows that are left.
    """
    made = []
    for heading in headings:
        rows = _competing(collected, heading)
        if not rows:
            continue
        paired = pair([_seeds(collected, row, heading) for row in rows], heading.group, heading.average)
        scored = [not np.isnan(scores).all(axis=1).any() for scores in paired.scores]
        kept = list(itertools.compress(paired.scores, scored))
        if len(kept) > 1 and not np.isnan(np.concatenate(kept)).any(axis=0).all():
            stability = rank_stability(kept, paired.strata, collected.measure.better)
            made.append(Ranking(heading, tuple(itertools.compress(rows, scored)), stability))
    return made


def pairing_notes(collected: Collected, headings: Sequence[Heading]) -> list[str]:
    """Return why paired means may not be those of the table, as sentences: misses, and classes not defined."""
    notes, uneven = [], False
    for heading in headings:
        rows = [row for row in collected.suite.rows if is_complete(collected, row, heading)]
        tallies = {row.label: tally(_seeds(collected, row, heading), heading.group) for row in rows}
        several = any(len(_seeds(collected, row, heading)[0].scores.classes) > 1 for row in rows)
        uneven |= several and any(undefined for undefined, _ in tallies.values())
        if collected.measure.skips_misses and any(missed for _, missed in tallies.values()):
            counts = ", ".join(f"{label} {missed}" for label, (_, missed) in tallies.items())
            notes.append(f"Misses on {_where(heading)}, which {collected.measure.short} leaves out: {counts}")
    return notes + ([MISSED] if notes else []) + ([UNEVEN] if uneven else [])


def is_complete(collected: Collected, row: Row, heading: Heading) -> bool:
    """Return whether a row has all the suite's seeds on a target."""
    scores = collected.scores[row.id, heading.column]
    return scores.standing == "planned" and len(scores.seeds) == len(collected.suite.seeds)


def _competing(collected: Collected, heading: Heading) -> list[Row]:
    """Return the rows to rank; as in a table, none ranks well by predicting less."""
    rows = [row for row in collected.suite.rows if row.saw_source_alone and is_complete(collected, row, heading)]
    if not collected.measure.skips_misses:
        return rows
    missed = [_misses(collected, row, heading) for row in rows]
    return [row for row, count in zip(rows, missed, strict=True) if count == min(missed)]


def _misses(collected: Collected, row: Row, heading: Heading) -> int:
    return tally(_seeds(collected, row, heading), heading.group)[1]


def _where(heading: Heading) -> str:
    return f"{heading.column.label} {heading.label}".strip()


def _seeds(collected: Collected, row: Row, heading: Heading) -> tuple[SeedResult, ...]:
    return collected.scores[row.id, heading.column].seeds


def _holes(collected: Collected, rows: Sequence[Row], headings: Sequence[Heading]) -> list[str]:
    """Return a line for each cell among these that is not complete."""
    columns = tuple(dict.fromkeys(heading.column for heading in headings))
    return list(holes(replace(collected, suite=replace(collected.suite, rows=tuple(rows)), columns=columns)))


def _compare(collected: Collected, row: Row, other: Row, heading: Heading) -> Comparison:
    paired = pair([_seeds(collected, one, heading) for one in (row, other)], heading.group, heading.average)
    first, second = paired.scores
    found = compare(first, second, paired.strata)
    if collected.measure.better == "higher":
        return found
    return replace(found, wins=found.losses, losses=found.wins)
