"""Resources of a sweep's allocations: command-line options, or a profile that a lab writes once."""

import datetime
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ssdg.datasets.text_files import read_toml

from ..errors import UsageError
from ..settings import build

GIGABYTES = {"K": 2**-20, "M": 2**-10, "G": 1, "T": 2**10, "": 1}


def minutes(text: str) -> int:
    """Return the minutes of a time as Slurm writes it ("24:00:00", "1-12", "90:30"), rounded up; "90" is minutes."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+(?::\d+){0,2})", text.strip())
    if match is None:
        raise ValueError(f"takes minutes, HH:MM:SS or D-HH:MM:SS, not {text!r}")
    parts = match[2].split(":")
    units = (60, 1) if match[1] is None and len(parts) < 3 else (3600, 60, 1)  # hours come first after days
    seconds = 86400 * int(match[1] or 0) + sum(int(part) * unit for part, unit in zip(parts, units, strict=False))
    return -(-seconds // 60)


def gigabytes(text: str) -> int:
    """Return the GB of a size as Slurm writes it ("16G", "64000M", "1T"), rounded up; without a unit it is GB."""
    match = re.fullmatch(r"(\d+)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise ValueError(f"takes GB, or a size such as 16G or 64000M, not {text!r}")
    return math.ceil(int(match[1]) * GIGABYTES[match[2].upper()])


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Resources of an allocation; a field with a ``help`` is a command-line option, each is a key of a profile."""

    partition: str | None = field(default=None, metadata={"help": "Partition; the cluster's own by default."})
    time: int = field(
        default=240,
        metadata={
            "help": "Minutes of an allocation, or 24:00:00; a longer run is resumed.",
            "read": minutes,
        },
    )
    gres: str | None = field(default=None, metadata={"help": "Generic resources of an allocation, such as gpu:1."})
    cpus: int = field(default=2, metadata={"help": "Cores of each run, and its CPU threads."})
    memory: int | None = field(
        default=None, metadata={"help": "GB of memory of an allocation, or 64000M.", "read": gigabytes}
    )
    account: str | None = field(default=None, metadata={"help": "Account to charge."})
    qos: str | None = field(default=None, metadata={"help": "Quality of service."})
    constraint: str | None = field(default=None, metadata={"help": "Features the node must have."})
    max_parallel: int | None = field(default=None, metadata={"help": "Allocations at the same time."})
    pack: int = field(default=1, metadata={"help": "Runs side by side in one allocation."})
    signal_delay: int = field(
        default=120, metadata={"help": "Seconds before the end at which a run is told to save."}
    )
    setup: tuple[str, ...] = field(default=(), metadata={"help": "Shell line before the run; may be repeated."})
    python: str | None = None  # command in place of this Python, such as `apptainer exec bench.sif python`
    sbatch: Mapping[str, Any] = field(default_factory=dict)  # further options, passed on as they are

    def __post_init__(self) -> None:
        for name in ("time", "cpus", "pack", "memory", "max_parallel", "signal_delay"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"cluster.{name} must be at least 1, not {value}")

    @property
    def delay(self) -> int:
        """Seconds before the time limit at which runs are told to save: at most a quarter of the time."""
        return min(self.signal_delay, 15 * self.time)


OPTIONS = tuple(option for option in fields(Cluster) if option.metadata)
"""The fields that are command-line options."""


def read_cluster(profile: Path | None, options: Mapping[str, Any]) -> Cluster:
    """Return the resources of a TOML profile, which options override where neither None nor empty."""
    values = {} if profile is None else read_toml(profile, "the cluster profile", UsageError)
    sbatch = values.pop("sbatch", {})
    if not isinstance(sbatch, dict):
        raise UsageError(f'{profile}: sbatch must be a table of options, such as [sbatch] and nice = "100"')
    if isinstance(values.get("setup"), str):
        values["setup"] = [values["setup"]]
    overrides = {name: value for name, value in options.items() if value is not None and value != ()}
    where = str(profile or "cluster")
    values = {name: _in_units(name, value, where) for name, value in {**values, **overrides}.items()}
    return replace(build(Cluster, values, where), sbatch=sbatch)


def _in_units(name: str, value: Any, where: str) -> Any:
    """Return a time in minutes and a size in GB; TOML reads ``time = 12:00:00`` as a time of the day."""
    reads: dict[str, Callable[[str], int]] = {f.name: f.metadata["read"] for f in OPTIONS if "read" in f.metadata}
    if name not in reads or not isinstance(value, (str, datetime.time)):
        return value
    try:
        return reads[name](str(value))
    except ValueError as error:
        raise UsageError(f"{where}.{name}: {error}") from None
