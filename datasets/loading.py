"""From the patterns or lists of a domain to its cases; every surprise is a :class:`DataError`."""

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from .base import AbsentData, Case, DataError, Domain
from .columns import FileColumn, read_column, read_listed
from .discovery import NOTES, PICTURES, PLAIN_PICTURES, VOLUMES, composed, spelled, status, unknown
from .listed import Listed, decathlon_files, nnunet_patterns
from .patterns import Match, Pattern, first_folder
from .text_files import check_case_id

KEYS = {"label": "labels", "foreground mask": "foregrounds"}
"""Key in the task file of each kind of file that belongs to an image."""

Key: TypeAlias = tuple[str, ...]
"""The text of the fields that two patterns share."""


@dataclass(frozen=True, slots=True)
class DomainTable:
    """One ``[source.NAME]``, ``[target.NAME]`` or ``[domain.NAME]`` table, checked: the domain's loader."""

    where: str  # for messages: 'my-task.toml, [source.hospital-a]'
    labelled: bool  # whether every case must have a label: a source
    images: Pattern | None
    listed: Listed | None
    labels: tuple[Pattern, ...]
    foregrounds: Pattern | None
    optional: frozenset[str]  # patterns that may match nothing at all
    folders: tuple[str, ...]  # the first that exists holds the files
    only: FileColumn | None  # ids of the cases, or paths of the images, that the domain consists of
    id: str  # template
    channels: tuple[str, ...]  # texts of {channel}, in the network's order; empty: all, sorted
    strata: FileColumn | Mapping[str, str] | None
    groups: FileColumn | Mapping[str, str] | None
    stratum: str
    volumes: bool
    task_channels: int  # per slice
    domain: Domain  # everything but its cases

    @property
    def patterns(self) -> Mapping[str, str]:
        """Where files are looked for below the data root, by key."""
        if self.listed is not None:
            return {self.listed.kind: self.listed.place}
        labels = {f"labels {number}".removesuffix(" 1"): pattern for number, pattern in enumerate(self.labels, 1)}
        found = {"images": self.images, **labels, "foregrounds": self.foregrounds}
        folder = f"{self.folders[0]}/" if self.folders[0] else ""
        return {key: folder + pattern.text for key, pattern in found.items() if pattern is not None}

    def __call__(self, root: Path) -> Domain:
        """Return the domain with the files found now under ``root``.

        Raises:
            DataError: no images, two files for one case, a case without its label, mask, channel or row, or a bad id.
        """
        folder = first_folder(self.folders, root, self.where)
        if self.listed is not None and not status(spelled(folder, self.listed.place)):
            raise _not_found(self, f"there is no {folder / self.listed.place}", AbsentData)
        if self.listed is not None and self.listed.kind == "decathlon":
            images, labels = decathlon_files(self.listed, folder, self.where)
            files = Files(images, (labels,) if labels else ())
        else:
            files = _matching_files(self, folder)
        if self.only is not None:
            files = _listed_only(self, self.only, files, folder)
        cases, missing = _cases(self, files, folder)
        if not cases:
            raise DataError(
                f"{self.where}: none of the {len(missing)} cases is complete, for example {missing[0]!r}: files do "
                "not exist, or are links to content that is not here (`datalad get` or `git annex get` fetches it)"
            )
        bare = next((case for case in cases if case.label is None), None)
        if self.labelled and bare is not None:
            raise DataError(
                f"{self.where}: case {bare.id!r} has no label: {bare.image}; a source needs labels (key: labels)"
            )
        return replace(self.domain, cases=cases, missing=missing, layers=self.domain.layers if files.labels else ())


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a domain by kind; the others are joined to the images by their fields."""

    images: Sequence[Match]
    labels: tuple[Sequence[Match], ...]
    foregrounds: Sequence[Match] | None = None
    unread: Mapping[str, Sequence[Match]] = field(default_factory=dict)  # by key: matches of a type that is not read
    absent: frozenset[str] | None = None  # what a list of the domain's cases names and no image is; None: no list


def _matching_files(table: DomainTable, folder: Path) -> Files:
    if table.listed is not None:
        image, label = nnunet_patterns(table.listed, folder, table.where)
        optional = {"labels"} if table.listed.split == "test" else set()
        table = replace(table, images=image, labels=(label,), optional=table.optional | optional)
    assert table.images is not None
    unread: dict[str, list[Match]] = {}
    images = _matches(table, "images", table.images, folder, unread)
    labels = [_matches(table, "labels", pattern, folder, unread) for pattern in table.labels]
    if any(labels) and not all(labels):
        pattern = table.labels[[bool(matches) for matches in labels].index(False)]
        raise _not_found(table, f"no files match labels = {str(folder / pattern.text)!r}, and other labels exist")
    masks = None if table.foregrounds is None else _matches(table, "foregrounds", table.foregrounds, folder, unread)
    return Files(images, tuple(labels) if any(labels) else (), masks or None, unread)


def _listed_only(table: DomainTable, only: FileColumn, files: Files, folder: Path) -> Files:
    """Return the files without the images that a list does not name, by their ids or their paths below the folder."""
    listed = read_listed(only, folder, table.where)
    names = {
        match.path: {_id(table, match), composed(os.path.relpath(match.path, folder))} & listed
        for match in files.images
    }
    if not any(names.values()):
        raise DataError(
            f"{table.where}: {folder / only.file} lists no image: its column {only.id} has {min(listed)!r}, and the "
            f"first image is {files.images[0].path}, whose id is {_id(table, files.images[0])!r}"
        )
    images = [match for match in files.images if names[match.path]]
    return replace(files, images=images, absent=listed.difference(*names.values()))


def _matches(
    table: DomainTable, key: str, pattern: Pattern, folder: Path, unread: dict[str, list[Match]]
) -> list[Match]:
    """Return the files of a pattern that are of the task's kind, and add the others, but for notes, to ``unread``."""
    suffixes = VOLUMES if table.volumes else PICTURES
    matches = pattern.matches(folder)
    fitting = [match for match in matches if match.path.name.lower().endswith(suffixes)]
    others = [match for match in matches if not match.path.name.lower().endswith((*suffixes, *NOTES))]
    unread[key] = unread.get(key, []) + others
    if fitting or key in table.optional:
        return fitting
    if matches:
        raise _of_unread_type(table, matches[0].path)
    absent = pattern.absent_folder(folder)
    state = f"there is no folder {absent}" if absent else f"no files match {key} = {str(folder / pattern.text)!r}"
    raise _not_found(table, state, AbsentData if key == "images" else DataError)


