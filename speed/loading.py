"""Loading a prepared domain: from the cache on disk to tensors on the device."""

import gc
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from sampling import Estimate, median
from sheet import Options, Row, Skipped

from ssdg.benchmark.data.prepared import PreparedDomain, prepare_domain
from ssdg.benchmark.data.run_data import DataSource, LocatedDomain, find_domain
from ssdg.benchmark.spec import PreprocessConfig
from ssdg.datasets import TASKS
from ssdg.datasets.base import Task

REPEATS = 7


def drive(options: Options) -> Iterator[Row]:
    """DRIVE's training images at 512²."""
    return _loading(options, "fundus", "drive", 1.0)


def atlases(options: Options) -> Iterator[Row]:
    """The fetal brain atlases at 144³."""
    return _loading(options, "fetal", "atlases", 3.0)


def _loading(options: Options, task_name: str, source: str, budget: float) -> Iterator[Row]:
    task = TASKS[task_name]
    data_source = DataSource(_data_root(options), options.cache)
    options.cache.mkdir(parents=True, exist_ok=True)
    found = find_domain(task, source, data_source, _say)  # hashes the files where nobody has yet
    told: list[str] = []
    began = time.perf_counter()
    prepared = _prepared(found, task, options.cache, told)
    preparing = f"; preparing it first took {time.perf_counter() - began:.0f} s" if told else ""
    size = f"{len(prepared.ids)} cases of {'x'.join(map(str, task.shape))}"
    folder = options.cache / prepared.digest
    device = options.devices()[-1]
    name = f"load {source} ({size}) to {device.type}"
    del prepared

    def load() -> float:
        """Return the seconds from the folder to the device."""
        from ssdg.benchmark.data.loader import pool

        gc.collect()
        began = time.perf_counter()
        domain = _prepared(found, task, options.cache, [])
        cases = pool(domain, domain.ids, device)
        seconds = time.perf_counter() - began
        assert len(cases) == len(domain.ids)
        return seconds

    load()
    warm = [load() for _ in range(options.samples(REPEATS))]
    yield Row(f"{name}, page cache warm", median(warm), "s", budget, f"images, labels and foregrounds{preparing}")
    cold, read = [], []
    for _ in range(options.samples(REPEATS)):
        _forget(folder)
        before = _bytes_read()
        cold.append(load())
        read.append(_bytes_read() - before)
    note = f"the kernel was asked to drop the files; {median(read).value / 1e6:.0f} MB came from the disk"
    yield Row(f"{name}, page cache dropped", median(cold), "s", budget, note)
    yield Row(
        f"find {source} and identify its files", _finding(task, source, data_source, options), "s", None, _FINDING
    )


_FINDING = "before every run: lists the domain and looks its files' hashes up; for information"


def _finding(task: Task, source: str, data_source: DataSource, options: Options) -> Estimate:
    times = []
    for _ in range(options.samples(REPEATS)):
        began = time.perf_counter()
        find_domain(task, source, data_source, lambda _: None)
        times.append(time.perf_counter() - began)
    return median(times)


def _prepared(found: LocatedDomain, task: Task, cache: Path, told: list[str]) -> PreparedDomain:
    """Return the domain from the cache; ``told`` gets the cases that had to be prepared first."""

    def tell(domain: str, done: int, total: int) -> None:
        told.append(domain)
        if done in (1, total):
            _say(f"preparing {domain} {done}/{total}")

    return prepare_domain(found.domain, task, PreprocessConfig(), found.manifest.digest, cache, tell)


def _say(message: str) -> None:
    print(f"  {message}", file=sys.stderr, flush=True)


def _data_root(options: Options) -> Path:
    if options.data_root is None:
        raise Skipped("it needs the published data: set BENCH_DATA to their folder, or give --data-root")
    return options.data_root


def _forget(folder: Path) -> None:
    """Ask the kernel to drop a folder's files from the page cache; it may keep what another process has mapped."""
    if not hasattr(os, "posix_fadvise"):
        raise Skipped("this system cannot be asked to drop files from its page cache")
    gc.collect()
    for path in folder.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def _bytes_read() -> int:
    """Return what this process has had the disk read so far; 0 where the system does not tell."""
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
    except OSError:
        return 0
    return int(dict(line.split(": ") for line in lines)["read_bytes"])
