"""Commands that show a suite's runs: ``bench status`` and ``bench logs``."""

import contextlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
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
from ..storage.attempts import last_start
from ..storage.results_reader import scan
from ..storage.run_folder import row_name
from . import options
from .selection import Selection, suite_options

TAIL = 5
"""Lines of a failed run's log that are shown."""


class _RunStatus:
    """A planned run, what is stored of it, and its place in a queue (None: that scheduler does not answer)."""

    def __init__(
        self, run: PlannedRun, tickets: Mapping[str, Ticket], queues: Mapping[str, Mapping[str, QueuedJob] | None]
    ) -> None:
        self.run = run
        self.start = last_start(run.stored.path) if run.stored is not None else None
        self.code_changed = self.start is not None and self.start.code != environment.code_digest()
        self.failed = run.state in ("FAILED", "DIVERGED")
        self.log = Path(self.start.log) if self.start is not None and self.start.log else None
        epochs = 0 if run.stored is None or run.trained else len(run.stored.history)
        self.progress = f"{epochs}/{run.request.training.epochs} epochs" if epochs else ""
        self.early_best = run.early_best
        self.ticket: Ticket | None = None
        self.queued: QueuedJob | None = None
        self.over = self.cancelled = False  # over: submitted, no longer in the queue, and not done
        if run.state == "DONE":
            return
        self.cancelled = run.job.cancelled
        logs = [self.log, run.job.log]
        if ticket := tickets.get(run.job.path.stem):
            self.ticket = ticket
            logs.append(ticket.log)
            queue = queues[ticket.scheduler]
            self.queued = (queue or {}).get(ticket.job_id)
            # RUNNING by a lease whose allocation is gone: the node died with it.
            elsewhere = run.state == "RUNNING" and (self.start is None or self.start.job_id != ticket.job_id)
            self.over = queue is not None and self.queued is None and not (self.failed or elsewhere)
        self.log = next((path for path in logs if path is not None and path.exists()), None)

    def line(self) -> str:
        notes = [self.progress] if self.progress else []
        if self.run.row.external:
            verb = "ensemble" if self.run.row.ensemble else "score"
            missing = "" if self.run.state == "DONE" else f": `bench {verb}` adds what is missing"
            notes.append(f"{self.run.row.method}{missing}")
        job = f"{self.ticket.scheduler} {self.ticket.job_id}" if self.ticket is not None else ""
        if self.queued is not None:
            notes.append(f"{job} {self.queued.described}")
        if self.early_best:
            notes.append(f"not converged: {self.early_best}")
        if self.cancelled:
            notes.append("cancelled")
        elif self.over:
            notes.append(f"{job} is over: `bench sweep` submits it again")
        if self.start is not None and self.code_changed:
            notes.append(f"code changed since {self.start.commit or self.start.code}")
        states = "  ".join(f"{target} {self.run.state_of(target):8}" for target in self.run.targets)
        return f"{states}  {', '.join(notes)}"

    def failure(self) -> list[str]:
        """Return why it failed or ended without a result, with the end of its log; nothing if it did not."""
        if not self.failed and (self.cancelled or not self.over):
            return []
        lines = ["", f"{self.run.name}: {self.run.error if self.failed else 'ended without a result'}"]
        if self.log is not None:
            lines += [f"  {self.log}", *(f"  | {printed}" for printed in last_lines(self.log, TAIL))]
        return lines

    def data(self) -> dict[str, Any]:
        run, request, ticket = self.run, self.run.request, self.ticket
        return {
            "row": run.row.id,
            "method": request.method,
            "folder": row_name(request),
            "seed": request.seed,
            "fold": request.fold.index if request.fold is not None else None,
            "source": request.source,
            "state": run.state,
            "targets": {target: run.state_of(target) for target in run.targets},
            "progress": self.progress,
            "early_best": self.early_best,
            "scheduler": ticket.scheduler if ticket is not None else None,
            "job_id": ticket.job_id if ticket is not None else None,
            "slurm": ticket.job_id if ticket is not None else None,  # the name of job_id until version 0.2
            "queue": self.queued.described if self.queued is not None else None,
            "code_changed": self.code_changed,
            "path": str(run.stored.path) if run.stored is not None else None,
            "log": str(self.log) if self.log is not None else None,
            "error": run.error,
        }


def _run_statuses(selection: Selection) -> tuple[list[_RunStatus], list[str]]:
    """Return the status of every run, and why schedulers could not be asked."""
    tickets, remarks = read_tickets(selection.jobs_folder), []
    queues: dict[str, Mapping[str, QueuedJob] | None] = {}
    for name in {ticket.scheduler for ticket in tickets.values()}:
        try:
            queues[name] = find_scheduler(name).queue()
        except UsageError as error:
            queues[name] = None
            remarks.append(f"{error}. The states are from the results folder alone")
    return [_RunStatus(run, tickets, queues) for run in selection.planned_runs(external=True)], remarks


@click.command()
@suite_options
@options.as_json
@click.option("--watch", is_flag=True, help="Print again every few seconds, until all is done or Ctrl-C.")
def status(selection: Selection, as_json: bool, watch: bool) -> None:
    """Show the state of every run of a suite, and why runs failed."""
    if watch:
        _watch(selection)
        selection.rescan()
    runs, remarks = _run_statuses(selection)
    click.echo(json.dumps([run.data() for run in runs], indent=2) if as_json else _text(runs, remarks))
    states = {run.run.state for run in runs}
    if selection.problems or states - {"DONE"}:
        sys.exit(FAILED if states & {"FAILED", "DIVERGED"} else INCOMPLETE)


def _watch(selection: Selection, seconds: float = 5.0) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with contextlib.suppress(KeyboardInterrupt), Live(console=Console(), auto_refresh=False, transient=True) as live:
        while True:
            runs, remarks = _run_statuses(selection)
            live.update(Text(_text(runs, remarks)), refresh=True)
            if all(run.run.state == "DONE" for run in runs):
                return
            time.sleep(seconds)
            selection.rescan()


def _text(runs: Sequence[_RunStatus], remarks: Sequence[str]) -> str:
    """Return one line a run, then the failures with the tails of their logs, and the counts of states."""
    requests = [run.run.request for run in runs]
    several = len({(request.task, request.source) for request in requests if request.fold is None}) > 1
    sources = ["" if request.fold or not several else f" from {request.source}" for request in requests]
    named = [f"{run.run.name}{source}" for run, source in zip(runs, sources, strict=True)]
    width = max(map(len, named), default=0)
    lines = [f"{name.ljust(width)}  {run.line()}".rstrip() for name, run in zip(named, runs, strict=True)]
    lines += [line for run in runs for line in run.failure()]
    lines.append(f"{len(runs)} run{'' if len(runs) == 1 else 's'}: {tally(run.run.state for run in runs)}")
    return "\n".join([*lines, *remarks])


@click.command()
@options.results_root
@click.option("--lines", type=options.WholeNumber(1), help="Only the last lines, this many.")
@click.argument("run")
def logs(run: str, lines: int | None, results_root: Path) -> None:
    """Print what a run printed when it was last started.

    RUN is the run's folder, or the beginning of its id (the part of the folder's name after the seed).
    """
    path = Path(run)
    if not path.is_dir():
        paths = [stored.path for stored in scan(results_root)[0] if stored.spec.train_id.startswith(run)]
        if len(paths) != 1:
            many = f"{len(paths)} runs begin so" if paths else f"no run under {results_root} begins so"
            raise UsageError(f"{run!r} is neither a run's folder nor the beginning of one id: {many}")
        path = paths[0]
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
