"""The prepared cache: every case of a domain on the network's grid, computed once and then mapped into memory.

``<cache root>/<digest>/`` holds ``images.npy``, ``labels.npy`` (if every case has a label), ``foregrounds.npy`` and
``cases.json``. It appears by one rename when it is whole. With ``preprocess.spacing`` each array is a flat one of all
cases, whose grids are in ``cases.json``.
"""

import contextlib
import errno
import itertools
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssdg.datasets.base import DataError, Domain, Task

from ..digests import JSON, digest, to_json
from ..errors import LeaseLost, StorageError, UsageError
from ..settings import camera_degrees, fixed_grid
from ..spec import PreprocessConfig
from ..storage.files import free_bytes, read_json, storage_error, sync_folder, unreadable, write_json
from ..storage.lease import Lease
from .arrays import FOREGROUNDS, IMAGES, LABELS, Grid, Layout, Ragged
from .each_case import OnCase, each_case, no_report
from .geometry import Geometry
from .grids import scale_note
from .images import file_ndim
from .labels import label_map_of, require_plausible_labels
from .preprocess import PREPROCESS_VERSION, PreparedCase, masks_by_label, prepare_case

CASES = "cases.json"


@dataclass(frozen=True)
class PreparedDomain:
    """A domain on the network's grid; the arrays are read-only and live in the page cache."""

    name: str
    ids: tuple[str, ...]  # of its cases
    strata: tuple[str, ...]  # of its cases
    image: NDArray[Any] | Ragged  # (N, C, *S): uint8 of pictures (255 is 1.0), float16 in [0, 1] of volumes
    label: NDArray[np.uint8] | Ragged | None  # (N, *S) class indices; None if any case has no label
    foreground: NDArray[np.bool_] | Ragged  # (N, *S)
    geometries: tuple[Geometry, ...]  # the way back to each case's native grid, or to that of its slices
    digest: str  # identity of the prepared data
    depths: tuple[int, ...] = ()  # images of each case, where they are slices; (): one a case
    slice_axis: int | None = None  # of the volume that they are slices of
    note: str = ""  # on the scale of its grids, for captions

    @property
    def shapes(self) -> tuple[Grid, ...]:
        """The grid of every row."""
        rows = self.foreground
        return rows.shapes if isinstance(rows, Ragged) else (rows.shape[1:],) * len(rows)

    def span(self, case: str) -> tuple[int, int]:
        """Return the first of a case's images and the one behind the last."""
        return self._spans[case]

    @cached_property
    def _spans(self) -> dict[str, tuple[int, int]]:
        ends = itertools.accumulate(self.depths or (1,) * len(self.ids), initial=0)
        return dict(zip(self.ids, itertools.pairwise(ends), strict=True))

    @cached_property
    def geometry(self) -> dict[str, Geometry]:
        """The geometry of each case by its id."""
        return dict(zip(self.ids, self.geometries, strict=True))

    @property
    def is_grey(self) -> bool:
        """Whether all images are grey though the task's images have several channels."""
        return len(self.image[0]) > 1 and all(bool((image == image[:1]).all()) for image in self.image)


def prepared_digest(domain: Domain, task: Task, config: PreprocessConfig, manifest_digest: str) -> str:
    """Return the identity of prepared data; protocols that prepare alike share it.

    Normalisation happens later, and the corpus callosum matters only through the label map.
    """
    grid = fixed_grid(task, config)
    value: dict[str, JSON] = {
        "version": PREPROCESS_VERSION,
        "manifest": manifest_digest,
        "label_map": to_json(label_map_of(domain, config)),
        "skull_stripped": domain.skull_stripped,
        "oracle": masks_by_label(domain, task, config),
        "channels": task.channels,
        **({"grid": config.grid, "shape": list(grid)} if grid is not None else {"spacing": to_json(config.spacing)}),
    }
    if config.scale == "fov":
        value["degrees"] = camera_degrees(domain)
    value |= {name: to_json(rule) for name, rule in domain.rules().items()}
    return digest(value)


def prepare_domain(
    domain: Domain,
    task: Task,
    config: PreprocessConfig,
    manifest_digest: str,
    cache_root: Path,
    on_case: OnCase = no_report,
    look: Callable[[], None] = lambda: None,
) -> PreparedDomain:
    """Return a domain on the network's grid, from the cache or computed into it.

    Of several processes that ask at once, one computes and the others wait; ``look`` is called meanwhile, and an
    exception of it ends the wait. A damaged cache is computed anew.

    Raises:
        DataError: cases that cannot be used, all of them in one message.
        UsageError: a grid of the wrong dimension.
        StorageError: the cache cannot be written, has no space left, or cannot be read now; it stays as it is.
    """
    if not domain.cases:
        raise DataError(
            f"{domain.name}: there is no case to prepare; look at the tree that `bench data verify` expects"
        )
    folder = cache_root / prepared_digest(domain, task, config, manifest_digest)
    layout = _layout(domain, task, config)
    prepared = _load(folder, domain, layout)
    while prepared is None:
        # A process that took the lease over may have finished the cache; if not, this one tries again.
        with contextlib.suppress(LeaseLost):
            try:
                with Lease(folder.parent / ".building" / folder.name, wait=math.inf, look=look) as lease:
                    prepared = _load(folder, domain, layout)  # another process may have finished it meanwhile
                    if prepared is None:
                        _build(folder, lease, _prepared_cases(domain, task, config, on_case), layout)
                        prepared = _load(folder, domain, layout)
            except OSError as error:
                raise _disk_error(error, folder, domain, layout) from error
            if prepared is None:
                raise UsageError(f"{folder} was written and cannot be read back: is the disk healthy?")
    return replace(prepared, note=scale_note(domain, config))


