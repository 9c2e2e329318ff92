"""A document: printed tables and their sentences under one title, as Markdown, LaTeX, CSV or JSON."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..digests import to_json
from ..errors import unknown
from ..storage.csv_text import to_csv
from .latex import CHECKMARK, latex_lines
from .printed import Printed, markdown, markdown_lines


@dataclass(frozen=True, slots=True)
class Part:
    """A printed table of a document, with a heading and sentences of its own."""

    printed: Printed[Any]
    heading: str = ""
    sentences: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Document:
    """What a view of results prints; records and data are computed only for the format that needs them."""

    title: str
    label: str  # of the first table in LaTeX; "-2" is appended for the second one
    parts: Sequence[Part]
    records: Callable[[], Sequence[Mapping[str, Any]]]  # lines of CSV, at least one; its keys are the columns
    data: Callable[[], Any]  # of JSON
    sentences: Sequence[str] = ()  # under all parts; in LaTeX, under each
    protocol: Sequence[str] = ()  # folded
    wide: bool = False  # does not fit an upright page


def render(document: Document, form: str) -> str:
    """Return a document as text that ends with a line break.

    Raises:
        UsageError: a form other than ``csv``, ``json``, ``latex`` and ``markdown``.
    """
    if form not in FORMATS:
        raise unknown("table format", form, FORMATS)
    return FORMATS[form](document)


def _csv(document: Document) -> str:
    records = document.records()
    return to_csv(records[0], records)


def _json(document: Document) -> str:
    return json.dumps(to_json(document.data()), indent=2, ensure_ascii=False) + "\n"


def _markdown(document: Document) -> str:
    blocks = [_heading(document.title)]
    for part in document.parts:
        blocks += [_heading(part.heading), "\n".join(markdown_lines(part.printed)), _points(part.sentences)]
    blocks.append(_points(document.sentences))
    if document.protocol:
        # GitHub reads Markdown inside HTML only after an empty line.
        blocks += ["<details><summary>Protocol</summary>", _points(document.protocol), "</details>"]
    return "\n\n".join(filter(None, blocks)) + "\n"


def _heading(text: str) -> str:
    return f"**{markdown(text)}**" if text else ""


def _points(sentences: Iterable[str]) -> str:
    return "\n".join(f"* {markdown(sentence)}" for sentence in sentences)


def _latex(document: Document) -> str:
    lines = []
    if document.wide:
        lines.append("% Wider than an upright page: say sidewaystable, of the package rotating.")
    for number, part in enumerate(document.parts, 1):
        caption = ": ".join(filter(None, (document.title, part.heading)))
        label = document.label if number == 1 else f"{document.label}-{number}"
        sentences = (*part.sentences, *document.sentences)
        lines += latex_lines(part.printed, caption, label, sentences, document.protocol)
    text = "\n".join(lines) + "\n"
    packages = "booktabs,amssymb" if CHECKMARK in text else "booktabs"
    return rf"% Needs \usepackage{{{packages}}}; in a class of two columns, say table*." + "\n" + text


FORMATS = {"csv": _csv, "markdown": _markdown, "latex": _latex, "json": _json}
