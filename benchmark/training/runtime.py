"""Execution settings of a run."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """Execution settings of a run; they change its results by rounding at most."""

    data_root: Path
    results_root: Path
    device: str = "auto"
    strict: bool = False  # an incomplete data set is an error
    wait: float = 0.0  # seconds to wait for another process that works on the same run
    threads: int | None = None  # of the CPU; None: torch's default
    checkpoint_interval: float = 60.0  # seconds
    max_attempts: int | None = None  # starts in a row without a checkpoint before it is FAILED; None: unlimited
    log: Path | None = None  # the file that takes its output; None: the terminal
    job_id: str | None = None  # the scheduler's id of the allocation it runs in
    observers: tuple[str, ...] = ()  # names of trackers that follow it

    @property
    def prepared(self) -> Path:
        """The cache of preprocessed data."""
        return self.results_root / "prepared"

    @property
    def tracking(self) -> Path:
        """Folder of the trackers that keep local files."""
        return self.results_root / "tracking"
