"""Commands that show a suite's runs: ``bench status`` and ``bench logs``."""

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from .. import environment
from ..errors import FAILED, INCOMPLETE, UsageError
from ..launching.job_file import last_lines
from ..launching.registry import find_scheduler
from ..launching.scheduler import QueuedJob, Ticket
from ..launching.submissions import read_tickets
from ..outcomes.planned_run import PlannedRun, tally
from ..storage.attempts import Start, last_start
from ..storage.results_reader import scan
from ..storage.run_folder import row_name
from . import options
from .selection import Selection, suite_options

TAIL = 5
"""Lines of a failed run's log that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """A planned run: what is stored of it, and its place in a queue."""

    run: PlannedRun
    log: Path | None = None
    start: Start | None = None
    ticket: Ticket | None = None
    queued: QueuedJob | None = None  # in the scheduler's queue
    over: bool = False  # submitted, no longer in the queue, and not done
    cancelled: bool = False

    @property
    def code_changed(self) -> bool:
        """Whether the code is no longer the one that the run last started with."""
        return self.start is not None and self.start.code != environment.code_digest()

    @property
    def progress(self) -> str:
        """Epochs so far, as "12/60 epochs"; "" before the first and once it is trained."""
        if self.run.stored is None or self.run.trained:
            return ""
        epochs = len(self.run.stored.history)
        return f"{epochs}/{self.run.request.training.epochs} epochs" if epochs else ""

    @property
    def notes(self) -> list[str]:
        """Progress, place in the queue and warnings, in words."""
        notes = [self.progress] if self.progress else []
        if self.ticket is not None and self.queued is not None:
            notes.append(f"{self.ticket.scheduler} {self.ticket.job_id} {self.queued.described}")
        if self.cancelled:
            notes.append("cancelled")
        elif self.ticket is not None and self.over:
            notes.append(f"{self.ticket.scheduler} {self.ticket.job_id} is over: `bench sweep` submits it again")
        if self.start is not None and self.code_changed:
            notes.append(f"code changed since {self.start.commit or self.start.code}")
        return notes


class Overview:
    """The states of a suite's runs, and of their jobs in the schedulers' queues."""

    def __init__(self, selection: Selection) -> None:
        self.remarks: list[str] = []  # why a scheduler could not be asked
        self.tickets = read_tickets(selection.jobs_folder)
        self.queues = {name: self._queue(name) for name in {t.scheduler for t in self.tickets.values()}}
        self.lines = [self._line(run) for run in selection.planned_runs()]

    def _queue(self, scheduler: str) -> Mapping[str, QueuedJob] | None:
        """Return a scheduler's queue; None where it does not answer, with a remark why."""
        try:
            return find_scheduler(scheduler).queue()
        except UsageError as error:
            self.remarks.append(f"{error}. The states are from the results folder alone")
            return None

    def _line(self, run: PlannedRun) -> RunStatus:
        start = last_start(run.stored.path) if run.stored is not None else None
        log = Path(start.log) if start is not None and start.log else None
        if run.state == "DONE":
            return RunStatus(run=run, log=log, start=start)
        file = run.job
        ticket = self.tickets.get(file.path.stem)
        queue = self.queues[ticket.scheduler] if ticket is not None else None
        queued = queue.get(ticket.job_id) if ticket is not None and queue is not None else None
        # RUNNING by a lease whose allocation is gone: the node died with it.
        elsewhere = run.state == "RUNNING" and (start is None or ticket is None or start.job_id != ticket.job_id)
        failed = run.state in ("FAILED", "DIVERGED")
        logs = (path for path in (log, file.log, ticket.log if ticket is not None else None) if path is not None)
        return RunStatus(
            run=run,
            log=next((path for path in logs if path.exists()), None),
            start=start,
            ticket=ticket,
            queued=queued,
            over=queue is not None and queued is None and not (failed or elsewhere),
            cancelled=file.cancelled,
        )


