"""Measuring in a process of its own: what its memory holds is then the measured work's alone."""

import multiprocessing
import re
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def apart(function: Callable[Arguments, Result], *given: Arguments.args, **named: Arguments.kwargs) -> Result:
    """Return what a module's function returns in a fresh process; its exception is raised here."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *given, **named).result()


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
