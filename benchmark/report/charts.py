"""The charts of a report: plain numbers in, one ``<svg>`` element out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from .svg import GRID, INK, MUTED, NARROW, PAPER, SERIES, WIDTH, svg_chart

LONGEST = 22
"""Characters of a row's label before it is cut short."""

LINE, LABEL = 17.0, 12.5
"""Heights: of a row in a chart with one line a row, and of a label in a column of labels."""

GOLDEN = 0.6180339887
"""Its multiples modulo 1 spread evenly, however many there are: jitter that is the same every time."""

DURATIONS = (
    *(0.01, 0.03, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800),
    *(3600 * hours for hours in (1, 2, 4, 8, 12, 24, 48, 96, 192)),
)
"""Seconds that an axis of time may be labelled at."""


@dataclass(frozen=True, slots=True)
class ForestRow:
    """Difference of a row to the baseline, in points."""

    label: str
    difference: float
    low: float
    high: float
    clear: bool  # still separated from zero after the correction for many comparisons


@dataclass(frozen=True, slots=True)
class StripRow:
    """Scores of a row's cases, in percent."""

    label: str
    values: NDArray[np.float64]  # NaN where not defined
    strata: tuple[str, ...]  # of the cases


@dataclass(frozen=True, slots=True)
class EpochScores:
    """DSC of a pool of cases in the epochs that scored it."""

    epochs: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()  # percent


@dataclass(frozen=True, slots=True)
class Curve:
    """History of a run, epoch by epoch."""

    epochs: tuple[float, ...]
    loss: tuple[float, ...]  # sum of the terms
    validation: EpochScores  # of the source
    target: EpochScores  # where its labels choose the epoch; else none
    selected: float | None  # epoch whose weights are scored


@dataclass(frozen=True, slots=True)
class Cost:
    """Training time of a row and its score."""

    label: str
    seconds: float
    score: float  # percent
    device: str


