"""Peak host memory of a run, in a process of its own."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sampling import Estimate
from sheet import Options, Row, Skipped


def peak(options: Options) -> Iterator[Row]:
    """``erm`` on fundus at the defaults: 512², 32 filters, batch 2, on the CPU."""
    if options.data_root is None:
        raise Skipped("it needs DRIVE: set BENCH_DATA to the published data, or give --data-root")
    script = Path(__file__).with_name("memory_run.py")
    with tempfile.TemporaryDirectory() as folder:
        arguments = [str(options.data_root.resolve()), str(options.cache.resolve()), folder]
        if options.threads is not None:
            arguments.append(str(options.threads))
        command = [sys.executable, "-P", str(script), *arguments]
        result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"{script.name} ended with {result.returncode}")
    phases: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    highest = max(phases.values())
    grown = "; ".join(f"{phase} {value / 1e9:.2f}" for phase, value in phases.items())
    note = f"highest resident set of a process of its own, files mapped into it included; in GB after {grown}"
    yield Row("peak host memory, erm, fundus at the defaults, cpu", _exact(highest / 1e9), "GB", 3.0, note)


def _exact(value: float) -> Estimate:
    return Estimate(value, float("nan"), float("nan"), 1)
