"""Matplotlib figures as inline SVG in a page's fonts and colours, with ids of their own.

Figures are drawn in placeholder colours that become CSS variables, so that one drawing serves light, dark and print.
The same data give the same bytes: no dates, no random ids.
"""

import io
import re
from collections.abc import Callable
from html import escape
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from ..figures.style import style

INK, MUTED, GRID, PAPER = "#010101", "#020202", "#030303", "#040404"
# The first is the page's accent; all are told apart with every common kind of colour vision.
SERIES = ("#050501", "#050502", "#050503", "#050504", "#050505", "#050506", "#050507")
VARIABLES = {  # of CSS, for each placeholder colour
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--rule)",
    PAPER: "var(--paper)",
    **{colour: f"var(--series-{number})" for number, colour in enumerate(SERIES, start=1)},
}
# Units of a chart's width: near the pixels it is shown in, also on a telephone, so that text keeps its size.
WIDTH, NARROW = 345.0, 250.0

STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ssdg-bench",
    "font.family": "DejaVu Sans",  # for measuring: wider than the page's fonts, so that nothing is cut off
    "font.size": 8.5,
    "text.parse_math": False,  # labels are a user's own and may hold a dollar sign
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "figure.facecolor": "none",
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.0,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "lines.linewidth": 1.4,
}


def svg_chart(name: str, title: str, size: tuple[float, float], fill: Callable[[Figure], None]) -> Markup:
    """Return a drawing of a size in units as an ``<svg>`` element; ``fill`` draws, the title is read aloud.

    The name, which begins every id, is unique on the page and made of letters, digits and hyphens.
    """
    with style(STYLE):
        figure = Figure(figsize=(size[0] / 72, size[1] / 72), layout="constrained")
        fill(figure)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return Markup(_embedded(text.getvalue(), name, title))


def _embedded(text: str, name: str, title: str) -> str:
    _, _, content = text[text.index("<svg") :].partition(">")
    view = re.search(r'viewBox="([^"]+)"', text)
    assert view is not None
    content = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style[^>]*>.*?</style>", "", content, flags=re.DOTALL)
    content = content.replace("xlink:href", "href")
    referenced = set(re.findall(r'(?:href="|url\()#([^")]+)', content))
    content = re.sub(r' id="([^"]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in referenced else "", content)
    content = re.sub(r'href="#|url\(#', lambda m: m[0] + name + "-", content)
    content = re.sub(r"#[0-9a-f]{6}\b", lambda m: VARIABLES.get(m[0], m[0]), content)
    content = content.replace("'DejaVu Sans'", "var(--font)")
    content = re.sub(r"\s*\n\s*", "\n", content)
    head = f'<svg class="chart" role="img" aria-labelledby="{name}-title" viewBox="{view[1]}">'
    return f'{head}<title id="{name}-title">{escape(title)}</title>{content.strip()}'
