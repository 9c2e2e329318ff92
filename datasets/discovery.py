"""What is on disk by its name, image files among it, and the error for a name that does not exist."""

import difflib
import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from unicodedata import normalize

from .base import DataError

PLAIN_PICTURES = (".png", ".tif", ".tiff", ".gif", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm")
PICTURES = (*PLAIN_PICTURES, *(f"{suffix}.gz" for suffix in PLAIN_PICTURES))
VOLUMES = (".nii.gz", ".nii")
NOTES = (".txt", ".md", ".json", ".csv", ".tsv", ".xml", ".yaml", ".yml", ".html", ".pdf")
"""Files that may lie beside an image, by its name, and are none."""

JUNK = ("thumbs.db", "desktop.ini", "lost+found", "$recycle.bin", "system volume information")


def is_junk(path: Path | str) -> bool:
    """Return whether a file or folder is left behind by a system (``._x``, ``Thumbs.db``) and means nothing."""
    name = Path(path).name
    return name.startswith(".") or name.lower() in JUNK


def entries(folder: Path) -> list[str]:
    """Return the names in a folder that mean something, sorted; none where there is no such folder.

    Raises:
        DataError: it may not be read, or cannot be: others may find files in it.
    """
    try:
        names = os.listdir(folder)  # noqa: PTH208  # names, not paths: folders of thousands of files
    except OSError as error:
        _require_absent(folder, error)
        return []
    return sorted(name for name in names if not is_junk(name))


def status(path: Path, follow: bool = True) -> os.stat_result | None:
    """Return what the system says of a path, or None if it does not exist; DataError as in :func:`entries`.

    Args:
        path: a file or folder.
        follow: whether links stand for what they lead to; one that leads to nothing does not exist then.
    """
    try:
        return path.stat(follow_symlinks=follow)
    except OSError as error:
        _require_absent(path if follow else path.parent, error)
        return None


def spelled(folder: Path, text: str) -> Path:
    """Return the path of a text below a folder with its names as they are on disk, or as they are if they are not.

    A name may be there in Unicode's composed form or in pieces, as macOS writes it; both look the same.
    """
    if text.isascii():
        return folder / text
    for name in Path(text).parts:
        if not status(folder / name, follow=False):
            name = next((other for other in entries(folder) if composed(other) == composed(name)), name)
        folder = folder / name
    return folder


def composed(text: str) -> str:
    """Return a text in Unicode's composed form, in which equal texts are equal."""
    return normalize("NFC", text)


def is_folder(path: Path) -> bool:
    """Return whether a folder exists; DataError as in :func:`entries`."""
    found = status(path)
    return found is not None and stat.S_ISDIR(found.st_mode)


def _require_absent(path: Path, error: OSError) -> None:
    """Raise DataError for an error that does not say that a path is absent."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):  # the last: a link that leads in a circle
        return
    if error.errno in (errno.EACCES, errno.EPERM):
        raise DataError(
            f"{path} may not be read by this user, who would see other data than the rest: change its permissions "
            "(or those of the folders above it), or narrow the pattern"
        ) from None
    raise DataError(f"{path} cannot be read ({error.strerror}): check the disk or the mount that holds it") from None


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
