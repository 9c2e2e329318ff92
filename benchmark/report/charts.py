"""Charts of a report as ``<svg>`` elements; each has a name, which begins its ids, and a title that is read aloud."""

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from ..durations import duration
from .svg import GRID, INK, MUTED, NARROW, PAPER, SERIES, WIDTH, svg_chart

LONGEST = 22  # characters of a row's label before it is cut short
LINE, LABEL = 17.0, 12.5  # heights: of a row in a chart with one line a row, and of a label in a column of labels
GOLDEN = 0.6180339887  # its multiples modulo 1 spread evenly: jitter that is the same every time
# Seconds that an axis of time may be labelled at.
DURATIONS = (
    *(0.01, 0.03, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800),
    *(3600 * hours for hours in (1, 2, 4, 8, 12, 24, 48, 96, 192)),
)


class Curve(NamedTuple):
    """History of a run by epoch, counted from 1; scores in percent."""

    loss: Mapping[float, float]  # sum of the terms
    validation: Mapping[float, float]  # DSC in the epochs that scored it
    target: Mapping[float, float]  # DSC where the target's labels choose the epoch; else empty
    selected: float | None  # epoch whose weights are scored


def forest_chart(name: str, title: str, rows: Sequence[tuple[str, float, float, float, bool]]) -> Markup:
    """Return the forest plot of differences to the baseline, the first row on top.

    Rows are (label, lower end, difference, upper end, whether it is clear after adjustment), in points.
    """

    def fill(figure: Figure) -> None:
        axes = _row_axes(figure, [label for label, *_ in rows], "difference in DSC, points")
        axes.axvline(0, color=INK, linewidth=0.9)
        for y, (_, low, difference, high, clear) in enumerate(rows):
            colour = SERIES[0] if clear else MUTED
            if math.isfinite(low + high):  # else nothing is known of the spread
                axes.plot([low, high], [y, y], color=colour, linewidth=1.6, solid_capstyle="round")
            face = colour if clear else PAPER
            axes.plot([difference], [y], marker="o", markersize=5.5, color=colour, markerfacecolor=face)

    return svg_chart(name, title, (WIDTH, 34 + LINE * len(rows)), fill)


