"""A process that does a job: how its launcher, a scheduler or a person stops it."""

import ctypes
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ..progress import say
from .job_file import cancel_mark

CANCEL_INTERVAL = 2.0
"""Seconds between two checks whether a job was cancelled."""


def end_with_launcher() -> None:
    """Ask for SIGTERM when the process that started this one dies: a launcher that is killed leaves no orphans."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def stop_on_request(file: Path | None) -> Callable[[], bool]:
    """Return a function that tells whether a signal, or the cancelling of the job's file, asked to stop.

    Ctrl-C, SIGTERM (kill, a scheduler that preempts), SIGUSR2 (a scheduler near the time limit) and, unless it is
    ignored (nohup), SIGHUP (a terminal that closes) do; a second Ctrl-C ends the process at once. Schedulers send
    several signals, so repeated ones of the others change nothing.
    """
    requests: list[int] = []
    checked = time.monotonic()

    def handle(number: int, _frame: object) -> None:
        if requests and number == signal.SIGINT:
            sys.exit(128 + number)
        if not requests:
            say("bench: stopping after this step; Ctrl-C again stops at once", sys.stderr)
        requests.append(number)

    def requested() -> bool:
        nonlocal checked
        if file is not None and not requests and time.monotonic() - checked > CANCEL_INTERVAL:
            checked = time.monotonic()
            if cancel_mark(file).exists():
                requests.append(0)
        return bool(requests)

    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2, *([] if ignored else [signal.SIGHUP])):
        signal.signal(number, handle)
    return requested
