"""Telling a person how a run goes: a bar in a terminal, plain lines elsewhere."""

import time
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Row = dict[str, float | int]

SCORES = {"held_out_dsc": "held-out DSC", "oracle_dsc": "target DSC †"}
"""What is printed for the columns of ``history.csv`` that are scores; the others are losses."""


class RunObserver(Protocol):
    """What a run tells."""

    def say(self, message: str) -> None:
        """Something worth a line of its own."""

    def preparing(self, domain: str, done: int, total: int) -> None:
        """A case of a domain is preprocessed."""

    def start(self, step: int, total_steps: int) -> None:
        """Training begins or continues at a step."""

    def step(self, step: int) -> None:
        """A step is done."""

    def epoch(self, row: Row, history: list[Row]) -> None:
        """An epoch is done."""

    def scoring(self, domain: str, cases: int) -> None:
        """Scoring of a domain begins."""

    def scored(self) -> None:
        """A case is scored."""

    def __enter__(self) -> "RunObserver": ...

    def __exit__(self, *_: object) -> None: ...


def observer(name: str) -> RunObserver:
    """Return a bar where standard error is a terminal, else plain lines."""
    console = Console(stderr=True)
    return BarObserver(name, console) if console.is_terminal else LineObserver(name)


def summary(row: Row) -> str:
    """Return the losses of an epoch and, where it was looked at, the DSC."""
    known = ("epoch", "step", "seconds", *SCORES)
    parts = [f"{name} {value:.4f}" for name, value in row.items() if name not in known]
    parts += [f"{label} {100 * row[name]:.2f}" for name, label in SCORES.items() if name in row]
    return ", ".join(parts)


class LineObserver:
    """Prints a line at most every ``interval`` seconds."""

    def __init__(self, name: str, interval: float = 10.0) -> None:
        self.name = name
        self.interval = interval
        self.total = 0
        self._printed = 0.0
        self._began = (0, 0.0)

    def say(self, message: str) -> None:
        """Print a line."""
        print(f"{self.name}: {message}", flush=True)

    def preparing(self, domain: str, done: int, total: int) -> None:
        """Print a line for the first and last case, and now and then."""
        if self._due() or done == total:
            self.say(f"preparing {domain} {done}/{total}")

    def start(self, step: int, total_steps: int) -> None:
        """Print where training begins."""
        self.total = total_steps
        self._began = step, time.monotonic()
        self.say(f"training from step {step} of {total_steps}" if step else f"training, {total_steps} steps")

    def step(self, step: int) -> None:
        """Nothing: epochs are told."""

    def epoch(self, row: Row, history: list[Row]) -> None:
        """Print an epoch's losses and the time left."""
        step = int(row["step"])
        if step < self.total and not self._due():
            return
        first, began = self._began
        left = (time.monotonic() - began) / max(1, step - first) * (self.total - step)
        self.say(f"step {step}/{self.total}, epoch {len(history)}, {summary(row)}, {left:.0f} s left")

    def scoring(self, domain: str, cases: int) -> None:
        """Print what is scored."""
        self.say(f"scoring {domain}, {cases} cases")

    def scored(self) -> None:
        """Nothing: a domain is told as a whole."""

    def _due(self) -> bool:
        now = time.monotonic()
        if now - self._printed < self.interval:
            return False
        self._printed = now
        return True

    def __enter__(self) -> "LineObserver":
        return self

    def __exit__(self, *_: object) -> None:
        pass


class BarObserver:
    """Draws one bar: what is being done, losses, the newest DSC, and the time left."""

    def __init__(self, name: str, console: Console) -> None:
        self.name = name
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

    def say(self, message: str) -> None:
        """Print a line above the bar."""
        self.bar.console.print(f"{self.name}: {message}", highlight=False)

    def preparing(self, domain: str, done: int, total: int) -> None:
        """Count prepared cases."""
        if done == 1:
            self._begin(f"preparing {domain}", total)
        self.bar.update(self.task, completed=done)

    def start(self, step: int, total_steps: int) -> None:
        """Count steps from here."""
        self._begin("training", total_steps, step)

    def step(self, step: int) -> None:
        """Move the bar."""
        self.bar.update(self.task, completed=step)

    def epoch(self, row: Row, history: list[Row]) -> None:
        """Show an epoch's losses and the newest DSC."""
        newest = {name: r[name] for r in history for name in SCORES if name in r}
        self.bar.update(self.task, note=summary({**row, **newest}))

    def scoring(self, domain: str, cases: int) -> None:
        """Count scored cases."""
        self._begin(f"scoring {domain}", cases)

    def scored(self) -> None:
        """Move the bar."""
        self.bar.advance(self.task)

    def _begin(self, what: str, total: int, done: int = 0) -> None:
        self.bar.reset(self.task, total=total, completed=done, description=f"{self.name}: {what}", note="")

    def __enter__(self) -> "BarObserver":
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()
