"""``bench doctor``: what this machine lacks for a benchmark, and how to mend it."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ssdg.datasets import TASKS
from ssdg.datasets.base import DataError

from .. import environment
from ..errors import UsageError
from ..launching.registry import SCHEDULERS
from ..launching.scheduler import Scheduler
from ..storage.files import free_bytes


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    name: str
    good: bool
    text: str


def examine(data_root: Path, results_root: Path) -> list[Finding]:
    """Return the findings, bad ones included; nothing here raises."""
    versions = ", ".join(f"{name} {value}" for name, value in environment.package_versions().items())
    return [
        Finding("versions", "not installed" not in versions, versions),
        Finding("commit", True, environment.commit() or "not a checkout"),
        *_devices(),
        _writable("results", results_root),
        *_data(data_root),
        *(_scheduler(name, scheduler) for name, scheduler in SCHEDULERS.items()),
    ]


def _devices() -> list[Finding]:
    try:
        import torch
    except ImportError:
        return [Finding("device", False, "PyTorch is not installed: pip install torch")]
    threads = Finding("threads", True, f"{torch.get_num_threads()} of {environment.cores()} cores")
    if not torch.cuda.is_available():
        return [
            threads,
            Finding("device", False, "no usable GPU: runs use the CPU (the suites *-quick are made for it)"),
        ]
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    memory = torch.cuda.get_device_properties(0).total_memory / 2**30
    return [threads, Finding("device", True, f"{', '.join(names)}; {memory:.0f} GiB on the first")]


def _writable(name: str, folder: Path) -> Finding:
    existing = folder
    while not existing.exists():
        existing = existing.parent
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        return Finding(name, False, f"{folder} cannot be written ({error.strerror}): choose another --results-root")
    return Finding(name, True, f"{folder} is writable, {free_bytes(existing) / 2**30:.0f} GiB free")


def _data(root: Path) -> list[Finding]:
    loaders = {name: load for task in TASKS.values() for name, load in {**task.sources, **task.targets}.items()}
    findings = []
    for name, load in loaders.items():
        try:
            domain = load(root)
        except DataError as error:
            findings.append(Finding(f"data {name}", False, str(error).splitlines()[0]))
            continue
        total = domain.published or len(domain.cases) + len(domain.missing)
        whole = len(domain.cases) == total
        findings.append(Finding(f"data {name}", whole, f"{len(domain.cases)} of {total} cases"))
    return findings


def _scheduler(name: str, scheduler: Scheduler) -> Finding:
    try:
        limits = scheduler.limits()
    except UsageError as error:
        return Finding(name, False, str(error))
    user = os.environ.get("USER", "?")
    return Finding(name, True, f"{limits.version}, user {user}, arrays of up to {limits.array_length}")
