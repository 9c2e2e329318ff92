"""Text files that people write, in the encodings that editors save, and case ids that every output can hold.

Torch-free; every fault is an error with the file, the cause and the way out.
"""

import codecs
import json
import tomllib
import unicodedata
from pathlib import Path
from typing import Any

from .base import DataError

BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
"""Byte-order marks and the encodings that they announce; without one a file is UTF-8."""

LONGEST_ID = 200
"""Bytes of a case id: predictions and their temporary files add up to 55 to it, and file systems end at 255."""


def read_text(path: Path, kind: str = "the file", error: type[Exception] = DataError) -> str:
    r"""Return a text file in UTF-8, or in UTF-16 or UTF-32 with a byte-order mark; lines end in ``\n``.

    Args:
        path: the file.
        kind: what messages call it: ``"the task file"``.
        error: class of the errors.

    Raises:
        error: the file cannot be read or has another encoding.
    """
    try:
        content = path.read_bytes()
    except OSError as why:
        raise error(f"cannot read {kind} {printable(path)}: {why.strerror or why}") from None
    encoding = next((name for bom, name in BOMS if content.startswith(bom)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as why:
        line = content.count(b"\n", 0, why.start) + 1
        raise error(
            f"{kind} {printable(path)} is not text in UTF-8: byte 0x{content[why.start]:02x} in line {line}; "
            "save it as UTF-8 in the editor, or convert it: iconv -f latin1 -t utf-8 OLD > NEW"
        ) from None
    if "\0" in text:
        raise error(
            f"{kind} {printable(path)} is not text in UTF-8: it has zero bytes (UTF-16 without byte-order mark?); "
            "save it as UTF-8 in the editor, or convert it: iconv -f utf-16le -t utf-8 OLD > NEW"
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_toml(path: Path, kind: str = "the file", error: type[Exception] = DataError) -> dict[str, Any]:
    """Return the tables of a TOML file; see :func:`read_text`.

    Raises:
        error: the file cannot be read, has another encoding or is not TOML.
    """
    text = read_text(path, kind, error)
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as why:
        raise error(f"{kind} {printable(path)} is not TOML: {why}") from None


def read_json(path: Path, kind: str = "the file", error: type[Exception] = DataError) -> Any:
    """Return the content of a JSON file; see :func:`read_text`.

    Raises:
        error: the file cannot be read, has another encoding or is not JSON.
    """
    text = read_text(path, kind, error)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as why:
        raise error(f"{kind} {printable(path)} is not JSON: {why}") from None


def printable(path: Path | str) -> str:
    r"""Return a name with escapes for characters that no text file holds: ``\n``, ``\udce9`` for a byte 0xe9."""
    return "".join(character if _is_text(character) else ascii(character)[1:-1] for character in str(path))


def check_case_id(id: str, path: Path) -> None:
    """Raise :class:`DataError` for an id that CSV, JSON or the name of a prediction file cannot hold.

    Args:
        id: of a case.
        path: the file that it comes from, for the message.
    """
    fault = ""
    if not id or id in (".", "..") or "/" in id:
        fault = "is no file name"
    elif any("\ud800" <= character <= "\udfff" for character in id):
        fault = "is not UTF-8 (an old disk or archive wrote the name in another encoding)"
    elif not all(_is_text(character) for character in id):
        fault = "holds a line break or another control character"
    elif len(id.encode()) > LONGEST_ID:
        fault = f"has {len(id.encode())} bytes; at most {LONGEST_ID} leave room for the names of predictions"
    if fault:
        raise DataError(f"case id '{printable(id)}' {fault}; rename {printable(path)}")


def _is_text(character: str) -> bool:
    return unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp")  # control, surrogate, line separators
