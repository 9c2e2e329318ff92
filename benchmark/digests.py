"""Plain JSON data of frozen dataclasses, and the digests that identify them."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any, TypeAlias

JSON: TypeAlias = bool | int | float | str | list["JSON"] | dict[str, "JSON"] | None


def identified(value: Any) -> Any:
    """Return :func:`to_json` of a dataclass without the later fields that have their defaults."""
    data = to_json(value)
    for f in dataclasses.fields(value):
        item = getattr(value, f.name)
        if dataclasses.is_dataclass(item):
            data[f.name] = identified(item)
        elif f.metadata.get("later") and item == f.default:
            del data[f.name]
    return data


def to_json(value: Any) -> Any:
    """Return dataclasses, tuples and mappings as plain :data:`JSON` data with string keys."""
    kind = type(value)
    if kind in _PLAIN:  # first, because nearly every value is one and the other tests are slow
        return value
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if dataclasses.is_dataclass(kind):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(kind)}
    if isinstance(value, (bool, int, float, str)):  # a subclass, such as NumPy's float64
        return value
    raise TypeError(f"{value!r} is not plain data")


def flatten(sections: Mapping[str, Any]) -> dict[str, Any]:
    """Return {"section.key": value} of sections with settings; what is no mapping keeps its name."""
    flat: dict[str, Any] = {}
    for key, value in dict(sections).items():
        flat |= {f"{key}.{inner}": v for inner, v in value.items()} if isinstance(value, Mapping) else {key: value}
    return flat


_PLAIN = frozenset({bool, int, float, str, type(None)})


def digest(value: Any) -> str:
    """Return 12 hexadecimal digits of the SHA-256 of a value's canonical JSON."""
    return digest_of_text(canonical_json(value))


def canonical_json(value: Any) -> str:
    """Return JSON that is the same for equal values: sorted keys, 1 and 1.0 equal."""
    return json.dumps(_canonical(to_json(value)), sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest_of_text(text: str) -> str:
    """Return 12 hexadecimal digits of a text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _canonical(value: JSON) -> JSON:
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
