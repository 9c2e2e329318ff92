"""The order of methods under several regimes: a line for each, its mean at every regime and its name at the end."""

from matplotlib.figure import Figure

from ..comparisons.regimes import RegimeStudy
from .style import NORMAL, SERIES, SMALL, style

LINE = 0.17  # inches between two names
MARGIN = 0.45  # inches above and below the lines


def regimes_figure(study: RegimeStudy, width: float) -> Figure:
    """Draw each row's rank under every regime, the best on top; its mean stands at each point.

    Args:
        study: of at least two rows.
        width: of the figure in inches.
    """
    count = len(study.rows)
    with style():
        figure = Figure(figsize=(width, count * 2 * LINE + 2 * MARGIN), layout="constrained")
        axes = figure.subplots()
        positions = range(len(study.regimes))
        # Rows of one rank would lie on each other: where they share one, the suite's order goes down.
        places = [sorted(range(count), key=lambda row: (int(ranks[row]), row)) for ranks in study.ranks]
        for row, of_row in enumerate(study.rows):
            heights = [order.index(row) for order in places]
            colour = SERIES[row % len(SERIES)]
            dashes = "-" if row < len(SERIES) else "--"
            axes.plot(positions, heights, dashes, color=colour, marker="o", markersize=3)
            for position, height in zip(positions, heights, strict=True):
                text = f"{study.metric.scale * study.means[position, row]:.1f}"
                # On white, so that lines do not cross it.
                paper = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"}
                axes.annotate(
                    text, (position, height), (0, 5), textcoords="offset points", ha="center", size=SMALL, bbox=paper
                )
            for side, position, align in ((-8, 0, "right"), (8, len(study.regimes) - 1, "left")):
                place = (positions[position], heights[position])
                axes.annotate(
                    of_row.label, place, (side, 0), textcoords="offset points", ha=align, va="center", color=colour
                )
        axes.set_xticks(positions, study.regimes)
        axes.tick_params(axis="x", labelsize=NORMAL, length=0)
        axes.set_yticks([])
        axes.set_xlim(-0.6, len(study.regimes) - 0.4)
        axes.set_ylim(count - 0.5, -0.7)
        for spine in axes.spines.values():
            spine.set_visible(False)
        taus = "   ".join(f"τ ({pair.blocks[0]}; {pair.blocks[1]}) = {pair.tau:.2f}" for pair in study.pairs)
        axes.set_xlabel(f"{taus}", size=SMALL)
    return figure
