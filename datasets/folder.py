"""A user's own task from one TOML file: folders of images and labels, or the JSON list of a Decathlon data set.

::

    name = "polyps"
    ndim = 2
    channels = 3
    classes = ["background", "polyp"]
    shape = [256, 256]

    [source.hospital-a]
    images = "hospital-a/images/*.png"        # relative to the data root, or absolute
    labels = "hospital-a/labels/*.png"        # paired by file stem
    label_map = { 0 = 0, 255 = 1 }            # value on disk = class; default: the classes' own numbers

    [target.hospital-b]
    decathlon = "hospital-b/dataset.json"
    split = "training"
"""

import csv
import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from .base import Case, DataError, Domain, Task
from .discovery import by_id, pair, stem, unknown

TASK_KEYS: dict[str, type] = {
    "name": str,
    "ndim": int,
    "channels": int,
    "classes": list,
    "shape": list,
    "source": dict,
    "target": dict,
}
DOMAIN_KEYS: dict[str, type] = {
    "images": str,
    "labels": str,
    "foregrounds": str,
    "decathlon": str,
    "split": str,
    "label_map": dict,
    "stratum": str,  # one for all cases
    "strata": str,  # CSV with columns id, stratum
    "modality": str,
    "source": str,
    "licence": str,
    "citation": str,
    "published": int,
    "skull_stripped": bool,
}

Paired: TypeAlias = tuple[tuple[Case, ...], tuple[str, ...]]
"""Cases, and ids whose image is missing."""


@dataclass(frozen=True, slots=True)
class DomainTable:
    """One ``[source.NAME]`` or ``[target.NAME]`` table, checked."""

    name: str
    where: str  # for messages: 'my-task.toml, [source.hospital-a]'
    labelled: bool  # whether every case must have a label: a source
    values: Mapping[str, Any]
    label_map: Mapping[int, int]


