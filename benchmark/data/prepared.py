"""The prepared cache: every case of a domain on the network's grid, computed once and mapped into memory afterwards.

``<cache root>/<digest>/`` holds ``images.npy``, ``labels.npy`` (where every case has a label), ``foregrounds.npy``
and ``cases.json``. It appears by one rename when it is whole; the data root is only read.
"""

import contextlib
import errno
import math
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ssdg.datasets.base import Case, DataError, Domain, Task

from ..environment import cores
from ..errors import LeaseLost, UsageError
from ..settings import grid_shape
from ..spec import JSON, PreprocessConfig, digest, to_json
from ..storage.files import free_bytes, read_json, storage_error, sync_folder, write_json
from ..storage.lease import Lease
from .geometry import Geometry
from .preprocess import PREPROCESS_VERSION, PreparedCase, label_map_of, masks_by_label, prepare_case

Progress: TypeAlias = Callable[[str, int, int], None]
"""Told (domain, cases done, cases) after each case."""

Layout: TypeAlias = dict[str, tuple[np.dtype[Any], tuple[int, ...]]]
"""Type and shape of every array of the cache, by file name."""

CASES = "cases.json"

MOST_AT_ONCE = 4
"""Cases in the making at once; each holds a few copies of its native volume."""


@dataclass(frozen=True, slots=True)
class PreparedDomain:
    """A domain on the network's grid; the arrays are read-only and live in the page cache.

    Attributes:
        name: of the domain.
        ids: of its cases.
        strata: of its cases.
        image: (N, C, *S): uint8 in 2D (255 is 1.0), float16 in [0, 1] in 3D.
        label: (N, *S) uint8 class indices; None where any case has no label.
        foreground: (N, *S) bool.
        geometries: the way back to each case's native grid.
        digest: identity of the prepared data.
    """

    name: str
    ids: tuple[str, ...]
    strata: tuple[str, ...]
    image: NDArray[Any]
    label: NDArray[np.uint8] | None
    foreground: NDArray[np.bool_]
    geometries: tuple[Geometry, ...]
    digest: str

    @property
    def is_grey(self) -> bool:
        """Whether no image has colour though the task's images have several channels."""
        return self.image.shape[1] > 1 and all(bool((image == image[:1]).all()) for image in self.image)


def prepared_digest(domain: Domain, task: Task, config: PreprocessConfig, manifest_digest: str) -> str:
    """Return the identity of prepared data: what the files hold and what is done to them, and nothing else.

    Normalisation happens later, the oracle matters only where it applies, the corpus callosum only through the label
    map: protocols that prepare alike share a cache.
    """
    value: dict[str, JSON] = {
        "version": PREPROCESS_VERSION,
        "manifest": manifest_digest,
        "label_map": to_json(label_map_of(domain, config)),
        "skull_stripped": domain.skull_stripped,
        "oracle": masks_by_label(domain, task, config),
        "grid": config.grid,
        "shape": list(grid_shape(task, config)),
        "channels": task.channels,
    }
    return digest(value)


def prepare_domain(
    domain: Domain,
    task: Task,
    config: PreprocessConfig,
    manifest_digest: str,
    cache_root: Path,
    progress: Progress | None = None,
) -> PreparedDomain:
    """Return a domain on the network's grid, from the cache or computed into it.

    Of several processes that ask at once, one computes and the others wait for it. A cache with a missing or
    truncated file is computed anew.

    Args:
        domain: whose cases are prepared.
        task: dimensions, channels and grid.
        config: how.
        manifest_digest: identity of the domain's files.
        cache_root: folder of all prepared data.
        progress: told after each case.

    Raises:
        DataError: cases that cannot be used, all of them in one message.
        UsageError: a grid of the wrong dimension, or no space left for the cache.
        StorageError: the cache root cannot be written.
    """
    if not domain.cases:
        raise DataError(
            f"{domain.name}: there is no case to prepare; look at the tree that `bench data verify` expects"
        )
    identity = prepared_digest(domain, task, config, manifest_digest)
    layout = _layout(domain, task, config)
    folder = cache_root / identity
    found = _load(folder, domain, layout)
    while found is None:
        try:
            with Lease(cache_root / ".building" / identity, wait=math.inf) as lease:
                found = _load(folder, domain, layout)  # another process may have finished it meanwhile
                if found is None:
                    cases = _prepared_cases(domain, task, config, progress or _silent)
                    _build(folder, lease, cases, layout)
                    found = _load(folder, domain, layout)
                    if found is None:
                        raise UsageError(f"{folder} was written and cannot be read back: is the disk healthy?")
        except LeaseLost:
            continue
        except OSError as error:
            raise _disk_error(error, folder, domain, layout) from error
    return found


def _silent(domain: str, done: int, total: int) -> None:
    pass


def _layout(domain: Domain, task: Task, config: PreprocessConfig) -> Layout:
    count, shape = len(domain.cases), grid_shape(task, config)
    image = np.dtype(np.uint8 if task.ndim == 2 else np.float16)
    layout: Layout = {
        "images.npy": (image, (count, task.channels, *shape)),
        "foregrounds.npy": (np.dtype(np.bool_), (count, *shape)),
    }
    if all(case.label is not None for case in domain.cases):
        layout["labels.npy"] = (np.dtype(np.uint8), (count, *shape))
    return layout