def forest_chart(name: str, title: str, rows: Sequence[ForestRow]) -> str:
    """Return the forest plot of differences to the baseline with their intervals, the first row on top."""

    def fill(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axvline(0, color=INK, linewidth=0.9)
        for y, row in enumerate(rows):
            colour = SERIES[0] if row.clear else MUTED
            if math.isfinite(row.low + row.high):  # else nothing is known of the spread
                axes.plot([row.low, row.high], [y, y], color=colour, linewidth=1.6, solid_capstyle="round")
            face = colour if row.clear else PAPER
            axes.plot([row.difference], [y], marker="o", markersize=5.5, color=colour, markerfacecolor=face)
        _rows(axes, [row.label for row in rows])
        axes.set_xlabel("difference in DSC, points")

    return svg_chart(name, title, (WIDTH, 34 + LINE * len(rows)), fill)


def strip_chart(name: str, title: str, rows: Sequence[StripRow], reference: float | None) -> str:
    """Return each row's cases as dots over a box of their quartiles; dashed: the baseline's median, in percent."""
    strata = sorted({stratum for row in rows for stratum in row.strata})

    def fill(figure: Figure) -> None:
        axes = figure.subplots()
        if reference is not None:
            axes.axvline(reference, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
        for y, row in enumerate(rows):
            _strip(axes, y, row, strata)
        if len(strata) > 1:
            for stratum, colour in zip(strata, cycle(SERIES), strict=False):
                axes.plot([], [], "o", markersize=4, color=colour, label=stratum)
            figure.legend(loc="outside upper right", ncols=len(strata), handletextpad=0.1, columnspacing=1)
        _rows(axes, [row.label for row in rows])
        axes.set_xlabel("DSC of a case, %")

    return svg_chart(name, title, (WIDTH, (50 if len(strata) > 1 else 34) + (LINE + 3) * len(rows)), fill)


def _strip(axes: Axes, y: int, row: StripRow, strata: Sequence[str]) -> None:
    defined = ~np.isnan(row.values)
    if not defined.any():
        return
    values = row.values[defined]
    low, middle, high = np.percentile(values, [25, 50, 75])
    axes.barh(y, high - low, left=low, height=0.62, color=GRID, alpha=0.55, linewidth=0)
    axes.plot([middle, middle], [y - 0.31, y + 0.31], color=INK, linewidth=1.6)
    jitter = (np.arange(len(values)) * GOLDEN % 1 - 0.5) * 0.5
    members = np.array(row.strata)[defined]
    for stratum, colour in zip(strata, cycle(SERIES), strict=False):
        inside = members == stratum
        dots: Any = {"linestyle": "none", "marker": "o", "markersize": 2.9, "markeredgewidth": 0, "alpha": 0.75}
        axes.plot(values[inside], y + jitter[inside], color=colour, **dots)


def curve_chart(name: str, title: str, curves: Sequence[Curve], limits: tuple[float, float]) -> str:
    """Return the validation score over epochs above the training loss; a ring marks the selected epoch.

    Of runs that are selected on the target, its score is the line, and the validation score is dashed.

    Args:
        name: first part of the drawing's ids.
        title: read to people who do not see it.
        curves: one a run.
        limits: of the score's axis, in percent, the same in every chart of a page.
    """

    def fill(figure: Figure) -> None:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
        for curve, colour in zip(curves, cycle(SERIES), strict=False):
            _scores(above, curve, colour)
            below.plot(curve.epochs, curve.loss, color=colour, linewidth=1.0)
        above.set_ylim(*limits)
        above.set_ylabel("DSC, %" if any(curve.target.epochs for curve in curves) else "held out, %")
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
    shown = curve.target if curve.target.epochs else curve.validation
    if shown is curve.target:
        axes.plot(
            curve.validation.epochs, curve.validation.scores, color=colour, linewidth=1.0, linestyle=(0, (3, 2))
        )
    axes.plot(shown.epochs, shown.scores, color=colour, marker="o", markersize=2.2, linewidth=1.2)
    if curve.selected in shown.epochs:
        score = shown.scores[shown.epochs.index(curve.selected)]
        ring: Any = {"marker": "o", "markersize": 7.5, "markerfacecolor": "none", "markeredgewidth": 1.4}
        axes.plot([curve.selected], [score], color=INK, **ring)


def cost_chart(name: str, title: str, points: Sequence[Cost]) -> str:
    """Return the score over the time of one training, each point joined to its label at the right."""
    devices = sorted({point.device for point in points})
    markers = dict(zip(devices, "os^DvP*" * (1 + len(devices) // 7), strict=False))
    height = max(190.0, 60 + LABEL * len(points))

    def fill(figure: Figure) -> None:
        axes = figure.subplots()
        axes.set_xscale("log")
        scores = [point.score for point in points]
        margin = max(0.06 * (max(scores) - min(scores)), 0.5)
        low, high = min(scores) - margin, max(scores) + margin
        axes.set_ylim(low, high)
        heights = kept_apart([(score - low) / (high - low) for score in scores], LABEL / (height - 40))
        for point, height_of_label in zip(points, heights, strict=True):
            axes.plot([point.seconds], [point.score], markers[point.device], markersize=5, color=SERIES[0])
            _label(axes, point, height_of_label)
        if len(devices) > 1:
            for device in devices:
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


def _label(axes: Axes, point: Cost, height: float) -> None:
    """Write a point's label at the right of the axes, joined by a thin line."""
    axes.annotate(
        _short(point.label),
        (point.seconds, point.score),
        xytext=(1.07, height),
        textcoords="axes fraction",
        va="center",
        fontsize=8,
        annotation_clip=False,
        arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.5, "shrinkA": 1, "shrinkB": 3},
    )


def _time_axis(axes: Axes) -> None:
    low, high = axes.get_xlim()
    low, high = low / 1.25, high * 1.25
    axes.set_xlim(low, high)
    axes.set_xticks(_apart([seconds for seconds in DURATIONS if low <= seconds <= high], (high / low) ** 0.17))
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: duration(seconds)))


def _apart(ticks: Sequence[float], factor: float) -> list[float]:
    """Return ticks of which each is at least a factor above the one before."""
    kept: list[float] = []
    for tick in ticks:
        if not kept or tick >= factor * kept[-1]:
            kept.append(tick)
    return kept


def duration(seconds: float) -> str:
    """Return a time span in words: "45 s", "3.4 min", "2 h"."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.2g} min" if seconds < 3600 else f"{seconds / 3600:.3g} h"


def _rows(axes: Axes, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), [_short(label) for label in labels])
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.spines["left"].set_visible(False)
    axes.tick_params(length=0)
    axes.grid(axis="x")
    axes.xaxis.set_major_locator(MaxNLocator(6))


def _short(label: str, longest: int = LONGEST) -> str:
    return label if len(label) <= longest else f"{label[: longest - 1]}…"
