"""The charts of a report: plain numbers in, one ``<svg>`` element out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from .svg import GRID, INK, MUTED, NARROW, PAPER, SERIES, WIDTH, draw

if TYPE_CHECKING:
    from matplotlib.text import Annotation

LONGEST = 22
"""Characters of a row's label before it is cut short."""

LINE = 17.0
"""Height of a row in a chart with one line a row."""

LABEL = 12.5
"""Height of a label in a column of them."""

GOLDEN = 0.6180339887
"""Multiples of it modulo 1 spread evenly, however many there are: jitter that is the same every time."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A row's difference to the baseline, in points."""

    label: str
    difference: float
    low: float
    high: float
    clear: bool  # still separated from zero after the correction for many comparisons


@dataclass(frozen=True, slots=True)
class Strip:
    """A row's scores of its cases, in percent."""

    label: str
    values: NDArray[np.float64]  # NaN where not defined
    groups: tuple[str, ...]  # stratum of each case


@dataclass(frozen=True, slots=True)
class Looks:
    """DSC of some cases in the epochs that looked at them."""

    epochs: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()  # percent


@dataclass(frozen=True, slots=True)
class Curve:
    """What one run's history says, epoch by epoch."""

    epochs: tuple[float, ...]
    loss: tuple[float, ...]  # sum of the terms
    held_out: Looks  # of the source
    target: Looks  # where its labels choose the epoch; else none
    selected: float | None  # epoch whose weights are scored


@dataclass(frozen=True, slots=True)
class Cost:
    """What a row's training takes and what it comes to."""

    label: str
    seconds: float
    score: float  # percent
    device: str


def forest_chart(name: str, title: str, rows: Sequence[Interval]) -> str:
    """Return differences to the baseline with their intervals, one line a row, in the given order."""

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

    return draw(name, title, (WIDTH, 34 + LINE * len(rows)), fill)


