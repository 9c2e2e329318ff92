"""Printing how means and ranks depend on conventions: Markdown, CSV, LaTeX, JSON."""

import json
from collections.abc import Callable
from typing import Any

from ..errors import unknown
from ..outcomes.scores import Cell
from ..scoring.metrics import Metric
from ..storage.run_folder import to_csv
from ..tables import latex_text as latex
from ..tables import render
from ..tables.wording import MINUS, misses_notes, ours_text, row_label
from .conventions import ConventionRow, ConventionTable, TargetConventions

COLUMNS = (
    *("suite", "protocol", "metric", "unit", "task", "source", "target", "region", "empty", "average", "in_force"),
    *("row", "label", "method", "setting", "state", "reason", "mean", "n", "expected_n", "missed", "rank"),
    "kendall_tau",
)

NARROW = 9
"""Columns from which on a LaTeX table is set smaller, to fit a page."""

LEGEND = (
    "In each cell: mean (rank among complete rows that saw the source alone{fewest}); all cases of the target.",
    "The first column is the convention in force; --set evaluation.NAME=VALUE puts another one there. All are made "
    "from what is stored: nothing is trained or predicted again.",
    f"Kendall's tau: of the ranking with the one in force; 1 is the same order, {MINUS}1 the reverse.",
)


def render_conventions(table: ConventionTable, form: str) -> str:
    """Return the table as text that ends with a line break.

    Args:
        table: what to print.
        form: "csv", "markdown", "latex" or "json".
    """
    if form not in FORMATS:
        raise unknown("table format", form, FORMATS)
    return FORMATS[form](table)


def render_markdown(table: ConventionTable) -> str:
    """Return a GitHub table for each target, with the axes that change nothing under it."""
    text = [f"**{render.escape(_title(table))}**"]
    for target in table.targets:
        notes = [f"* {render.escape(note)}." for note in target.notes]
        labels = [", ".join(one.values(target.axes)) for one in target.conventions]
        head = ["Method", f"in force: {labels[0]}" if labels[0] else "in force, and any other", *labels[1:]]
        text += ["", f"**{render.escape(_heading(target))}**", "", *render.markdown_table([head, *_lines(target)])]
        text += ["", *notes] if notes else []
    return "\n".join([*text, "", *(f"* {render.escape(line)}" for line in _legend(table.metric))]) + "\n"


def render_latex(table: ConventionTable) -> str:
    """Return a ``table`` environment for each target."""
    text = [r"% Needs \usepackage{booktabs}."]
    for target in table.targets:
        made = [" & ".join(map(latex.escape, line)) + r" \\" for line in [*_latex_head(target), *_lines(target)]]
        head, lines = made[: -len(target.rows) - 1], made[-len(target.rows) - 1 :]
        notes = [f"{latex.escape(sentence)}." for sentence in target.notes] + [
            latex.escape(line) for line in _legend(table.metric)
        ]
        text += [
            r"\begin{table}",
            r"\centering"
            + (r"\small" if len(target.conventions) < NARROW else r"\scriptsize\setlength{\tabcolsep}{2pt}"),
            rf"\caption{{{latex.escape(f'{_title(table)}: {_heading(target)}')}}}",
            rf"\label{{tab:{table.suite.name}-conventions-{target.column.target}}}",
            rf"\begin{{tabular}}{{@{{}}l{'c' * len(target.conventions)}@{{}}}}",
            r"\toprule",
            *(*head, r"\midrule", *lines[:-1], r"\midrule", lines[-1]),
            *(r"\bottomrule", r"\end{tabular}", r"\par\smallskip"),
            *(r"\begin{minipage}{\linewidth}\footnotesize", *notes, r"\end{minipage}", r"\end{table}"),
        ]
    return "\n".join(text) + "\n"


