"""Resources of a sweep's allocations: command-line options, or a profile that a lab writes once."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..settings import build


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Resources of an allocation; a field with a ``help`` is a command-line option, each is a key of a profile."""

    partition: str | None = field(default=None, metadata={"help": "Partition; the cluster's own by default."})
    time: int = field(default=240, metadata={"help": "Minutes of an allocation; a run that needs more is resumed."})
    gres: str | None = field(default=None, metadata={"help": "Generic resources of an allocation, such as gpu:1."})
    cpus: int = field(default=2, metadata={"help": "Cores of each run, and its CPU threads."})
    memory: int | None = field(default=None, metadata={"help": "GB of memory of an allocation."})
    account: str | None = field(default=None, metadata={"help": "Account to charge."})
    qos: str | None = field(default=None, metadata={"help": "Quality of service."})
    constraint: str | None = field(default=None, metadata={"help": "Features the node must have."})
    max_parallel: int | None = field(default=None, metadata={"help": "Allocations at the same time."})
    pack: int = field(default=1, metadata={"help": "Runs side by side in one allocation."})
    signal_delay: int = field(
        default=120, metadata={"help": "Seconds before the end at which a run is told to save."}
    )
    setup: tuple[str, ...] = field(default=(), metadata={"help": "Shell line before the run; may be repeated."})
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
    values: dict[str, Any] = {}
    if profile is not None:
        try:
            values = tomllib.loads(profile.read_text())
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise UsageError(f"{profile} is not a cluster profile: {error}") from error
    sbatch = values.pop("sbatch", {})
    if not isinstance(sbatch, dict):
        raise UsageError(f'{profile}: sbatch must be a table of options, such as [sbatch] and nice = "100"')
    if isinstance(values.get("setup"), str):
        values["setup"] = [values["setup"]]
    overrides = {name: value for name, value in options.items() if value is not None and value != ()}
    return replace(build(Cluster, {**values, **overrides}, str(profile or "cluster")), sbatch=sbatch)