def strip_chart(name: str, title: str, rows: Sequence[Strip], reference: float | None) -> str:
    """Return the cases of each row as dots over a box of their quartiles; dashed: the baseline's median.

    Args:
        name: see :func:`report_svg.draw`.
        title: likewise.
        rows: from top to bottom.
        reference: percent.
    """
    groups = sorted({group for row in rows for group in row.groups})

    def fill(figure: Figure) -> None:
        axes = figure.subplots()
        if reference is not None:
            axes.axvline(reference, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
        for y, row in enumerate(rows):
            _strip(axes, y, row, groups)
        if len(groups) > 1:
            for group, colour in zip(groups, _cycle(len(groups)), strict=True):
                axes.plot([], [], "o", markersize=4, color=colour, label=group)
            figure.legend(loc="outside upper right", ncols=len(groups), handletextpad=0.1, columnspacing=1)
        _rows(axes, [row.label for row in rows])
        axes.set_xlabel("DSC of a case, %")

    return draw(name, title, (WIDTH, (50 if len(groups) > 1 else 34) + (LINE + 3) * len(rows)), fill)


def _strip(axes: Axes, y: int, row: Strip, groups: Sequence[str]) -> None:
    defined = ~np.isnan(row.values)
    if not defined.any():
        return
    values = row.values[defined]
    low, middle, high = np.percentile(values, [25, 50, 75])
    axes.barh(y, high - low, left=low, height=0.62, color=GRID, alpha=0.55, linewidth=0)
    axes.plot([middle, middle], [y - 0.31, y + 0.31], color=INK, linewidth=1.6)
    jitter = (np.arange(len(values)) * GOLDEN % 1 - 0.5) * 0.5
    members = np.array(row.groups)[defined]
    for group, colour in zip(groups, _cycle(len(groups)), strict=True):
        inside = members == group
        axes.plot(
            values[inside],
            y + jitter[inside],
            linestyle="none",
            marker="o",
            markersize=2.9,
            markeredgewidth=0,
            color=colour,
            alpha=0.75,
        )


def curve_chart(name: str, title: str, curves: Sequence[Curve], limits: tuple[float, float]) -> str:
    """Return the held-out score over epochs above the training loss; a ring marks the selected epoch.

    Of runs that are selected on the target, its score is the line, and the held-out one is dashed.

    Args:
        name: see :func:`report_svg.draw`.
        title: likewise.
        curves: one a run.
        limits: of the score's axis, in percent, the same in every chart of a page.
    """

    def fill(figure: Figure) -> None:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
        for curve, colour in zip(curves, _cycle(len(curves)), strict=True):
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

    return draw(name, title, (NARROW, 175), fill)


def _scores(axes: Axes, curve: Curve, colour: str) -> None:
    shown = curve.target if curve.target.epochs else curve.held_out
    if shown is curve.target:
        axes.plot(curve.held_out.epochs, curve.held_out.scores, color=colour, linewidth=1.0, linestyle=(0, (3, 2)))
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
        places = spread([(score - low) / (high - low) for score in scores], LABEL / (height - 40))
        for point, place in zip(points, places, strict=True):
            axes.plot([point.seconds], [point.score], markers[point.device], markersize=5, color=SERIES[0])
            _joined(axes, point, place)
        if len(devices) > 1:
            for device in devices:
                axes.plot([], [], markers[device], markersize=5, color=SERIES[0], label=_short(device, 40))
            figure.legend(loc="outside upper left", handletextpad=0.1)
        axes.grid()
        axes.tick_params(which="both", length=0, labelcolor=MUTED)
        _time_axis(axes)
        axes.set_ylabel("DSC, %")
        axes.set_xlabel("training time of one run")

    return draw(name, title, (WIDTH, height), fill)


def spread(places: Sequence[float], apart: float) -> list[float]:
    """Return places in 0..1 moved as little as keeps them apart, in the order given; evenly spread if too many."""
    order = sorted(range(len(places)), key=lambda index: places[index])
    apart = min(apart, 1 / max(1, len(places) - 1))
    found = [places[index] for index in order]
    for index in range(1, len(found)):
        found[index] = max(found[index], found[index - 1] + apart)
    ceiling = 1.0
    for index in reversed(range(len(found))):
        found[index] = min(found[index], ceiling)
        ceiling = found[index] - apart
    moved = [0.0] * len(places)
    for place, index in zip(found, order, strict=True):
        moved[index] = place
    return moved


def _joined(axes: Axes, point: Cost, place: float) -> "Annotation":
    """Write a point's label beside the axes at a height of its own, joined by a thin line."""
    return axes.annotate(
        _short(point.label),
        (point.seconds, point.score),
        xytext=(1.07, place),
        textcoords="axes fraction",
        va="center",
        fontsize=8,
        annotation_clip=False,
        arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.5, "shrinkA": 1, "shrinkB": 3},
    )


def _time_axis(axes: Axes) -> None:
    """Label a logarithmic axis of seconds at round durations inside its limits."""
    low, high = axes.get_xlim()
    low, high = low / 1.25, high * 1.25
    round_ones: list[float] = [0.01, 0.03, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600]
    round_ones += [3600 * hours for hours in (2, 4, 8, 12, 24, 48, 96, 192)]
    ticks = [seconds for seconds in round_ones if low <= seconds <= high]
    axes.set_xlim(low, high)
    axes.set_xticks(_apart(ticks, (high / low) ** 0.17), minor=False)
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
    """Return a time span as people say it: "45 s", "3.4 min", "2 h"."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.2g} min" if seconds < 3600 else f"{seconds / 3600:.3g} h"


def _rows(axes: Axes, labels: Sequence[str]) -> None:
    """Name the lines of a chart with one line a row, the first at the top."""
    axes.set_yticks(range(len(labels)), [_short(label) for label in labels])
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.spines["left"].set_visible(False)
    axes.tick_params(length=0)
    axes.grid(axis="x")
    axes.xaxis.set_major_locator(MaxNLocator(6))


def _short(label: str, longest: int = LONGEST) -> str:
    return label if len(label) <= longest else f"{label[: longest - 1]}…"


def _cycle(count: int) -> list[str]:
    return [SERIES[index % len(SERIES)] for index in range(count)]
