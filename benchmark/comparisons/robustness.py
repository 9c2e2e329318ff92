"""Effective robustness: what a row has on targets beyond what its score on its own source predicts, and its price.

Over many networks, accuracy on a shifted domain follows accuracy on the source on a line (Miller et al., ICML 2021,
arXiv 2107.04649); what a method has above that line is its effective robustness (Taori et al., NeurIPS 2020, arXiv
2007.00644). Here the line is least squares over a suite's own rows: descriptive, not a test.
"""

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..errors import UsageError
from ..outcomes.convergence import held_out_scores
from ..outcomes.headings import Heading, overall_headings
from ..outcomes.results import SuiteResults
from ..statistics import Floats
from ..suites.sources import ends
from ..suites.suite import Row
from ..tables.document import Document, Part
from ..tables.printed import Printed, PrintedColumn
from ..tables.wording import DASH, MINUS, UNCONVERGED, decimals, signed

LEAST = 3
"""Converged rows that a line is drawn through, at least."""


@dataclass(frozen=True, slots=True)
class Line:
    """Target DSC expected of a source DSC, both in percent."""

    slope: float
    intercept: float

    def at(self, source: Floats) -> Floats:
        """Return the expected target DSC."""
        return self.intercept + self.slope * source

    @property
    def text(self) -> str:
        """The line as a formula, its slope first: "0.95 × held out − 0.6"."""
        sign = "+" if self.intercept >= 0 else MINUS
        return f"{decimals(self.slope)} \N{MULTIPLICATION SIGN} held out {sign} {abs(self.intercept):.1f}"


@dataclass(frozen=True, slots=True)
class RobustRow:
    """A row that saw one source alone; DSC in percent, of each seed."""

    row: Row
    source: Floats  # (seeds,): on the source's held-out cases
    targets: Floats  # (targets, seeds)
    minutes: float | None  # of a training, see SuiteResults.training_seconds
    converged: bool  # on its source; else shown, and no line is drawn through it
    trained_in: frozenset[str] = frozenset()  # exports that have its runs; minutes of different ones do not compare

    @property
    def label(self) -> str:
        """The row's label, marked where it is not converged."""
        return self.row.label + ("" if self.converged else f" {UNCONVERGED}")


@dataclass(frozen=True, slots=True)
class Robustness:
    """The rows of a suite from one source, and a line for each of its targets."""

    name: str
    title: str
    headings: tuple[Heading, ...]
    rows: tuple[RobustRow, ...]  # as in the suite; the baseline is the first without SSDG
    lines: tuple[Line | None, ...]  # of each target; None: fewer than three converged rows, or equal source scores
    baseline: RobustRow | None
    unconverged: str = ""  # which rows are not converged, and by which rule

    def above(self, row: RobustRow) -> Floats | None:
        """Return points above the line by seed, mean of the targets; None without a line, and far from it (¶)."""
        lines = [line for line in self.lines if line is not None]
        if len(lines) < len(self.lines) or not row.converged:
            return None
        expected = [line.at(row.source) for line in lines]
        return np.asarray(np.mean(row.targets - np.array(expected), axis=0))

    def gain(self, row: RobustRow) -> float:
        """Return points over the baseline, mean of the targets and seeds; NaN without a baseline."""
        return math.nan if self.baseline is None else float(row.targets.mean() - self.baseline.targets.mean())


def measure_robustness(results: SuiteResults) -> list[Robustness]:
    """Return the rows of each source of a suite that saw it alone and are complete on all its targets.

    Raises:
        UsageError: no such row has held-out scores.
    """
    headings: dict[tuple[str, str], list[Heading]] = {}
    for heading in overall_headings(results):
        headings.setdefault((heading.column.task, heading.column.source), []).append(heading)
    studies = [_of_source(results, of_source) for of_source in headings.values()]
    if not any(study.rows for study in studies):
        raise UsageError(f"no row of {results.suite.name} has all targets and its source's held-out cases scored")
    return [study for study in studies if study.rows]


def _of_source(results: SuiteResults, headings: Sequence[Heading]) -> Robustness:
    rows = list(_rows(results, headings))
    plain = (row for row in rows if row.row.access == "source-only" and not row.row.settings)
    fitted = [row for row in rows if row.converged]
    lines = tuple(
        _line([row.source for row in fitted], [row.targets[i] for row in fitted]) for i in range(len(headings))
    )
    suite = results.suite
    return Robustness(
        suite.name, suite.title, tuple(headings), tuple(rows), lines, next(plain, None), results.convergence.text
    )


