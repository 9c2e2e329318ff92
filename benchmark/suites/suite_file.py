"""Reading suites: TOML files of the package by name, or a user's by path.

Every name in the file is checked: one that a suite does not have is an error that offers the nearest.
"""

import json
import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ssdg.datasets.text_files import read_text

from ..digests import flatten
from ..errors import UsageError, unknown
from ..settings import build
from ..spec import PROTOCOLS
from .blocks import blocks_of
from .paper import load_published
from .suite import Access, Column, Row, Suite, selected_on_target

KEYS = ({f.name for f in fields(Suite)} | {"extends", "more_rows"}) - {"all_rows"}
"""Keys of a suite's file."""

OWN = {"plugins": ".py", "tasks": ".toml"}
"""Keys with files of one's own, whose paths start from the folder of the suite's file, and what they end in."""

NAME = re.compile(r"\w[^/\\:,\0]*")

PROVENANCE = "provenance.json"
"""Makes a folder an export of `bench export`."""


def is_export(suite: str | Path) -> bool:
    """Return whether a suite is named by the folder of an export."""
    return (Path(suite) / PROVENANCE).is_file()


def require_own_columns(export: str | Path, sources: Sequence[str] | None) -> None:
    """Raise UsageError where other sources are asked of an export than it has."""
    if sources is not None:
        raise UsageError(f"{export} is an export, whose columns are as they are: leave out --sources")


def list_suites() -> list[str]:
    """Return the names of the suites that come with the package."""
    files = (item.name for item in resources.files(__package__).iterdir())
    return sorted(name.removesuffix(".toml") for name in files if name.endswith(".toml"))


def load_suite(name: str) -> Suite:
    """Return a suite of the package by name, or a user's from the path of a ``.toml`` file.

    Raises:
        UsageError: no such suite, not TOML, or something in it that a suite does not have.
    """
    if name.endswith(".toml"):
        path = Path(name)
        return parse_suite(read_text(path, "the suite", UsageError), path.stem, str(path), path.parent)
    if name not in list_suites():
        paths = "or give the path of a .toml file, or of a folder that `bench export` wrote"
        raise UsageError(f"{unknown('suite', name, list_suites())}; {paths}")
    return parse_suite(_packaged(name), name, f"suite {name}")


def base_lines(suite: str, folder: Path, files: Mapping[str, Sequence[Path]] = MappingProxyType({})) -> str:
    """Return the lines by which a file in a folder extends a suite that :func:`load_suite` takes, and names files."""
    values: dict[str, Any] = {"extends": os.path.relpath(suite, folder) if suite.endswith(".toml") else suite}
    values |= {key: [os.path.relpath(file, folder) for file in named] for key, named in files.items() if named}
    return "\n".join(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items())


def _packaged(name: str) -> str:
    return (resources.files(__package__) / f"{name}.toml").read_text(encoding="utf-8")


def parse_suite(text: str, name: str, where: str, folder: Path = Path()) -> Suite:
    """Return the suite a TOML text describes; ``where`` names it in messages, and its paths start from ``folder``.

    ``extends`` names a suite of the package, or a file, from which comes what the text does not give; ``more_rows``
    come behind its rows.
    """
    data = _merged(text, where, folder)
    columns = tuple(_column(item, where) for item in _tables(data.pop("columns", []), "columns", where))
    rows = tuple(_row(item, where) for item in _tables(data.pop("rows", []), "rows", where))
    settings = _settings(data, where)
    components = data.pop("components", {})
    suite = build(Suite, {"name": name, "title": name, **data}, where)
    suite = replace(suite, columns=columns, rows=rows, settings=settings, components=components)
    _check(suite, where)
    return suite


def _merged(text: str, where: str, folder: Path, extending: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return what a text says on top of what it extends, its exports as paths that are there."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where} is not valid TOML: {error}") from None
    for key in data:
        if key not in KEYS:
            raise UsageError(f"{where}: {unknown('key', key, KEYS)}")
    if isinstance(data.get("exports"), list):
        data["exports"] = _exports(data["exports"], where, folder)
    files = {key: _files(data.pop(key, []), key, where, folder) for key in OWN}
    base = data.pop("extends", None)
    if base is not None:
        data = _extended(str(base), where, folder, extending) | data
    data |= {key: [*data.get(key, ()), *own] for key, own in files.items()}  # the rows of the extended suite need its
    if "more_rows" in data:
        data["rows"] = [*data.get("rows", ()), *_tables(data.pop("more_rows"), "more_rows", where)]
    return data


def _files(value: Any, key: str, where: str, folder: Path) -> list[str]:
    """Return the paths of files of one's own that a key of :data:`OWN` names."""
    if not isinstance(value, list):
        raise UsageError(f"{where}: {key} is a list of files, not {value!r}")
    if wrong := [file for file in value if not str(file).endswith(OWN[key])]:
        raise UsageError(f"{where}: {key} has files that end in {OWN[key]}, not {wrong[0]!r}")
    return [str(folder / file) for file in value]


def _extended(base: str, where: str, folder: Path, extending: tuple[Path, ...]) -> dict[str, Any]:
    if not base.endswith(".toml"):
        if base not in list_suites():
            raise UsageError(f"{where}, extends: {unknown('suite', base, list_suites())}, or give the path of a file")
        return _merged(_packaged(base), f"suite {base}", Path())
    path = folder / base
    text = read_text(path, f"the suite that {where} extends,", UsageError)
    if path.resolve() in extending:
        raise UsageError(f"{where}, extends: {path} extends itself")
    return _merged(text, str(path), path.parent, (*extending, path.resolve()))


