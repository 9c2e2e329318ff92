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
from ..launching.job_file import STARTED, last_lines, read_jobs
from ..launching.registry import find_scheduler
from ..launching.scheduler import QueuedJob, Ticket
from ..launching.submissions import read_tickets, suite_queue
from ..outcomes.code_notes import edited_plugins
from ..outcomes.planned_run import PlannedRun, tally
from ..storage.attempts import last_start
from ..storage.results_reader import scan
from ..storage.run_folder import row_name
from ..suites.suite_file import load_suite
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
        self.edited = edited_plugins(run.stored) if run.stored is not None else []
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
        if ticket := tickets.get(run.job.stem):
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
        if not self.run.row.trained_here:
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
        if self.edited:
            notes.append(f"the plugin of {self.edited[0]} was edited since: raise its version to train it anew")
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
            "edited_plugins": self.edited,
            "path": str(run.stored.path) if run.stored is not None else None,
            "log": str(self.log) if self.log is not None else None,
            "error": run.error,
        }


def _run_statuses(selection: Selection) -> tuple[list[_RunStatus], list[str]]:
    """Return the status of every run, and why schedulers could not be asked."""
    submitted, remarks = read_tickets(selection.jobs_folder), []
    queues: dict[str, Mapping[str, QueuedJob] | None] = {}
    for name in {ticket.scheduler for ticket in submitted}:
        try:
            queues[name] = suite_queue(find_scheduler(name).queue(), selection.jobs_folder)
        except UsageError as error:
            queues[name] = None
            remarks.append(f"{error}. The states are from the results folder alone")
    submitted.sort(key=lambda ticket: ticket.job_id in (queues[ticket.scheduler] or {}))  # what waits is the newest
    tickets = {stem: ticket for ticket in submitted for stem in ticket.stems}
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


def _watch(selection: Selection) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with contextlib.suppress(KeyboardInterrupt), Live(console=Console(), auto_refresh=False, transient=True) as live:
        while True:
            runs, remarks = _run_statuses(selection)
            live.update(Text(_text(runs, remarks)), refresh=True)
            if all(run.run.state == "DONE" for run in runs):
                return
            # Each time asks the queue, of which a controller wants no more than a few a minute.
            time.sleep(20.0 if any(run.ticket is not None for run in runs) else 5.0)
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
@click.option("--all", "every_start", is_flag=True, help="Also what earlier starts printed.")
@click.option("--methods", callback=options.names, help="With SUITE: the job's row or method.")
@click.option("--seeds", callback=options.numbers, help="With SUITE: the job's seed.")
@click.argument("run", metavar="RUN|SUITE")
def logs(run: str, results_root: Path, lines: int | None, every_start: bool, **wanted: Any) -> None:
    """Print what a run, or a suite's job, printed since its last start.

    RUN is the run's folder, or the beginning of its id (the part of the folder's name after the seed). SUITE with
    --methods and --seeds also shows a job that failed before it had a run's folder; where several fit, their logs
    are listed.
    """
    suite = results_root / "logs" / (load_suite(run).name if run.endswith(".toml") else run)
    of_suite = suite.parent == results_root / "logs" and suite.name != ".." and suite.is_dir()
    if any(wanted.values()) and not of_suite:
        raise UsageError(f"--methods and --seeds go with a suite that was swept, and there is no folder {suite}")
    log = _log_of_job(suite, **wanted) if of_suite else _log_of_run(run, results_root)
    if log is None:
        return
    try:
        text = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise UsageError(f"{log} cannot be read: {error.strerror}") from None
    click.echo(str(log), err=True)
    if not every_start:
        text = text[max((number for number, line in enumerate(text) if line.startswith(STARTED)), default=0) :]
    click.echo("\n".join(text[-lines:] if lines else text))


def _log_of_job(folder: Path, methods: Sequence[str] | None, seeds: Sequence[int] | None) -> Path | None:
    """Return the log of the only job of a suite's folder that fits; None where several did and are listed."""
    jobs = [
        file
        for file in read_jobs(folder)
        if (methods is None or {file.job.row, file.job.request.method} & {*methods})
        and (seeds is None or file.job.request.seed in seeds)
    ]
    if not jobs:
        others = f"`bench logs {folder.name}` lists all" if methods or seeds else "`bench sweep` writes them"
        raise UsageError(f"no job in {folder} fits: {others}")
    if len(jobs) == 1:
        return jobs[0].log
    for file in jobs:
        click.echo(f"{file.job.name} -> {', '.join(file.job.targets)}  {file.log}")
    return None


def _log_of_run(run: str, results_root: Path) -> Path:
    """Return the log of a run by its folder or the beginning of its id."""
    path = Path(run)
    if not path.is_dir():
        paths = [stored.path for stored in scan(results_root)[0] if stored.train_id.startswith(run)]
        if len(paths) != 1:
            many = f"{len(paths)} runs begin so" if paths else f"no run or suite under {results_root} begins so"
            raise UsageError(f"{run!r} is neither a run's folder nor the beginning of one id, nor a suite: {many}")
        path = paths[0]
    start = last_start(path)
    if start is None:
        raise UsageError(f"{path} has never been started")
    if start.log is None:
        raise UsageError(f"{path} was started by `bench run` on {start.host}, which prints to its terminal alone")
    return Path(start.log)
