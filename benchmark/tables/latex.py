"""Printed tables as LaTeX (booktabs), with their sentences under them."""

import itertools
import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from .latex_text import escape
from .printed import CHECK, Printed, PrintedColumn

FONT = r"\footnotesize\setlength{\tabcolsep}{3pt}\renewcommand{\arraystretch}{0.85}"
CHECKMARK = r"$\checkmark$"
PROTOCOL = r"\par\textit{Protocol.} % Down to the end of the minipage: optional, if it is printed elsewhere."
TIED = r"\rlap{$^{\approx}$}"  # takes no room, so that the numbers of a column stay under each other
WIDEST = 14  # letters of a cell or heading, "76.98 ± 0.17" and a digit more; longer text is broken between words


def latex_lines(
    printed: Printed[Any], caption: str, label: str, sentences: Iterable[str], protocol: Sequence[str]
) -> list[str]:
    """Return the lines of a ``table`` environment; cells have their notes in lines of their own under them."""
    columns = printed.columns
    rows = [_row(columns, row) for row in printed.rows]
    if any(column.notes(row) for row in printed.rows for column in columns):
        rows[1:] = [[r"\addlinespace[1.5pt]", *lines] for lines in rows[1:]]
    foot = [line for row in printed.foot for line in _row(columns, row)]
    return [
        r"\begin{table}",
        rf"\centering{FONT}",
        rf"\caption{{{escape(caption)}}}",
        rf"\label{{tab:{re.sub(r'[^A-Za-z0-9:.-]+', '-', label)}}}\par\smallskip",
        rf"\begin{{tabular}}{{{''.join(column.align for column in columns)}}}",
        r"\toprule",
        *_header(columns),
        r"\midrule",
        *itertools.chain(*rows),
        *([r"\midrule", *foot] if foot else []),
        r"\bottomrule",
        r"\end{tabular}",
        r"\par\smallskip",
        r"\begin{minipage}{\linewidth}\scriptsize",
        *map(escape, sentences),
        *([PROTOCOL, *map(escape, protocol)] if protocol else []),
        r"\end{minipage}",
        r"\end{table}",
    ]


def _header(columns: Iterable[PrintedColumn[Any]]) -> list[str]:
    stacked = [column.stacked or (column.heading,) for column in columns]
    depth = max(map(len, stacked))
    first, *others = zip(*((*[""] * (depth - len(lines)), *lines) for lines in stacked), strict=True)
    cells, rules, position = [], [], 1
    for text, repeated in itertools.groupby(first):
        width = len(list(repeated))
        if width == 1 or not text or not others:
            cells += [_broken(text, "b")] * width
        else:
            cells.append(rf"\multicolumn{{{width}}}{{c}}{{{escape(text)}}}")
            rules.append(rf"\cmidrule(lr){{{position}-{position + width - 1}}}")
        position += width
    below = [_line(_broken(text, "t") for text in texts) for texts in others]
    return [_line(cells), *(["".join(rules)] if rules else []), *below]


def _row(columns: Iterable[PrintedColumn[Any]], row: Any) -> list[str]:
    lines = [_line(_cell(column, row) for column in columns)]
    _, *notes = [column.notes(row) for column in columns]
    for name in dict.fromkeys(itertools.chain(*notes)):
        texts = [escape(of_cell.get(name, "")) for of_cell in notes]
        if any(texts):
            small = [rf"\scriptsize {text}" if text else "" for text in texts]
            lines.append(_line([rf"\quad\scriptsize {name}", *small]))
    return lines


def _cell(column: PrintedColumn[Any], row: Any) -> str:
    text = column.text(row)
    if text == CHECK:
        return CHECKMARK
    if column.align == "l":
        return escape(text)
    return _broken(text, "t", r"\textbf{%s}" if column.bold(row) else "%s", TIED if column.tied(row) else "")


def _broken(text: str, align: str, style: str = "%s", mark: str = "") -> str:
    """Return text in lines under each other where it is long, in a style, the first with the mark.

    ``align`` is that of a tabular.
    """
    parts = text.replace(" (", "\n(").split("\n") if len(text) > WIDEST else [text]
    wrapped = [textwrap.wrap(part, WIDEST, break_long_words=False, break_on_hyphens=False) for part in parts]
    lines = [style % escape(line) for part in wrapped for line in part]
    lines[:1] = [line + mark for line in lines[:1]]
    if len(lines) < 2:
        return "".join(lines)
    return rf"\begin{{tabular}}[{align}]{{@{{}}c@{{}}}}" + r"\\".join(lines) + r"\end{tabular}"


def _line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"
