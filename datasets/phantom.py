"""The embedded tasks: small, free, written as real files, with a shift that a network without help does not survive.

``phantom2d``: vessel trees photographed by three cameras. ``phantom3d``: nested tissues from two scanners.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .base import DataError

if TYPE_CHECKING:
    import numpy as np

DEFAULT_CASES = {2: 16, 3: 8}  # of the source; a target has half as many
DEFAULT_SIZE = {2: 96, 3: 32}
RECIPE = "phantom.json"
"""Says how a folder was written; only a folder with this file is ever replaced."""

VERSION = 1  # raise when the drawing changes
SPACING = 1.5  # mm, of phantom3d


def write_phantom(
    root: Path, ndim: Literal[2, 3] = 2, cases: int | None = None, size: int | None = None, seed: int = 0
) -> Path:
    """Write the phantom under ``root`` and return its folder; the same call again writes nothing.

    The folder appears complete or not at all, also when two processes write it at once.

    Args:
        root: data root; the folder is ``phantom2d`` or ``phantom3d`` in it.
        ndim: 2 or 3.
        cases: of the source domain, at least 2; each target has half as many. None: 16 (2D) or 8 (3D).
        size: side in pixels or voxels, at least 16. None: 96 (2D) or 32 (3D).
        seed: of the anatomy and the noise.

    Raises:
        DataError: a folder of that name was not written by this function, or cannot be written.
    """
    cases, size = cases or DEFAULT_CASES[ndim], size or DEFAULT_SIZE[ndim]
    if cases < 2 or size < 16:
        raise DataError(f"a phantom needs at least 2 cases of at least 16 voxels a side, not {cases} of {size}")
    folder = root / f"phantom{ndim}d"
    if folder.exists() and not (folder / RECIPE).is_file():
        raise DataError(
            f"{folder} exists and was not written by this project; move it away or take another data root"
        )
    import shutil
    import tempfile

    files = _content(ndim, cases, size, seed)
    if _holds(folder, files):
        return folder
    try:
        root.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=root))
        try:
            _write(draft / "new", files)
            _swap(draft, folder, files)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise DataError(f"cannot write the phantom to {folder}: {error.strerror or error}") from error
    return folder


def _content(ndim: Literal[2, 3], cases: int, size: int, seed: int) -> dict[str, bytes]:
    """Return relative path -> bytes of everything in the folder."""
    import json

    import numpy as np

    from .drawing import CAMERAS, SCANNERS, fundus, head

    recipe = {"version": VERSION, "ndim": ndim, "cases": cases, "size": size, "seed": seed}
    files = {RECIPE: (json.dumps(recipe) + "\n").encode()}
    for number, letter in enumerate(CAMERAS if ndim == 2 else SCANNERS):
        for case in range(cases if number == 0 else cases // 2):
            rng = np.random.default_rng([seed, number, case])
            if ndim == 2:
                parts: tuple[Any, ...] = fundus(CAMERAS[letter], size, rng)
            else:
                parts = head(SCANNERS[letter], size, rng)
            for kind, array in zip(("image", "label", "mask"), parts, strict=True):
                suffix = "png" if ndim == 2 else "nii.gz"
                files[f"{letter}/{kind}/{letter}-{case:02d}.{suffix}"] = _png(array) if ndim == 2 else _nifti(array)
    return files


def _png(array: "np.ndarray[Any, Any]") -> bytes:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG")
    return buffer.getvalue()


def _nifti(array: "np.ndarray[Any, Any]") -> bytes:
    import gzip

    import nibabel
    import numpy as np

    affine = np.diag([SPACING, SPACING, SPACING, 1.0])
    affine[:3, 3] = -SPACING * (np.asarray(array.shape) - 1) / 2  # the origin is the centre of the grid
    image = nibabel.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    return gzip.compress(image.to_bytes(), compresslevel=6, mtime=0)  # a time stamp would change the file's hash


def _holds(folder: Path, files: dict[str, bytes]) -> bool:
    """Return whether a folder holds exactly these files."""
    present = {str(path.relative_to(folder).as_posix()) for path in folder.rglob("*") if path.is_file()}
    return present == set(files) and all((folder / name).read_bytes() == content for name, content in files.items())


def _write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _swap(draft: Path, folder: Path, files: dict[str, bytes]) -> None:
    """Put ``draft/new`` in the place of ``folder``; the old content leaves into the draft and goes with it."""
    try:
        if folder.exists() and not _holds(folder, files):  # of another process it stays, as a third compares it
            folder.rename(draft / "old")
        (draft / "new").rename(folder)  # fails on a folder that is not empty, as it must
    except OSError:
        # Another process was faster; that is as good if it wrote the same.
        if not _holds(folder, files):
            raise