def task_from_toml(path: Path) -> Task:
    """Return the task that a TOML file describes; its images are looked for when a domain is loaded.

    Raises:
        DataError: the file is absent, not TOML, or has an unknown, missing or ill-typed key.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot read the task file {path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"the task file {path} is not TOML: {error}") from None
    _check_keys(table, TASK_KEYS, str(path))
    missing = [key for key in TASK_KEYS if key not in table]
    _require(not missing, path, f"{', '.join(missing)} missing")
    ndim, classes, shape = table["ndim"], table["classes"], table["shape"]
    _require(ndim in (2, 3), path, f"ndim is 2 or 3, not {ndim}")
    _require(table["channels"] >= 1, path, f"channels is at least 1, not {table['channels']}")
    named = all(isinstance(name, str) for name in classes) and len(set(classes)) == len(classes) >= 2
    _require(named, path, "classes are two or more different names, the first for the background")
    sides = all(type(side) is int and side >= 16 and side % 8 == 0 for side in shape)
    _require(sides and len(shape) == ndim, path, f"shape is {ndim} multiples of 8, at least 16 each, not {shape}")
    sources, targets = (_loaders(table, role, path) for role in ("source", "target"))
    both = ", ".join(sorted(set(sources) & set(targets)))
    _require(not both, path, f"{both} is both a source and a target")
    return Task(table["name"], ndim, table["channels"], tuple(classes), tuple(shape), sources, targets)


def _loaders(table: Mapping[str, Any], role: str, path: Path) -> dict[str, Callable[[Path], Domain]]:
    """Return name -> domain function of all ``[role.NAME]`` tables."""
    _require(bool(table[role]), path, f"no [{role}.NAME] table")
    return {
        name: partial(_load, _domain_table(path, role, name, len(table["classes"]), values))
        for name, values in table[role].items()
    }


def _domain_table(path: Path, role: str, name: str, classes: int, values: Any) -> DomainTable:
    """Return one table after checking everything that needs no data."""
    where = f"{path}, [{role}.{name}]"
    _require(isinstance(values, dict), path, f"{role}.{name} is a table: [{role}.{name}]")
    _check_keys(values, DOMAIN_KEYS, where)
    _require(("images" in values) != ("decathlon" in values), where, "give either images or decathlon")
    kind, others = ("decathlon", ("labels", "foregrounds")) if "decathlon" in values else ("images", ("split",))
    for key in others:
        _require(key not in values, where, f"{key} does not go with {kind}")
    _require(not ("stratum" in values and "strata" in values), where, "give either stratum or strata")
    label_map = values.get("label_map") or {str(index): index for index in range(classes)}
    for key, value in label_map.items():
        digits = key.removeprefix("-").isascii() and key.removeprefix("-").isdigit()
        _require(digits, where, f"label_map: {key!r} is not a whole number")
        valid = type(value) is int and 0 <= value < classes
        _require(valid, where, f"label_map: {key} = {value!r} is not a class; they are 0 to {classes - 1}")
    return DomainTable(name, where, role == "source", values, {int(key): value for key, value in label_map.items()})


def _check_keys(table: Mapping[str, Any], known: Mapping[str, type], where: str) -> None:
    for key, value in table.items():
        if key not in known:
            raise unknown(f"key in {where}:", key, known)
        if type(value) is not known[key]:
            raise DataError(f"{where}: {key} is a {known[key].__name__}, not {value!r}")


def _require(condition: bool, where: Path | str, message: str) -> None:
    if not condition:
        raise DataError(f"{where}: {message}")


def _load(table: DomainTable, root: Path) -> Domain:
    """Return the domain of a table with the files found now under ``root``."""
    values = table.values
    stratum = _stratum(table, root)
    if "decathlon" in values:
        cases, missing = _decathlon(table, root / values["decathlon"], stratum)
    else:
        images, labels, foregrounds = (_glob(table, key, root) for key in ("images", "labels", "foregrounds"))
        assert images is not None
        cases, missing = pair(images, labels, foregrounds, stratum)
    bare = next((case for case in cases if case.label is None), None)
    if table.labelled and bare is not None:
        raise DataError(f"{table.where}: case {bare.id!r} has no label: {bare.image}; a source needs labels")
    return Domain(
        name=table.name,
        modality=values.get("modality", "unknown"),
        cases=cases,
        label_map=table.label_map,
        source=values.get("source", "the user's own"),
        licence=values.get("licence", "not stated"),
        citation=values.get("citation", ""),
        published=values.get("published"),
        missing=missing,
        skull_stripped=values.get("skull_stripped", True),
    )


def _glob(table: DomainTable, key: str, root: Path) -> dict[str, Path] | None:
    """Return file stem -> file of a pattern, or None where the table has no such key."""
    if key not in table.values:
        return None
    pattern = Path(table.values[key])
    base = Path(pattern.anchor) if pattern.is_absolute() else root
    files = by_id(path for path in base.glob(str(pattern.relative_to(pattern.anchor))) if path.is_file())
    if not files:
        raise DataError(f"{table.where}: no files match {key} = {str(base / pattern)!r}")
    return files


def _decathlon(table: DomainTable, path: Path, stratum: Callable[[str], str]) -> Paired:
    """Return cases and ids without an image of one list in a Decathlon JSON."""
    entries = _decathlon_entries(table, path)
    images = by_id(image for image, _ in entries)
    labels = {stem(image): label for image, label in entries if label is not None and stem(image) in images}
    missing = {case for case, image in images.items() if not image.is_file()}
    found = {case: image for case, image in images.items() if case not in missing}
    if not found:
        raise DataError(f"{table.where}: none of the {len(images)} images that {path} lists exists")
    for case in sorted(set(found) & set(labels)):
        if not labels[case].is_file():
            raise DataError(f"{table.where}: case {case!r} has no label: {labels[case]} does not exist")
    cases, _ = pair(found, labels or None, None, stratum)
    return cases, tuple(sorted(missing))


def _decathlon_entries(table: DomainTable, path: Path) -> list[tuple[Path, Path | None]]:
    """Return the (image, label) files of the table's list; paths in the JSON are relative to the JSON."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{table.where}: cannot read {path}: {error.strerror or error}") from None
    except ValueError as error:
        raise DataError(f"{table.where}: {path} is not JSON: {error}") from None
    split = table.values.get("split", "training")
    lists = [key for key, value in content.items() if isinstance(value, list)] if isinstance(content, dict) else []
    if split not in lists:
        raise unknown(f"list in {path}:", split, lists)
    entries = []
    for entry in content[split]:
        image, label = (entry.get("image"), entry.get("label")) if isinstance(entry, dict) else (entry, None)
        if not isinstance(image, str) or not isinstance(label, str | None):
            raise DataError(f"{table.where}: {path}: {split} holds {entry!r}; expected one image and one label file")
        entries.append((path.parent / image, None if label is None else path.parent / label))
    return entries


def _stratum(table: DomainTable, root: Path) -> Callable[[str], str]:
    """Return the function from case id to stratum: one for all, or the rows of a CSV file."""
    if "strata" not in table.values:
        fixed = table.values.get("stratum", "all")
        return lambda _: fixed
    path = root / table.values["strata"]
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows = {row["id"].strip(): row["stratum"].strip() for row in reader}
    except OSError as error:
        raise DataError(f"{table.where}: cannot read {path}: {error.strerror or error}") from None
    except (KeyError, AttributeError):
        raise DataError(f"{table.where}: {path} needs the columns id and stratum, separated by commas") from None

    def stratum(case: str) -> str:
        if case not in rows:
            raise DataError(f"{table.where}: {path} has no row for case {case!r}")
        return rows[case]

    return stratum
