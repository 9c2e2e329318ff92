"""Checkpoints of a run: atomic, with a predecessor, refused if they belong to another run."""

import pickle
import time
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..errors import UsageError
from ..progress import Row
from ..storage.files import Guard, atomic_file, no_guard

NEW, LAST, PREVIOUS, FINAL = "last.pt.new", "last.pt", "previous.pt", "final.pt"
NEWEST_FIRST = (NEW, LAST, PREVIOUS)

DAMAGED = (OSError, RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError)
"""Errors of loading a damaged file."""


@dataclass
class Checkpoints:
    """The ``checkpoints`` folder of one run, and its ``history.csv``."""

    folder: Path
    identity: dict[str, Any]  # must agree for a checkpoint to be continued: train_id, device type, threads
    _: KW_ONLY
    interval: float = 60.0  # seconds between two periodic checkpoints
    guard: Guard = no_guard  # called before each rename
    warn: Callable[[str], None] = print  # called with a message about a damaged checkpoint
    progressed: Callable[[], None] = lambda: None  # called after each checkpoint but that of step 0
    save_history: Callable[[list[Row]], None] = lambda _history: None  # called after each epoch
    _written: float = field(default_factory=time.monotonic, init=False)

    def due(self) -> bool:
        """Tell whether the interval has passed since the last checkpoint was written."""
        return time.monotonic() - self._written >= self.interval

    def save(self, state: dict[str, Any]) -> None:
        """Write a checkpoint; its predecessor is kept until the next."""
        last = self.folder / LAST
        with atomic_file(self.folder / NEW, self.guard) as stream:
            torch.save({"identity": self.identity, "state": state}, stream)
        self.guard()
        if last.exists():
            last.replace(self.folder / PREVIOUS)
            self.guard()
        (self.folder / NEW).replace(last)
        self._written = time.monotonic()
        if state["step"]:  # that of step 0 comes with every first start
            self.progressed()

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """Return the newest readable state, or None; UsageError for another run, device or thread count."""
        for name in NEWEST_FIRST:
            path = self.folder / name
            if not path.exists():
                continue
            try:
                content = torch.load(path, map_location=device, weights_only=True)
                identity, state = content["identity"], content["state"]
            except DAMAGED as error:
                self.warn(f"{path} is damaged ({type(error).__name__}); trying the checkpoint before it")
                continue
            differing = [
                f"{key}: {identity.get(key)!r} there, {value!r} here"
                for key, value in self.identity.items()
                if identity.get(key) != value
            ]
            if differing:
                raise UsageError(
                    f"{path} belongs to another run ({'; '.join(differing)}). "
                    f"Move {self.folder.parent} away to start over, or resume it as it was started"
                )
            return dict(state)
        return None

    def finish(self, weights: dict[str, Any]) -> None:
        """Write the final weights."""
        with atomic_file(self.folder / FINAL, self.guard) as stream:
            torch.save({"identity": self.identity, "weights": weights}, stream)

    def clear(self) -> None:
        """Remove the checkpoints that the final weights came from."""
        for name in NEWEST_FIRST:
            self.guard()
            (self.folder / name).unlink(missing_ok=True)


def load_final(folder: Path, device: torch.device) -> dict[str, Any]:
    """Return the final weights of a finished run's ``checkpoints`` folder."""
    path = folder / FINAL
    try:
        weights: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)["weights"]
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist: the run has not finished, or its weights were removed") from None
    except DAMAGED as error:
        raise UsageError(f"{path} cannot be read ({error}); remove {folder.parent} to train again") from error
    return weights
