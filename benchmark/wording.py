"""The words and numbers of a table's cells, the same in every format that people read."""

from .aggregate import Cell
from .suite import Row
from .tables import Entry, Heading

DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"

SETTINGS = {"ssdg": "SSDG", "source-only": "source only", "uda": "UDA", "intra": "intra-domain"}


def row_label(row: Row) -> str:
    """Return a row's label with its mark."""
    return f"{row.label} ‡" if row.setting == "uda" else row.label


def heading_text(heading: Heading) -> str:
    """Return a column's target and group in one line."""
    return f"{heading.column.label} {heading.label}".strip()


def ours_text(cell: Cell) -> str:
    """Return mean ± sample SD in percent, how many of the seeds are there if not all, or why there is nothing."""
    if cell.state == "not-applicable":
        return DASH
    if cell.state == "unavailable":
        return "not in this version"
    if cell.mean is None:
        return cell.reason
    text = f"{100 * cell.mean:.2f}"
    if cell.sd is not None:
        text += f" ± {100 * cell.sd:.2f}"
    return text if cell.state == "complete" else f"{text} ({cell.n_seeds}/{cell.expected_seeds} seeds)"


def published_text(entry: Entry) -> str:
    """Return the published mean ± as printed there; "" if there is none."""
    return "" if entry.published is None else f"{entry.published.mean:.2f} ± {entry.published.sd:.2f}"


def delta_text(entry: Entry) -> str:
    """Return ours minus published with its sign; "" if one of them is missing."""
    # Adding zero turns a rounded -0.00 into +0.00.
    return "" if entry.delta is None else f"{round(entry.delta, 2) + 0.0:+.2f}".replace("-", MINUS)
