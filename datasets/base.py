"""What a data set is: cases, domains and tasks. Paths and plain data only, no arrays.

A domain is a function ``(root: Path) -> Domain`` that lists the files of one data set as its owners publish them, and
raises :class:`DataError` naming what is missing, where it is published, under which terms, and the expected tree.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, TypeAlias


class DataError(Exception):
    """Data on disk is missing or not what it should be; the message names the thing, the place and the way out."""

    exit_code: ClassVar[int] = 2  # of `bench`: wrong use or bad input


@dataclass(frozen=True, slots=True)
class Case:
    """One image of a domain and what belongs to it."""

    id: str  # unique in its domain, stable, printable: "sub-012"
    image: Path  # NIfTI (3D) or PNG / TIFF / GIF / JPEG (2D)
    label: Path | None = None  # None: unlabelled
    foreground: Path | None = None  # brain mask or field of view, where the data set ships one
    stratum: str = "all"  # "normal" / "abnormal", an atlas family: what results and splits are broken down by


@dataclass(frozen=True, slots=True)
class Domain:
    """Images from one origin with one labelling convention."""

    name: str
    modality: str
    cases: tuple[Case, ...]  # sorted by id
    label_map: Mapping[int, int]  # value on disk -> class index; a value not listed is an error, never background
    source: str  # where it is published
    licence: str  # terms, in a few words
    citation: str = ""
    published: int | None = None  # number of cases the owners publish: the table says "46 of 47"
    missing: tuple[str, ...] = ()  # ids whose label is there and whose image is not: left out and counted
    skull_stripped: bool = True  # 3D: background is already zero; False: mask as the protocol's brain_mask says
    label_variants: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    """Other label maps by name (atlases: corpus callosum as "gm" or "wm"); replaces ``label_map`` when chosen."""


DomainLoader: TypeAlias = Callable[[Path], Domain]


@dataclass(frozen=True, slots=True)
class Task:
    """A segmentation problem shared by a source domain and its targets."""

    name: str
    ndim: Literal[2, 3]
    channels: int
    classes: tuple[str, ...]  # index 0 is background
    shape: tuple[int, ...]  # the network's grid
    sources: Mapping[str, DomainLoader]  # the first is the default
    targets: Mapping[str, DomainLoader]

    @property
    def source(self) -> str:
        """The default source domain."""
        return next(iter(self.sources))

    def domain(self, name: str) -> DomainLoader:
        """Return the loader of a source or target by name."""
        loader = self.sources.get(name) or self.targets.get(name)
        if loader is None:
            known = ", ".join([*self.sources, *self.targets])
            raise KeyError(f"task {self.name!r} has no domain {name!r}; it has: {known}")
        return loader
