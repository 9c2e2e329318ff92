"""A table of several sources as source × target: a line for each method and source, validation cases in brackets."""

from dataclasses import dataclass, replace
from typing import Any

from ..errors import UsageError
from ..storage.run_folder import VALIDATION
from ..suites.sources import ends
from .build import Table, TableRow
from .document import Document, Part
from .printed import Printed, PrintedColumn
from .suite_table import printed_table, table_document
from .wording import DASH, TIED

CAPTION = (
    "Source by target: a line is what was trained on one source, a column the domain it is scored on; in brackets, "
    "the validation cases of the source itself. Mean: of the other targets of that source, where all are complete. "
    f"Bold and {TIED} compare, in each column, the rows of the same source"
)


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """A row of a suite from one source."""

    row: TableRow
    source: str


def matrix_document(table: Table) -> Document:
    """Return a table of several sources, with its validation columns, as a part a task; CSV and JSON are the table's.

    Raises:
        UsageError: the table has failures, for which a matrix has no place.
    """
    if table.has_failures:
        raise UsageError("--matrix and --failures: leave one of them out, or take --format csv")
    return replace(
        table_document(table),
        label=f"{table.suite.name}-matrix",
        parts=[Part(_matrix(table, task)) for task in dict.fromkeys(column.task for column in table.suite.columns)],
        sentences=(f"{CAPTION}.", *table.lead),
        wide=False,
    )


def _matrix(table: Table, task: str) -> Printed[MatrixRow]:
    """Return the lines and columns of one task; rows that train inside the target are left out."""
    columns = [column for column in table.suite.columns if column.task == task]
    labels = {column.source: ends(column)[0] for column in columns}
    domains = labels | {column.target: ends(column)[1] for column in columns}
    cells = _cells(table, task)

    def cell(target: str) -> PrintedColumn[MatrixRow]:
        def read(row: MatrixRow, name: str) -> Any:
            return getattr(cells[row.source, target][1], name)(row.row) if (row.source, target) in cells else ""

        def text(row: MatrixRow) -> str:
            score = str(read(row, "text"))
            return f"[{score}]" if row.source == target and score not in ("", DASH) else score

        bold, tied = (lambda row: bool(read(row, "bold"))), (lambda row: bool(read(row, "tied")))
        return PrintedColumn(domains[target], text, bold=bold, tied=tied)

    def mean(row: MatrixRow) -> str:
        positions = [place for (source, target), (place, _) in cells.items() if source == row.source != target]
        means = [row.row.entries[position].cell for position in positions]
        if not means or any(other.state != "complete" for other in means):
            return ""
        return f"{sum(other.scaled(other.mean) or 0.0 for other in means) / len(means):.2f}"

    method = printed_table(table).columns[0]
    printed: list[PrintedColumn[MatrixRow]] = [
        PrintedColumn("Method", lambda row: method.text(row.row), align="l"),
        PrintedColumn("Source", lambda row: labels[row.source], align="l"),
        *map(cell, domains),
        PrintedColumn("Mean", mean),
    ]
    rows = [row for row in table.rows if row.row.folds is None]
    return Printed(printed, [MatrixRow(row, source) for row in rows for source in labels])


def _cells(table: Table, task: str) -> dict[tuple[str, str], tuple[int, PrintedColumn[TableRow]]]:
    """Return the position and printed column of each source and target; the source itself: its validation cases."""
    wide = printed_table(table).columns[-len(table.headings) :]
    cells: dict[tuple[str, str], tuple[int, PrintedColumn[TableRow]]] = {}
    for position, (heading, column) in enumerate(zip(table.headings, wide, strict=True)):
        source, target = heading.column.source, heading.column.target
        if heading.column.task == task and heading.headline:
            place = (source, source if target == VALIDATION else target)
            if place not in cells or heading.stratum in ("all", "average"):
                cells[place] = (position, column)
    return cells
