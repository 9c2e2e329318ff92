"""A job as plain data: what to train, what to score, where. A launcher hands the file to ``bench run FILE``."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .files import read_json, write_json
from .settings import UsageError, request_from_json
from .spec import RunRequest, digest, to_json
from .store import row_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where and how a run happens; nothing here changes its results beyond rounding."""

    data_root: Path
    results_root: Path
    device: str = "auto"
    strict: bool = False  # an incomplete data set is an error
    wait: float = 0.0  # seconds to wait for another process that works on the same run
    threads: int | None = None  # of the CPU; None: as torch finds them
    checkpoint_interval: float = 60.0  # seconds

    @property
    def prepared(self) -> Path:
        """The cache of preprocessed data."""
        return self.results_root / "prepared"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One training run and the domains to score."""

    request: RunRequest
    targets: tuple[str, ...]
    place: Place
    task_file: Path | None = None  # a user's own task
    plugins: tuple[Path, ...] = ()
    row: str = ""  # of the suite it is for; several rows may have one method

    @property
    def name(self) -> str:
        """A short name for people: row (or method), seed, and target and fold where a run has them."""
        request = self.request
        parts = [self.row or row_name(request), f"s{request.seed}"]
        if request.target is not None or request.fold is not None:
            parts.append(request.target or request.source)
        if request.fold is not None:
            parts.append(f"fold{request.fold.index + 1}of{request.fold.count}")
        return " ".join(parts)

    @property
    def stem(self) -> str:
        """The name of its files; jobs of different requests never share one, jobs of one name may."""
        readable = re.sub(r"[^\w.-]+", "-", self.name)
        return f"{readable}-{digest({'request': to_json(self.request), 'targets': self.targets})}"

    def write(self, path: Path) -> None:
        """Write the job as JSON."""
        place = {name: getattr(self.place, name) for name in self.place.__dataclass_fields__}
        write_json(
            path,
            {
                "request": to_json(self.request),
                "targets": list(self.targets),
                "place": {key: str(v.resolve()) if isinstance(v, Path) else v for key, v in place.items()},
                "task_file": str(self.task_file) if self.task_file else None,
                "plugins": [str(plugin) for plugin in self.plugins],
                "row": self.row,
            },
        )


def read_job(path: Path, place: Mapping[str, Any]) -> Job:
    """Return the job of a file that :meth:`Job.write` or a run's ``spec.json`` holds.

    Args:
        path: the file.
        place: fields of :class:`Place` for a ``spec.json``, which has none.
    """
    try:
        data = read_json(path)
        request = request_from_json(data["request"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is neither a job nor a run's spec.json: {error}") from error
    there = {**place, **(data.get("place") or {})}
    for name in ("data_root", "results_root"):
        there[name] = Path(there[name])
    task_file = data.get("task_file")
    return Job(
        request=request,
        targets=tuple(data.get("targets", ())),
        place=Place(**there),
        task_file=Path(task_file) if task_file else None,
        plugins=tuple(map(Path, data.get("plugins", ()))),
        row=data.get("row", ""),
    )
