"""Style of all figures: column widths, letters, colours that the colour-blind tell apart, reproducible files.

A figure is made inside ``with style():`` and written by :func:`save_figure`; equal figures are equal bytes.
"""

import math
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..errors import UsageError
from ..storage.files import output_file

SINGLE, DOUBLE = 3.5, 7.2  # inches of one and of two columns of a journal's page
PAGE = 9.5  # largest height of a figure in inches
PANEL = 0.85  # smallest width of a picture in inches: eight of them fit two columns, four fit one
GAP = 0.03  # inches between pictures
SMALL, NORMAL = 6.0, 7.0  # points of notes and of everything else; journals ask for 5 to 7 at the printed size
DPI = 400  # of PNG files, and of pictures inside both kinds of file
FORMATS = (".pdf", ".png")

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILLION, PURPLE = OKABE_ITO = (
    *("#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"),
)
"""Okabe and Ito, Color Universal Design, 2008: told apart with every common kind of colour vision."""

SERIES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)  # of lines and boxes: yellow is too pale for these
AREAS = (ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILLION, PURPLE)  # of classes
MISSING = "#EEEEEE"  # of a panel without a picture

_RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same letters everywhere
    "font.size": NORMAL,
    "axes.titlesize": NORMAL,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "axes.linewidth": 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "lines.linewidth": 1.0,
    "pdf.fonttype": 42,  # TrueType, as publishers ask; matplotlib's own choice is Type 3
    "figure.dpi": DPI,
}


@contextmanager
def style(settings: Any = _RC) -> Iterator[None]:
    """Set a style for the figures made inside, instead of the user's own settings of matplotlib."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(settings)
        yield


def require_format(output: Path) -> None:
    """Raise UsageError for a file that is neither PDF nor PNG; called before anything is computed."""
    if output.suffix.lower() not in FORMATS:
        raise UsageError(f"a figure is written as .png or .pdf, not {output.suffix or 'a file without suffix'}")


def save_figure(figure: Figure, output: Path) -> None:
    """Write a figure as PDF (vectors, fonts embedded) or PNG, by its suffix, without a date in it."""
    require_format(output)
    form = output.suffix[1:].lower()
    metadata = {"CreationDate": None} if form == "pdf" else {"Software": None}
    with style(), output_file(output) as stream:
        figure.savefig(stream, format=form, metadata=metadata)


def lines_of(count: int, width: float) -> tuple[int, int]:
    """Return the count of lines and of pictures a line that fill a page's width (inches) evenly."""
    most = max(1, int(width / PANEL + 1e-9))
    lines = math.ceil(count / most)
    return lines, math.ceil(count / lines)


def wrapped(text: str, inches: float, points: float = NORMAL) -> str:
    """Return text broken into lines of a width in inches, set in letters of a size in points."""
    letters = max(4, int(inches * 72 / (0.56 * points)))  # 0.56: a letter's mean width over its size
    return textwrap.fill(text, letters, break_on_hyphens=False)


def height_of(text: str, points: float = NORMAL) -> float:
    """Return the inches that lines of text take."""
    return (1 + text.count("\n")) * 1.25 * points / 72


class Sheet:
    """A page (inches) with fixed places, measured from its top left corner: nothing is moved or cut off."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height))

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Return axes of a size, without frame or ticks."""
        place = (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        axes = self.figure.add_axes(place)
        axes.set_axis_off()
        return axes

    def text(self, left: float, top: float, text: str, **properties: Any) -> None:
        """Write text whose upper edge, or the edge that ``va`` names, lies at ``top``."""
        self.figure.text(left / self.width, 1 - top / self.height, text, **{"va": "top", **properties})
