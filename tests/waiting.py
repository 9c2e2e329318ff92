"""Waiting for what another process does."""

import subprocess
import time
from collections.abc import Callable


def poll(condition: Callable[[], object], seconds: float, interval: float = 0.05) -> bool:
    """Return whether a condition held in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval)
    return True


def wait_for(
    condition: Callable[[], object],
    what: str,
    seconds: float = 60,
    process: "subprocess.Popen[str] | None" = None,
) -> None:
    """Wait until a condition holds, while a process runs; it is an error that it ends before that, and shows why."""

    def over() -> bool:
        return process is not None and process.poll() is not None

    assert poll(lambda: condition() or over(), seconds), f"waited {seconds:g} s for {what}"
    assert condition() or process is None, f"ended before {what}: {process.communicate()[0]}"
