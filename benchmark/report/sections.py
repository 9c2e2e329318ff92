"""Scores and comparisons as a page prints them: charts as (caption, aside, drawing), tables as plain rows."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from ..comparisons.contrasts import contrast_rows, overall_headings, rank_rows
from ..comparisons.render import level_text, stability_text
from ..outcomes.results import SuiteResults
from ..outcomes.scores import RowScores, mean_defined
from ..suites.suite import Column, Row
from ..tables.build import Entry, Table, TableRow
from ..tables.significance import ALPHA
from ..tables.wording import DASH, heading_text, row_label
from .charts import cost_chart, forest_chart, strip_chart

Chart: TypeAlias = tuple[str, str, Markup]

HeatRow: TypeAlias = tuple[str, list[tuple[float, str]], str]
"""Label, cells as (percent of the shading, text), and a last cell without shading or ""."""


def difference_section(results: SuiteResults, baseline: Row) -> dict[str, Any]:
    """Return a note, charts and comparisons of every complete row with the baseline; {} where there are none."""
    headings = overall_headings(results)
    contrasts = contrast_rows(results, results.suite.rows, baseline, headings).contrasts
    if not contrasts:
        return {}
    by_heading = [(heading_text(h), [c for c in contrasts if c.heading == h]) for h in headings]
    targets = [(label, of_target) for label, of_target in by_heading if of_target]
    charts = []
    for number, (label, of_target) in enumerate(targets):
        title = f"Differences to {baseline.label} on {label} with 95 % intervals; the numbers are in the table below"
        lines = [
            (row_label(c.row), 100 * comparison.low, 100 * comparison.difference, 100 * comparison.high, is_clear)
            for c in of_target
            for comparison, is_clear in [(c.comparison, c.adjusted <= ALPHA)]
        ]
        charts.append((label, "", forest_chart(f"forest-{number}", title, lines)))
    note = (
        f"Row minus {baseline.label}, in points of DSC on the same cases, with 95 % intervals. "
        f"{level_text([contrast.comparison for contrast in contrasts])}. "
        f"p (Holm) is adjusted for all {len(contrasts)} comparisons on this page; filled marks and bold: at most "
        f"{ALPHA:g}. Wilcoxon's p, the median and the count of cases see these trained models alone. "
        "No clear difference is not the same as equal."
    )
    return {"note": note, "charts": charts, "targets": targets, "alpha": ALPHA}


def rank_tables(results: SuiteResults) -> list[tuple[str, list[HeatRow], str]]:
    """Return (target, rows, note) with the probability of each rank, the best row first, and its expected rank."""
    tables = []
    for ranking in rank_rows(results, overall_headings(results)):
        stability = ranking.stability
        order = sorted(range(len(ranking.rows)), key=lambda i: (stability.ranks[i], stability.expected[i]))
        rows = [
            (
                ranking.rows[i].label,
                [(100 * share, _percent(share)) for share in stability.probabilities[i]],
                f"{stability.expected[i]:.1f}",
            )
            for i in order
        ]
        tables.append((heading_text(ranking.heading), rows, f"{stability_text(ranking)}."))
    return tables


def _percent(share: float) -> str:
    """Return a probability in percent; "" for what never happened."""
    text = f"{100 * share:.0f}"
    return "" if share == 0 else "<1" if text == "0" else text


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
            has_reference = baseline is not None and baseline.id in strips
            reference = float(np.nanmedian(strips[baseline.id][1])) if baseline and has_reference else None
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


def cost_charts(table: Table, costs: Mapping[str, tuple[float, str]]) -> list[Chart]:
    """Return a chart a target of training time against score.

    Args:
        table: of DSC.
        costs: seconds of one run and the device, by row id.
    """
    charts = []
    for number, column in enumerate(table.suite.columns):
        points = [
            (row_label(row.row), seconds, 100 * mean, device)
            for row in table.rows
            if row.row.id in costs and (mean := overall(row, column).cell.mean) is not None
            for seconds, device in [costs[row.row.id]]
        ]
        if points:
            title = f"Training time against DSC on {column.label}, one point a method"
            charts.append((column.label, "", cost_chart(f"cost-{number}", title, points)))
    return charts


def seed_means(scores: RowScores) -> NDArray[np.float64]:
    """Return each case's score (0..1): the mean of its classes, then of the seeds."""
    return mean_defined(scores.case_means(), axis=0)


def overall(row: TableRow, column: Column) -> Entry:
    """Return the cell of a target as a whole: of all its cases where printed, else its last stratum."""
    entries = [entry for entry in row.entries if entry.heading.column == column and entry.heading.headline]
    return next((entry for entry in entries if entry.heading.stratum in ("all", "average")), entries[-1])
