"""Listing files as data sets ship them, and pairing images with labels; every surprise is a :class:`DataError`."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .base import Case, DataError

PICTURES = (".png", ".tif", ".tiff", ".gif", ".jpg", ".jpeg", ".bmp", ".ppm")
VOLUMES = (".nii.gz", ".nii")


@dataclass(frozen=True, slots=True)
class Publication:
    """Where a data set comes from, for messages and reports."""

    name: str
    tree: str  # the expected files, relative to the data root
    source: str
    licence: str
    citation: str

    def folder(self, *choices: Path) -> Path:
        """Return the first of ``choices`` that is a folder.

        Raises:
            DataError: none is; the message says what is expected, where it is published and under which terms.
        """
        for choice in choices:
            if choice.is_dir():
                return choice
        raise DataError(
            f"{self.name} not found: there is no folder {choices[0]}\n"
            f"  expected under the data root: {self.tree}\n"
            f"  published at: {self.source}\n"
            f"  terms: {self.licence}\n"
            "  the data root is --data-root or $BENCH_DATA"
        )


def is_junk(path: Path) -> bool:
    """Return whether a file is left behind by a desktop (``._x``, ``.DS_Store``, ``Thumbs.db``) and means nothing."""
    return path.name.startswith(".") or path.name.lower() in ("thumbs.db", "desktop.ini")


def stem(path: Path) -> str:
    """Return a file's name without its image suffix; ``.nii.gz`` counts as one."""
    lower = path.name.lower()
    suffix = next((s for s in (*VOLUMES, *PICTURES) if lower.endswith(s)), path.suffix)
    return path.name[: len(path.name) - len(suffix)] if suffix else path.name


def listing(folder: Path, suffixes: Iterable[str], endings: Iterable[str] = ()) -> dict[str, Path]:
    """Return case id -> file of a folder, sorted by id.

    Args:
        folder: where to look, not below.
        suffixes: the file types that count.
        endings: what a file's stem may carry after the case id ("_manual1"); the first that fits is cut off.
    """
    types = tuple(suffixes)
    files = (path for path in folder.iterdir() if path.name.lower().endswith(types) and path.is_file())

    def identify(path: Path) -> str:
        ending = next((e for e in endings if stem(path).lower().endswith(e.lower())), "")
        return stem(path)[: len(stem(path)) - len(ending)]

    return by_id(files, identify)


def by_id(files: Iterable[Path], identify: Callable[[Path], str] = stem) -> dict[str, Path]:
    """Return case id -> file, sorted by id and without junk; two files of one case are an error."""
    found: dict[str, Path] = {}
    for path in files:
        if is_junk(path):
            continue
        case = identify(path)
        if case in found:
            raise DataError(f"two files for case {case!r}: {found[case]} and {path}; keep one")
        found[case] = path
    return dict(sorted(found.items()))


def pair(
    images: Mapping[str, Path],
    labels: Mapping[str, Path] | None,
    foregrounds: Mapping[str, Path] | None = None,
    stratum: Callable[[str], str] = lambda _: "all",
) -> tuple[tuple[Case, ...], tuple[str, ...]]:
    """Return the cases, sorted by id, and the ids whose label is there but whose image is not.

    Args:
        images: id -> image.
        labels: id -> label; None for a domain without labels.
        foregrounds: id -> mask; None where the data set ships none.
        stratum: id -> stratum.

    Raises:
        DataError: an image has no label, or no mask although others have one.
    """
    cases = []
    for case, image in images.items():
        label = None if labels is None else _companion("label", case, image, labels)
        foreground = None if foregrounds is None else _companion("foreground mask", case, image, foregrounds)
        cases.append(Case(case, image, label, foreground, stratum(case)))
    missing = sorted(set(labels or ()) - set(images))
    return tuple(sorted(cases, key=lambda case: case.id)), tuple(missing)


def _companion(kind: str, case: str, image: Path, found: Mapping[str, Path]) -> Path:
    if case in found:
        return found[case]
    folder = f" in {next(iter(found.values())).parent}" if found else ""
    raise DataError(f"case {case!r} has no {kind}{folder}: its image is {image}; add the {kind} or remove the image")


def unknown(kind: str, name: str, known: Iterable[str]) -> DataError:
    """Return the error for a name that does not exist, offering the nearest one and listing all."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return DataError(f"unknown {kind} {name!r}: {hint}known are {', '.join(names)}")
