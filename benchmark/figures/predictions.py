"""Figure of the label and every row's prediction (Fig. 4 of the RAS4DG paper): draws only, reads nothing."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from .case_view import RGB, shrunk
from .style import BLACK, DOUBLE, DPI, GAP, MISSING, SMALL, Sheet, height_of, lines_of, style, wrapped

ENTRY = 0.8  # inches of an entry of the legend


@dataclass(frozen=True, slots=True)
class Panel:
    """A picture, or the reason for its absence."""

    title: str
    picture: RGB | None = None
    below: str = ""  # its score
    outline: NDArray[Any] | None = None  # (H, W) class indices, whose borders are drawn on the picture
    reason: str = ""  # of no picture


@dataclass(frozen=True, slots=True)
class Strip:
    """The panels of one case."""

    title: str
    aspect: float  # height over width of its pictures
    panels: tuple[Panel, ...]


def predictions_figure(
    strips: Sequence[Strip], legend: Mapping[str, str], note: str, width: float = DOUBLE
) -> Figure:
    """Return the cases under each other in a width (inches), over a legend (name -> colour) and a note."""
    lines, across = lines_of(max(len(strip.panels) for strip in strips), width)
    side = (width - (across - 1) * GAP) / across
    with style():
        heads = [height_of(strip.title) + GAP for strip in strips]
        titles = [max(height_of(wrapped(panel.title, side)) for panel in strip.panels) for strip in strips]
        score_height = height_of("0", SMALL) + 2 * GAP
        steps = [title + side * strip.aspect + score_height for strip, title in zip(strips, titles, strict=True)]
        columns = max(1, int(width / ENTRY))
        legend_height = math.ceil(len(legend) / columns) * 0.13 + 0.05
        text = wrapped(note, width, SMALL)
        strip_heights = [head + lines * step for head, step in zip(heads, steps, strict=True)]
        sheet = Sheet(width, sum(strip_heights) + legend_height + height_of(text, SMALL) + GAP)
        top = 0.0
        for strip, head, title, step in zip(strips, heads, titles, steps, strict=True):
            sheet.text(0, top + GAP / 2, strip.title, fontweight="bold")
            for index, panel in enumerate(strip.panels):
                line, column = divmod(index, across)
                left, above = column * (side + GAP), top + head + line * step
                _draw(sheet, panel, (left, above + title, side, side * strip.aspect))
            top += head + lines * step
        handles = [Patch(facecolor=c, edgecolor=BLACK, linewidth=0.3, label=name) for name, c in legend.items()]
        sheet.figure.legend(
            handles=handles,
            ncols=min(columns, len(handles)),
            loc="upper left",
            bbox_to_anchor=(0, 1 - top / sheet.height),
            borderpad=0,
            borderaxespad=0,
            handlelength=1.0,
            handleheight=0.8,
            columnspacing=1.2,
        )
        sheet.text(0, top + legend_height, text, fontsize=SMALL, linespacing=1.15)
    return sheet.figure


def _draw(sheet: Sheet, panel: Panel, box: tuple[float, float, float, float]) -> None:
    left, top, side, tall = box  # of the picture
    middle = left + side / 2
    sheet.text(middle, top - GAP, wrapped(panel.title, side), ha="center", va="baseline", linespacing=1.1)
    axes = sheet.axes(*box)
    if panel.picture is None:
        axes.set_facecolor(MISSING)
        axes.set_axis_on()
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        reason = wrapped(panel.reason, 0.9 * side, SMALL)
        axes.text(0.5, 0.5, reason, fontsize=SMALL, ha="center", va="center", transform=axes.transAxes)
        return
    height, width = panel.picture.shape[:2]
    shown = shrunk(panel.picture, round(side * DPI))
    axes.imshow(shown, interpolation="nearest", aspect="auto", extent=(-0.5, width - 0.5, height - 0.5, -0.5))
    if panel.outline is not None:
        for index in sorted({int(value) for value in panel.outline.ravel()} - {0}):
            axes.contour(panel.outline == index, levels=[0.5], colors=[BLACK], linewidths=0.4)
    sheet.text(middle, top + tall + 0.015, panel.below, ha="center", fontsize=SMALL)
