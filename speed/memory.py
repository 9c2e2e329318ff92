"""Peak host memory of a run, in a process of its own."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from apart import apart
from memory_run import peaks_of_a_run
from sampling import exact
from sheet import Options, Row, Skipped


def peak(options: Options) -> Iterator[Row]:
    """``erm`` on fundus at the defaults: 512², 32 filters, batch 2, on the CPU."""
    if options.data_root is None:
        raise Skipped("it needs DRIVE: set BENCH_DATA to the published data, or give --data-root")
    with tempfile.TemporaryDirectory() as folder:
        places = options.data_root.resolve(), options.cache.resolve(), Path(folder)
        phases = apart(peaks_of_a_run, *places, options.threads)
    highest = max(phases.values())
    grown = "; ".join(f"{phase} {value / 1e9:.2f}" for phase, value in phases.items())
    note = f"highest resident set of a process of its own, files mapped into it included; in GB after {grown}"
    yield Row("peak host memory, erm, fundus at the defaults, cpu", exact(highest / 1e9), "GB", 3.0, note)