def render_csv(table: ConventionTable) -> str:
    """Return one line a target, convention and row; means in the printed unit."""
    lines = []
    for target in table.targets:
        for one in _data(target):
            for row in one.pop("rows"):
                line = {**_of_table(table), **_of_target(target), **one, **row}
                lines.append({name: "" if line[name] is None else line[name] for name in COLUMNS})
    return to_csv(COLUMNS, lines)


def render_json(table: ConventionTable) -> str:
    """Return everything that is known."""
    targets = [
        {**_of_target(target), "varies": list(target.axes), "notes": list(target.notes), "conventions": _data(target)}
        for target in table.targets
    ]
    data = {**_of_table(table), "title": table.suite.title, "missing": list(table.missing), "targets": targets}
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def _legend(metric: Metric) -> list[str]:
    fewest = " and have the fewest misses, which are not in the mean" if metric.skips_misses else ""
    return [sentence.format(fewest=fewest) for sentence in LEGEND]


def _title(table: ConventionTable) -> str:
    return f"{table.suite.title}: {table.metric.short} under each convention, protocol {table.suite.protocol}"


def _heading(target: TargetConventions) -> str:
    """Return the target, its unit unless that is percent, and what its columns differ in."""
    label = target.column.label if target.unit == "%" else f"{target.column.label} ({target.unit})"
    return f"{label}, by {', '.join(target.axes)}" if target.axes else label


def _latex_head(target: TargetConventions) -> list[list[str]]:
    """Return a line that marks the column in force, and a line an axis."""
    columns = list(zip(*(one.values(target.axes) for one in target.conventions), strict=True))
    named = [[axis, *values] for axis, values in zip(target.axes, columns, strict=True)]
    return [["", "in force", *[""] * (len(target.conventions) - 1)], *named]


def _lines(target: TargetConventions) -> list[list[str]]:
    """Return a line of cells a row, and the line of taus."""
    columns = range(len(target.conventions))
    lines = [[row_label(row.row), *(_cell_text(row, i) for i in columns)] for row in target.rows]
    return [
        *lines,
        ["Kendall's tau", *("" if tau is None else f"{tau:.2f}".replace("-", MINUS) for tau in target.taus)],
    ]


def _cell_text(row: ConventionRow, position: int) -> str:
    cell = row.cells[position]
    if cell.state != "complete" or cell.mean is None:
        return ours_text(cell)
    notes = ([] if row.ranks is None else [str(row.ranks[position])]) + misses_notes(cell)
    return f"{cell.metric.scale * cell.mean:.2f}" + (f" ({', '.join(notes)})" if notes else "")


def _of_table(table: ConventionTable) -> dict[str, Any]:
    suite = table.suite
    return {"suite": suite.name, "protocol": suite.protocol, "metric": table.metric.name}


def _of_target(target: TargetConventions) -> dict[str, Any]:
    column = target.column
    return {"task": column.task, "source": column.source, "target": column.target, "unit": target.unit}


def _data(target: TargetConventions) -> list[dict[str, Any]]:
    """Return each convention with its rows."""
    return [
        {
            "region": one.region,
            "empty": one.empty,
            "average": one.average,
            "in_force": position == 0,
            "kendall_tau": target.taus[position],
            "rows": [
                {
                    "row": row.row.id,
                    "label": row.row.label,
                    "method": row.row.method,
                    "setting": row.row.access,
                    "rank": None if row.ranks is None else row.ranks[position],
                    **_numbers(row.cells[position]),
                }
                for row in target.rows
            ],
        }
        for position, one in enumerate(target.conventions)
    ]


def _numbers(cell: Cell) -> dict[str, Any]:
    return {
        "state": cell.state,
        "reason": cell.reason or None,
        "mean": None if cell.mean is None else round(cell.metric.scale * cell.mean, 4),
        "n": cell.n_seeds,
        "expected_n": cell.expected_seeds,
        "missed": cell.n_missed,
    }


FORMATS: dict[str, Callable[[ConventionTable], str]] = {
    "csv": render_csv,
    "markdown": render_markdown,
    "latex": render_latex,
    "json": render_json,
}
