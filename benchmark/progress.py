"""Display of a run's progress: a bar in a terminal, plain lines elsewhere.

rich is imported on use: the type of a row is part of what every command imports.
"""

# ruff: noqa: D102 - the bar overrides documented methods

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TextIO

if TYPE_CHECKING:
    from rich.console import Console

Row = dict[str, float | int]
"""One epoch of ``history.csv``."""

SCORES = {"held_out_dsc": "held-out DSC", "oracle_dsc": "target DSC †"}
"""Printed names of the score columns of ``history.csv``."""

NO_LOSSES = ("epoch", "step", "seconds", *SCORES)
"""Columns of ``history.csv``; all others are terms of the loss."""


def say(message: str, stream: TextIO) -> None:
    """Print a line; where the pipe, the terminal or the disk behind a stream fails, it is turned off for good."""
    try:
        print(message, file=stream, flush=True)
    except OSError:
        # The descriptor, not the object: what is left in its buffer would fail again at the end of the process.
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())


def summary(row: Row) -> str:
    """Return the losses of an epoch and its validation DSC, if any."""
    parts = [f"{name} {value:.4f}" for name, value in row.items() if name not in NO_LOSSES]
    parts += [f"{label} {100 * row[name]:.2f}" for name, label in SCORES.items() if name in row]
    return ", ".join(parts)


class Display:
    """Prints a run's progress, a line at most every ``interval`` seconds."""

    def __init__(self, name: str, interval: float = 10.0) -> None:
        self.name = name
        self.interval = interval
        self.total = 0
        self._printed = 0.0
        self._began = (0, 0.0)

    def log(self, message: str) -> None:
        """Print a message."""
        say(f"{self.name}: {message}", sys.stdout)

    def preparing(self, domain: str, done: int, total: int) -> None:
        """Report a preprocessed case of a domain."""
        if self._due() or done == total:
            self.log(f"preparing {domain} {done}/{total}")

    def start(self, step: int, total_steps: int) -> None:
        """Report that training begins or continues at a step."""
        self.total = total_steps
        self._began = step, time.monotonic()
        self.log(f"training from step {step} of {total_steps}" if step else f"training, {total_steps} steps")

    def step(self, step: int) -> None:
        """Report that ``step`` steps are done in all."""

    def epoch(self, row: Row, history: list[Row]) -> None:
        """Report an epoch, its losses and the time left."""
        step = int(row["step"])
        if step < self.total and not self._due():
            return
        first, began = self._began
        left = (time.monotonic() - began) / max(1, step - first) * (self.total - step)
        self.log(f"step {step}/{self.total}, epoch {len(history)}, {summary(row)}, {left:.0f} s left")

    def scoring(self, domain: str, cases: int) -> None:
        """Report that scoring of a domain begins."""
        self.log(f"scoring {domain}, {cases} cases")

    def scored(self) -> None:
        """Report a scored case."""

    def _due(self) -> bool:
        now = time.monotonic()
        if now - self._printed < self.interval:
            return False
        self._printed = now
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class BarDisplay(Display):
    """Draws one bar instead of lines: the activity, losses, the newest DSC, and the time left."""

    def __init__(self, name: str, console: "Console") -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        super().__init__(name)
        columns: list[Any] = [
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        ]
        self.bar = Progress(*columns, console=console)
        self.task = self.bar.add_task(name, total=1, note="")

    def log(self, message: str) -> None:
        self.bar.console.print(f"{self.name}: {message}", highlight=False)

    def preparing(self, domain: str, done: int, total: int) -> None:
        if done == 1:
            self._begin(f"preparing {domain}", total)
        self.bar.update(self.task, completed=done)

    def start(self, step: int, total_steps: int) -> None:
        self._begin("training", total_steps, step)

    def step(self, step: int) -> None:
        self.bar.update(self.task, completed=step)

    def epoch(self, row: Row, history: list[Row]) -> None:
        newest = {name: r[name] for r in history for name in SCORES if name in r}
        self.bar.update(self.task, note=summary({**row, **newest}))

    def scoring(self, domain: str, cases: int) -> None:
        self._begin(f"scoring {domain}", cases)

    def scored(self) -> None:
        self.bar.advance(self.task)

    def _begin(self, activity: str, total: int, done: int = 0) -> None:
        description = f"{self.name}: {activity}"
        self.bar.reset(self.task, total=total, completed=done, description=description, note="")

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()


def open_display(name: str) -> Display:
    """Return a bar where standard error is a terminal, else plain lines."""
    from rich.console import Console

    console = Console(stderr=True)
    return BarDisplay(name, console) if console.is_terminal else Display(name)
