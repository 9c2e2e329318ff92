"""Checkpoints of a run: atomic, with a predecessor, refused if they belong to another run."""

import io
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..errors import UsageError, is_out_of_memory
from ..progress import Row
from ..storage.files import Guard, atomic_file, no_guard, unreadable

NEW, LAST, PREVIOUS, FINAL = "last.pt.new", "last.pt", "previous.pt", "final.pt"
NEWEST_FIRST = (NEW, LAST, PREVIOUS)

DAMAGED_SUFFIX = ".damaged"
"""Of checkpoints set aside."""


class DamagedFile(Exception):
    """A file that was read and is not what ``torch.save`` wrote; the message says how it fails."""


def read_saved(path: Path) -> Any:
    """Return what ``torch.save`` wrote to a file, on the CPU.

    Raises:
        DamagedFile: the content is not whole.
        OSError: the file cannot be read, or not now; its content may be whole.
    """
    # Read as a whole first: torch raises an OSError of its own where a file is cut off.
    stream = io.BytesIO(path.read_bytes())
    try:
        return torch.load(stream, map_location="cpu", weights_only=True)
    except Exception as error:  # damage raises a dozen types, RuntimeError among them
        if isinstance(error, OSError) or is_out_of_memory(error) or "CUDA" in str(error):
            raise
        reason = re.split(r"\.\s|\n", str(error))[0]  # torch goes on to advise loading without safeguards
        raise DamagedFile(f"{type(error).__name__}: {reason}") from error


@dataclass
class Checkpoints:
    """The ``checkpoints`` folder of one run, and its ``history.csv``."""

    folder: Path
    identity: dict[str, Any]  # must agree for a checkpoint to be continued: train_id, device type, threads
    _: KW_ONLY
    interval: float = 60.0  # seconds between two periodic checkpoints
    guard: Guard = no_guard  # called before each rename
    warn: Callable[[str], None] = print  # called with a message about a damaged checkpoint
    begins: Callable[[], None] = lambda: None  # called before the checkpoint of step 0
    progressed: Callable[[], None] = lambda: None  # called after each other checkpoint
    save_history: Callable[[list[Row]], None] = lambda _history: None  # called after each epoch
    _written: float = field(default_factory=time.monotonic, init=False)

    def due(self) -> bool:
        """Tell whether the interval has passed since the last checkpoint was written."""
        return time.monotonic() - self._written >= self.interval

    def save(self, state: dict[str, Any]) -> None:
        """Write a checkpoint; its predecessor is kept until the next."""
        last = self.folder / LAST
        if not state["step"]:
            self.begins()
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

    def load(self) -> dict[str, Any] | None:
        """Return the newest whole state, on the CPU, or None; damaged files are renamed, so that none is overwritten.

        Raises:
            UsageError: it belongs to another run, device or thread count.
            StorageError: a file cannot be read, or not now; it stays as it is.
        """
        for path in (self.folder / name for name in NEWEST_FIRST):
            try:
                content = read_saved(path)
                identity, state = content["identity"], content["state"]
            except FileNotFoundError:
                continue
            except OSError as error:
                raise unreadable(path, error) from error
            except (DamagedFile, KeyError, TypeError) as error:
                self._set_aside(path, error)
                continue
            _require_same(path, identity, self.identity, "resume it as it was started")
            return dict(state)
        return None

    def _set_aside(self, path: Path, error: Exception) -> None:
        aside = path.with_name(path.name + DAMAGED_SUFFIX)
        self.guard()
        path.replace(aside)
        self.warn(
            f"{path} is damaged ({error}) and kept as {aside.name}; going on from the checkpoint before it, or from "
            "the start"
        )

    def finish(self, weights: dict[str, Any]) -> None:
        """Write the final weights."""
        with atomic_file(self.folder / FINAL, self.guard) as stream:
            torch.save({"identity": self.identity, "weights": weights}, stream)


def clear_checkpoints(folder: Path, guard: Guard = no_guard) -> None:
    """Remove the checkpoints that the final weights came from, and what a killed process left half written."""
    names = [each for name in NEWEST_FIRST for each in (name, name + DAMAGED_SUFFIX)]
    for path in [*(folder / name for name in names), *folder.glob(".*.tmp")]:
        guard()
        path.unlink(missing_ok=True)


def load_final(folder: Path, train_id: str) -> dict[str, Any]:
    """Return the final weights of a finished run's ``checkpoints`` folder, on the CPU.

    Raises:
        UsageError: there are none, or they are damaged or of another run than that of ``train_id``.
        StorageError: see :meth:`Checkpoints.load`.
    """
    path = folder / FINAL
    try:
        content = read_saved(path)
        identity, weights = content["identity"], content["weights"]
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist: the run has not finished, or its weights were removed") from None
    except OSError as error:
        raise unreadable(path, error) from error
    except (DamagedFile, KeyError, TypeError) as error:
        raise UsageError(f"{path} is damaged ({error}); remove {folder.parent} to train again") from error
    _require_same(path, identity, {"train_id": train_id}, "put the run's own file back")
    return dict(weights)


def _require_same(path: Path, stored: Mapping[str, Any], expected: Mapping[str, Any], otherwise: str) -> None:
    differing = [
        f"{key}: {stored.get(key)!r} there, {value!r} here"
        for key, value in expected.items()
        if stored.get(key) != value
    ]
    if differing:
        raise UsageError(
            f"{path} belongs to another run ({'; '.join(differing)}). "
            f"Move {path.parent.parent} away to start over, or {otherwise}"
        )
