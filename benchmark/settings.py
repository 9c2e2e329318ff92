"""Reading settings: ``--set section.key=value``, TOML tables and stored JSON, against the same dataclasses."""

import dataclasses
import functools
import hashlib
import math
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ssdg.datasets.base import Domain, Task
from ssdg.methods import plugin_digest

from .digests import JSON
from .errors import UsageError, unknown
from .spec import PROTOCOLS, SECTIONS, Fold, PreprocessConfig, RunRequest, RunSpec

BEFORE = "before"
"""Setting of every method: id of the method whose ``augment`` changes the batch first; ``before.*``: its settings."""

T = TypeVar("T")


def parse_assignments(assignments: Iterable[str]) -> dict[str, str]:
    """Return {"section.key": "value"} of ``section.key=value`` texts."""
    pairs: dict[str, str] = {}
    for text in assignments:
        name, separator, value = text.partition("=")
        if not separator or "." not in name:
            raise UsageError(f"--set takes section.key=value, not {text!r} (for example training.epochs=60)")
        pairs[name.strip()] = value.strip()
    return pairs


def build(config: type[T], values: Mapping[str, Any], where: str) -> T:
    """Return a config dataclass from some of its fields; texts are converted to the fields' types.

    Fields are bool, int, float, str, Literal, tuple[int, ...] or ``| None`` of these. ``where`` names the section for
    messages ("training", "method randconv"). UsageError: unknown key, or a value that does not fit.
    """
    hints = _hints(config)  # type: ignore[arg-type]  # a class is hashable; mypy does not see it in type[T]
    names = [f.name for f in dataclasses.fields(config)]  # type: ignore[arg-type]
    converted = {}
    for key, value in values.items():
        if key not in names:
            raise unknown(f"setting of {where}", key, names) if names else UsageError(f"{where} has no settings")
        try:
            converted[key] = convert(value, hints[key])
        except (ValueError, TypeError) as error:
            raise UsageError(f"{where}.{key}: {error}") from None
    try:
        return config(**converted)
    except ValueError as error:
        raise UsageError(str(error)) from None


