"""Target accuracy against source accuracy, a panel for each target: which rows lie above the line of the others."""

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..comparisons.robustness import Robustness, RobustRow
from ..tables.wording import UNCONVERGED
from .style import SERIES, SMALL, style

PANEL = 1.8  # smallest width of a panel in inches, and its height
NAME = 1.2  # inches of a name of the legend
MARKERS = "osD^vP"
LEARNED = 0.7
"""Share of the best source DSC below which a row is named at a panel's edge: at its place it would press the others
together."""


def robustness_figure(measured: Sequence[Robustness], width: float) -> Figure:
    """Draw each row's mean over seeds on every target, with the SD over seeds both ways, and the targets' lines.

    The same row has the same colour and mark in all panels; the baseline is black, and marks of rows that are not
    converged, through which no line is drawn, are hollow. A line ends with the rows that it is drawn through.

    Args:
        measured: sources with their rows and targets; at least one.
        width: of the figure in inches.
    """
    looks = _looks(measured)
    panels = [(of, position) for of in measured for position in range(len(of.headings))]
    of_a_title = Counter(of.headings[position].text for of, position in panels)
    across = min(len(panels), max(1, int(width // PANEL)))
    down, names_across = math.ceil(len(panels) / across), max(1, int(width // NAME))
    height = down * (PANEL + 0.35) + 0.16 * math.ceil(len(looks) / names_across) + 0.3
    with style():
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(down, across, squeeze=False)
        for panel, place in itertools.zip_longest(axes.flat, panels):
            if place is None:
                panel.set_axis_off()
                continue
            of, position = place
            _draw(panel, of, position, looks)
            heading = of.headings[position]
            panel.set_title(heading.text + (f"\n({of.name})" if of_a_title[heading.text] > 1 else ""))
            panel.set_xlabel(f"DSC on {heading.column.source}, held out (%)", size=SMALL)
            panel.set_ylabel("DSC on the target (%)", size=SMALL)
        handles = [Line2D([], [], linestyle="", marker=m, color=c, markersize=3.5) for m, c in looks.values()]
        hollow = Line2D([], [], linestyle="", marker="o", color="0.3", markerfacecolor="white", markersize=3.5)
        unconverged = any(not row.converged for of in measured for row in of.rows)
        names = [*looks, *([f"{UNCONVERGED} not converged"] if unconverged else [])]
        figure.legend([*handles, hollow][: len(names)], names, loc="outside lower center", ncols=names_across)
    return figure


def _looks(measured: Sequence[Robustness]) -> dict[str, tuple[str, str]]:
    """Return marker and colour of each row, by its label; the baseline's are of no other."""
    names = dict.fromkeys(row.row.label for of in measured for row in of.rows)
    plain = {of.baseline.row.label for of in measured if of.baseline is not None}
    others = itertools.cycle(itertools.product(MARKERS, SERIES[:-1]))
    return {name: ("*", SERIES[-1]) if name in plain else next(others) for name in names}


def _draw(panel: Axes, of: Robustness, position: int, looks: Mapping[str, tuple[str, str]]) -> None:
    best = max(float(row.source.mean()) for row in of.rows)
    aside: list[str] = []
    for row in of.rows:
        x, y, spread = _point(row, position)
        if x < LEARNED * best:
            aside.append(f"{row.label} ({x:.0f}, {y:.0f})")
            continue
        marker, colour = looks[row.row.label]
        face = colour if row.converged else "white"
        panel.errorbar(x, y, fmt=marker, color=colour, markerfacecolor=face, markersize=3.5, elinewidth=0.5, **spread)
    line = of.lines[position]
    if line is not None:
        fitted = [float(row.source.mean()) for row in of.rows if row.converged]
        ends = np.array([min(fitted), max(fitted)])
        panel.plot(ends, line.at(ends), color="0.6", linewidth=0.8, zorder=0)
    if aside:
        text = "further left: " + "\n".join(aside)
        panel.text(0.97, 0.03, text, transform=panel.transAxes, size=SMALL - 1, ha="right", va="bottom", color="0.3")


def _point(row: RobustRow, position: int) -> tuple[float, float, dict[str, Any]]:
    values = {"x": row.source, "y": row.targets[position]}
    spread = {f"{axis}err": float(np.std(of, ddof=1)) for axis, of in values.items() if len(of) > 1}
    return float(values["x"].mean()), float(values["y"].mean()), spread
