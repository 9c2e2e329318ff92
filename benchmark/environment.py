"""Versions, commit, device and threads: recorded next to results, never part of an identity."""

import functools
import hashlib
import importlib.metadata
import os
import platform
import socket
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "monai", "numpy", "pandas", "nibabel", "scikit-image", "scipy", "submitit", "click")


def version(package: str = "ssdg-bench", missing: str = "unknown") -> str:
    """Return the installed version of a package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return missing


@functools.cache
def commit() -> str:
    """Return the commit of the checkout this code runs from, with "+changes" if it differs; "" outside a checkout."""
    # Without this check git reports the commit of an enclosing repository (a venv inside another project).
    if not (_root() / ".git").exists():
        return ""
    try:
        command = ["git", "describe", "--always", "--abbrev=12", "--dirty=+changes", "--exclude=*"]
        result = subprocess.run(command, cwd=_root(), capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return result.stdout.strip()


@functools.cache
def code_digest() -> str:
    """Return a digest of every source file of the package: it changes when code does, committed or not."""
    files = sorted(path for name in ("benchmark", "methods", "datasets") for path in (_root() / name).rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]


def _root() -> Path:
    return Path(__file__).resolve().parents[1]  # the checkout, or ``ssdg/`` where the package is installed


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that results depend on."""
    versions = {name: version(name, "not installed") for name in PACKAGES}
    return {"python": platform.python_version(), "ssdg-bench": version(), **versions}


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def cores() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def root_variable(name: str) -> str:
    """Return the environment variable of the "data" or "results" root."""
    return f"BENCH_{name.upper()}"


def default_root(name: str) -> Path:
    """Return the "data" or "results" root where none is named: that of its variable, else the folder so called."""
    return Path(os.environ.get(root_variable(name), name))


SLOT = "BENCH_JOB_SLOT"
"""Environment variable of a launcher's jobs."""


def job_slot() -> int:
    """Return the number of this job among those that its launcher runs at the same time; 0 without a launcher."""
    slot = os.environ.get(SLOT, "")
    return int(slot) if slot.isdecimal() else 0


def record(device: str, threads: int, arithmetic: Mapping[str, bool]) -> dict[str, Any]:
    """Return what ``environment.json`` holds; CPU results are bitwise equal for equal ``threads`` only."""
    slurm = {name: value for name, value in os.environ.items() if name.startswith("SLURM_") and name.endswith("_ID")}
    return {
        "versions": package_versions(),
        "commit": commit(),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "device": device,
        "threads": threads,
        **({"arithmetic": dict(arithmetic)} if arithmetic else {}),
        "started": now(),
        "slurm": slurm,
    }
