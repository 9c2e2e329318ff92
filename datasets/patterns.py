"""Patterns of file names: named fields, wildcards and alternatives, matched below a folder.

======================= ==========================================================================
``{case}``              a named field, any text without ``/``; the same name again is the same text
``{case:pat*_frame??}`` a field whose text matches a wildcard
``*``, ``?``, ``[a-z]`` any text, one character, one of a range; none of them crosses a ``/``
``**``                  any folders, or none, links to folders among them; each folder once
``{_v2,}``              alternatives, here ``_v2`` or nothing
======================= ==========================================================================
"""

import re
import stat
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from .base import DataError
from .discovery import composed, entries, is_folder, is_junk, spelled, status, stem, unknown

FIELDS = ("case", "group", "stratum", "channel")

_TOKEN = re.compile(
    r"\{(?P<name>\w+)(?::(?P<glob>[^{}]*))?\}|\{(?P<choices>[^{}]*,[^{}]*)\}|(?P<wild>\*\*/?|\*|\?|\[[^\]]+\])"
)
_WILDCARDS = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}


@dataclass(frozen=True, slots=True)
class Match:
    """A file and the text of its pattern's fields, in Unicode's composed form."""

    path: Path
    fields: Mapping[str, str]

    def key(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the text of some fields."""
        return tuple(self.fields[name] for name in names)


@dataclass(frozen=True)
class Pattern:
    """A checked pattern; without any field, the stem of a file is its case.

    What is looked for in a folder that may not be read is a DataError too: other users would find other files.

    Raises:
        DataError: an unknown field, a stray brace, a backslash, or a / within alternatives or a wildcard.
    """

    text: str
    where: str  # the key that holds it, for messages

    def __post_init__(self) -> None:
        for match in _TOKEN.finditer(self.text):
            if match["name"] and match["name"] not in FIELDS:
                raise unknown(f"field in {self.where} = {self.text!r}:", match["name"], FIELDS)
            if "/" in match[0] and match["wild"] != "**/":
                raise DataError(
                    f"{self.where} = {self.text!r}: {match[0]} crosses a folder: alternatives and wildcards stay "
                    "within one name, as in {a,b}/i"
                )
        if "\\" in self.text:
            raise DataError(f"{self.where} = {self.text!r}: write / between folders, on every system")
        if not self._start(Path())[1]:
            raise DataError(f"{self.where} = {self.text!r} names nothing")
        if re.search(r"[{}]", _TOKEN.sub("", self.text)):
            raise DataError(
                f"{self.where} = {self.text!r} has a stray brace: fields are "
                f"{', '.join(f'{{{name}}}' for name in FIELDS)}, alternatives are {{a,b}}"
            )

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields, sorted; "case" alone where the pattern names none."""
        return tuple(sorted({match["name"] for match in _TOKEN.finditer(self.text) if match["name"]})) or ("case",)

    def matches(self, root: Path) -> list[Match]:
        """Return the files that match below ``root`` (or anywhere, if absolute), dangling links included, sorted."""
        folder, segments, prefix = self._start(root)
        expression = re.compile(prefix + _expression("/".join(segments), named=True))
        found = {}
        for path, relative in _walk(folder, segments, prefix):
            match = expression.fullmatch(relative)
            if match and not is_junk(path) and not is_folder(path):
                fields = match.groupdict()
                found[path] = Match(path, fields or {"case": composed(stem(path))})
        return [found[path] for path in sorted(found)]

    def folders(self, root: Path) -> list[Path]:
        """Return the folders that match below ``root`` (or anywhere, if absolute), sorted."""
        return sorted({path for path, _ in _walk(*self._start(root)) if is_folder(path)})

    def absent_folder(self, root: Path) -> Path | None:
        """Return the first folder that does not exist on the way to the files, None behind wildcards."""
        folder, segments, _ = self._start(root)
        if not is_folder(folder):
            return folder
        for segment in segments[:-1]:
            if _TOKEN.search(segment):
                return None
            folder = spelled(folder, segment)
            if not is_folder(folder):
                return folder
        return None

    def _start(self, root: Path) -> tuple[Path, list[str], str]:
        anchor = "/" if self.text.startswith("/") else ""
        segments = [segment for segment in composed(self.text).split("/") if segment not in ("", ".")]
        return Path("/") if anchor else root, segments, anchor


def first_folder(choices: Sequence[str], root: Path, where: str) -> Path:
    """Return the first of several folders that exists, below ``root`` or absolute; "" is ``root``.

    Raises:
        DataError: several match one of the choices.
    """
    for choice in choices:
        folders = Pattern(choice, f"{where}: folder").folders(root) if choice else [root]
        if len(folders) > 1:
            names = ", ".join(path.name for path in folders)
            raise DataError(
                f"{where}: several folders match {choice!r} in {folders[0].parent} ({names}): rename the one to use "
                f"to {choices[0]}"
            )
        if folders:
            return folders[0]
    return root / choices[0]


def _walk(folder: Path, segments: list[str], prefix: str) -> Iterator[tuple[Path, str]]:
    """Yield the paths whose names match the segments one by one, with their composed text below the start."""
    head, rest = segments[0], segments[1:]
    if head == "**":
        for path, text in _folders_below(folder) if rest else ():
            yield from _walk(path, rest, prefix + text)
        return
    if _TOKEN.search(head):
        expression = re.compile(_expression(head, named=False))
        paths = [folder / name for name in entries(folder) if expression.fullmatch(composed(name))]
    else:
        path = spelled(folder, head)
        paths = [path] if status(path, follow=False) else []  # a dangling link counts as missing, not as absent
    for path in paths:
        text = prefix + composed(path.name)
        if not rest:
            yield path, text
        elif is_folder(path):
            yield from _walk(path, rest, f"{text}/")


def _folders_below(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield a folder and all below it, each once, with their composed text; links are followed after the rest."""
    seen = {(found.st_dev, found.st_ino) for parent in folder.resolve().parents if (found := status(parent))}
    below, links = [(folder, "")], deque[tuple[Path, str]]()
    while below or links:
        path, text = below.pop() if below else links.popleft()
        found = status(path)
        # A link may lead in a circle, or to what is here by its own name.
        if found is None or not stat.S_ISDIR(found.st_mode) or (found.st_dev, found.st_ino) in seen:
            continue
        seen.add((found.st_dev, found.st_ino))
        yield path, text
        for name in entries(path):
            entry = status(path / name, follow=False)
            if entry is not None and stat.S_ISLNK(entry.st_mode):
                links.append((path / name, f"{text}{composed(name)}/"))
            elif entry is not None and stat.S_ISDIR(entry.st_mode):
                below.append((path / name, f"{text}{composed(name)}/"))


def _expression(text: str, named: bool) -> str:
    """Return the regular expression of a pattern or, without ``named``, of one of its segments."""
    parts, end, seen = [], 0, set()
    for match in _TOKEN.finditer(text):
        parts.append(re.escape(text[end : match.start()]))
        end = match.end()
        if match["wild"]:
            parts.append(_WILDCARDS.get(match["wild"], match["wild"].replace("[!", "[^")))
        elif match["choices"] is not None:
            parts.append(f"(?:{'|'.join(_expression(choice, named) for choice in match['choices'].split(','))})")
        elif named and match["name"] in seen:
            parts.append(f"(?P={match['name']})")
        else:
            seen.add(match["name"])
            inner = "[^/]+?" if match["glob"] is None else _expression(match["glob"], named=False)
            parts.append(f"(?P<{match['name']}>{inner})" if named else f"(?:{inner})")
    return "".join(parts) + re.escape(text[end:])