@click.command()
@suite_options
@options.as_json
@click.option("--watch", is_flag=True, help="Look again every few seconds, until Ctrl-C or all is done.")
def status(as_json: bool, watch: bool, **given: Any) -> None:
    """Show the state of every run of a suite, and why runs failed."""
    if watch:
        _watch(given)
    selection = Selection(given)
    overview = Overview(selection)
    if as_json:
        click.echo(json.dumps([_as_data(line) for line in overview.lines], indent=2))
    else:
        click.echo("\n".join(_text(overview)))
    states = {line.run.state for line in overview.lines}
    if selection.problems or states - {"DONE"}:
        sys.exit(FAILED if states & {"FAILED", "DIVERGED"} else INCOMPLETE)


def _watch(given: dict[str, Any], seconds: float = 5.0) -> None:
    """Show the states every few seconds until all is done, or Ctrl-C is pressed."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    try:
        with Live(console=Console(), auto_refresh=False, transient=True) as live:
            while True:
                overview = Overview(Selection(given))
                live.update(Text("\n".join(_text(overview))), refresh=True)
                if all(line.run.state == "DONE" for line in overview.lines):
                    return
                time.sleep(seconds)
    except KeyboardInterrupt:
        return


def _text(overview: Overview) -> list[str]:
    """Return one line a run (name, each target's state, notes), then the failures with the tails of their logs."""
    lines = overview.lines
    width = max((len(line.run.name) for line in lines), default=0)
    text = []
    for line in lines:
        cells = "  ".join(f"{target} {line.run.state_of(target):8}" for target in line.run.targets)
        text.append(f"{line.run.name.ljust(width)}  {cells}  {', '.join(line.notes)}".rstrip())
    for line in lines:
        failed = line.run.state in ("FAILED", "DIVERGED")
        if failed or (line.over and not line.cancelled):
            text += ["", f"{line.run.name}: {line.run.error if failed else 'ended without a result'}"]
            if line.log is not None:
                text += [f"  {line.log}", *(f"  | {printed}" for printed in last_lines(line.log, TAIL))]
    text.append(f"{len(lines)} run{'' if len(lines) == 1 else 's'}: {tally(line.run.state for line in lines)}")
    return [*text, *overview.remarks]


def _as_data(line: RunStatus) -> dict[str, Any]:
    run, request = line.run, line.run.request
    job_id = line.ticket.job_id if line.ticket is not None else None
    return {
        "row": run.row.id,
        "method": request.method,
        "folder": row_name(request),
        "seed": request.seed,
        "fold": request.fold.index if request.fold is not None else None,
        "source": request.source,
        "state": run.state,
        "targets": {target: run.state_of(target) for target in run.targets},
        "progress": line.progress,
        "scheduler": line.ticket.scheduler if line.ticket is not None else None,
        "job_id": job_id,
        "slurm": job_id,  # the name of job_id until version 0.2
        "queue": line.queued.described if line.queued is not None else None,
        "code_changed": line.code_changed,
        "path": str(run.stored.path) if run.stored is not None else None,
        "log": str(line.log) if line.log is not None else None,
        "error": run.error,
    }


@click.command()
@options.results_root
@click.option("--lines", type=click.IntRange(1), help="Only so many, from the end.")
@click.argument("run")
def logs(run: str, lines: int | None, results_root: Path) -> None:
    """Print what a run printed when it was last started.

    RUN is the run's folder, or the beginning of its id (the part of the folder's name after the seed).
    """
    path = _find_run(run, results_root)
    start = last_start(path)
    if start is None:
        raise UsageError(f"{path} has never been started")
    if start.log is None:
        raise UsageError(f"{path} was started by `bench run` on {start.host}, which prints to its terminal alone")
    try:
        text = Path(start.log).read_text(errors="replace")
    except OSError as error:
        raise UsageError(f"{start.log} cannot be read: {error.strerror}") from None
    click.echo(start.log, err=True)
    click.echo("\n".join(text.splitlines()[-lines:] if lines else text.splitlines()))


def _find_run(name: str, results_root: Path) -> Path:
    if Path(name).is_dir():
        return Path(name)
    paths = [run.path for run in scan(results_root)[0] if run.spec.train_id.startswith(name)]
    if len(paths) != 1:
        many = f"{len(paths)} runs begin so" if paths else f"no run under {results_root} begins so"
        raise UsageError(f"{name!r} is neither a run's folder nor the beginning of one id: {many}")
    return paths[0]


commands = [status, logs]
