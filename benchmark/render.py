"""Printing a table: CSV with one line a cell, Markdown, LaTeX, JSON."""

import json
from collections.abc import Callable
from typing import Any

from .latex import render_latex
from .settings import unknown
from .spec import to_json
from .store import to_csv
from .tables import Entry, Table
from .wording import SETTINGS, delta_text, heading_text, ours_text, published_text, row_label

CSV_COLUMNS = (
    *("suite", "protocol", "row", "label", "method", "setting", "task", "source", "target", "group", "average"),
    *("state", "reason", "ours_mean", "ours_sd", "n", "expected_n", "cases", "undefined", "best"),
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
    """Return one line a row, target, group and average; scores in percent, empty where there is none."""
    rows = []
    for row in table.rows:
        for entry in row.entries:
            line = {**_where(table, entry), **_numbers(entry)}
            line |= {"row": row.row.id, "label": row.row.label, "method": row.row.method, "setting": row.row.setting}
            if not table.show_published:
                line |= dict.fromkeys(("published_mean", "published_sd", "delta"))
            rows.append({name: "" if line[name] is None else line[name] for name in CSV_COLUMNS})
    return to_csv(CSV_COLUMNS, rows)


def render_json(table: Table) -> str:
    """Return everything that is known of a table."""
    data = {
        "suite": table.suite.name,
        "title": table.suite.title,
        "protocol": table.suite.protocol,
        "seeds": list(table.suite.seeds),
        "sections": to_json(table.suite.sections()),
        "complete": table.complete,
        "missing": list(table.missing),
        "caption": list(table.caption),
        "rows": [
            {
                "row": row.row.id,
                "label": row.row.label,
                "method": row.row.method,
                "setting": row.row.setting,
                "settings": to_json(row.row.settings),
                "cells": [
                    {**_where(table, entry), **_numbers(entry), "per_seed": [100 * v for v in entry.cell.values]}
                    for entry in row.entries
                ],
            }
            for row in table.rows
        ],
    }
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def render_markdown(table: Table) -> str:
    """Return a GitHub table with its title and caption, padded to be read in a terminal too."""
    lines = [["Method", "Setting", *(heading_text(heading) for heading in table.headings)]]
    for row in table.rows:
        lines.append([row_label(row.row), SETTINGS[row.row.setting], *(_markdown_cell(e) for e in row.entries)])
    lines = [[_escape(text) for text in line] for line in lines]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    padded = ["| " + " | ".join(t.ljust(w) for t, w in zip(line, widths, strict=True)) + " |" for line in lines]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    caption = [f"* {_escape(sentence)}" for sentence in table.caption]
    return "\n".join([f"**{_escape(table.suite.title)}**", "", padded[0], rule, *padded[1:], "", *caption]) + "\n"


def _markdown_cell(entry: Entry) -> str:
    text = f"{BOLD}{ours_text(entry.cell)}{BOLD}" if entry.best else ours_text(entry.cell)
    parts = [part for part in (published_text(entry), delta_text(entry)) if part]
    return f"{text} [{'; '.join(parts)}]" if parts else text


BOLD = "\x00"
"""Stands for Markdown's asterisks until other asterisks are escaped."""


def _escape(text: str) -> str:
    for character in "\\|*<`":
        text = text.replace(character, f"\\{character}")
    return text.replace(BOLD, "**")


def _where(table: Table, entry: Entry) -> dict[str, Any]:
    heading = entry.heading
    return {
        "suite": table.suite.name,
        "protocol": table.suite.protocol,
        "task": heading.column.task,
        "source": heading.column.source,
        "target": heading.column.target,
        "group": heading.group,
        "average": heading.average,
    }


def _numbers(entry: Entry) -> dict[str, Any]:
    """Return a cell's numbers, scores in percent with four decimals."""
    cell, published = entry.cell, entry.published
    return {
        "state": cell.state,
        "reason": cell.reason or None,
        "ours_mean": None if cell.mean is None else round(100 * cell.mean, 4),
        "ours_sd": None if cell.sd is None else round(100 * cell.sd, 4),
        "n": cell.n_seeds,
        "expected_n": cell.expected_seeds,
        "cases": cell.n_cases,
        "undefined": cell.n_undefined,
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