def _bytes(layout: Layout) -> int:
    return sum(dtype.itemsize * math.prod(shape) for dtype, shape in layout.values())


def _load(folder: Path, domain: Domain, layout: Layout) -> PreparedDomain | None:
    """Map a cache into memory; None where it is absent, truncated or not what the layout says."""
    ids = tuple(case.id for case in domain.cases)
    try:
        cases = read_json(folder / CASES)
        geometries = tuple(Geometry.from_json(case["geometry"]) for case in cases)
        if tuple(case["id"] for case in cases) != ids:
            return None
        # Mapping checks the file's length against its header; asarray drops the memmap type, not the mapping.
        arrays = {name: np.asarray(np.load(folder / name, mmap_mode="r")) for name in layout}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if any((arrays[name].dtype, arrays[name].shape) != expected for name, expected in layout.items()):
        return None
    return PreparedDomain(
        name=domain.name,
        ids=ids,
        strata=tuple(case.stratum for case in domain.cases),
        image=arrays["images.npy"],
        label=arrays.get("labels.npy"),
        foreground=arrays["foregrounds.npy"],
        geometries=geometries,
        digest=folder.name,
    )


def _build(folder: Path, lease: Lease, cases: Iterator[tuple[str, PreparedCase]], layout: Layout) -> None:
    """Write a cache beside its place and rename it there; what dead processes or a broken cache left is removed."""
    if folder.exists():
        folder.rename(lease.folder / f"data.{lease.token}.broken")
    for rest in lease.folder.glob("data.*"):
        shutil.rmtree(rest, ignore_errors=True)
    scratch = lease.folder / f"data.{lease.token}"
    scratch.mkdir()
    try:
        if free_bytes(scratch) < _bytes(layout):
            raise OSError(errno.ENOSPC, "the disk is too full to begin")
        records = _write_arrays(scratch, cases, layout)
        write_json(scratch / CASES, records)
        sync_folder(scratch)
        lease.check()
        # A process that took the lease over may have finished first: its cache is as good.
        with _ignoring(errno.ENOTEMPTY, errno.EEXIST):
            scratch.rename(folder)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def _ignoring(*codes: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in codes:
            raise


def _write_arrays(folder: Path, cases: Iterator[tuple[str, PreparedCase]], layout: Layout) -> list[JSON]:
    """Append each case to the arrays as it comes and return the records of ``cases.json``.

    Plain writes, not a memory map: on a full disk a map kills the process, a write raises.
    """
    records: list[JSON] = []
    with ExitStack() as stack:
        streams = {name: stack.enter_context((folder / name).open("wb")) for name in layout}
        for name, (dtype, shape) in layout.items():
            header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(streams[name], header)
        for identifier, case in cases:
            arrays = {"images.npy": case.image, "foregrounds.npy": case.foreground, "labels.npy": case.label}
            for name, stream in streams.items():
                array = arrays[name]
                assert array is not None
                stream.write(np.ascontiguousarray(array).tobytes())
            records.append({"id": identifier, "geometry": to_json(case.geometry)})
        for stream in streams.values():
            stream.flush()
            os.fsync(stream.fileno())
    return records


def _prepared_cases(
    domain: Domain, task: Task, config: PreprocessConfig, progress: Progress
) -> Iterator[tuple[str, PreparedCase]]:
    """Yield (id, prepared case) in the domain's order, several in the making at once.

    Threads suffice: decoding, matrix products and the hole filling release the interpreter's lock.

    Raises:
        DataError: after every case was tried, listing all that failed; nothing is yielded after the first of them.
    """
    with_label = all(case.label is not None for case in domain.cases)

    def attempt(case: Case) -> PreparedCase | DataError:
        try:
            return prepare_case(case, domain, task, config, with_label=with_label)
        except DataError as error:
            return error

    total = len(domain.cases)
    failures: list[str] = []
    pool = ThreadPoolExecutor(min(MOST_AT_ONCE, cores()), thread_name_prefix="prepare")
    try:
        for done, (case, result) in enumerate(zip(domain.cases, pool.map(attempt, domain.cases), strict=True), 1):
            progress(domain.name, done, total)
            if isinstance(result, DataError):
                failures.append(f"  case {case.id}: {result}")
            elif not failures:
                yield case.id, result
    finally:
        pool.shutdown(cancel_futures=True)
    if failures:
        raise DataError(f"{domain.name}: {len(failures)} of {total} cases cannot be used\n" + "\n".join(failures))


def _disk_error(error: OSError, folder: Path, domain: Domain, layout: Layout) -> BaseException:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        megabytes = math.ceil(_bytes(layout) / 1e6)
        return UsageError(
            f"no space left in {folder.parent}: the prepared data of {domain.name} need {megabytes} MB; "
            "free some, or choose another folder with --results-root"
        )
    return storage_error(error, folder)
