"""The words and numbers of a table's cells, the same in every format that people read."""

import math
from collections.abc import Iterable, Sequence

from ..outcomes.scores import Cell
from ..suites.paper import PublishedScore
from ..suites.suite import EXTERNAL, Row

DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"

UNCONVERGED = "\N{PILCROW SIGN}"
"""Mark of a number, or of a whole row, whose run has not learned its own source."""

TIED = "\N{ALMOST EQUAL TO}"
"""Mark of a number that is not separated from the best of its column."""

SETTINGS = {"ssdg": "SSDG", "source-only": "source only", "uda": "UDA", "intra": "intra-domain"}


def row_label(row: Row) -> str:
    """Return a row's label with its marks."""
    return row.label + (" ‡" if row.access == "uda" else "") + (" §" if row.remark else "")


def remarked_text(rows: Sequence[Row]) -> str:
    """Return what § means: of rows that were not trained here in words, of others where it is explained."""
    kinds = {
        "external (label files made by another program, training not seen)": [
            row.label for row in rows if row.method == EXTERNAL
        ],
        "ensemble (mean of the seeds' probabilities)": [row.label for row in rows if row.ensemble],
    }
    texts = [f"§ {kind}: {', '.join(labels)}" for kind, labels in kinds.items() if labels]
    if any(row.remark and row.trained_here for row in rows):
        texts.append("§ others: see the protocol" if texts else "§: see the protocol")
    return "; ".join(texts)


def setting_text(row: Row) -> str:
    """Return what a row's training saw, and whether no run of its own is behind it."""
    return SETTINGS[row.access] + ("" if row.trained_here else f", {row.method}")


def ours_text(cell: Cell, mark: str = "") -> str:
    """Return mean ± sample SD with a mark, the count of seeds if not all, and misses; or why there is nothing."""
    if cell.state == "not-applicable":
        return DASH
    if cell.state == "unavailable":
        return "not in this version"
    scale = cell.metric.scale
    text = cell.reason if cell.mean is None else f"{scale * cell.mean:.2f}"
    if cell.sd is not None:
        text += f" ± {scale * cell.sd:.2f}"
    text += mark
    notes = [f"{cell.n_seeds}/{cell.expected_seeds} seeds"] if cell.state == "partial" else []
    notes += misses_notes(cell)
    return f"{text} ({', '.join(notes)})" if notes else text


def published_text(scores: Iterable[PublishedScore]) -> str:
    """Return the published scores of a cell: mean, ± where it was printed, and the source in brackets if named."""
    return ", ".join(
        f"{score.mean:.2f}{'' if score.sd is None else f' ± {score.sd:.2f}'}"
        + (f" ({score.source})" if score.source else "")
        for score in scores
    )


def misses_notes(cell: Cell) -> list[str]:
    """Return how many misses a cell's mean leaves out, as a note; none where it leaves none out."""
    is_told = cell.metric.skips_misses and cell.n_missed
    return [f"{cell.n_missed} miss{'es' if cell.n_missed > 1 else ''}"] if is_told else []


def decimals(value: float) -> str:
    """Return a number with two decimals and a minus sign as wide as a plus."""
    return f"{unsigned_zero(value, 2):.2f}".replace("-", MINUS)


def signed(value: float) -> str:
    """Return a number with its sign and two decimals; "–" where there is none."""
    return DASH if math.isnan(value) else f"{unsigned_zero(value, 2):+.2f}".replace("-", MINUS)


def unsigned_zero(value: float, decimals: int) -> float:
    """Return a rounded number; 0 where it would be -0."""
    return round(value, decimals) + 0.0


def percent(share: float) -> str:
    """Return a probability in percent without decimals; "" for one of 0, and "<1" and ">99" next to the ends."""
    if share == 0:
        return ""
    return "<1" if share < 0.01 else ">99" if 0.99 < share < 1 else f"{100 * share:.0f}"
