"""Checked values of a task file's keys; every message names the key and what it takes."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from .base import DataError, Intensity, Slices
from .columns import FileColumn
from .discovery import unknown
from .patterns import FIELDS, Pattern

T = TypeVar("T")

KINDS: dict[type, str] = {
    str: "a text in quotes",
    int: "a whole number",
    float: "a number with a decimal point",
    bool: "true or false",
    list: "a list [...]",
    dict: "a table {...}",
}
"""Types as a TOML file writes them."""


def label_map(mapping: Mapping[str, Any], classes: int, where: str) -> dict[int, int]:
    """Return value on disk -> class index of a TOML table, whose keys are texts."""
    require(isinstance(mapping, dict), where, "value on disk = class")
    for key, value in mapping.items():
        digits = key.removeprefix("-").isascii() and key.removeprefix("-").isdigit()
        require(digits, where, f"{key!r} is not a whole number")
        valid = type(value) is int and 0 <= value < classes
        require(valid, where, f"{key} = {value!r} is not a class; they are 0 to {classes - 1}")
    values = {int(key): value for key, value in mapping.items()}
    require(len(values) == len(mapping), where, f"two keys are one number: {', '.join(mapping)}")
    return values


def intensity(value: Any, where: str) -> Intensity:
    """Return the one rule that an ``intensity`` table names."""
    check_keys(value, {"window": (list,), "percentiles": (list,), "bits": (int,)}, where)
    require(len(value) == 1, where, "give one of window, percentiles and bits")
    if "bits" in value:
        require(1 <= value["bits"] <= 32, where, f"bits lies between 1 and 32, not {value['bits']}")
        return Intensity(bits=value["bits"])
    [(key, pair)] = value.items()
    numbers = len(pair) == 2 and all(type(end) in (int, float) and math.isfinite(end) for end in pair)
    require(numbers and pair[0] < pair[1], where, f"{key} is [low, high], not {pair}")
    require(key == "window" or (pair[0] >= 0 and pair[1] <= 100), where, f"percentiles lie in 0 to 100, not {pair}")
    ends = (float(pair[0]), float(pair[1]))
    return Intensity(window=ends) if key == "window" else Intensity(percentiles=ends)


def slices(value: Any, where: str) -> Slices:
    """Return the checked ``slices`` table."""
    check_keys(value, {"axis": (int,), "keep": (str,), "neighbours": (int,), "crop": (str,)}, where)
    slices = Slices(**value)
    require(slices.axis in (0, 1, 2), where, f"axis is 0, 1 or 2, not {slices.axis}")
    require(slices.neighbours >= 0, where, "neighbours is not negative")
    one_of(slices.keep, ("all", "labelled"), f"{where}.keep")
    one_of(slices.crop, ("none", "labelled"), f"{where}.crop")
    return slices


def channels(values: list[Any], where: str) -> tuple[str | int, ...]:
    """Return different channels, all by their texts or all by their numbers."""
    texts = all(isinstance(value, str) for value in values)
    numbers = all(type(value) is int and value >= 0 for value in values)
    valid = bool(values) and (texts or numbers) and len(set(values)) == len(values)
    require(valid, where, f"different texts of {{channel}}, or numbers from 0, not {values}")
    return tuple(values)


def axes(text: str, where: str) -> tuple[tuple[int, int], ...]:
    """Return (axis, sign) of a text such as "+0 -1 -2"."""
    parts = text.split()
    valid = sorted(part[1:] for part in parts) == ["0", "1", "2"] and {part[:1] for part in parts} <= {"+", "-"}
    require(valid, where, f'three axes with their signs, such as "+0 -1 -2" or "-2 +0 +1", not {text!r}')
    return tuple((int(part[1:]), -1 if part[0] == "-" else 1) for part in parts)


def column(value: Any, column: str, where: str) -> FileColumn | Mapping[str, str] | None:
    """Return a column of a file, or the map of a pattern's field."""
    if value is None:
        return None
    if isinstance(value, str):
        return FileColumn(value, column=column)
    known = {f.name: (dict,) if f.name == "map" else (str,) for f in fields(FileColumn)}
    check_keys(value, known, where)
    texts = value.get("map", {}).values()
    require(all(isinstance(text, str) for text in texts), where, "map has texts on both sides")
    if "file" in value:
        return FileColumn(**{"column": column, **value})
    require(set(value) == {"map"}, where, f"{', '.join(sorted(set(value) - {'map'}))} needs file")
    return dict(value["map"])


def listing(value: Any, where: str) -> FileColumn:
    """Return the column that lists the cases or images of a domain."""
    if isinstance(value, str):
        return FileColumn(value)
    check_keys(value, {"file": (str,), "column": (str,)}, where)
    require("file" in value, where, "file is needed")
    return FileColumn(value["file"], id=value.get("column", "id"))


def template(text: str, images: Pattern | None, where: str) -> str:
    """Return a template of case ids after checking its fields, which are those of ``images``."""
    names = re.findall(r"\{(\w+)\}", text)
    require("case" in names and set(names) <= set(FIELDS[:3]), where, "id is built of {case}, {group} and {stratum}")
    if images is not None:
        for name in names:
            message = f"images = {images.text!r} has no {{{name}}}, of which id = {text!r} is built"
            require(name in images.fields, where, message)
    return text


def joined(images: Pattern, companions: Iterable[Pattern | None], where: str) -> None:
    """Refuse a pattern of labels or masks that has no field in common with that of the images."""
    for pattern in companions:
        if pattern is not None and not set(pattern.fields) & set(images.fields) - {"channel"}:
            raise DataError(
                f"{where}: {images.text!r} and {pattern.text!r} have no field in common to pair files by, "
                "such as {case}"
            )


def folders(value: Any, where: str) -> tuple[str, ...]:
    """Return where patterns may start; "" is the data root."""
    texts = value if isinstance(value, list) else [value]
    valid = bool(texts) and all(isinstance(text, str) and "{" not in text for text in texts)
    require(valid, where, f"one or more names of folders, with wildcards but without {{...}}, not {value!r}")
    return tuple(Pattern(text, where).text if text not in ("", ".") else "" for text in texts)


def choices(values: list[Any], known: tuple[str, ...], where: str) -> frozenset[str]:
    """Return a list of words as a set, each out of the known ones."""
    return frozenset(one_of(value, known, where) for value in values)


def one_of(value: T, known: tuple[T, ...], where: str) -> Any:
    """Return a value out of the known ones."""
    require(value in known, where, f"one of {', '.join(map(str, known))}, not {value!r}")
    return value


def check_keys(table: Mapping[str, Any], known: Mapping[str, tuple[type, ...]], where: str) -> None:
    """Refuse a key that is unknown, offering the nearest, or of another type."""
    for key, value in table.items():
        if key not in known:
            raise unknown(f"key in {where}:", key, known)
        if type(value) not in known[key]:
            kinds = " or ".join(KINDS[kind] for kind in known[key])
            raise DataError(f"{where}: {key} is {kinds}, not {value!r}")


def require(condition: bool, where: str, message: str) -> None:
    """Raise :class:`DataError` unless a condition holds."""
    if not condition:
        raise DataError(f"{where}: {message}")
