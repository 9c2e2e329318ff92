"""Image files by their names, and the error for a name that does not exist."""

import difflib
from collections.abc import Iterable
from pathlib import Path

from .base import DataError

PLAIN_PICTURES = (".png", ".tif", ".tiff", ".gif", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm")
PICTURES = (*PLAIN_PICTURES, *(f"{suffix}.gz" for suffix in PLAIN_PICTURES))
VOLUMES = (".nii.gz", ".nii")


def is_junk(path: Path) -> bool:
    """Return whether a file is left behind by a desktop (``._x``, ``.DS_Store``, ``Thumbs.db``) and means nothing."""
    return path.name.startswith(".") or path.name.lower() in ("thumbs.db", "desktop.ini")


def stem(path: Path) -> str:
    """Return a file's name without its image suffix; ``.nii.gz`` counts as one."""
    lower = path.name.lower()
    suffix = next((s for s in (*VOLUMES, *PICTURES) if lower.endswith(s)), path.suffix)
    return path.name[: len(path.name) - len(suffix)] if suffix else path.name


def unknown(kind: str, name: str, known: Iterable[str]) -> DataError:
    """Return the error for a name that does not exist, offering the nearest one and listing all."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return DataError(f"unknown {kind} {name!r}: {hint}known are {', '.join(names)}")