def _of_unread_type(table: DomainTable, path: Path) -> DataError:
    kinds = ", ".join(VOLUMES if table.volumes else (*PLAIN_PICTURES, "or one of these gzipped"))
    return DataError(
        f"{table.where}: {path} is not of a type that is read here: {kinds}; convert it, or narrow the pattern"
    )


def _not_found(table: DomainTable, state: str, kind: type[DataError] = DataError) -> DataError:
    domain = table.domain
    expected = ", ".join(table.patterns.values())
    return kind(
        f"{table.where}: {state}\n  expected below the data root: {expected}\n  published at: {domain.source}\n"
        f"  terms: {domain.licence}\n  the data root is --data-root or $BENCH_DATA"
    )


def _cases(table: DomainTable, files: Files, folder: Path) -> tuple[tuple[Case, ...], tuple[str, ...]]:
    """Return the cases, sorted by id, and the ids of those that lack an image or have a dangling link."""
    by_case: dict[str, dict[str, Match]] = {}
    for match in files.images:
        case = _id(table, match)
        check_case_id(case, match.path)
        channels, channel = by_case.setdefault(case, {}), match.fields.get("channel", "")
        if channel in channels:
            raise _two_files(table, case, channels[channel].path, match.path)
        channels[channel] = match
    strata, groups = (_values(column, folder, table.where) for column in (table.strata, table.groups))
    companions = [_Companions(table, "label", label, files) for label in files.labels]
    masks = None if files.foregrounds is None else _Companions(table, "foreground mask", files.foregrounds, files)
    orphans = {case for each in companions for case in each.without_image}
    cases, missing = [], orphans if files.absent is None else set(files.absent)
    for match in files.unread.get("images", ()):
        if _id(table, match) in missing:
            raise _of_unread_type(table, match.path)
    for case, channels in by_case.items():
        first, *others = _channels(table, case, channels)
        label_files = [each.of(case, first) for each in companions]
        foreground = masks.of(case, first) if masks is not None else None
        present = Case(
            id=case,
            image=first.path,
            label=label_files[0] if label_files else None,
            foreground=foreground,
            stratum=_value(table, strata, case, first, "stratum", table.stratum),
            channels=tuple(match.path for match in others),
            label_layers=tuple(label_files[1:]),
            group=_value(table, groups, case, first, "group", ""),
        )
        if all(map(status, present.files)):
            cases.append(present)
        else:  # a link to content that DataLad or git-annex has not fetched
            missing.add(case)
    return tuple(sorted(cases, key=lambda case: case.id)), tuple(sorted(missing))


