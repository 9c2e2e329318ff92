"""A printed table: rows × columns with the text of each cell, the same for every format that people read."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from .wording import TIED

R = TypeVar("R")

CHECK = "\N{CHECK MARK}"

BOLD = "\x00"  # stands for Markdown's asterisks until other asterisks are escaped

# An underscore inside a word, an ampersand before a space and brackets without a link mean themselves.
SPECIAL = re.compile(r"[\\|*<`~]|(?<![^\W_])_|_(?![^\W_])|(?<=\])\(|&(?=#?\w+;)")


@dataclass(frozen=True, slots=True)
class PrintedColumn(Generic[R]):
    """A column: its heading and what it prints of a row."""

    heading: str
    text: Callable[[R], str]
    value: Callable[[R], str] | None = None  # sorts a page's rows by number, "" last; None: the text does
    bold: Callable[[R], bool] = field(default=lambda _: False)
    tied: Callable[[R], bool] = field(default=lambda _: False)  # not separated from what is bold
    notes: Callable[[R], Mapping[str, str]] = field(default=lambda _: {})  # in brackets behind, or in lines under it
    align: Literal["l", "c"] = "c"
    unit: str = ""  # that a page adds to the heading
    stacked: Sequence[str] = ()  # the heading in lines; neighbours with the same first line of several share it


@dataclass(frozen=True, slots=True)
class Printed(Generic[R]):
    """Columns and rows of a table, those under its last rule apart."""

    columns: Sequence[PrintedColumn[R]]
    rows: Sequence[R]
    foot: Sequence[R] = ()


def markdown_lines(printed: Printed[Any]) -> list[str]:
    """Return the lines of a GitHub table, padded to be read in a terminal too."""
    columns = printed.columns
    lines = [[column.heading for column in columns]]
    lines += [[_markdown_cell(column, row) for column in columns] for row in (*printed.rows, *printed.foot)]
    lines = [[markdown(text) for text in line] for line in lines]
    widths = [max(map(len, texts)) for texts in zip(*lines, strict=True)]
    padded = ["| " + " | ".join(t.ljust(w) for t, w in zip(line, widths, strict=True)) + " |" for line in lines]
    return [padded[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *padded[1:]]


def _markdown_cell(column: PrintedColumn[R], row: R) -> str:
    text = f"{BOLD}{column.text(row)}{BOLD}" if column.bold(row) else column.text(row)
    text += f" {TIED}" if column.tied(row) else ""
    notes = "; ".join(filter(None, column.notes(row).values()))
    return f"{text} [{notes}]" if notes else text


def markdown(text: str) -> str:
    """Return plain text as Markdown."""
    return SPECIAL.sub(r"\\\g<0>", text).replace(BOLD, "**")
