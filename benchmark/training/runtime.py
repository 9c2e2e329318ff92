"""Where and how a run happens."""

from dataclasses import dataclass
from pathlib import Path


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
    starts: int | None = None  # in a row that come to nothing before the run is FAILED; None: as many as one likes
    log: Path | None = None  # where what it prints goes; None: to whoever started it

    @property
    def prepared(self) -> Path:
        """The cache of preprocessed data."""
        return self.results_root / "prepared"
