"""Measuring in a process of its own: what its memory holds, and how that is managed, is then its own work's alone."""

import multiprocessing
import re
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def apart(function: Callable[Arguments, Result], *given: Arguments.args, **named: Arguments.kwargs) -> Result:
    """Return what a module's function returns in a fresh process; its exception is raised here."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *given, **named).result()


class Apart(AbstractContextManager["Apart"]):
    """An object in a process of its own, which ends with the block.

    Args:
        make: a module's function or class that returns the object.
        given: its arguments.
    """

    def __init__(self, make: Callable[..., Any], *given: Any) -> None:
        self._pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        try:
            self._pool.submit(_keep, make, given).result()
        except BaseException:
            self._pool.shutdown()
            raise

    def call(self, method: str, *given: Any) -> Any:
        """Return what a method of the object returns; its exception is raised here."""
        return self._pool.submit(_call, method, given).result()

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()


_kept: Any = None


def _keep(make: Callable[..., Any], given: tuple[Any, ...]) -> None:
    global _kept
    _kept = make(*given)


def _call(method: str, given: tuple[Any, ...]) -> Any:
    return getattr(_kept, method)(*given)


def peak_memory() -> int:
    """Return the highest resident set of this process so far, in bytes.

    From the kernel's record of this memory image where it keeps one: getrusage also counts what the process that
    started this one held at that moment.
    """
    recorded = _status("VmHWM")
    if recorded is not None:
        return recorded
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def resident_memory() -> int:
    """Return the resident set of this process, in bytes; its peak where the system does not tell."""
    return _status("VmRSS") or peak_memory()


def _status(name: str) -> int | None:
    try:
        found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return 1024 * int(found[1]) if found else None