def _layout(domain: Domain, task: Task, config: PreprocessConfig) -> Layout:
    types: dict[str, np.dtype[Any]] = {
        IMAGES: np.dtype(np.uint8 if file_ndim(task, domain) == 2 else np.float16),
        FOREGROUNDS: np.dtype(np.bool_),
    }
    if all(case.label is not None for case in domain.cases):
        types[LABELS] = np.dtype(np.uint8)
    return Layout(types, task.channels, fixed_grid(task, config), None if domain.slices else len(domain.cases))


def _load(folder: Path, domain: Domain, layout: Layout) -> PreparedDomain | None:
    """Map a cache into memory; None if it is absent, truncated or of another layout.

    StorageError: it cannot be opened, or not now (permission, too many open files, a stale handle): others map it.
    """
    ids = tuple(case.id for case in domain.cases)
    try:
        cases = read_json(folder / CASES)
        depths = tuple(int(case["slices"]) for case in cases) if domain.slices else ()
        geometries = tuple(Geometry.from_json(case["geometry"]) for case in cases)
        if tuple(case["id"] for case in cases) != ids:
            return None
        rows = zip(geometries, depths or (1,) * len(ids), strict=True)
        arrays = layout.map(folder, [geometry.shape for geometry, depth in rows for _ in range(depth)])
    except (FileNotFoundError, NotADirectoryError, EOFError, ValueError, KeyError, TypeError):
        return None
    except OSError as error:
        raise unreadable(folder, error) from error
    return PreparedDomain(
        name=domain.name,
        ids=ids,
        strata=tuple(case.stratum for case in domain.cases),
        image=arrays[IMAGES],
        label=arrays.get(LABELS),
        foreground=arrays[FOREGROUNDS],
        geometries=geometries,
        digest=folder.name,
        depths=depths,
        slice_axis=domain.slices.axis if domain.slices else None,
    )


def _build(folder: Path, lease: Lease, cases: Iterator[tuple[str, PreparedCase]], layout: Layout) -> None:
    """Write a cache in the lease's folder and rename it; remains of dead processes or a broken cache are removed."""
    if folder.exists():
        folder.rename(lease.folder / f"data.{lease.token}.broken")
    for rest in lease.folder.glob("data.*"):
        shutil.rmtree(rest, ignore_errors=True)
    scratch = lease.folder / f"data.{lease.token}"
    scratch.mkdir()
    try:
        if free_bytes(scratch) < (layout.bytes or 0):
            raise OSError(errno.ENOSPC, "the disk is too full to begin")
        write_json(scratch / CASES, layout.write(scratch, cases))
        sync_folder(scratch)
        lease.check()
        # A process that took the lease over may have finished first: its cache is as good.
        try:
            scratch.rename(folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _prepared_cases(
    domain: Domain, task: Task, config: PreprocessConfig, on_case: OnCase
) -> Iterator[tuple[str, PreparedCase]]:
    """Yield (id, prepared case) in the domain's order; raise DataError listing all failures after the last case."""
    with_label = all(case.label is not None for case in domain.cases)
    total, inverted, empty = len(domain.cases), 0, 0
    failures: list[str] = []
    prepare = partial(prepare_case, domain=domain, task=task, config=config, with_label=with_label)
    for case, result in each_case(domain, prepare, on_case):
        if isinstance(result, DataError):
            failures.append(f"  case {case.id}: {result}")
        elif not failures:
            inverted, empty = inverted + result.inverted, empty + result.empty
            yield case.id, result
    if failures:
        raise DataError(f"{domain.name}: {len(failures)} of {total} cases cannot be used\n" + "\n".join(failures))
    require_plausible_labels(domain, inverted, empty)


def _disk_error(error: OSError, folder: Path, domain: Domain, layout: Layout) -> BaseException:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        size = "do not fit" if layout.bytes is None else f"need {math.ceil(layout.bytes / 1e6)} MB"
        return StorageError(
            f"no space left in {folder.parent}: the prepared data of {domain.name} {size}; "
            "free some, or choose another folder with --results-root"
        )
    return storage_error(error, folder)
