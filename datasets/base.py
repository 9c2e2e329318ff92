"""What a data set is: cases, domains and tasks. Paths and plain data only, no arrays.

A task's domains are loaders: they list the files of one data set as its owners publish them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

READING = ("layers", "intensity", "file_channels", "orientation", "axes", "same_grid", "slices", "field_of_view")
"""Fields of a domain that change what is read, and that the first digests did not know."""


class DataError(Exception):
    """Data on disk is missing or not what it should be; the message names the thing, the place and the way out."""

    exit_code: ClassVar[int] = 2  # of `bench`: wrong use or bad input


class AbsentData(DataError):
    """No image of a domain is on disk."""


@dataclass(frozen=True, slots=True)
class Case:
    """One image of a domain and what belongs to it."""

    id: str  # unique in its domain, stable, printable: "sub-012"
    image: Path  # NIfTI (3D) or PNG / TIFF / GIF / JPEG / PPM (2D); with ``channels``, the first of them
    label: Path | None = None  # None: unlabelled; with ``label_layers``, the file of the lowest
    foreground: Path | None = None  # brain mask or field of view, where the data set ships one
    stratum: str = "all"  # "normal" / "abnormal", an atlas family: what results and splits are broken down by
    channels: tuple[Path, ...] = ()  # files of the second and further channels
    label_layers: tuple[Path, ...] = ()  # label files of the second and further ``Domain.layers``
    group: str = ""  # patient or site that no split cuts through; "": the case is a group of its own

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file of the case; image, label and foreground come first."""
        first = (self.image, self.label, self.foreground)
        return tuple(path for path in (*first, *self.channels, *self.label_layers) if path is not None)


@dataclass(frozen=True, slots=True)
class Intensity:
    """How values on disk become [0, 1]; exactly one field is set."""

    window: tuple[float, float] | None = None  # the values that become 0 and 1; beyond them is clipped
    percentiles: tuple[float, float] | None = None  # of all values of an image: what becomes 0 and 1
    bits: int | None = None  # 2**bits - 1 becomes 1: 12 bits of content in a file of 16


@dataclass(frozen=True, slots=True)
class Layer:
    """A label file that marks one class; layers lie over each other, the last on top."""

    class_index: int
    at_least: float | None = None  # the least value on disk that marks the class
    values: tuple[int, ...] = ()  # or the values that do


@dataclass(frozen=True, slots=True)
class Slices:
    """How volumes feed a network of two dimensions; scores stay those of volumes."""

    axis: Literal[0, 1, 2] = 2  # of the volume after ``orientation`` and ``axes``
    keep: Literal["all", "labelled"] = "all"  # training slices; every slice of a scored volume is predicted
    neighbours: int = 0  # slices on either side that are further channels; the outermost slice is repeated
    crop: Literal["none", "labelled"] = "none"  # an oracle: predict nothing beyond a volume's labelled slices

    @property
    def width(self) -> int:
        """Slices that the network sees at once."""
        return 2 * self.neighbours + 1


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
    layers: tuple[Layer, ...] = ()  # rule of each label file of a case; (): one file, read by ``label_map``
    intensity: Intensity | None = None  # None: bit depth (2D), 0 to the 99.9th percentile of the brain's box (3D)
    file_channels: tuple[int, ...] = ()  # 3D: what of a file of several feeds the network, from 0; (): all
    orientation: Literal["ras", "stored"] = "ras"  # 3D: axes turned to right, anterior, superior; or left alone
    axes: tuple[tuple[int, int], ...] = ()  # 3D, after ``orientation``: (axis, 1 or -1) that becomes axis 0, 1, 2
    same_grid: Literal["affine", "shape"] = "affine"  # 3D: what has to agree between an image and its label
    slices: Slices | None = None  # 3D files for a 2D network
    border: Literal["background", "any"] = "background"  # 2D: what most of the border of most labels is
    field_of_view: float | None = None  # 2D without masks: brightness in [0, 1] above which a pixel is inside
    degrees: float | None = None  # 2D: angle of the camera, from edge to edge of the field of view; None: unknown

    def rules(self) -> dict[str, Any]:
        """Return the fields of ``READING`` that are not default: what is read as ever keeps its digest."""
        defaults = {f.name: f.default for f in fields(self)}
        return {name: getattr(self, name) for name in READING if getattr(self, name) != defaults[name]}


class DomainLoader(Protocol):
    """Lists the files of a domain; reading its rules needs no data."""

    @property
    def domain(self) -> Domain:
        """The domain without its cases."""

    @property
    def patterns(self) -> Mapping[str, str]:
        """Where files are looked for below the data root, by the key of the task's file."""

    def __call__(self, root: Path) -> Domain:
        """Return the domain with the cases found now under the data root; DataError names what is missing."""


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
    regions: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # scored instead of classes: unions of them
    sliced: bool = False  # whether its domains are volumes whose slices feed a network of two dimensions

    @property
    def source(self) -> str:
        """The default source domain."""
        return next(iter(self.sources))

    def source_for(self, *targets: str) -> str:
        """The first source that is none of the targets; the default source where all are."""
        return next((name for name in self.sources if name not in targets), self.source)

    @property
    def scored(self) -> Mapping[str, tuple[int, ...]]:
        """What is scored and printed, by name: the regions, or the foreground classes where there are none."""
        return self.regions or {name: (index,) for index, name in enumerate(self.classes) if index}

    @property
    def photographs(self) -> bool:
        """Whether images are colour photographs: of three channels that are no neighbouring slices."""
        return self.ndim == 2 and self.channels == 3 and not self.sliced

    @property
    def scored_ndim(self) -> Literal[2, 3]:
        """Dimensions of what is predicted and scored: 3 where slices of volumes feed a network of two."""
        return 3 if self.sliced else self.ndim

    def domain(self, name: str) -> DomainLoader:
        """Return the loader of a source or target by name; KeyError for another."""
        loader = self.sources.get(name) or self.targets.get(name)
        if loader is None:
            known = ", ".join({**self.sources, **self.targets})
            raise KeyError(f"task {self.name!r} has no domain {name!r}; it has: {known}")
        return loader
