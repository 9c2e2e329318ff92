"""Waiting for other processes: as long as anything moves, however slow the machine is."""

import os
import time
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Protocol

INTERVAL = 0.05
"""Seconds between two looks at the condition."""
LOOKS = 20
"""At the condition, for each one at the progress."""
STILL = 180.0
"""Seconds of looking without any progress, after which there will be none."""
CEILING = 3600.0
"""Seconds of looking after which even what moves counts as stuck."""
TICKS = os.sysconf("SC_CLK_TCK")


class Watched(Protocol):
    """A process, and what it has printed."""

    def poll(self) -> int | None: ...

    def output(self) -> str: ...


def processor_seconds() -> int:
    """Return the whole seconds that the processes below this one have computed, and those that have ended."""
    times, children = {}, dict[int, list[int]]()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        times[int(entry.name)] = sum(map(int, fields[11:15]))
        children.setdefault(int(fields[1]), []).append(int(entry.name))
    total, below = 0, list(children.get(os.getpid(), []))
    while below:
        process = below.pop()
        total += times[process]
        below += children.get(process, [])
    return total // TICKS


def wait_for(
    condition: Callable[[], object],
    what: str,
    process: Watched | None = None,
    progress: Callable[[], Hashable] = processor_seconds,
) -> None:
    """Wait until a condition holds.

    No load of the machine ends the wait: seconds are counted by looks, and only those in which nothing moved.

    Args:
        condition: what to wait for.
        what: the condition in words.
        process: whose end before the condition holds is an error.
        progress: another value says that something moved.

    Raises:
        AssertionError: the process ended, nothing moved for :data:`STILL`, or the wait took :data:`CEILING`.
    """
    last: Hashable = None
    still = total = 0.0
    while not condition():
        if process is not None and process.poll() is not None:
            assert condition(), f"ended before {what}: {process.output()}"
            return
        if round(total / INTERVAL) % LOOKS == 0 and (now := progress()) != last:
            last, still = now, 0.0
        printed = f"; printed: {process.output()}" if process is not None and still >= STILL else ""
        assert still < STILL, f"waited for {what}, and nothing moved any more{printed}"
        assert total < CEILING, f"waited for {what} for an hour"
        time.sleep(INTERVAL)
        still, total = still + INTERVAL, total + INTERVAL
