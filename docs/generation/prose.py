"""Docstrings and tables as Markdown."""

import inspect
import re
from collections.abc import Iterable, Sequence

NONE = "\N{EN DASH}"
TIMES = "\N{MULTIPLICATION SIGN}"

CODE = re.compile(r"(`[^`]*`)")


def markdown_of(docstring: str | None) -> str:
    """Return a docstring as Markdown: roles and literals become code, its sections (``Args:`` …) are left out."""
    text = inspect.cleandoc(docstring or "")
    text = re.split(r"^(?:Args|Returns|Raises):$", text, flags=re.MULTILINE)[0]
    text = re.sub(r":[a-z]+:`~?([^`]*)`", r"`\1`", text).replace("``", "`")
    return "".join(part if index % 2 else escaped(part) for index, part in enumerate(CODE.split(text))).strip()


def escaped(text: str) -> str:
    """Return text without characters that Markdown would take for markup; bullets at the start of a line stay."""
    return re.sub(r"(?<!^)\*|\*(?! )|[_<|]", lambda match: "\\" + match.group(), text, flags=re.MULTILINE)


def table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(cell.replace("\n", " ") for cell in line) + " |" for line in lines)


def listed(facts: Iterable[tuple[str, str]]) -> str:
    """Return facts as a list, each behind its name; those without text are left out."""
    return "\n".join(f"* **{name}**: {text}" for name, text in facts if text)


def paragraphs(*parts: str) -> str:
    """Return the parts that are not empty, each a paragraph of its own."""
    return "\n\n".join(part for part in parts if part) + "\n"
