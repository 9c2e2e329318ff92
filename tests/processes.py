"""Processes of tests: each is waited for as long as it gets on, and none outlives its test."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import resource_tracker
from pathlib import Path

import pytest

from .waiting import wait_for

MARK = "SSDG_TEST"
"""Environment variable that every process below a test inherits, whatever session or parent it has; marks nest."""
KILLED_WITH_US = ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()
"""Prefix of a command, for the end that leaves no time to tidy up: pytest itself is killed."""


class Process(subprocess.Popen[str]):
    """A command in a session of its own, as a terminal would give it one; its output is kept in a file."""

    def __init__(self, command: Sequence[str], environment: dict[str, str] | None = None) -> None:
        self._printed = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        super().__init__(
            [*KILLED_WITH_US, *command],
            stdin=subprocess.DEVNULL,
            stdout=self._printed,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
            start_new_session=True,
            # Ignored below `nohup make test &`, and whatever starts with it ignored keeps it so.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        _started.append(self)

    def output(self) -> str:
        """Return what it has printed so far."""
        # By another offset than the process's own, which it shares with this file.
        return os.pread(self._printed.fileno(), 1 << 24, 0).decode(errors="replace")

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until a condition holds; it is an error that the process ends before that."""
        wait_for(condition, what, self)

    def finish(self, expected: int = 0) -> str:
        """Wait for its end, which must be with an exit status, and return what it printed."""
        wait_for(lambda: self.poll() is not None, "the end", self)
        assert self.returncode == expected, self.output()
        return self.output()

    def end(self) -> None:
        """Kill it, with whatever has stayed in its session, if it has not ended."""
        if self.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
        self.wait()
        self._printed.close()


_started: list[Process] = []


def marked(mark: str) -> list[int]:
    """Return the processes, other than this one, that were started with a mark in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            if mark.encode() in (folder / "environ").read_bytes() and int(folder.name) != os.getpid():
                found.append(int(folder.name))
    return found


@contextlib.contextmanager
def ending_with() -> Iterator[None]:
    """End with the block what is started in it, be it a child or somebody's orphan."""
    mark, outer, before = uuid.uuid4().hex, os.environ.get(MARK, ""), len(_started)
    os.environ[MARK] = f"{outer}/{mark}"
    try:
        yield
    finally:
        os.environ[MARK] = outer
        while len(_started) > before:
            _started.pop().end()
        while left := marked(mark):  # again for those that were being started
            for process in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.01)


@pytest.fixture(autouse=True, scope="session")
def processes_end_with_the_session() -> Iterator[None]:
    resource_tracker.ensure_running()  # shared by all tests that use multiprocessing: not to be one test's
    with ending_with():
        yield


@pytest.fixture(autouse=True, scope="module")
def processes_end_with_their_module() -> Iterator[None]:
    with ending_with():
        yield


@pytest.fixture(autouse=True)
def processes_end_with_their_test() -> Iterator[None]:
    with ending_with():
        yield
