"""Settings of a method, and of the method whose augmentation goes before its own (``method.before``)."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, NamedTuple

import torch

from ssdg.methods import load_method
from ssdg.methods.base import Batch, Method

from ..digests import JSON, to_json
from ..errors import UsageError
from ..settings import BEFORE, build

VERSION = "version"
"""Key of the other method's version, in resolved settings alone."""


class Settings(NamedTuple):
    """Settings of a method, as given or resolved, and of the one before it."""

    own: dict[str, Any]
    before: type[Method] | None
    of_before: dict[str, Any]


def divide(cls: type[Method], settings: Mapping[str, Any]) -> Settings:
    """Tell a method's own settings from those of the method before it.

    Raises:
        UsageError: ``before.*`` without ``before``, or a method that cannot go before another.
    """
    own, of_before, name = dict(settings), {}, "none"
    if BEFORE not in {f.name for f in fields(cls.Config)}:
        name = str(own.pop(BEFORE, None))
        prefix = f"{BEFORE}."
        of_before = {key.removeprefix(prefix): own.pop(key) for key in list(own) if key.startswith(prefix)}
    if name.lower() != "none":
        return Settings(own, _front(name), of_before)
    if of_before:
        raise UsageError(f"method.{BEFORE}.{next(iter(of_before))}: method.{BEFORE} has to name the method it is of")
    return Settings(own, None, {})


def _front(name: str) -> type[Method]:
    cls = load_method(name)
    if cls.access != "ssdg":
        raise UsageError(f"method.{BEFORE}={name}: it needs target images, and goes before no other method")
    if cls.augment is Method.augment:
        raise UsageError(f"method.{BEFORE}={name}: it has no augment() to go first, its views are made in its steps")
    return cls


def resolve_config(cls: type[Method], name: str, settings: Mapping[str, Any]) -> tuple[dict[str, JSON], list[str]]:
    """Return every setting of a method by name, and the names of those that differ from its defaults.

    Raises:
        UsageError: unknown setting, a value that does not fit, or a method that cannot go before another.
    """
    own, front, of_front = divide(cls, settings)
    config, changed = _resolved(cls, f"method {name}", own)
    if front is not None:
        resolved, differing = _resolved(front, f"method.{BEFORE}", of_front)
        resolved = {VERSION: front.version, **resolved}
        config |= {BEFORE: settings[BEFORE], **{f"{BEFORE}.{key}": value for key, value in resolved.items()}}
        changed += [BEFORE, *(f"{BEFORE}.{key}" for key in differing)]
    return config, sorted(changed)


def _resolved(cls: type[Method], where: str, settings: Mapping[str, Any]) -> tuple[dict[str, JSON], list[str]]:
    config, default = to_json(build(cls.Config, settings, where)), to_json(cls.Config())
    return config, [name for name in config if config[name] != default[name]]


def preceded(cls: type[Method], front: Method) -> type[Method]:
    """Return the class with another method's augmentation before its own; of that method nothing is trained."""

    def augment(method: Method, batch: Batch, rng: torch.Generator) -> Batch:
        return cls.augment(method, front.augment(batch, rng), rng)

    return type(cls.__name__, (cls,), {"augment": augment})
