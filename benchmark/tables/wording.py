"""The words and numbers of a table's cells, the same in every format that people read."""

from ..outcomes.scores import Cell
from ..scoring.metrics import DSC
from ..suites.suite import Row
from .build import Entry, Heading, Table

DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"

SETTINGS = {"ssdg": "SSDG", "source-only": "source only", "uda": "UDA", "intra": "intra-domain"}


def row_label(row: Row) -> str:
    """Return a row's label with its marks."""
    return row.label + (" ‡" if row.access == "uda" else "") + (" §" if row.note else "")


def title_text(table: Table) -> str:
    """Return a suite's title, with what is measured unless it is Dice."""
    return table.suite.title if table.metric is DSC else f"{table.suite.title}: {table.metric.short}"


def heading_text(heading: Heading) -> str:
    """Return a column's target and group in one line, with a unit other than percent."""
    return " ".join(part for part in (heading.column.label, group_text(heading)) if part)


def group_text(heading: Heading) -> str:
    """Return what is printed under a column's target: the group, with a unit other than percent; "" for neither."""
    unit = "" if heading.unit == "%" else f"({heading.unit})"
    return " ".join(part for part in (heading.label, unit) if part)


def ours_text(cell: Cell) -> str:
    """Return mean ± sample SD, how many of the seeds are there if not all, and misses; or why there is nothing."""
    if cell.state == "not-applicable":
        return DASH
    if cell.state == "unavailable":
        return "not in this version"
    scale = cell.metric.scale
    text = cell.reason if cell.mean is None else f"{scale * cell.mean:.2f}"
    if cell.sd is not None:
        text += f" ± {scale * cell.sd:.2f}"
    notes = [f"{cell.n_seeds}/{cell.expected_seeds} seeds"] if cell.state == "partial" else []
    notes += misses_notes(cell)
    return f"{text} ({', '.join(notes)})" if notes else text


def misses_notes(cell: Cell) -> list[str]:
    """Return how many misses a cell's mean leaves out, as a note; none where it leaves none out."""
    if not cell.metric.skips_misses or not cell.n_missed:
        return []
    return [f"{cell.n_missed} miss{'es' if cell.n_missed > 1 else ''}"]


def published_text(entry: Entry) -> str:
    """Return the published mean ± as printed there; "" if there is none."""
    return "" if entry.published is None else f"{entry.published.mean:.2f} ± {entry.published.sd:.2f}"


def delta_text(entry: Entry) -> str:
    """Return ours minus published with its sign; "" if one of them is missing."""
    # Adding zero turns a rounded -0.00 into +0.00.
    return "" if entry.delta is None else f"{round(entry.delta, 2) + 0.0:+.2f}".replace("-", MINUS)
