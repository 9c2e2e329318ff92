"""Printing how means and ranks depend on conventions: Markdown, CSV, LaTeX, JSON."""

import json
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

from ..scoring.metrics import Metric
from ..storage.run_folder import to_csv
from ..suites.suite import Row
from ..tables.latex import latex_lines
from ..tables.printed import Printed, PrintedColumn, markdown, markdown_lines, markdown_list, render_as
from ..tables.render import rounded
from ..tables.wording import MINUS, decimals, misses_notes, ours_text, row_label
from .conventions import ConventionTable, TargetConventions

COLUMNS = (
    *("suite", "protocol", "metric", "unit", "task", "source", "target", "region", "empty", "average", "in_force"),
    *("row", "label", "method", "setting", "state", "reason", "mean", "n", "expected_n", "missed", "rank"),
    "kendall_tau",
)

NARROW = 9  # columns from which on a LaTeX table is set smaller, to fit a page

LEGEND = (
    "In each cell: mean (rank among complete rows that saw the source alone{fewest}); all cases of the target.",
    "The first column is the convention in force; --set evaluation.NAME=VALUE puts another one there. All are made "
    "from what is stored: nothing is trained or predicted again.",
    f"Kendall's tau: of the ranking with the one in force; 1 is the same order, {MINUS}1 the reverse.",
)


def render_conventions(table: ConventionTable, form: str) -> str:
    """Return the table as text that ends with a line break; ``form`` is a key of ``FORMATS``."""
    return render_as(FORMATS, form, table)


def render_markdown(table: ConventionTable) -> str:
    """Return a GitHub table for each target, with the axes that change nothing under it."""
    text = [f"**{markdown(_title(table))}**"]
    for target in table.targets:
        text += ["", f"**{markdown(_heading(target))}**", "", *markdown_lines(_printed(table, target))]
        text += ["", *markdown_list(f"{note}." for note in target.notes)] if target.notes else []
    return "\n".join([*text, "", *markdown_list(_legend(table.metric))]) + "\n"


def render_latex(table: ConventionTable) -> str:
    """Return a ``table`` environment for each target."""
    text = [r"% Needs \usepackage{booktabs}."]
    for target in table.targets:
        font = r"\small" if len(target.conventions) < NARROW else r"\scriptsize\setlength{\tabcolsep}{2pt}"
        text += latex_lines(
            _printed(table, target),
            f"{_title(table)}: {_heading(target)}",
            f"{table.suite.name}-conventions-{target.column.target}",
            [[*(f"{note}." for note in target.notes), *_legend(table.metric)]],
            (font, r"\footnotesize"),
            edge="@{}",
        )
    return "\n".join(text) + "\n"


def render_csv(table: ConventionTable) -> str:
    """Return one line a target, convention and row; means in the printed unit."""
    lines = [
        {**_of_table(table), **target, **convention, **row}
        for target in _targets(table)
        for convention in target["conventions"]
        for row in convention["rows"]
    ]
    return to_csv(COLUMNS, [{name: line[name] for name in COLUMNS} for line in lines])


def render_json(table: ConventionTable) -> str:
    """Return everything that is known."""
    missing = list(table.missing)
    data = {**_of_table(table), "title": table.suite.title, "missing": missing, "targets": _targets(table)}
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def _legend(metric: Metric) -> list[str]:
    fewest = " and have the fewest misses, which are not in the mean" if metric.skips_misses else ""
    return [sentence.format(fewest=fewest) for sentence in LEGEND]


def _title(table: ConventionTable) -> str:
    return f"{table.suite.title}: {table.metric.short} under each convention, protocol {table.suite.protocol}"


def _heading(target: TargetConventions) -> str:
    label = target.column.label if target.unit == "%" else f"{target.column.label} ({target.unit})"
    return f"{label}, by {', '.join(target.axes)}" if target.axes else label


def _printed(table: ConventionTable, target: TargetConventions) -> Printed[list[str]]:
    values = [[str(getattr(convention, axis)) for axis in target.axes] for convention in target.conventions]
    headings = [", ".join(texts) for texts in values]
    headings[0] = f"in force: {headings[0]}" if target.axes else "in force, and any other"
    stacked = [("", *target.axes), ("in force", *values[0]), *(("", *texts) for texts in values[1:])]
    columns: list[PrintedColumn[list[str]]] = [
        PrintedColumn(heading, lines, itemgetter(position), align="c" if position else "l")
        for position, (heading, lines) in enumerate(zip(["Method", *headings], stacked, strict=True))
    ]
    rows = [
        [row_label(row), *(_cell_text(target, row, i) for i in range(len(target.conventions)))]
        for row in table.suite.rows
    ]
    taus = ["" if tau is None else decimals(tau) for tau in target.taus]
    return Printed(columns, rows, foot=[["Kendall's tau", *taus]])


def _cell_text(target: TargetConventions, row: Row, position: int) -> str:
    cell = target.cells[row.id][position]
    if cell.state != "complete" or cell.mean is None:
        return ours_text(cell)
    ranks = target.ranks.get(row.id)
    notes = ([] if ranks is None else [str(ranks[position])]) + misses_notes(cell)
    return f"{cell.metric.scale * cell.mean:.2f}" + (f" ({', '.join(notes)})" if notes else "")


def _of_table(table: ConventionTable) -> dict[str, Any]:
    return {"suite": table.suite.name, "protocol": table.suite.protocol, "metric": table.metric.name}


def _targets(table: ConventionTable) -> list[dict[str, Any]]:
    return [
        {
            **{name: getattr(target.column, name) for name in ("task", "source", "target")},
            **{"unit": target.unit, "varies": list(target.axes), "notes": list(target.notes)},
            "conventions": [
                {
                    **{**convention._asdict(), "in_force": position == 0, "kendall_tau": target.taus[position]},
                    "rows": [_row_data(target, row, position) for row in table.suite.rows],
                }
                for position, convention in enumerate(target.conventions)
            ],
        }
        for target in table.targets
    ]


def _row_data(target: TargetConventions, row: Row, position: int) -> dict[str, Any]:
    cell = target.cells[row.id][position]
    return {
        "row": row.id,
        "label": row.label,
        "method": row.method,
        "setting": row.access,
        "rank": target.ranks[row.id][position] if row.id in target.ranks else None,
        "state": cell.state,
        "reason": cell.reason or None,
        "mean": rounded(cell.scaled(cell.mean)),
        "n": cell.n_seeds,
        "expected_n": cell.expected_seeds,
        "missed": cell.n_missed,
    }


FORMATS: Mapping[str, Callable[[ConventionTable], str]] = {
    "csv": render_csv,
    "markdown": render_markdown,
    "latex": render_latex,
    "json": render_json,
}
