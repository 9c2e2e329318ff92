"""Scores and comparisons as a page prints them: charts as (caption, aside, drawing), tables as plain rows."""

import itertools
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from ..comparisons.contrasts import Contrast, contrast_contenders, not_compared, rank_rows
from ..comparisons.render import adjusted_text, family_text, level_text, p_text, stability_text
from ..outcomes.headings import overall_headings
from ..outcomes.results import SuiteResults
from ..outcomes.scores import RowScores, mean_defined
from ..statistics import ALPHA
from ..suites.suite import Column, Row
from ..tables.build import Entry, Table, TableRow
from ..tables.printed import Printed, PrintedColumn
from ..tables.wording import DASH, percent, row_label, signed
from .charts import cost_chart, forest_chart, strip_chart
from .run_facts import training_costs

Chart: TypeAlias = tuple[str, str, Markup]

# Label, cells as (percent of the shading, text), and a last cell without shading or "".
HeatRow: TypeAlias = tuple[str, list[tuple[float, str]], str]


def _points(heading: str, *names: str) -> PrintedColumn[Contrast]:
    def values(contrast: Contrast) -> list[float]:
        return [100 * getattr(contrast.comparison, name) for name in names]

    return PrintedColumn(heading, lambda c: " to ".join(map(signed, values(c))), lambda c: str(values(c)[0]))


def _p(heading: str, value: Callable[[Contrast], float]) -> PrintedColumn[Contrast]:
    return PrintedColumn(heading, lambda c: p_text(value(c)), lambda c: str(value(c)))


CONTRAST_COLUMNS: tuple[PrintedColumn[Contrast], ...] = (
    PrintedColumn("Method", lambda c: row_label(c.row)),
    _points("Difference", "difference"),
    _points("95 % interval", "low", "high"),
    _p("p", lambda c: c.comparison.p),
    PrintedColumn(
        "p (Holm)",
        adjusted_text,
        lambda c: "" if c.adjusted is None else str(c.adjusted),
        bold=lambda c: c.separated,
    ),
    _p("Wilcoxon p", lambda c: c.comparison.wilcoxon_p),
    _points("Median", "median"),
    PrintedColumn(
        "Higher / equal / lower",
        lambda c: f"{c.comparison.wins} / {c.comparison.ties} / {c.comparison.losses}",
        lambda c: str(c.comparison.wins),
    ),
)


def difference_section(results: SuiteResults, baseline: Row) -> dict[str, Any]:
    """Return a note, charts and comparisons of every complete row with the baseline; {} where there are none."""
    contrasts = contrast_contenders(results, baseline, overall_headings(results)).contrasts
    if not contrasts:
        return {}
    charts: list[Chart] = []
    tables = []
    for heading, grouped in itertools.groupby(contrasts, key=lambda contrast: contrast.heading):
        of_target = list(grouped)
        lines = [
            (row_label(contrast.row), 100 * c.low, 100 * c.difference, 100 * c.high, contrast.separated)
            for contrast in of_target
            for c in [contrast.comparison]
        ]
        title = f"Differences to {baseline.label} on {heading.text} with 95 % intervals"
        drawing = forest_chart(f"forest-{len(charts)}", f"{title}; the numbers are in the table below", lines)
        charts.append((heading.text, "", drawing))
        tables.append((heading.text, Printed(CONTRAST_COLUMNS, of_target)))
    note = (
        f"Row minus {baseline.label}, in points of DSC on the same cases, with 95 % intervals. "
        f"{level_text([contrast.comparison for contrast in contrasts])}. {family_text(contrasts)}; filled marks and "
        f"bold: at most {ALPHA:g}. Wilcoxon's p, the median and the count of cases see these trained models alone. "
        "No clear difference is not the same as equal."
    ) + "".join(f" {text}." for text in not_compared(results, baseline))
    title = f"Differences to {baseline.label}"
    return {"title": title, "note": note, "charts": charts, "targets": tables}


def rank_tables(results: SuiteResults) -> list[tuple[str, list[HeatRow], str]]:
    """Return (target, rows, note) with the probability of each rank, the best row first, and its expected rank."""
    tables = []
    for ranking in rank_rows(results, overall_headings(results)):
        stability = ranking.stability
        cells = [[(100 * share, percent(share)) for share in of_row] for of_row in stability.probabilities]
        rows = [(ranking.rows[i].label, cells[i], f"{stability.expected[i]:.1f}") for i in ranking.order]
        tables.append((ranking.heading.text, rows, f"{stability_text(ranking)}."))
    return tables


