"""Tables as LaTeX (booktabs), with the caption under them."""

import itertools

from .tables import Entry, Table
from .wording import DASH, MINUS, SETTINGS, delta_text, ours_text, published_text, row_label

ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "‡": r"$\ddagger$",
    DASH: "--",
    MINUS: "$-$",
}


def escape(text: str) -> str:
    """Return plain text as LaTeX; two hyphens stay two hyphens."""
    return "".join(ESCAPES.get(character, character) for character in text.replace("--", "-\x00-")).replace(
        "\x00", "{}"
    )


def render_latex(table: Table) -> str:
    """Return a ``table`` environment: targets over their groups, one line a row, the published numbers under it."""
    columns = "ll" + "c" * len(table.headings)
    lines = [
        r"% Needs \usepackage{booktabs}.",
        r"\begin{table}",
        r"\centering\small",
        rf"\caption{{{escape(table.suite.title)}}}",
        rf"\label{{tab:{table.suite.name}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        *_header(table),
        r"\midrule",
    ]
    for row in table.rows:
        texts = [escape(row_label(row.row)), escape(SETTINGS[row.row.setting])]
        lines.append(_line([*texts, *(_ours(entry) for entry in row.entries)]))
        published = [_published(entry) for entry in row.entries]
        if any(published):
            lines.append(_line([r"\quad\scriptsize published", "", *published]))
    lines += [r"\bottomrule", r"\end{tabular}", r"\par\smallskip", r"\begin{minipage}{\linewidth}\footnotesize"]
    lines += [escape(sentence) for sentence in table.caption]
    return "\n".join([*lines, r"\end{minipage}", r"\end{table}"]) + "\n"


def _header(table: Table) -> list[str]:
    """Return the line of targets, the rules under those with several columns, and the line of groups."""
    targets, rules, position = ["", ""], [], 3
    for column, headings in itertools.groupby(table.headings, key=lambda heading: heading.column):
        width = len(list(headings))
        if width == 1:
            targets.append(escape(column.label))
        else:
            targets.append(rf"\multicolumn{{{width}}}{{c}}{{{escape(column.label)}}}")
            rules.append(rf"\cmidrule(lr){{{position}-{position + width - 1}}}")
        position += width
    groups = ["Method", "Setting", *(escape(heading.label) for heading in table.headings)]
    return [_line(targets), *(["".join(rules)] if rules else []), _line(groups)]


def _ours(entry: Entry) -> str:
    text = escape(ours_text(entry.cell))
    return rf"\textbf{{{text}}}" if entry.best else text


def _published(entry: Entry) -> str:
    text, delta = published_text(entry), delta_text(entry)
    return rf"\scriptsize {escape(text)}{f' ({escape(delta)})' if delta else ''}" if text else ""


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"
