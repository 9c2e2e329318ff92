"""Which stored run answers a request: settings, initial weights, and the data where they are on this machine."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from operator import attrgetter
from pathlib import Path
from typing import Any

from ssdg.methods import MethodEntry

from ..digests import JSON, to_json
from ..errors import UsageError
from ..settings import BEFORE, convert, split_items, weights_digest
from ..spec import PIPELINE_VERSION, NetworkConfig, RunRequest, RunSpec

request_key = attrgetter(
    *(f.name for f in fields(RunRequest) if f.name not in ("protocol", "evaluation", "method_settings", "network")),
    *(f"network.{f.name}" for f in fields(NetworkConfig) if f.name != "weights"),
)
"""What must be equal of two requests; ``protocol`` is a name, the others are compared in their own way."""


@dataclass(frozen=True, slots=True)
class PresentData:
    """Domains as they are on this machine now, and what is stored of other versions of them.

    ``manifest_of``: (task, domain) -> digest of its files; None where they are not here, and any version will do.
    """

    manifest_of: Callable[[str, str], str | None]
    outdated: dict[tuple[str, str, str], set[Path]] = field(default_factory=dict)
    """(Domain, stored digest, present digest) -> folders of runs and evaluations."""

    def agree(self, task: str, domain: str | None, stored: str | None, folder: Path) -> bool:
        """Return whether a stored digest is that of the present files, and note the folder where it is not."""
        if domain is None or not stored or (present := self.manifest_of(task, domain)) in (None, stored):
            return True
        self.outdated.setdefault((domain, stored, str(present)), set()).add(folder)
        return False

    def trained(self, request: RunRequest, spec: RunSpec, folder: Path) -> bool:
        """Return whether a run was trained on the present files."""
        source = self.agree(request.task, request.source, spec.source_manifest, folder)
        return source and self.agree(request.task, request.target, spec.target_manifest, folder)


def is_current(spec: RunSpec, methods: Mapping[str, MethodEntry]) -> bool:
    """Return whether the code of now would train a spec as the code that did: pipeline, method, method before it."""
    return spec.version == version_here(spec, methods)


def version_here(spec: RunSpec, methods: Mapping[str, MethodEntry]) -> tuple[int, int, int]:
    """Return what would be the version of a spec by the code of now.

    Of methods that are not here nothing is known, and it is as stored: external rows, ensembles, plugins that are not
    given.
    """
    own, before = (methods.get(str(name)) for name in (spec.request.method, spec.method_config.get(BEFORE)))
    *_, version_before = spec.version
    if own is None:
        return spec.version
    # Without a version a `before` is a setting of the method's own.
    return PIPELINE_VERSION, own.version, before.version if before is not None and version_before else version_before


def difference(first: Sequence[int], second: Sequence[int]) -> tuple[str, str]:
    """Return in words what tells two versions of specs apart: ("version 1", "version 2")."""
    words = ("pipeline", "version", "version of the method before it")
    part = next(part for part, number in enumerate(first) if number != second[part])
    return f"{words[part]} {first[part]}", f"{words[part]} {second[part]}"


def weights_fit(request: RunRequest, spec: RunSpec) -> bool:
    """Return whether a run started from the content of the request's ``network.weights``."""
    path, used = request.network.weights, spec.request.network.weights
    if path is None or used is None:
        return path == used
    digest = _present_digest(path)
    if not digest or not spec.network_weights:  # a reader need not have the file
        return Path(path).name == Path(used).name
    return digest == spec.network_weights


def _present_digest(path: str) -> str:
    """Return the digest of a file of weights, "" where it cannot be read."""
    try:
        status = Path(path).stat()
        return _digest(path, (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino))
    except (OSError, UsageError):
        return ""


@functools.cache
def _digest(path: str, _version: tuple[int, ...]) -> str:
    return weights_digest(path)


def settings_fit(settings: Mapping[str, JSON], spec: RunSpec) -> bool:
    """Return whether a run used these settings and the method's defaults elsewhere."""
    config = {BEFORE: None, **spec.method_config}  # a run without a method before says nothing of it
    return set(spec.method_changed) <= set(settings) and all(
        key in config and _same_value(value, config[key]) for key, value in settings.items()
    )


def _same_value(value: Any, resolved: JSON) -> bool:
    """Compare a setting, perhaps the text of ``--set``, with its resolved value."""
    if isinstance(value, str) and not isinstance(resolved, str):
        if resolved is None:
            return value.lower() in ("none", "null")
        try:
            if isinstance(resolved, list):
                kind = type(resolved[0]) if resolved else str
                value = [convert(item, kind) for item in split_items(value, kind)]
            else:
                value = convert(value, type(resolved))
        except (ValueError, TypeError):
            return False
    return bool(to_json(value) == resolved)
