"""Jobs as processes of this machine, several at once; one that dies stops none of the others."""

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from .. import environment
from ..errors import INCOMPLETE, INTERRUPTED, StorageError
from ..storage.files import write_text
from ..storage.lease import is_running, started
from .job_file import STARTED, JobFile

# -P: a folder called `datasets` in the working directory must not become the import of that name.
BENCH = [sys.executable, "-P", "-c", "from ssdg.benchmark.cli import main; main()"]

POLL = 0.1
"""Seconds between two polls of the running processes."""

RESTARTS = 20
"""Starts of a job that is killed. The run itself gives up earlier where it makes no progress."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a job ended."""

    file: JobFile
    code: int  # 0: done; 130: stopped and resumable; negative: killed by that signal, too often

    @property
    def failed(self) -> bool:
        """Whether something went wrong; being stopped, or left to another process, is no failure."""
        return self.code not in (0, INTERRUPTED, INCOMPLETE)

    @property
    def outcome(self) -> str:
        """How it ended, in words."""
        if self.code == 0:
            return self.file.last_line or "done"
        if self.code == INTERRUPTED:
            return "cancelled" if self.file.cancelled else "stopped; the same command continues it"
        verdict = "failed" if self.failed else "left undone"
        return f"{verdict} ({self.file.last_line}); log {self.file.log}"


@dataclass(frozen=True, slots=True, eq=False)
class _Running:
    file: JobFile
    process: subprocess.Popen[bytes]
    since: str  # the process's start in kernel time
    slot: int  # lowest one that was free, of the launcher's range


class LocalLauncher:
    """Runs jobs as processes of this machine.

    Args:
        at_once: processes at the same time; the cores and the GPUs are divided among them.
        finished: called when a job ends.
    """

    def __init__(self, at_once: int, finished: Callable[[Finished], None] = lambda _finished: None) -> None:
        self.at_once, self._finished = at_once, finished
        self._running: list[_Running] = []

    @property
    def running(self) -> list[JobFile]:
        """The jobs that run now."""
        return [running.file for running in self._running]

    def run(self, files: Sequence[JobFile]) -> list[Finished]:
        """Run the jobs, those that are killed again; Ctrl-C stops each with a checkpoint and is raised again."""
        waiting, restarts, ended = deque(files), Counter[Path](), list[Finished]()
        try:
            while waiting or self._running:
                while waiting and len(self._running) < self.at_once:
                    file = waiting.popleft()
                    if file.cancelled:
                        ended.append(self._end(file, INTERRUPTED))
                    else:
                        self._start(file)
                for running in list(self._running):
                    file, code = running.file, running.process.poll()
                    if code is None:
                        continue
                    self._running.remove(running)
                    if code == -signal.SIGTERM:
                        code = INTERRUPTED  # asked to stop before it could listen
                    if code < 0 and restarts[file.path] < RESTARTS:
                        restarts[file.path] += 1
                        waiting.appendleft(file)
                    else:
                        ended.append(self._end(file, code))
                time.sleep(POLL)
        except KeyboardInterrupt:
            self._interrupt()
            raise
        return ended

    def stop(self, seconds: float) -> None:
        """Ask the running jobs to stop with a checkpoint, kill those that take longer; safe in a signal handler."""
        left = [(running.process.pid, running.since) for running in self._running]
        # Not by poll(): it takes a lock that the code under the handler may hold.
        for number, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, 1.0)):
            left = [(pid, since) for pid, since in left if is_running(pid, since)]
            for pid, _ in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            deadline = time.monotonic() + patience
            while any(is_running(pid, since) for pid, since in left) and time.monotonic() < deadline:
                time.sleep(POLL)

    def _start(self, file: JobFile) -> None:
        threads = str(file.job.runtime.threads or max(1, environment.cores() // self.at_once))
        slot = min(set(range(self.at_once)) - {running.slot for running in self._running})
        with file.log.open("ab") as stream:
            stream.write(f"{STARTED}{environment.now()} on {socket.gethostname()}\n".encode())
            stream.flush()
            process = subprocess.Popen(
                [*BENCH, "run", str(file.path), "--log", str(file.log)],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": threads, environment.SLOT: str(slot)},
                start_new_session=True,  # Ctrl-C reaches this process alone, which passes it on once
            )
        self._running.append(_Running(file, process, started(process.pid), slot))

    def _end(self, file: JobFile, code: int) -> Finished:
        finished = Finished(file, code)
        if finished.failed:
            with contextlib.suppress(StorageError):  # a full disk may be why it failed
                write_text(file.failure, file.last_line)
        self._finished(finished)
        return finished

    def _interrupt(self) -> None:
        """Ask the processes to stop after their step, and wait; a second Ctrl-C kills them."""
        processes = [running.process for running in self._running]
        for process in processes:
            process.send_signal(signal.SIGINT)
        try:
            for process in processes:
                process.wait()
        except KeyboardInterrupt:
            for process in processes:
                process.kill()


def run_jobs(files: Sequence[JobFile], at_once: int) -> list[Finished]:
    """Run jobs with a line for each that ends and, in a terminal, each running one's last; return those undone."""
    numbers = itertools.count(1)

    def finished(job: Finished) -> None:
        click.echo(f"[{next(numbers)}/{len(files)}] {job.file.job.name}: {job.outcome}")

    def last_lines_of_running() -> Group:
        return Group(*(Text(file.last_line) for file in launcher.running))

    launcher = LocalLauncher(at_once, finished)
    # A sweep that a scheduler or `kill` ends must not leave its jobs behind.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with Live(
            get_renderable=last_lines_of_running, console=Console(stderr=True), refresh_per_second=2, transient=True
        ):
            ended = launcher.run(files)
    finally:
        signal.signal(signal.SIGTERM, before)
    return [job for job in ended if job.code != 0]
