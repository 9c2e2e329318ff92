"""Running many jobs on this machine: a process each, so many at once; one that dies stops none of the others."""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import environment
from .jobs import Job

POLL = 0.1
"""Seconds between two looks at the running processes."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a job's process ended."""

    job: Job
    code: int  # 0: done; 130: stopped and resumable; negative: killed by that signal
    log: Path


@dataclass(slots=True)
class _Running:
    job: Job
    process: "subprocess.Popen[bytes]"
    log: Path


@dataclass(slots=True)
class LocalLauncher:
    """Runs jobs as processes of this machine.

    Args:
        folder: where job files and logs go.
        at_once: processes at the same time; the cores are divided among them.
        started: told when a job starts, with its log.
        finished: told when a job ends.
        tick: called between looks at the processes, with the logs of the running jobs.
    """

    folder: Path
    at_once: int
    started: Callable[[Job, Path], None] = lambda _job, _log: None
    finished: Callable[[Finished], None] = lambda _finished: None
    tick: Callable[[Sequence[Path]], None] = lambda _logs: None
    _running: list[_Running] = field(default_factory=list)

    def run(self, jobs: Sequence[Job]) -> list[Finished]:
        """Run the jobs to their ends; Ctrl-C stops each after its step, with a checkpoint, and is raised again."""
        waiting, ended = deque(jobs), list[Finished]()
        try:
            while waiting or self._running:
                while waiting and len(self._running) < self.at_once:
                    self._start(waiting.popleft())
                ended.extend(self._collect())
                self.tick([running.log for running in self._running])
                time.sleep(POLL)
        except KeyboardInterrupt:
            self._interrupt()
            raise
        return ended

    def _start(self, job: Job) -> None:
        file, log = self.folder / f"{job.stem}.json", self.folder / f"{job.stem}.log"
        job.write(file)
        threads = str(max(1, environment.cores() // self.at_once))
        with log.open("ab") as stream:
            process = subprocess.Popen(
                # -P: a folder called `datasets` in the working directory must not become the import of that name.
                [sys.executable, "-P", "-c", "from ssdg.benchmark.cli import main; main()", "run", str(file)],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": threads},
                start_new_session=True,  # Ctrl-C reaches this process alone, which passes it on once
            )
        self._running.append(_Running(job, process, log))
        self.started(job, log)

    def _collect(self) -> list[Finished]:
        ended = []
        for running in list(self._running):
            code = running.process.poll()
            if code is not None:
                self._running.remove(running)
                ended.append(Finished(running.job, code, running.log))
                self.finished(ended[-1])
        return ended

    def _interrupt(self) -> None:
        """Ask the processes to stop after their step, and wait; a second Ctrl-C kills them."""
        for running in self._running:
            running.process.send_signal(signal.SIGINT)
        try:
            for running in self._running:
                running.process.wait()
        except KeyboardInterrupt:
            for running in self._running:
                running.process.kill()


def last_line(log: Path) -> str:
    """Return the last line of a log, "" if there is none yet."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - 2000))
            lines = stream.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
