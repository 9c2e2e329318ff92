"""A run that loses its lease: whatever it was about to do, nothing of it reaches the disk."""

import contextlib
import itertools
import json
import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from ssdg.benchmark.errors import LeaseLost
from ssdg.benchmark.progress import Display
from ssdg.benchmark.settings import resolve_sections
from ssdg.benchmark.spec import RunRequest
from ssdg.benchmark.storage import lease as leases
from ssdg.benchmark.storage.lease import Lease
from ssdg.benchmark.training.run import run_one
from ssdg.benchmark.training.runtime import Runtime
from ssdg.datasets import TASKS

from ...conftest import TINY

SHORT = (*TINY[:2], "--set=training.epochs=1", "--set=training.batch_size=2", *TINY[4:])


def snapshot(folder):
    """Return each file with its bytes and its time, and each folder; leases come and go by themselves."""
    entries = [path for path in folder.rglob("*") if not path.name.startswith("lease.")]
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) if path.is_file() else None
        for path in entries
    }


class Changes:
    """Notes what a run does to its folder, and does something right after one of these things."""

    def __init__(self, patch, runs):
        self.runs, self.names, self.then = runs, [], {}
        for operation in ("open", "replace", "unlink"):
            patch.setattr(Path, operation, self.noting(operation, getattr(Path, operation)))

    def noting(self, operation, original):
        def noted(path, *arguments, **options):
            name = self.name(operation, path, *arguments)
            result = original(path, *arguments, **options)
            if name:
                self.names.append(name)
                self.then.pop(len(self.names), lambda: None)()
            return result

        return noted

    def name(self, operation, path, argument="r"):
        """Return an operation with the file it is about; "" where it changes nothing, or only a lease."""
        if (operation == "open" and not {"w", "x"} & set(argument)) or (operation == "unlink" and not path.exists()):
            return ""
        target = Path(argument) if operation == "replace" else path
        name = re.sub(r"^\.(.*)\.[0-9a-f]+\.tmp$", r"\1", target.name)
        return "" if name.startswith("lease.") or not target.is_relative_to(self.runs) else f"{operation} {name}"


@pytest.fixture
def start(bench):
    """Start a run in this process."""
    sections, _ = resolve_sections("clean", dict(text[6:].split("=") for text in SHORT))
    request = RunRequest(task="phantom2d", source="phantom2d-a", method="erm", **sections)
    # A checkpoint after each step: each writer's turn comes between those of the others.
    place = Runtime(data_root=bench.data, results_root=bench.results, device="cpu", checkpoint_interval=0.0)
    return lambda: run_one(request, TASKS["phantom2d"], ["phantom2d-b"], place, Display("test"))


def take_over(folder):
    """Put another owner in the place of whoever holds the folder's lease."""
    record = {"id": "other", "place": "elsewhere", "host": "node7", "pid": 4, "started": "9", "counter": 0}
    (folder / ".new").write_text(json.dumps(record))
    (folder / ".new").replace(folder / "lease.2.json")
    (folder / "lease.1.json").unlink()


def moments(names):
    """Return after how many changes a run is, for the first time, between two of a kind."""
    kinds = [re.sub(r"[ab]-\d+", "case", name) for name in names]
    pairs = list(itertools.pairwise(kinds))
    return sorted({pairs.index(pair) + 1 for pair in pairs})


def test_a_run_that_loses_its_lease_at_any_moment_changes_nothing_after_that(start, monkeypatch, bench):
    runs = bench.results / "runs"
    start()  # prepares the data
    shutil.rmtree(runs)
    with monkeypatch.context() as patch:
        calm = Changes(patch, runs)
        start()
    assert {"replace last.pt.new", "replace DONE", "replace cases.csv"} <= set(calm.names)
    for moment in moments(calm.names):
        shutil.rmtree(runs)
        with monkeypatch.context() as patch:
            changes, seen = Changes(patch, runs), []

            def lose(seen=seen):
                [folder] = runs.glob("*/*/*")
                take_over(folder)
                # What was being written may vanish, and no more.
                seen.append({name: file for name, file in snapshot(folder).items() if not name.endswith(".tmp")})

            changes.then[moment] = lose
            with pytest.raises(LeaseLost, match="was taken over by process 4 on node7"):
                start()
        where = f"between {calm.names[moment - 1]!r} and {calm.names[moment]!r}"
        assert changes.names[:moment] == calm.names[:moment]
        assert seen == [snapshot(bench.run_path())], where


def test_a_run_that_loses_its_lease_before_it_writes_keeps_the_mark_of_a_failure(start, monkeypatch, bench):
    start()
    folder = bench.run_path()
    (folder / "FAILED").write_text("{}")
    for marker in folder.glob("evaluations/*/DONE"):  # something is left to do
        marker.unlink()
    enter = Lease.__enter__
    before = snapshot(folder)

    def entered(lease):
        enter(lease)
        if lease.folder == folder:
            take_over(folder)
        return lease

    monkeypatch.setattr(Lease, "__enter__", entered)
    with pytest.raises(LeaseLost):
        start()
    assert snapshot(folder) == before


PAUSED = """
import time
from pathlib import Path
from ssdg.methods.base import Method

def pause():
    if list(Path({folder!r}).glob({pattern!r})):
        Path({folder!r}, "reached").touch()
        while not Path({folder!r}, "go").exists():
            time.sleep(0.02)

class Paused(Method):
    "The baseline, that waits for us where a file is there."

    def training_step(self, batch, context):
        pause()
        return super().training_step(batch, context)

    def predict(self, image, foreground):
        pause()
        return super().predict(image, foreground)
"""


@pytest.mark.parametrize(
    ("file", "successor"), [("history.csv", "at work"), ("evaluations/*/predictions/*.png", "done")]
)
def test_a_process_that_was_stopped_and_wakes_is_told_and_writes_nothing(
    bench, tmp_path, monkeypatch, file, successor
):
    plugin = tmp_path / "paused.py"
    plugin.write_text(PAUSED.format(folder=str(tmp_path), pattern=f"results/runs/*/*/*/{file}"))
    process = bench.start(
        "run", "--method", "paused", "--target", "phantom2d-b", "--plugin", str(plugin), "--device", "cpu", *TINY
    )
    process.until((tmp_path / "reached").exists, file)
    process.send_signal(signal.SIGSTOP)
    folder = bench.run_path("paused")
    monkeypatch.setattr(leases, "_place", lambda: "another machine")
    with contextlib.ExitStack() as stack:
        stack.enter_context(Lease(folder, patience=0.2))
        if successor == "done":
            stack.pop_all().close()
        before = snapshot(folder)
        (tmp_path / "go").touch()
        process.send_signal(signal.SIGCONT)
        output = process.finish(expected=3)
        assert snapshot(folder) == before
    by = f"process {os.getpid()} on " if successor == "at work" else "another process while"
    assert f"was taken over by {by}" in output
    assert output.count("nothing was written") == 1
    assert "Traceback" not in output
    assert not (folder / "FAILED").exists()