def _rows(results: SuiteResults, headings: Sequence[Heading]) -> Iterator[RobustRow]:
    column = headings[0].column
    for row in results.suite.rows:
        held_out = held_out_scores(results, row, column) if row.contender and row.folds is None else {}
        complete = all(results.is_complete(row, heading.column) for heading in headings)
        if not complete or held_out.keys() != set(results.suite.seeds):
            continue
        scored = [results.row_scores(row, heading.column) for heading in headings]
        targets = [
            scores.means(heading.stratum, heading.average)[[scores.seeds.index(seed) for seed in results.suite.seeds]]
            for scores, heading in zip(scored, headings, strict=True)
        ]
        source = np.array([held_out[seed] for seed in results.suite.seeds])
        seconds = results.training_seconds(row, column)
        minutes = None if seconds is None else seconds / 60
        verdicts = results.convergence.verdicts
        converged = all(verdicts.get((row.id, heading.column), True) for heading in headings)
        places = frozenset(results.trained_in(row, column))
        yield RobustRow(row, 100 * source, 100 * np.array(targets), minutes, converged, places)


def _line(sources: Sequence[Floats], targets: Sequence[Floats]) -> Line | None:
    x, y = (np.array([scores.mean() for scores in rows]) for rows in (sources, targets))
    if len(x) < LEAST or np.ptp(x) == 0:
        return None
    slope, intercept = np.polyfit(x, y, 1)
    return Line(float(slope), float(intercept))


def robustness_document(studies: Sequence[Robustness]) -> Document:
    """Return the studies of a suite to print, as a part a source, with a line a row for programs."""
    return Document(
        title=f"{studies[0].title}: target accuracy against source accuracy, and its price",
        label=f"{studies[0].name}-robustness",
        parts=[
            Part(_printed(study), f"from {ends(study.headings[0].column)[0]}" * (len(studies) > 1), sentences(study))
            for study in studies
        ],
        records=partial(_records, studies),
        data=partial(_records, studies),
    )


def sentences(study: Robustness) -> list[str]:
    """Return what a reader needs under a table."""
    targets = ", ".join(heading.text for heading in study.headings)
    lines = zip(study.headings, study.lines, strict=True)
    fits = [f"{heading.text} {line.text}" for heading, line in lines if line is not None]
    left_out = [row.label for row in study.rows if not row.converged]
    rows = f"those converged, without {', '.join(left_out)}, which it says nothing of" if left_out else "these rows"
    line = f"is least squares over {rows} ({'; '.join(fits)})" if fits else f"needs {LEAST} converged rows"
    seeds, apart = len(study.rows[0].source), len({row.trained_in for row in study.rows}) > 1
    return [
        f"DSC (%), mean of n = {seeds} seed{'s' * (seeds > 1)}; targets: mean of {targets}.",
        "Above the line: target DSC minus the one that the row's held-out source DSC predicts, mean ± SD over seeds; "
        f"the line {line}. Descriptive: it moves with the rows that are there.",
        "Minutes: of a training at the pace of the row's fastest epoch, on the machine that runs.csv names. "
        "A point costs: minutes more than the baseline's for each point of target DSC gained over it, where both are "
        "more" + (", of rows that were trained in one place." if apart else "."),
        *([f"{UNCONVERGED} {study.unconverged}."] if left_out else []),
    ]


def _printed(study: Robustness) -> Printed[RobustRow]:
    def above(row: RobustRow) -> str:
        values = study.above(row)
        if values is None:
            return DASH
        spread = f" ± {statistics.stdev(values.tolist()):.2f}" if len(values) > 1 else ""
        return f"{signed(float(values.mean()))}{spread}"

    def gain(row: RobustRow) -> str:
        return DASH if study.baseline is None or row is study.baseline else signed(study.gain(row))

    def price(row: RobustRow) -> str:
        if study.baseline is None or study.baseline.minutes is None or row.minutes is None:
            return DASH
        if row.trained_in != study.baseline.trained_in:
            return DASH
        minutes, points = row.minutes - study.baseline.minutes, study.gain(row)
        return f"{minutes / points:.1f} min" if minutes > 0 and points > 0 else DASH

    columns = [
        PrintedColumn("Method", lambda row: row.label, align="l"),
        PrintedColumn("held out", lambda row: f"{row.source.mean():.2f}"),
        PrintedColumn("targets", lambda row: f"{row.targets.mean():.2f}"),
        PrintedColumn("above the line", above),
        PrintedColumn(f"over {study.baseline.row.label if study.baseline else 'the baseline'}", gain),
        PrintedColumn("minutes", lambda row: DASH if row.minutes is None else f"{row.minutes:.1f}"),
        PrintedColumn("a point costs", price),
    ]
    return Printed(columns, study.rows)


def _records(studies: Sequence[Robustness]) -> list[dict[str, object]]:
    return [
        {
            **{"suite": study.name, "source": study.headings[0].column.source},
            **{"row": row.row.id, "converged": row.converged},
            "held_out": round(float(row.source.mean()), 4),
            "targets": round(float(row.targets.mean()), 4),
            "above_line": None if (above := study.above(row)) is None else round(float(above.mean()), 4),
            "over_baseline": None if study.baseline is None else round(study.gain(row), 4),
            "minutes": None if row.minutes is None else round(row.minutes, 2),
        }
        for study in studies
        for row in study.rows
    ]
