"""Start-up: wall time of whole `bench` processes that only read, on an empty results folder."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from sampling import median
from sheet import Options, Row

REPEATS = 15

ANSWERED = (0, 3)
"""Exit codes: all there, or (an empty results folder) not all there."""


def help_text(options: Options) -> Iterator[Row]:
    """``bench --help``."""
    yield _row(options, 0.3, "--help")


def list_methods(options: Options) -> Iterator[Row]:
    """``bench list methods``."""
    yield _row(options, 0.3, "list", "methods")


def status(options: Options) -> Iterator[Row]:
    """``bench status demo``."""
    yield _row(options, 0.3, "status", "demo")


def table(options: Options) -> Iterator[Row]:
    """``bench table demo``."""
    yield _row(options, 0.8, "table", "demo")


def _row(options: Options, budget: float, *words: str) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        command = [*bench_command(), *words]
        if words[-1] == "demo":
            command += ["--results-root", str(Path(folder) / "results")]
        runs = [run_process(command, Path(folder)) for _ in range(1 + options.samples(REPEATS))][1:]
    busy = median([cpu for _, cpu in runs]).value
    wall = median([seconds for seconds, _ in runs])
    note = f"wall time of the process, after one that is not counted; {busy:.2f} s of processor time"
    return Row(f"bench {' '.join(words)}", wall, "s", budget, note)


def bench_command() -> list[str]:
    """Return what starts `bench` in a process of its own."""
    script = Path(sys.executable).with_name("bench")
    return [str(script)] if script.exists() else [sys.executable, "-P", "-m", "ssdg.benchmark.cli"]


def run_process(command: list[str], folder: Path) -> tuple[float, float]:
    """Return wall and processor seconds of one process."""
    with (folder / "output").open("w+") as output:
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in ANSWERED:
            output.seek(0)
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {output.read()[-2000:]}")
    return wall, usage.ru_utime + usage.ru_stime