def _exports(folders: Sequence[Any], where: str, folder: Path) -> list[str]:
    """Return the folders of exports; the suite's own may wait for the first export."""
    paths = [folder / str(item) for item in folders]
    for path in paths:
        if not is_export(path) and path.resolve() != folder.resolve():
            raise UsageError(f"{where}, exports: {path} is no folder that `bench export` wrote")
    return [str(path) for path in paths if is_export(path)]


def _settings(data: dict[str, Any], where: str) -> dict[str, Any]:
    settings = data.pop("settings", {})
    if not isinstance(settings, dict):
        raise UsageError(f"{where}: settings is a table of section.key = value, not {settings!r}")
    return flatten(settings)  # TOML reads ``training.epochs = 60`` as a table, and the quoted key as a name


def _tables(value: Any, key: str, where: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
        raise UsageError(f"{where} needs {key}: one [[{key}]] table each")
    return value


def _column(data: dict[str, Any], where: str) -> Column:
    _need(data, ("task", "source", "target"), f"a column of {where}")
    column = build(Column, renamed(data, "groups", "strata"), f"a column of {where}")
    return replace(column, label=column.label or column.target)


def _row(data: dict[str, Any], where: str) -> Row:
    _need(data, ("id", "method"), f"a row of {where}")
    where = f"row {data['id']!r} of {where}"
    settings = _settings(data, where)
    row = build(Row, renamed(data, "setting", "access"), where)
    access: Access = "intra" if row.folds is not None else row.access
    row = replace(row, label=row.label or row.id, access=access, settings=settings)
    return row if row.selection is None else selected_on_target(row)


def renamed(data: Mapping[str, Any], old: str, new: str) -> dict[str, Any]:
    """Return a table with a key that has another name in older files."""
    return {new if key == old else key: value for key, value in data.items()}


def _need(data: Mapping[str, Any], names: Iterable[str], where: str) -> None:
    for name in names:
        if not data.get(name):
            raise UsageError(f"{where} needs {name}: it has {', '.join(data) or 'nothing'}")


def _check(suite: Suite, where: str) -> None:
    if suite.protocol not in PROTOCOLS:
        raise UsageError(f"{where}: {unknown('protocol', suite.protocol, PROTOCOLS)}")
    for kind, name in [("suite", suite.name), *(("row", row.id) for row in suite.rows)]:
        if not NAME.fullmatch(name):  # folders are named by it, and lists of names
            raise UsageError(f"{where}: {kind} {name!r} begins with a letter or digit and has none of / \\ : ,")
    unique: dict[str, list[Any]] = {"row id": [row.id for row in suite.rows], "seed": list(suite.seeds)}
    unique["target"] = [column.target for column in suite.columns]
    for kind, names in unique.items():
        repeated = [name for name in names if names.count(name) > 1]
        if repeated:
            raise UsageError(f"{where}: {kind} {repeated[0]!r} is there twice")
    if not suite.seeds or min(suite.seeds) < 0:
        raise UsageError(f"{where}: seeds takes whole numbers from 0, not {list(suite.seeds)}")
    if any(key.startswith("method.") for key in suite.settings):
        raise UsageError(f"{where}: the settings of a method belong to its row")
    if suite.published is not None:
        load_published(suite.published)
    _check_components(suite, where)
    _check_blocks(suite, where)
    _check_rows(suite, where)


def _check_rows(suite: Suite, where: str) -> None:
    if len(counts := {row.tuned for row in suite.rows if row.tuned is not None}) > 1:
        trials = " and ".join(map(str, sorted(counts)))
        raise UsageError(f"{where}: rows tuned with {trials} trials: give every row of a table the same number")
    for row in suite.rows:
        try:
            _check_row(row)
            suite.resolved(row)
        except UsageError as error:
            raise UsageError(f"{where}, row {row.id!r}: {error}") from None
        try:
            suite.components_of(row)
        except ValueError as error:
            raise UsageError(f"{where}, row {row.id!r}, components: {error}") from None


def _check_components(suite: Suite, where: str) -> None:
    settings = {key for row in suite.rows for key in row.settings}
    if not isinstance(suite.components, dict) or not all(isinstance(key, str) for key in suite.components.values()):
        raise UsageError(f'{where}: components is a table of label = "method.setting", not {suite.components!r}')
    for label, key in suite.components.items():
        if key not in settings:
            raise UsageError(f"{where}, component {label!r}: {unknown('setting of the rows', key, settings)}")


def _check_blocks(suite: Suite, where: str) -> None:
    try:
        blocks = blocks_of(suite.rows)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
    every = {method for block in blocks.values() for method in block}
    for name, block in blocks.items():
        if missing := sorted(every - set(block)):
            raise UsageError(f"{where}: block {name!r} lacks {', '.join(missing)}: blocks have the same methods")


def _check_row(row: Row) -> None:
    if row.ensemble:
        raise UsageError("an ensemble is made of a row that is there: bench ensemble SUITE --row ID adds it")
    if row.access == "intra" and (row.folds is None or row.folds < 2):
        raise UsageError("an intra-domain row needs folds = 2 or more")
    if row.access == "intra" and row.selection is not None:
        raise UsageError('an intra-domain row trains inside the target: selection = "oracle" is not for it')
    if row.selection is not None and "training.selection" in row.settings:
        raise UsageError(f"selection = {row.selection!r} and training.selection: leave one of them out")
    if any(key.startswith("evaluation.") for key in row.settings):
        raise UsageError("all rows are scored alike: evaluation.* belongs to the suite")
