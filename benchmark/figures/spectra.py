"""Amplitudes of low and high spatial frequencies by domain, as a figure: Fig. 1b/c of the RAS4DG paper."""

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from .amplitudes import Bands, Spectra, fold_range
from .style import DOUBLE, SERIES, SINGLE, SMALL, style

HEIGHT = 2.1  # inches of a line of panels


def spectra_figure(measured: Sequence[Spectra], labels: Sequence[str], bands: Bands, width: float = DOUBLE) -> Figure:
    """Return boxes of the low and of the high band, with every case, and the radial profile with its quartiles.

    In a narrow ``width`` (inches) the profile goes below.
    """
    mosaic = "LH\nPP" if width < (SINGLE + DOUBLE) / 2 else "LHPP"
    with style():
        figure = Figure(figsize=(width, HEIGHT * len(mosaic.split())), layout="constrained")
        axes = figure.subplot_mosaic(mosaic)
        for band, title in (("low", f"Low band, r ≤ {bands.low:.2g}"), ("high", f"High band, r ≥ {bands.high:.2g}")):
            panel = axes[band[0].upper()]
            _boxes(panel, [1e3 * getattr(spectra, band) for spectra in measured], labels)
            apart = f"\nmedians {fold_range(measured, band):.2f}-fold apart" if len(measured) > 1 else ""
            panel.set_title(title + apart)
        _same_span(axes["L"], axes["H"])
        _profile(axes["P"], measured, labels, bands)
        for letter in "LP":
            axes[letter].set_ylabel("Mean amplitude (10$^{-3}$)")
    return figure


def _boxes(axes: Axes, values: Sequence[np.ndarray], labels: Sequence[str]) -> None:
    places, thin = range(len(values)), {"linewidth": 0.6}
    lines: Any = {"medianprops": {"color": "black", "linewidth": 1.0}, "boxprops": thin, "whiskerprops": thin}
    axes.boxplot(list(values), positions=places, widths=0.6, whis=(0, 100), showcaps=False, **lines)
    for place, amplitudes, colour in zip(places, values, cycle(SERIES), strict=False):
        shift = (np.arange(len(amplitudes)) * 0.618 % 1 - 0.5) * 0.4  # the same at every call
        axes.plot(place + shift, amplitudes, ".", color=colour, markersize=3, markeredgewidth=0, alpha=0.8)
    axes.set_yscale("log")
    axes.set_xticks(places, labels)
    if max(map(len, labels)) * len(labels) > 27:
        for tick in axes.get_xticklabels():
            tick.set(rotation=30, ha="right", rotation_mode="anchor")


def _plain(axis: Axis) -> None:
    """Write 0.5 and 20 on a logarithmic axis, not powers of ten, as densely as its span allows."""
    decades = float(np.ptp(np.log10(axis.get_view_interval())))
    multiples = (1,) if decades > 2 else (1, 2, 5) if decades > 0.8 else (1, 1.5, 2, 3, 4, 5, 6, 8)
    axis.set_major_locator(LogLocator(subs=multiples))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _same_span(*panels: Axes) -> None:
    """Give logarithmic axes the same number of decades, each around its own data: spreads can be compared."""
    limits = [np.log10(axes.get_ylim()) for axes in panels]
    half = max(high - low for low, high in limits) / 2
    for axes, (low, high) in zip(panels, limits, strict=True):
        middle = (low + high) / 2
        axes.set_ylim(10 ** (middle - half), 10 ** (middle + half))
        _plain(axes.yaxis)


def _profile(axes: Axes, measured: Sequence[Spectra], labels: Sequence[str], bands: Bands) -> None:
    for spectra, label, colour in zip(measured, labels, cycle(SERIES), strict=False):
        defined = ~np.isnan(spectra.profile[0])
        centre = np.sqrt(spectra.edges[:-1] * spectra.edges[1:])[defined]
        low, median, high = np.percentile(1e3 * spectra.profile[:, defined], [25, 50, 75], axis=0)
        axes.fill_between(centre, low, high, color=colour, alpha=0.25, linewidth=0)
        axes.plot(centre, median, color=colour, label=f"{label} ({len(spectra.cases)})")
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        _plain(axis)
    axes.axvspan(measured[0].edges[0], bands.low, color="black", alpha=0.05, linewidth=0)
    axes.axvspan(bands.high, 1, color="black", alpha=0.1, linewidth=0)
    axes.set_xlim(measured[0].edges[0], 1)
    for place, name in ((np.sqrt(measured[0].edges[0] * bands.low), "low"), (np.sqrt(bands.high), "high")):
        axes.text(place, 0.98, name, transform=axes.get_xaxis_transform(), ha="center", va="top", fontsize=SMALL)
    axes.set_xlabel("Distance from the zero frequency, r (1: the farthest)")
    axes.set_title("Radial profile: median and quartiles of the cases")
    axes.legend(loc="lower left")
