"""``bench doctor``: what this machine has for a benchmark, and what to do about what it has not."""

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ssdg.datasets import TASKS
from ssdg.datasets.base import DataError

from ..storage import environment
from ..storage.files import free_bytes


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    name: str
    good: bool
    text: str


def examine(data_root: Path, results_root: Path) -> list[Finding]:
    """Return what was found, worst things included; nothing here raises."""
    versions = ", ".join(f"{name} {value}" for name, value in environment.package_versions().items())
    return [
        Finding("versions", "not installed" not in versions, versions),
        Finding("commit", True, environment.commit() or "not a checkout"),
        *_devices(),
        _writable("results", results_root),
        *_data(data_root),
        _slurm(),
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
    place = folder
    while not place.exists():
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        return Finding(name, False, f"{folder} cannot be written ({error.strerror}): choose another --results-root")
    return Finding(name, True, f"{folder} is writable, {free_bytes(place) / 2**30:.0f} GiB free")


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


def _slurm() -> Finding:
    if shutil.which("sbatch") is None:
        return Finding("slurm", False, "sbatch is not on the path: sweeps run on this machine")
    try:
        answer = subprocess.run(["sinfo", "--version"], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return Finding("slurm", False, f"sbatch is there and sinfo fails: {error}")
    return Finding("slurm", True, f"{answer.stdout.strip()}, user {os.environ.get('USER', '?')}")
