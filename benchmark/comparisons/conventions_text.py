"""How means and ranks depend on conventions, to print."""

from functools import partial
from operator import itemgetter
from typing import Any

from ..suites.suite import Row
from ..tables.document import Document, Part
from ..tables.printed import Printed, PrintedColumn
from ..tables.suite_table import MOST, rounded
from ..tables.wording import MINUS, decimals, misses_notes, ours_text, row_label
from .conventions import ConventionTable, TargetConventions

COLUMNS = (
    *("suite", "protocol", "metric", "unit", "task", "source", "target", "region", "empty", "average", "in_force"),
    *("row", "label", "method", "setting", "state", "reason", "mean", "n", "expected_n", "missed", "rank"),
    "kendall_tau",
)

LEGEND = (
    "In each cell: mean (rank among complete rows that saw the source alone{fewest}); all cases of the target.",
    "The first column is the convention in force; --set evaluation.NAME=VALUE puts another one there. All are made "
    "from what is stored: nothing is trained or predicted again.",
    f"Kendall's tau: of the ranking with the one in force; 1 is the same order, {MINUS}1 the reverse.",
)


def conventions_document(table: ConventionTable) -> Document:
    """Return a table to print, as a part a target with the axes that change nothing under it.

    CSV has a line a target, convention and row, with means in the printed unit; JSON has everything that is known.
    """
    fewest = " and have the fewest misses, which are not in the mean" if table.metric.skips_misses else ""
    return Document(
        title=f"{table.suite.title}: {table.metric.short} under each convention, protocol {table.suite.protocol}",
        label=f"{table.suite.name}-conventions",
        parts=[
            Part(_printed(table, target), _heading(target), [f"{note}." for note in target.notes])
            for target in table.targets
        ],
        records=partial(_records, table),
        data=partial(_data, table),
        sentences=[sentence.format(fewest=fewest) for sentence in LEGEND],
        wide=any(len(target.conventions) > MOST for target in table.targets),
    )


def _records(table: ConventionTable) -> list[dict[str, Any]]:
    data = _data(table)
    lines = [
        {**data, **target, **convention, **row}
        for target in data["targets"]
        for convention in target["conventions"]
        for row in convention["rows"]
    ]
    return [{name: line[name] for name in COLUMNS} for line in lines]


def _data(table: ConventionTable) -> dict[str, Any]:
    return {
        **{"suite": table.suite.name, "protocol": table.suite.protocol, "metric": table.metric.name},
        **{"title": table.suite.title, "missing": table.missing},
        "targets": [_target_data(table, target) for target in table.targets],
    }


def _heading(target: TargetConventions) -> str:
    label = target.column.label if target.unit == "%" else f"{target.column.label} ({target.unit})"
    return f"{label}, by {', '.join(target.axes)}" if target.axes else label


def _printed(table: ConventionTable, target: TargetConventions) -> Printed[list[str]]:
    values = [[str(getattr(convention, axis)) for axis in target.axes] for convention in target.conventions]
    headings = [", ".join(texts) for texts in values]
    headings[0] = f"in force: {headings[0]}" if target.axes else "in force, and any other"
    stacked = [("", *target.axes), ("in force", *values[0]), *(("", *texts) for texts in values[1:])]
    columns: list[PrintedColumn[list[str]]] = [
        PrintedColumn(heading, itemgetter(position), align="c" if position else "l", stacked=lines)
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


def _target_data(table: ConventionTable, target: TargetConventions) -> dict[str, Any]:
    return {
        **{name: getattr(target.column, name) for name in ("task", "source", "target")},
        **{"unit": target.unit, "varies": target.axes, "notes": target.notes},
        "conventions": [
            {
                **{**convention._asdict(), "in_force": position == 0, "kendall_tau": target.taus[position]},
                "rows": [_row_data(target, row, position) for row in table.suite.rows],
            }
            for position, convention in enumerate(target.conventions)
        ],
    }


def _row_data(target: TargetConventions, row: Row, position: int) -> dict[str, Any]:
    cell, ranks = target.cells[row.id][position], target.ranks.get(row.id)
    return {
        **{"row": row.id, "label": row.label, "method": row.method, "setting": row.access},
        "rank": None if ranks is None else ranks[position],
        **{"state": cell.state, "reason": cell.reason, "mean": rounded(cell.scaled(cell.mean))},
        **{"n": cell.n_seeds, "expected_n": cell.expected_seeds, "missed": cell.n_missed},
    }