def _channels(table: DomainTable, case: str, channels: Mapping[str, Match]) -> list[Match]:
    names = table.channels or tuple(sorted(channels))
    lacking = [name for name in names if name not in channels]
    if lacking:
        path = next(iter(channels.values())).path
        raise DataError(
            f"{table.where}: case {case!r} has no channel {', '.join(lacking)}; one that it has is {path}"
        )
    if len(names) > 1 and len(names) != table.task_channels:
        raise DataError(
            f"{table.where}: case {case!r} has {len(names)} channels ({', '.join(names)}) and the task "
            f"{table.task_channels}: choose with channels = [...], or change the task's channels"
        )
    return [channels[name] for name in names]


class _Companions:
    """The label or mask files of a domain, joined to its images by the fields that both patterns name."""

    def __init__(self, table: DomainTable, kind: str, matches: Sequence[Match], files: Files) -> None:
        self.table, self.kind, images = table, kind, files.images
        self.unread = files.unread.get(KEYS[kind], ())
        shared = set(matches[0].fields) & set(images[0].fields) - {"channel"}
        self.names = tuple(sorted(shared))
        self.paths: dict[Key, Path] = {}
        for match in matches:
            key = match.key(self.names)
            if key in self.paths:
                raise _two_files(table, "/".join(key), self.paths[key], match.path)
            self.paths[key] = match.path
        keys, paths = {match.key(self.names) for match in images}, {match.path for match in images}
        # In a flat folder, labels = "{case}.png" matches the images "{case}_0000.png" too.
        orphans = [match for match in matches if match.key(self.names) not in keys and match.path not in paths]
        self.without_image = [_id(table, match) for match in orphans if "case" in match.fields]

    def of(self, case: str, image: Match) -> Path:
        path = self.paths.get(image.key(self.names))
        if path is not None:
            return path
        if image.path in self.paths.values():
            raise DataError(
                f"{self.table.where}: both the pattern of images and that of {self.kind}s match {image.path}: narrow "
                "the one of images, for example {case:patient*_frame??} or {case:[0-9]*}"
            )
        for match in self.unread:
            if match.key(self.names) == image.key(self.names):
                raise _of_unread_type(self.table, match.path)
        known = {"/".join(key): path for key, path in self.paths.items()}
        wanted = "/".join(image.key(self.names))
        near = difflib.get_close_matches(wanted, known, n=1, cutoff=0.3)
        nearest = f"; the nearest is {known[near[0]]}, whose id is {near[0]!r}" if near else ""
        empty = " (of several layers one that marks nothing is a file of zeros)" if len(self.table.labels) > 1 else ""
        raise DataError(
            f"{self.table.where}: case {case!r} has no {self.kind}{empty}: its image is {image.path}{nearest}. "
            f"Files are paired by {' and '.join(f'{{{name}}}' for name in self.names)}: write around it, in both "
            f"patterns (images and {KEYS[self.kind]}), what differs between their names; or add the {self.kind}, "
            'remove the image, or list the cases to use in a file: only = "FILE"'
        )


def _two_files(table: DomainTable, case: str, first: Path, second: Path) -> DataError:
    return DataError(
        f"{table.where}: two files for case {case!r}: {first} and {second}; keep one, narrow the pattern, or tell "
        'the cases apart with id = "{group}-{case}"'
    )


def _id(table: DomainTable, match: Match) -> str:
    text = table.id
    for name, value in match.fields.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def _values(column: FileColumn | Mapping[str, str] | None, folder: Path, where: str) -> Mapping[str, str] | None:
    return read_column(column, folder, where) if isinstance(column, FileColumn) else column


def _value(
    table: DomainTable, values: Mapping[str, str] | None, case: str, match: Match, name: str, default: str
) -> str:
    """Return the stratum or group of a case: a row of a file, or the text of a field, renamed by a map."""
    column = table.strata if name == "stratum" else table.groups
    if isinstance(column, FileColumn):
        assert values is not None
        if case not in values:
            raise DataError(f"{table.where}: {column.file} has no row for case {case!r}")
        return values[case]
    text = match.fields.get(name, default)
    if values is not None and text not in values:
        raise unknown(f"{name} in {table.where}:", text, values)
    return text if values is None else values[text]