def case_charts(results: SuiteResults, baseline: Row | None) -> list[Chart]:
    """Return a chart a target of its cases: the mean of a case's classes, then of the seeds."""
    charts: list[Chart] = []
    for column in results.suite.columns:
        strips = {
            row.id: (row_label(row), 100 * seed_means(scores), scores.strata)
            for row in results.suite.rows
            if (scores := results.row_scores(row, column)).seeds
        }
        if strips:
            of_baseline = None if baseline is None else strips.get(baseline.id)
            reference = None if of_baseline is None else float(np.nanmedian(of_baseline[1]))
            cases = max(len(strata) for _, _, strata in strips.values())
            title = f"DSC of each of {cases} cases on {column.label}, one line a method"
            drawing = strip_chart(f"cases-{len(charts)}", title, list(strips.values()), reference)
            charts.append((column.label, f"{cases} cases", drawing))
    return charts


def class_tables(results: SuiteResults) -> list[tuple[str, tuple[str, ...], list[HeatRow]]]:
    """Return (target, classes, rows) of targets with several classes: means over cases, then seeds, in percent."""
    tables = []
    for column in results.suite.columns:
        scores = [(row_label(row), results.row_scores(row, column)) for row in results.suite.rows]
        several = [(label, row) for label, row in scores if len(row.classes) > 1]
        means = [100 * mean_defined(mean_defined(row.values, axis=1), axis=0) for _, row in several]
        rows = [
            (label, [(0.0, DASH) if np.isnan(mean) else (mean, f"{mean:.1f}") for mean in of_row], "")
            for (label, _), of_row in zip(several, means, strict=True)
        ]
        if rows:
            tables.append((column.label, several[0][1].classes, rows))
    return tables


def cost_charts(results: SuiteResults, table: Table) -> tuple[list[Chart], list[str]]:
    """Return a chart a target of training time against DSC, and the devices."""
    charts: list[Chart] = []
    devices: set[str] = set()
    for number, column in enumerate(table.suite.columns):
        costs = training_costs(results, column)
        points = [
            (row_label(row.row), seconds, 100 * mean, device)
            for row in table.rows
            if row.row.id in costs and (mean := overall(row, column).cell.mean) is not None
            for seconds, device in [costs[row.row.id]]
        ]
        if points:
            title = f"Training time against DSC on {column.label}, one point a method"
            charts.append((column.label, "", cost_chart(f"cost-{number}", title, points)))
            devices |= {device for *_, device in points}
    return charts, sorted(devices)


def seed_means(scores: RowScores) -> NDArray[np.float64]:
    """Return each case's score (0..1): the mean of its classes, then of the seeds."""
    return mean_defined(scores.case_means(), axis=0)


def overall(row: TableRow, column: Column) -> Entry:
    """Return the cell of a target as a whole: of all its cases where printed, else its last stratum."""
    entries = [entry for entry in row.entries if entry.heading.column == column and entry.heading.headline]
    return next((entry for entry in entries if entry.heading.stratum in ("all", "average")), entries[-1])


def missing_parts(results: SuiteResults, table: Table) -> list[tuple[str, list[str]]]:
    """Return cells, runs, cases and folders that are missing: a title and its lines."""
    failed = [run for run in results.planned_runs if run.state in ("FAILED", "DIVERGED")]
    incomplete = {
        column: f"{column.label}: {counts['scored']} of {counts['published']} cases{_absent(counts)}"
        for column in results.suite.columns
        for scores in results.of_column(column)
        for counts in scores.counts
        if counts["scored"] < (counts.get("published") or 0)
    }
    parts = {
        "Cells without all their seeds": table.missing,
        "Runs that failed": [f"{run.name} ({run.state}): {run.error or 'no message was left'}" for run in failed],
        "Data sets of which not every published case was scored": incomplete.values(),
        "Folders that cannot be read": results.problems,
    }
    return [(title, list(lines)) for title, lines in parts.items() if lines]


def _absent(counts: Mapping[str, Any]) -> str:
    names = ", ".join(map(str, counts.get("missing") or ()))
    return f"; image missing for {names}" if names else ""
