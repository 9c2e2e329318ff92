"""Running a sweep's jobs on this machine, with a display of all that run."""

import signal
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from .job_file import JobFile
from .local import Finished, LocalLauncher, last_line


def run_jobs(files: Sequence[JobFile], at_once: int) -> list[Finished]:
    """Run jobs, so many at once; return those that did not end well.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM; every job has stopped with a checkpoint.
    """
    display = _Display(len(files))
    launcher = LocalLauncher(at_once, finished=display.finished, tick=display.tick)
    # A sweep that a scheduler or `kill` ends must not leave its jobs behind.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with display.live:
            ended = launcher.run(files)
    finally:
        signal.signal(signal.SIGTERM, before)
    return [one for one in ended if one.code != 0]


class _Display:
    """A line for each running job in a terminal; a line for each finished one everywhere."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        self.console = Console(stderr=True)
        self.live = Live(console=self.console, refresh_per_second=2, transient=True)

    def tick(self, logs: Sequence[Path]) -> None:
        """Show the last line of each running job's log."""
        if not self.console.is_terminal:
            return
        table = Table.grid(padding=(0, 2))
        for log in logs:
            table.add_row(last_line(log))
        self.live.update(table)

    def finished(self, one: Finished) -> None:
        """Print how a job ended."""
        self.done += 1
        click.echo(f"[{self.done}/{self.total}] {one.file.job.name}: {one.outcome}")
