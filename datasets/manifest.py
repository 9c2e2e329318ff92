"""What exactly a domain's files contain: hashes, and one digest that a run's identity takes in."""

import hashlib
import json
import os
import secrets
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .base import DataError, Domain

SETTLED = 2.0
"""Seconds a file must have rested before its hash is remembered: a rewrite within a clock tick would go unseen."""


@dataclass(frozen=True, slots=True)
class FileRecord:
    """Content of one file."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class CaseRecord:
    """Content of one case."""

    id: str
    stratum: str
    image: FileRecord
    label: FileRecord | None
    foreground: FileRecord | None
    others: tuple[FileRecord, ...] = ()  # further channels, then further label layers
    group: str = ""

    @property
    def files(self) -> tuple[FileRecord, ...]:
        """Every file of the case."""
        return tuple(f for f in (self.image, self.label, self.foreground, *self.others) if f is not None)


@dataclass(frozen=True, slots=True)
class Manifest:
    """Content of a domain."""

    domain: str
    cases: tuple[CaseRecord, ...]
    digest: str  # 12 hexadecimal digits over ids, strata, hashes and what is made of the labels; no paths

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.bytes for case in self.cases for file in case.files)


def read_manifest(domain: Domain, cache: Path | None = None) -> Manifest:
    """Hash a domain's files and return its manifest.

    Args:
        domain: as a loader returned it.
        cache: JSON file that remembers hashes by path and :func:`_version`; several processes may share it.

    Raises:
        DataError: a file cannot be read; the message names the case and the path.
    """
    remembered = _read_cache(cache)
    owners = {path: case.id for case in domain.cases for path in case.files}
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:  # hashing releases the interpreter lock
        hashed = pool.map(lambda path: _entry(owners[path], path, remembered), owners)
        entries = dict(zip(owners, hashed, strict=True))
    fresh = {str(path): entry for path, entry in entries.items() if remembered.get(str(path)) != entry}
    if cache is not None and fresh:
        _write_cache(cache, fresh)
    records = {path: FileRecord(entry[-1], entry[0]) for path, entry in entries.items()}
    cases = tuple(
        CaseRecord(
            case.id,
            case.stratum,
            records[case.image],
            records[case.label] if case.label else None,
            records[case.foreground] if case.foreground else None,
            tuple(records[path] for path in (*case.channels, *case.label_layers)),
            case.group,
        )
        for case in domain.cases
    )
    return Manifest(domain.name, cases, _digest(domain, cases))


def shared_files(a: Manifest, b: Manifest) -> list[tuple[str, str]]:
    """Return the pairs (case of a, case of b) whose images are the same file; source and target must share none."""
    return _pairs({case.id: case.image.sha256 for case in a.cases}, {case.id: case.image.sha256 for case in b.cases})


def shared_labels(a: Manifest, b: Manifest) -> list[tuple[str, str]]:
    """Return the pairs whose labels are the same file, as of two images of one patient.

    What occurs twice within a domain, as blank masks do, tells nothing.
    """
    first, second = ({case.id: case.label.sha256 for case in m.cases if case.label} for m in (a, b))
    often = {sha256 for hashes in (first, second) for sha256, count in Counter(hashes.values()).items() if count > 1}
    return [(one, other) for one, other in _pairs(first, second) if first[one] not in often]


def require_apart(manifest: Manifest, training: Collection[str], held_out: Collection[str]) -> None:
    """Raise DataError if images that are held out from a training are, byte for byte, among those that it sees."""
    sides = [replace(manifest, cases=tuple(c for c in manifest.cases if c.id in ids)) for ids in (training, held_out)]
    if shared := shared_files(*sides):
        raise DataError(
            f"{len(shared)} of the images of {manifest.domain} that train are also held out, as identical files "
            f"({listed_pairs(shared)}): let {{group}} or groups in the task file give both one group, or remove one"
        )


def listed_pairs(pairs: Sequence[tuple[str, str]]) -> str:
    """Return the first pairs of cases in words."""
    return ", ".join(f"{a} = {b}" for a, b in pairs[:5])


def _pairs(a: Mapping[str, str], b: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the pairs of keys whose values are equal."""
    owners: dict[str, list[str]] = {}
    for id, sha256 in b.items():
        owners.setdefault(sha256, []).append(id)
    return [(id, other) for id, sha256 in a.items() for other in owners.get(sha256, ())]


def _entry(case: str, path: Path, remembered: Mapping[str, list[Any]]) -> list[Any]:
    """Return the version and the SHA-256 of a file, the hash from ``remembered`` if nothing changed."""
    try:
        version = _version(path.stat())
        known = remembered.get(str(path))
        if known is not None and known[:-1] == version:
            return known
        with path.open("rb") as file:
            return [*version, hashlib.file_digest(file, "sha256").hexdigest()]
    except OSError as error:
        raise DataError(f"case {case!r}: cannot read {path}: {error.strerror or error}") from None


def _version(status: os.stat_result) -> list[int]:
    # `cp -p`, `rsync -t` and archives set the modification time of what they replace; nobody sets the change time.
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _content(case: CaseRecord) -> list[Any]:
    first = [case.id, case.stratum, *(f and f.sha256 for f in (case.image, case.label, case.foreground))]
    others = [[file.sha256 for file in case.others]] if case.others or case.group else []
    return [*first, *others, *([case.group] if case.group else [])]


def _digest(domain: Domain, cases: Iterable[CaseRecord]) -> str:
    content = {
        "cases": [_content(case) for case in cases],
        "label_map": sorted(domain.label_map.items()),
        "label_variants": {name: sorted(m.items()) for name, m in domain.label_variants.items()},
        "skull_stripped": domain.skull_stripped,
        **domain.rules(),
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=asdict)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _read_cache(cache: Path | None) -> dict[str, list[Any]]:
    """Return path -> [*version, hash]; a cache that is absent or damaged is an empty one."""
    if cache is None:
        return {}
    try:
        content = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    entries = content.items() if isinstance(content, dict) else ()
    return {path: entry for path, entry in entries if isinstance(entry, list) and len(entry) == 5}


def _write_cache(cache: Path, fresh: Mapping[str, list[Any]]) -> None:
    """Add entries to the cache: read again, merge, rename; two writers at once lose a hash at worst."""
    limit = time.time_ns() - int(SETTLED * 1e9)
    settled = {path: entry for path, entry in fresh.items() if max(entry[1], entry[2]) < limit}
    with suppress(OSError):  # only a cache: on a read-only disk every run hashes anew
        cache.parent.mkdir(parents=True, exist_ok=True)
        # Not `tempfile`, whose files are for their owner alone: others of the lab read the cache.
        temporary = cache.with_name(f".{cache.name}.{secrets.token_hex(8)}.tmp")
        try:
            with temporary.open("x", encoding="utf-8") as file:
                json.dump({**_read_cache(cache), **settled}, file, sort_keys=True, indent=0)
            temporary.replace(cache)
        finally:
            temporary.unlink(missing_ok=True)
