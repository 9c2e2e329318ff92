"""A task from one TOML file: those of ``catalogue/``, and a user's own, which are written alike.

::

    name = "polyps"
    ndim = 2
    channels = 3
    classes = ["background", "polyp"]
    shape = [256, 256]

    [source.hospital-a]
    images = "hospital-a/images/{case}.jpg"       # below the data root, or absolute; see patterns.py
    labels = "hospital-a/labels/{case}_mask.png"  # paired by the fields that both patterns name
    label_map = { 0 = 0, 255 = 1 }                # value on disk = class; default: the classes' own numbers

    [target.hospital-b]
    decathlon = "hospital-b/dataset.json"
    split = "training"

``docs/data.md`` lists every key. ``[domain.NAME]`` is a source and a target at once.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import checks
from .base import Domain, Layer, Task
from .checks import check_keys, require
from .listed import Listed
from .loading import DomainTable
from .patterns import Pattern
from .text_files import read_toml

TASK_KEYS: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "ndim": (int,),
    "channels": (int,),
    "classes": (list,),
    "shape": (list,),
    "regions": (dict,),
    "source": (dict,),
    "target": (dict,),
    "domain": (dict,),
}
REQUIRED = ("name", "ndim", "channels", "classes", "shape")
DOMAIN_KEYS: dict[str, tuple[type, ...]] = {
    "images": (str,),
    "labels": (str, list),
    "foregrounds": (str, dict),
    "degrees": (int, float),
    "decathlon": (str,),
    "nnunet": (str,),
    "split": (str,),
    "folder": (str, list),
    "optional": (list,),
    "only": (str, dict),
    "id": (str,),
    "channels": (list,),
    "label_map": (dict,),
    "label_variants": (dict,),
    "stratum": (str,),
    "strata": (str, dict),
    "groups": (str, dict),
    "modality": (str,),
    "intensity": (dict,),
    "orientation": (str,),
    "axes": (str,),
    "same_grid": (str,),
    "slices": (dict,),
    "border": (str,),
    "skull_stripped": (bool,),
    "published": (int, dict),
    "source": (str,),
    "licence": (str,),
    "citation": (str,),
}
OF_LISTS = {"decathlon": "split", "nnunet": "split"}
"""Keys that stand in the place of patterns, and the one that goes with them."""


def task_from_toml(path: Path, where: str = "") -> Task:
    """Return the task that a TOML file describes; its images are looked for when a domain is loaded.

    Args:
        path: the file.
        where: what messages call it; empty: its path.

    Raises:
        DataError: the file is absent, not TOML, or has an unknown, missing or ill-typed key.
    """
    table = read_toml(path, "the task file")
    where = where or str(path)
    check_keys(table, TASK_KEYS, where)
    missing = [key for key in REQUIRED if key not in table]
    require(not missing, where, f"{', '.join(missing)} missing")
    ndim, classes, shape = table["ndim"], table["classes"], table["shape"]
    require(any(map(str.isalnum, table["name"])), where, f"name has no letter or digit: {table['name']!r}")
    require(ndim in (2, 3), where, f"ndim is 2 or 3, not {ndim}")
    require(table["channels"] >= 1, where, f"channels is at least 1, not {table['channels']}")
    named = all(isinstance(name, str) for name in classes) and len(set(classes)) == len(classes) >= 2
    require(named, where, "classes are two or more different names, the first for the background")
    sides = all(type(side) is int and side >= 16 and side % 8 == 0 for side in shape)
    require(sides and len(shape) == ndim, where, f"shape is {ndim} multiples of 8, at least 16 each, not {shape}")
    loaders = {role: _loaders(table, role, where) for role in ("source", "target", "domain")}
    twice = [name for role in ("source", "target") for name in loaders[role] if name in loaders["domain"]]
    twice += [name for name in loaders["source"] if name in loaders["target"]]
    require(not twice, where, f"{', '.join(twice)} is both a source and a target: write [domain.NAME] for such a one")
    sources, targets = ({**loaders[role], **loaders["domain"]} for role in ("source", "target"))
    for role, domains in (("source", sources), ("target", targets)):
        require(bool(domains), where, f"no [{role}.NAME] table")
    sliced = {loader.domain.slices is not None for loader in (*sources.values(), *targets.values())}
    require(len(sliced) == 1, where, "slices are for all domains of a task or for none")
    regions = {name: _region(name, members, classes, where) for name, members in table.get("regions", {}).items()}
    facts = (table["name"], ndim, table["channels"], tuple(classes), tuple(shape))
    return Task(*facts, sources, targets, regions, sliced=sliced == {True})


def _region(name: str, members: Any, classes: list[str], where: str) -> tuple[int, ...]:
    valid = isinstance(members, list) and members and all(member in classes[1:] for member in members)
    require(bool(valid), where, f"regions.{name} is a list of classes out of {', '.join(classes[1:])}")
    return tuple(sorted(classes.index(member) for member in members))


def _loaders(table: Mapping[str, Any], role: str, file: str) -> dict[str, DomainTable]:
    """Return name -> loader of all ``[role.NAME]`` tables."""
    loaders: dict[str, DomainTable] = {}
    for name, values in table.get(role, {}).items():
        where = f"{file}, [{role}.{name}]"
        require(isinstance(values, dict), file, f"{role}.{name} is a table: [{role}.{name}]")
        loaders[name] = _domain_table(where, name, values, table, labelled=role != "target")
    return loaders


def _domain_table(where: str, name: str, values: Any, task: Mapping[str, Any], labelled: bool) -> DomainTable:
    """Return one table after checking everything that needs no data."""
    check_keys(values, DOMAIN_KEYS, where)
    kinds = [kind for kind in ("images", *OF_LISTS) if kind in values]
    require(len(kinds) == 1, where, "give one of images, decathlon and nnunet")
    require(values[kinds[0]] != "", where, f"{kinds[0]} is empty")
    for key in ("labels", "foregrounds", "id") if kinds[0] in OF_LISTS else ("split",):
        require(key not in values, where, f"{key} does not go with {kinds[0]}")
    require(not ("stratum" in values and "strata" in values), where, "give either stratum or strata")
    labels, layers = _labels(values.get("labels"), task["classes"], where)
    mask = values.get("foregrounds")
    images = Pattern(values["images"], f"{where}: images") if "images" in values else None
    foregrounds = Pattern(mask, f"{where}: foregrounds") if isinstance(mask, str) else None
    if images is not None:
        checks.joined(images, (*labels, foregrounds), where)
    domain = _domain(name, where, values, task)
    volumes = task["ndim"] == 3 or domain.slices is not None
    for key in () if volumes else ("orientation", "axes", "same_grid"):
        require(key not in values, where, f"{key} is for volumes")
    slices = domain.slices
    if slices is not None:
        require(task["ndim"] == 2, where, "slices are for ndim = 2")
        each = slices.width
        message = f"slices with neighbours = {slices.neighbours} need channels to be a multiple of {each}"
        require(task["channels"] % each == 0, where, message)
    task_channels = task["channels"] // (slices.width if slices else 1)
    channels = checks.channels(values["channels"], f"{where}: channels") if "channels" in values else ()
    if kinds[0] == "nnunet":
        channels = tuple(f"{channel:04d}" if isinstance(channel, int) else channel for channel in channels)
    elif channels and not (images is not None and "channel" in images.fields):
        domain = replace(domain, file_channels=_file_channels(channels, task_channels, volumes, f"{where}: channels"))
        channels = ()
    return DomainTable(
        where=where,
        labelled=labelled,
        images=images,
        listed=Listed(kinds[0], values[kinds[0]], values.get("split", "training")) if kinds[0] in OF_LISTS else None,
        labels=labels,
        foregrounds=foregrounds,
        optional=checks.choices(values.get("optional", []), ("labels", "foregrounds"), f"{where}: optional"),
        folders=checks.folders(values.get("folder", ""), f"{where}: folder"),
        only=checks.listing(values["only"], f"{where}: only") if "only" in values else None,
        id=checks.template(values.get("id", "{case}"), images, where),
        channels=tuple(map(str, channels)),
        strata=checks.column(values.get("strata"), "stratum", f"{where}: strata"),
        groups=checks.column(values.get("groups"), "group", f"{where}: groups"),
        stratum=values.get("stratum", "all"),
        volumes=volumes,
        task_channels=task_channels,
        domain=replace(domain, layers=layers),
    )


def _file_channels(channels: Sequence[str | int], expected: int, volumes: bool, where: str) -> tuple[int, ...]:
    """Return the channels that are taken out of each file, whose name says nothing of channels."""
    require(volumes, where, "without {channel} in the name of a file they are for volumes")
    numbers = tuple(channel for channel in channels if isinstance(channel, int))
    require(len(numbers) == len(channels), where, "numbers from 0, because no {channel} is in the name of a file")
    require(len(numbers) == expected, where, f"{len(numbers)} of a file, and the network has {expected}")
    return numbers


def _domain(name: str, where: str, values: Mapping[str, Any], task: Mapping[str, Any]) -> Domain:
    """Return everything of a domain but its cases."""
    classes = len(task["classes"])
    own = {str(index): index for index in range(classes)}
    published = values.get("published", {})
    if isinstance(published, int):
        published = {"cases": published}
    check_keys(published, {"cases": (int,), "at": (str,), "terms": (str,), "citation": (str,)}, f"{where}: published")
    mask = values.get("foregrounds")
    if isinstance(mask, dict):
        check_keys(mask, {"threshold": (float,)}, f"{where}: foregrounds")
        require(0 < mask.get("threshold", 0) < 1, where, "foregrounds.threshold lies between 0 and 1")
        require(task["ndim"] == 2 and "slices" not in values, where, "foregrounds.threshold is for pictures")
    degrees = values.get("degrees")
    if degrees is not None:
        require(0 < degrees <= 360, where, f"degrees lie between 0 and 360, not {degrees}")
        require(task["ndim"] == 2 and "slices" not in values, where, "degrees are of a camera: they are for pictures")
    return Domain(
        name=name,
        modality=values.get("modality", "unknown"),
        cases=(),
        label_map=checks.label_map(values.get("label_map") or own, classes, f"{where}: label_map"),
        source=published.get("at", values.get("source", "the user's own")),
        licence=published.get("terms", values.get("licence", "not stated")),
        citation=published.get("citation", values.get("citation", "")),
        published=published.get("cases"),
        skull_stripped=values.get("skull_stripped", True),
        label_variants={
            variant: checks.label_map(mapping, classes, f"{where}: label_variants.{variant}")
            for variant, mapping in values.get("label_variants", {}).items()
        },
        intensity=checks.intensity(values["intensity"], f"{where}: intensity") if "intensity" in values else None,
        orientation=checks.one_of(values.get("orientation", "ras"), ("ras", "stored"), f"{where}: orientation"),
        axes=checks.axes(values["axes"], f"{where}: axes") if "axes" in values else (),
        border=checks.one_of(values.get("border", "background"), ("background", "any"), f"{where}: border"),
        same_grid=checks.one_of(values.get("same_grid", "affine"), ("affine", "shape"), f"{where}: same_grid"),
        slices=checks.slices(values["slices"], f"{where}: slices") if "slices" in values else None,
        field_of_view=mask["threshold"] if isinstance(mask, dict) else None,
        degrees=degrees,
    )


def _labels(value: Any, classes: list[str], where: str) -> tuple[tuple[Pattern, ...], tuple[Layer, ...]]:
    """Return the patterns of the label files, and the rule of each if there are several or one marks a class."""
    if value is None:
        return (), ()
    if isinstance(value, str):
        return (Pattern(value, f"{where}: labels"),), ()
    require(bool(value) and all(isinstance(entry, dict) for entry in value), where, "labels is a pattern or a list")
    patterns, layers = [], []
    for number, entry in enumerate(value, 1):
        place = f"{where}: labels {number}"
        check_keys(entry, {"path": (str,), "class": (str,), "at_least": (int, float), "values": (list,)}, place)
        require("path" in entry and "class" in entry, place, "path and class are needed")
        require(entry["class"] in classes[1:], place, f"class is one of {', '.join(classes[1:])}")
        require(("at_least" in entry) != ("values" in entry), place, "give either at_least or values")
        require(math.isfinite(entry.get("at_least", 0)), place, f"at_least is a number, not {entry.get('at_least')}")
        numbers = entry.get("values", [])
        require(all(type(number) is int for number in numbers), place, "values are whole numbers")
        patterns.append(Pattern(entry["path"], place))
        layers.append(Layer(classes.index(entry["class"]), entry.get("at_least"), tuple(numbers)))
    return tuple(patterns), tuple(layers)
