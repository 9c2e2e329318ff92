"""Printing a table: CSV with one line a cell, Markdown, LaTeX, JSON."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import unknown
from ..spec import to_json
from ..storage.run_folder import to_csv
from ..suites.suite import Row
from .build import Entry, Table
from .latex import render_latex
from .wording import SETTINGS, delta_text, heading_text, ours_text, published_text, row_label, title_text

CSV_COLUMNS = (
    *("suite", "protocol", "row", "label", "method", "setting", "selection"),
    *("task", "source", "target", "group", "average"),
    *("metric", "unit", "state", "reason", "ours_mean", "ours_sd", "n", "expected_n", "cases", "undefined", "missed"),
    "best",
    *("published_mean", "published_sd", "delta"),
)


def render(table: Table, form: str) -> str:
    """Return a table as text that ends with a line break.

    Args:
        table: what to print.
        form: "csv", "markdown", "latex" or "json".
    """
    if form not in FORMATS:
        raise unknown("table format", form, FORMATS)
    return FORMATS[form](table)


def render_csv(table: Table) -> str:
    """Return one line a row, target, group and average; scores in the unit named, empty where there is none."""
    rows = []
    columns = (*CSV_COLUMNS, *(f"component_{label}" for label in table.suite.components))
    for row in table.rows:
        components = table.suite.components_of(row.row).items()
        for entry in row.entries:
            line = {**_where(table, entry), **_numbers(entry)}
            line |= _of_row(table, row.row)
            line |= {f"component_{label}": str(has).lower() for label, has in components}
            if not table.show_published:
                line |= dict.fromkeys(("published_mean", "published_sd", "delta"))
            rows.append({name: "" if line[name] is None else line[name] for name in columns})
    return to_csv(columns, rows)


def render_json(table: Table) -> str:
    """Return everything that is known of a table."""
    data = {
        "suite": table.suite.name,
        "title": table.suite.title,
        "protocol": table.suite.protocol,
        "metric": table.metric.name,
        "better": table.metric.better,
        "seeds": list(table.suite.seeds),
        "sections": to_json(table.suite.sections()),
        "complete": table.complete,
        "missing": list(table.missing),
        "caption": list(table.caption),
        "rows": [
            {
                **_of_row(table, row.row),
                "settings": to_json(row.row.settings),
                "components": table.suite.components_of(row.row),
                "cells": [
                    {**_where(table, entry), **_numbers(entry), "per_seed": per_seed(entry)} for entry in row.entries
                ],
            }
            for row in table.rows
        ],
    }
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def render_markdown(table: Table) -> str:
    """Return a GitHub table with its title and caption, padded to be read in a terminal too."""
    headings = (heading_text(heading) for heading in table.headings)
    lines = [["Method", "Setting", *table.suite.components, *headings]]
    for row in table.rows:
        marks = (CHECK if has else "" for has in table.suite.components_of(row.row).values())
        cells = (_markdown_cell(entry) for entry in row.entries)
        lines.append([row_label(row.row), SETTINGS[row.row.access], *marks, *cells])
    caption = [f"* {escape(sentence)}" for sentence in table.caption]
    return "\n".join([f"**{escape(title_text(table))}**", "", *markdown_table(lines), "", *caption]) + "\n"


def markdown_table(lines: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a GitHub table from its cells, the header first; ``BOLD`` becomes asterisks."""
    lines = [[escape(text) for text in line] for line in lines]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    padded = ["| " + " | ".join(t.ljust(w) for t, w in zip(line, widths, strict=True)) + " |" for line in lines]
    return [padded[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *padded[1:]]


def _markdown_cell(entry: Entry) -> str:
    text = f"{BOLD}{ours_text(entry.cell)}{BOLD}" if entry.best else ours_text(entry.cell)
    parts = [part for part in (published_text(entry), delta_text(entry)) if part]
    return f"{text} [{'; '.join(parts)}]" if parts else text


CHECK = "\N{CHECK MARK}"

BOLD = "\x00"
"""Stands for Markdown's asterisks until other asterisks are escaped."""


def escape(text: str) -> str:
    """Return plain text as Markdown."""
    for character in "\\|*<`":
        text = text.replace(character, f"\\{character}")
    return text.replace(BOLD, "**")


def _of_row(table: Table, row: Row) -> dict[str, Any]:
    selection = table.suite.resolved(row)[0]["training"].selection
    return {"row": row.id, "label": row.label, "method": row.method, "setting": row.access, "selection": selection}


def _where(table: Table, entry: Entry) -> dict[str, Any]:
    heading = entry.heading
    return {
        "suite": table.suite.name,
        "protocol": table.suite.protocol,
        "task": heading.column.task,
        "source": heading.column.source,
        "target": heading.column.target,
        "group": heading.stratum,
        "average": heading.average,
        "metric": table.metric.name,
        "unit": heading.unit,
    }


def per_seed(entry: Entry) -> list[float]:
    """Return the score of each complete seed in the printed unit."""
    return [entry.cell.metric.scale * value for value in entry.cell.values]


def _numbers(entry: Entry) -> dict[str, Any]:
    """Return a cell's numbers, scores in the printed unit with four decimals."""
    cell, published = entry.cell, entry.published
    scale = cell.metric.scale
    return {
        "state": cell.state,
        "reason": cell.reason or None,
        "ours_mean": None if cell.mean is None else round(scale * cell.mean, 4),
        "ours_sd": None if cell.sd is None else round(scale * cell.sd, 4),
        "n": cell.n_seeds,
        "expected_n": cell.expected_seeds,
        "cases": cell.n_cases,
        "undefined": cell.n_undefined,
        "missed": cell.n_missed,
        "best": entry.best,
        "published_mean": None if published is None else published.mean,
        "published_sd": None if published is None else published.sd,
        "delta": None if entry.delta is None else round(entry.delta, 4),
    }


FORMATS: dict[str, Callable[[Table], str]] = {
    "csv": render_csv,
    "markdown": render_markdown,
    "latex": render_latex,
    "json": render_json,
}
