"""Exit codes of ``bench``, and the errors it expects: each becomes one line and its exit code."""

import contextlib
import difflib
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar

FAILED, USAGE, INCOMPLETE, INTERRUPTED = 1, 2, 3, 130
"""Exit codes: a run failed; wrong use or bad input; results are missing; stopped by Ctrl-C."""


class BenchError(Exception):
    """An error that a command expects; it ends with ``exit_code`` and no traceback."""

    exit_code: ClassVar[int] = FAILED


class UsageError(BenchError):
    """Wrong use: something that does not exist or cannot be."""

    exit_code = USAGE


class StorageError(BenchError):
    """The results folder cannot be written or read (disk full, quota, permissions); what was there is intact.

    No fault of a run: it stays as it is, and the same command continues it.
    """

    exit_code = INCOMPLETE


class NameRefused(StorageError):
    """A file cannot have this name or be in this place; the same command would meet it again."""

    exit_code = USAGE


class LeaseLost(BenchError):
    """Another process took the folder over; this one must not write to it."""

    exit_code = INCOMPLETE


class LeaseHeld(BenchError):
    """Another live process owns the folder."""

    exit_code = INCOMPLETE


class NoProgress(BenchError):
    """A run reached its limit of starts without a checkpoint."""


class Diverged(BenchError):
    """A loss term became NaN or infinite; the message names method, seed, step and term."""


class OutOfMemory(BenchError):
    """The machine or its GPU has not enough memory; the message says what takes less."""


class Interrupted(BenchError):
    """The run was asked to stop and has written a checkpoint; the same command continues it."""

    exit_code = INTERRUPTED


@contextlib.contextmanager
def memory_advice(advice: str) -> Iterator[None]:
    """Turn an error for want of memory inside the block into :class:`OutOfMemory` with advice."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        cause = str(error).partition("\n")[0] or type(error).__name__
        raise OutOfMemory(f"not enough memory ({cause}): {advice}") from error


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error of Python, NumPy or torch means that memory was not enough, on the CPU or a GPU."""
    # torch.OutOfMemoryError is a RuntimeError too, as is what its CPU allocator raises: only the words tell.
    words = ("out of memory", "not enough memory", "allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    )


def listed(names: Sequence[str], most: int) -> str:
    """Return the first names, and how many there are more."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def unknown(kind: str, name: str, valid: Iterable[str]) -> UsageError:
    """Return the error for a name that does not exist, offering the nearest one and listing all."""
    names = sorted(valid)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return UsageError(f"unknown {kind} {name!r}: {hint}known are {', '.join(names)}")
