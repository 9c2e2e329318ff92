"""``bench doctor``: what this machine lacks for a benchmark, and how to mend it."""

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from ssdg.datasets import TASKS
from ssdg.datasets.base import DataError

from .. import environment
from ..errors import UsageError
from ..launching.registry import SCHEDULERS
from ..launching.scheduler import Scheduler
from ..storage.files import free_bytes
from . import options

Finding = tuple[str, bool, str]
"""Name, whether it is good, and text."""


@click.command()
@options.data_root
@options.results_root
@options.as_json
def doctor(data_root: Path, results_root: Path, as_json: bool) -> None:
    """Tell what this machine has: versions, device, threads, data found, writable folders, Slurm."""
    versions = ", ".join(f"{name} {value}" for name, value in environment.package_versions().items())
    findings: list[Finding] = [
        ("versions", "not installed" not in versions, versions),
        ("commit", True, environment.commit() or "not a checkout"),
        *_devices(),
        _writable("results", results_root),
        *_data(data_root),
        *(_scheduler(name, scheduler) for name, scheduler in SCHEDULERS.items()),
    ]
    if as_json:
        data = [dict(zip(("name", "good", "text"), finding, strict=True)) for finding in findings]
        click.echo(json.dumps(data, indent=2))
        return
    for name, good, text in findings:
        click.echo(f"{'ok  ' if good else 'note'}  {name}: {text}")


def _devices() -> Iterator[Finding]:
    try:
        import torch
    except ImportError:
        yield "device", False, "PyTorch is not installed: pip install torch"
        return
    yield "threads", True, f"{torch.get_num_threads()} of {environment.cores()} cores"
    if not torch.cuda.is_available():
        yield "device", False, "no usable GPU: runs use the CPU (the suites *-quick are made for it)"
        return
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    memory = torch.cuda.get_device_properties(0).total_memory / 2**30
    yield "device", True, f"{', '.join(names)}; {memory:.0f} GiB on the first"


def _writable(name: str, folder: Path) -> Finding:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        return name, False, f"{folder} cannot be written ({error.strerror}): choose another --results-root"
    return name, True, f"{folder} is writable, {free_bytes(existing) / 2**30:.0f} GiB free"


def _data(root: Path) -> Iterator[Finding]:
    for name, load in options.domain_loaders(*TASKS.values()).items():
        try:
            domain = load(root)
        except DataError as error:
            yield f"data {name}", False, str(error).splitlines()[0]
            continue
        total = domain.published or len(domain.cases) + len(domain.missing)
        yield f"data {name}", len(domain.cases) == total, f"{len(domain.cases)} of {total} cases"


def _scheduler(name: str, scheduler: Scheduler) -> Finding:
    try:
        limits = scheduler.limits()
    except UsageError as error:
        return name, False, str(error)
    user = os.environ.get("USER", "?")
    return name, True, f"{limits.version}, user {user}, arrays of up to {limits.array_length}"