def strip_chart(
    name: str, title: str, rows: Sequence[tuple[str, NDArray[np.float64], Sequence[str]]], reference: float | None
) -> Markup:
    """Return each row's cases as dots over a box of their quartiles.

    Rows are (label, scores in percent with NaN where not defined, stratum of each case); dashed: the reference, in
    percent.
    """
    strata = sorted({stratum for *_, of_cases in rows for stratum in of_cases})

    def fill(figure: Figure) -> None:
        axes = _row_axes(figure, [label for label, *_ in rows], "DSC of a case, %")
        if reference is not None:
            axes.axvline(reference, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
        for y, (_, values, of_cases) in enumerate(rows):
            _strip(axes, y, values, np.array(of_cases), strata)
        if len(strata) > 1:
            for stratum, colour in zip(strata, cycle(SERIES), strict=False):
                axes.plot([], [], "o", markersize=4, color=colour, label=stratum)
            figure.legend(loc="outside upper right", ncols=len(strata), handletextpad=0.1, columnspacing=1)

    return svg_chart(name, title, (WIDTH, (50 if len(strata) > 1 else 34) + (LINE + 3) * len(rows)), fill)


def _strip(axes: Axes, y: int, scores: NDArray[np.float64], members: NDArray[Any], strata: Sequence[str]) -> None:
    defined = ~np.isnan(scores)
    if not defined.any():
        return
    values, members = scores[defined], members[defined]
    low, middle, high = np.percentile(values, [25, 50, 75])
    axes.barh(y, high - low, left=low, height=0.62, color=GRID, alpha=0.55, linewidth=0)
    axes.plot([middle, middle], [y - 0.31, y + 0.31], color=INK, linewidth=1.6)
    jitter = (np.arange(len(values)) * GOLDEN % 1 - 0.5) * 0.5
    dots: Any = {"linestyle": "none", "marker": "o", "markersize": 2.9, "markeredgewidth": 0, "alpha": 0.75}
    for stratum, colour in zip(strata, cycle(SERIES), strict=False):
        inside = members == stratum
        axes.plot(values[inside], y + jitter[inside], color=colour, **dots)


def curve_chart(name: str, title: str, curves: Sequence[Curve], limits: tuple[float, float]) -> Markup:
    """Return the validation score over epochs above the training loss; a ring marks the selected epoch.

    Of runs selected on the target its score is the line, the other dashed. Limits of the score are in percent.
    """

    def fill(figure: Figure) -> None:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
        for curve, colour in zip(curves, cycle(SERIES), strict=False):
            _scores(above, curve, colour)
            _line(below, curve.loss, color=colour, linewidth=1.0)
        above.set_ylim(*limits)
        above.set_ylabel("DSC, %" if any(curve.target for curve in curves) else "held out, %")
        below.set_ylabel("loss")
        below.set_xlabel("epoch")
        for axes in (above, below):
            axes.grid(axis="y")
            axes.tick_params(length=0, labelcolor=MUTED)
            axes.yaxis.set_major_locator(MaxNLocator(4))
        below.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        figure.align_ylabels()

    return svg_chart(name, title, (NARROW, 175), fill)


def _scores(axes: Axes, curve: Curve, colour: str) -> None:
    shown = curve.target or curve.validation
    if curve.target:
        _line(axes, curve.validation, color=colour, linewidth=1.0, linestyle=(0, (3, 2)))
    _line(axes, shown, color=colour, marker="o", markersize=2.2, linewidth=1.2)
    if curve.selected is not None and curve.selected in shown:
        ring: Any = {"marker": "o", "markersize": 7.5, "markerfacecolor": "none", "markeredgewidth": 1.4}
        axes.plot([curve.selected], [shown[curve.selected]], color=INK, **ring)


def _line(axes: Axes, values: Mapping[float, float], **properties: Any) -> None:
    axes.plot(list(values), list(values.values()), **properties)


def cost_chart(name: str, title: str, points: Sequence[tuple[str, float, float, str]]) -> Markup:
    """Return scores over training times; points, joined to labels, are (label, seconds, percent, device)."""
    labels, seconds, scores, devices = zip(*points, strict=True)
    kinds = sorted(set(devices))
    markers = dict(zip(kinds, "os^DvP*" * (1 + len(kinds) // 7), strict=False))
    height = max(190.0, 60 + LABEL * len(points))
    margin = max(0.06 * (max(scores) - min(scores)), 0.5)
    low, high = min(scores) - margin, max(scores) + margin
    label_heights = kept_apart([(score - low) / (high - low) for score in scores], LABEL / (height - 40))

    def fill(figure: Figure) -> None:
        axes = figure.subplots()
        axes.set_xscale("log")
        axes.set_ylim(low, high)
        for label, x, y, device, label_height in zip(labels, seconds, scores, devices, label_heights, strict=True):
            axes.plot([x], [y], markers[device], markersize=5, color=SERIES[0])
            axes.annotate(
                _short(label),
                (x, y),
                xytext=(1.07, label_height),
                textcoords="axes fraction",
                va="center",
                fontsize=8,
                annotation_clip=False,
                arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.5, "shrinkA": 1, "shrinkB": 3},
            )
        if len(kinds) > 1:
            for device in kinds:
                axes.plot([], [], markers[device], markersize=5, color=SERIES[0], label=_short(device, 40))
            figure.legend(loc="outside upper left", handletextpad=0.1)
        axes.grid()
        axes.tick_params(which="both", length=0, labelcolor=MUTED)
        _time_axis(axes)
        axes.set_ylabel("DSC, %")
        axes.set_xlabel("training time of one run")

    return svg_chart(name, title, (WIDTH, height), fill)


def kept_apart(places: Sequence[float], apart: float) -> list[float]:
    """Return places in 0..1 moved as little as keeps them apart, in the order given; evenly spread if too many."""
    order = sorted(range(len(places)), key=places.__getitem__)
    apart = min(apart, 1 / max(1, len(places) - 1))
    moved, floor, ceiling = list(places), -math.inf, 1.0
    for index in order:
        moved[index] = max(moved[index], floor)
        floor = moved[index] + apart
    for index in reversed(order):
        moved[index] = min(moved[index], ceiling)
        ceiling = moved[index] - apart
    return moved


def _time_axis(axes: Axes) -> None:
    low, high = axes.get_xlim()[0] / 1.25, axes.get_xlim()[1] * 1.25
    axes.set_xlim(low, high)
    axes.set_xticks(_apart([seconds for seconds in DURATIONS if low <= seconds <= high], (high / low) ** 0.17))
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: duration(seconds)))


def _apart(ticks: Sequence[float], factor: float) -> list[float]:
    kept: list[float] = []
    for tick in ticks:
        if not kept or tick >= factor * kept[-1]:
            kept.append(tick)
    return kept


def _row_axes(figure: Figure, labels: Sequence[str], unit: str) -> Axes:
    axes = figure.subplots()
    axes.set_yticks(range(len(labels)), [_short(label) for label in labels])
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.spines["left"].set_visible(False)
    axes.tick_params(length=0)
    axes.grid(axis="x")
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlabel(unit)
    return axes


def _short(label: str, longest: int = LONGEST) -> str:
    return label if len(label) <= longest else f"{label[: longest - 1]}…"
