"""Tables as LaTeX (booktabs), with the caption under them."""

import itertools
import re
import textwrap

from ..scoring.metrics import DSC
from .build import Entry, Table, TableRow
from .latex_text import escape
from .wording import SETTINGS, delta_text, group_text, ours_text, published_text, row_label, title_text

WIDEST = 14
"""Letters of a cell or heading, "76.98 ± 0.17" and a digit more; longer text is broken between words."""

MOST = 6
"""Columns of numbers that a line of 6.5 in holds: those of Table 1."""


def render_latex(table: Table) -> str:
    """Return a ``table`` environment: targets over their groups, one line a row, the published numbers under it.

    It needs booktabs (and amssymb for check marks) and is made for a line of 6.5 in, which Table 1 fills.
    """
    suite, components = table.suite, len(table.suite.components)
    name = suite.name if table.metric is DSC else f"{suite.name}-{table.metric.name}"
    lines = [
        rf"% Needs \usepackage{{booktabs{',amssymb' if components else ''}}}; in a class of two columns, say table*.",
        r"\begin{table}",
        r"\centering\footnotesize\setlength{\tabcolsep}{3pt}\renewcommand{\arraystretch}{0.85}",
        rf"\caption{{{escape(title_text(table))}}}",
        rf"\label{{tab:{re.sub(r'[^A-Za-z0-9:.-]+', '-', name)}}}\par\smallskip",
        rf"\begin{{tabular}}{{ll{'c' * (components + len(table.headings))}}}",
        r"\toprule",
        *_header(table),
        r"\midrule",
    ]
    if len(table.headings) > MOST:
        lines.insert(1, "% Wider than an upright page: say sidewaystable, of the package rotating.")
    for position, row in enumerate(table.rows):
        if position and table.show_published:
            lines.append(r"\addlinespace[2pt]")
        lines += _row(table, row)
    lines += [r"\bottomrule", r"\end{tabular}", r"\par\smallskip", r"\begin{minipage}{\linewidth}\scriptsize"]
    lines += [escape(sentence) for sentence in table.caption]
    return "\n".join([*lines, r"\end{minipage}", r"\end{table}"]) + "\n"


def _header(table: Table) -> list[str]:
    """Return the line of targets and, where they have groups, the rules under them and the line of groups."""
    components = [escape(label) for label in table.suite.components]
    before = ["Method", "Setting", *components]
    targets, rules, position = ["" for _ in before], [], len(before) + 1
    for column, headings in itertools.groupby(table.headings, key=lambda heading: heading.column):
        width = len(list(headings))
        if width == 1:
            targets.append(_broken(column.label, "b"))
        else:
            targets.append(rf"\multicolumn{{{width}}}{{c}}{{{escape(column.label)}}}")
            rules.append(rf"\cmidrule(lr){{{position}-{position + width - 1}}}")
        position += width
    groups = [_broken(group_text(heading), "t") for heading in table.headings]
    if not any(groups):
        return [_line([*before, *targets[len(before) :]])]
    return [_line(targets), *(["".join(rules)] if rules else []), _line([*before, *groups])]


def _row(table: Table, row: TableRow) -> list[str]:
    """Return a row's line, and one each with the published numbers and the differences where there are any."""
    marks = [r"$\checkmark$" if has else "" for has in table.suite.components_of(row.row).values()]
    texts = [escape(row_label(row.row)), escape(SETTINGS[row.row.access]), *marks]
    lines = [_line([*texts, *(_ours(entry) for entry in row.entries)])]
    for name, words in (("published", published_text), ("difference", delta_text)):
        cells = [escape(words(entry)) for entry in row.entries]
        if any(cells):
            small = [rf"\scriptsize {cell}" if cell else "" for cell in cells]
            lines.append(_line([rf"\quad\scriptsize {name}", *("" for _ in texts[1:]), *small]))
    return lines


def _ours(entry: Entry) -> str:
    return _broken(ours_text(entry.cell), "t", r"\textbf{%s}" if entry.best else "%s")


def _broken(text: str, align: str, style: str = "%s") -> str:
    """Return text in a style, in lines under each other where it is long; ``align`` as for a tabular."""
    parts = text.replace(" (", "\n(").split("\n") if len(text) > WIDEST else [text]
    wrapped = [textwrap.wrap(part, WIDEST, break_long_words=False, break_on_hyphens=False) for part in parts]
    lines = [style % escape(line) for part in wrapped for line in part]
    if len(lines) < 2:
        return "".join(lines)
    return rf"\begin{{tabular}}[{align}]{{@{{}}c@{{}}}}" + r"\\".join(lines) + r"\end{tabular}"


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"