@functools.cache
def _hints(config: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(config)


def convert(value: Any, hint: Any) -> Any:
    """Return ``value``, a text or JSON data, as the type ``hint``; ValueError says what was expected."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None or (isinstance(value, str) and value.lower() in ("none", "null")):
            return None
        return convert(value, next(a for a in arguments if a is not type(None)))
    if origin is typing.Literal:
        if value not in arguments:
            raise ValueError(f"one of {', '.join(map(str, arguments))}, not {value!r}")
        return value
    if origin is tuple:
        items = split_items(value, arguments[0]) if isinstance(value, str) else value
        try:
            return tuple(convert(item, arguments[0]) for item in items)
        except (TypeError, ValueError):
            kind, such = {int: ("whole numbers", "32,32"), float: ("numbers", "0.5,1.5")}.get(
                arguments[0], ("texts", "a,b")
            )
            if isinstance(value, list | tuple):
                raise ValueError(f"expected a list of {kind}, not {value!r}") from None
            raise ValueError(f"expected comma-separated {kind}, such as {such}, not {value!r}") from None
    return _convert_scalar(value, hint)


def split_items(text: str, element: Any) -> list[str]:
    """Return the items of a text such as "32,32"; numbers may stand as "32x32" too."""
    return (text.replace("x", ",") if element in (int, float) else text).split(",")


KINDS = {int: "a whole number", float: "a number", str: "a text"}


def _convert_scalar(value: Any, hint: Any) -> Any:
    if hint is bool:
        words = dict.fromkeys(("true", "yes", "1", "on"), True) | dict.fromkeys(("false", "no", "0", "off"), False)
        answer = value if isinstance(value, bool) else words.get(str(value).lower())
        if answer is None:
            raise ValueError(f"true or false, not {value!r}")
        return answer
    if isinstance(value, bool) or (hint is int and isinstance(value, float) and not value.is_integer()):
        raise ValueError(f"expected {KINDS[hint]}, not {value!r}")
    try:
        converted = hint(value)
    except ValueError:
        raise ValueError(f"expected {KINDS[hint]}, not {value!r}") from None
    if isinstance(converted, float) and not math.isfinite(converted):
        raise ValueError(f"expected a finite number, not {value!r}")
    return converted


def resolve_sections(
    protocol: str, values: Mapping[str, Any], oracle: bool = False
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the resolved config sections, and the method's settings as given.

    ``values``, {"section.key": value}, come on top of the protocol's preset. ``oracle`` selects the checkpoint on the
    target; it is never a plain setting, because such results must be marked.
    """
    if protocol not in PROTOCOLS:
        raise unknown("protocol", protocol, PROTOCOLS)
    if values.get("training.selection") == "oracle":
        raise UsageError(
            "training.selection=oracle chooses the checkpoint on the target's labels and is no setting: use the "
            'flag --selection oracle, or selection = "oracle" in a row of a suite; both mark the results †'
        )
    selection = {"training.selection": "oracle"} if oracle else {}
    sections: dict[str, dict[str, Any]] = {name: {} for name in [*SECTIONS, "method"]}
    for name, value in {**PROTOCOLS[protocol], **values, **selection}.items():
        section, _, key = name.partition(".")
        if section not in sections:
            raise unknown("section of settings", section, sections)
        sections[section][key] = value
    settings = sections.pop("method")
    return {name: build(SECTIONS[name], section, name) for name, section in sections.items()}, settings


def plugin_digests(method: str, settings: Mapping[str, Any], imported: bool = False) -> dict[str, str]:
    """Return the digests of the plugins that a run's method, and the one before it, are in; see `plugin_digest`."""
    names = (method, str(settings.get(BEFORE, "")))
    return {name: digest for name in names if (digest := plugin_digest(name, imported))}


def edited(recorded: Mapping[str, Any], digests: Mapping[str, str]) -> list[str]:
    """Return the methods whose plugins have other digests in a record, which has them under "plugins"."""
    before = recorded.get("plugins") or {}
    return [name for name, digest in digests.items() if before.get(name, digest) != digest]


def weights_digest(path: str | None) -> str:
    """Return the digest of a file's content, "" for no file; UsageError if it cannot be read."""
    if path is None:
        return ""
    try:
        with Path(path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()[:12]
    except OSError as error:
        raise UsageError(f"network.weights={path} cannot be read: {error.strerror}") from None


def request_from_json(data: Mapping[str, JSON]) -> RunRequest:
    """Return the request that ``to_json`` wrote; unknown fields are errors."""
    values: dict[str, Any] = dict(data)
    for name, config in SECTIONS.items():
        values[name] = build(config, values.get(name) or {}, name)
    if values.get("fold") is not None:
        values["fold"] = Fold(**values["fold"])
    try:
        return RunRequest(**values)
    except (TypeError, ValueError) as error:
        raise UsageError(f"not a run request: {error}") from None


def spec_from_json(data: Mapping[str, JSON]) -> RunSpec:
    """Return the spec that ``to_json`` wrote."""
    values: dict[str, Any] = dict(data)
    values["request"] = request_from_json(values["request"])
    for name in {"method_changed", "degrees"} & values.keys():
        values[name] = tuple(values[name])
    try:
        return RunSpec(**values)
    except TypeError as error:
        raise UsageError(f"not a run spec: {error}") from None


def grid_shape(task: Task, config: PreprocessConfig) -> tuple[int, ...]:
    """Return the network's grid: the task's, or ``preprocess.shape``; UsageError if dimensions differ."""
    shape = config.shape or task.shape
    if len(shape) != task.ndim:
        sides = ",".join(map(str, shape))
        raise UsageError(f"preprocess.shape={sides} has {len(shape)} sides; task {task.name!r} needs {task.ndim}")
    return tuple(shape)


FOV_DEGREES = 45.0
"""Angle that a grid spans with ``preprocess.scale=fov``: the commonest of fundus cameras, and so also what a camera
is taken to have where its domain does not state it."""


def camera_degrees(domain: Domain) -> float:
    """Return the angle of a domain's camera, ``FOV_DEGREES`` where it is not stated."""
    return FOV_DEGREES if domain.degrees is None else domain.degrees


def counted_degrees(domain: Domain, config: PreprocessConfig) -> float | None:
    """Return the angle of a domain's camera where ``preprocess.scale`` makes it count."""
    return camera_degrees(domain) if config.scale == "fov" else None


def camera_angles(task: Task, names: Iterable[str], config: PreprocessConfig) -> dict[str, float]:
    """Return the angles of the cameras of a task's domains, by name, where they count; else none."""
    known = {**task.sources, **task.targets} if config.scale == "fov" else {}
    return {name: camera_degrees(known[name].domain) for name in names if name in known}


def fixed_grid(task: Task, config: PreprocessConfig) -> tuple[int, ...] | None:
    """Return the grid that all cases share, None where ``preprocess.spacing`` gives each its own.

    Raises:
        UsageError: a shape, a spacing or a scale that does not fit the task.
    """
    # Not a matter of PreprocessConfig: a table looks up its suite under the other protocol too, whose grid differs.
    if config.scale == "fov" and (config.grid == "stretch" or config.spacing is not None):
        raise UsageError("preprocess.scale=fov goes with preprocess.grid=isotropic and without preprocess.spacing")
    if config.scale == "fov" and task.scored_ndim == 3:
        raise UsageError(f"preprocess.scale=fov is for pictures; task {task.name!r} has volumes: use native")
    if config.spacing is None:
        return grid_shape(task, config)
    if len(config.spacing) != task.ndim:
        sides = ",".join(f"{side:g}" for side in config.spacing)
        raise UsageError(f"preprocess.spacing={sides} is not for {task.ndim} axes, which task {task.name!r} has")
    return None
