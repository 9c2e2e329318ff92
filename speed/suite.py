"""The speed suite: `make speed` measures everything below and prints one table.

Not a test: no number here passes or fails a build. Each measurement is one function ``Options -> rows`` in a module
beside this file; to add one, write it and give it a line in MEASUREMENTS. The table of a whole suite is written to
``results/speed/<device>.md`` and ``.csv``; that of a part of it only where ``--output`` says.
"""

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

# `python -P` keeps this folder off the path, and with it the repository's `datasets`; last, it can hide nothing.
sys.path.append(str(Path(__file__).resolve().parent))

from sheet import Neighbours, Options, Row, Skipped, machine, markdown, write

from ssdg.benchmark.errors import UsageError
from ssdg.datasets.base import DataError

MEASUREMENTS: dict[str, str] = {
    "startup-help": "startup:help_text",
    "startup-list": "startup:list_methods",
    "startup-status": "startup:status",
    "startup-table": "startup:table",
    "loop": "stepping:loop",
    "peers": "peers:monai",
    "floor": "floor:share",
    "profile": "profiling:windows",
    "loading-drive": "loading:drive",
    "loading-atlases": "loading:atlases",
    "memory": "memory:peak",
    "rass": "kernels:rass",
    "augmentation": "kernels:augmentation",
    "transform-slaug": "transforms:slaug",
    "transform-convolutions": "transforms:convolutions",
    "transform-blending": "transforms:blending",
    "transform-elastic": "transforms:elastic",
    "transform-whitening": "transforms:whitening",
    "official": "official:compare",
    "method-steps": "cost:steps",
    "method-memory": "cost:memory",
    "aggregation": "aggregation:many_runs",
}
"""Name -> "module:function", as plain data: measuring a start-up does not import torch."""

ROOT = Path(__file__).resolve().parents[1]


def chosen(only: Sequence[str]) -> list[str]:
    """Return the measurements that are named, or whose name begins so; all where none is given."""
    for wanted in only:
        if not any(name.startswith(wanted) for name in MEASUREMENTS):
            raise SystemExit(f"no measurement is called {wanted!r}; there are: {', '.join(MEASUREMENTS)}")
    return [name for name in MEASUREMENTS if not only or name.startswith(tuple(only))]


def measure(name: str, options: Options) -> list[Row]:
    """Return a measurement's rows; one that cannot be taken here is a row that says why."""
    module, _, function = MEASUREMENTS[name].partition(":")
    rows: list[Row] = []
    try:
        take: Callable[[Options], Iterable[Row]] = getattr(importlib.import_module(module), function)
        neighbours = Neighbours()
        for row in take(options):
            row = replace(row, others=neighbours.share())
            print("  " + " | ".join(cell for cell in row.cells() if cell), file=sys.stderr, flush=True)
            rows.append(row)
    except (Skipped, DataError, UsageError) as error:
        rows.append(Row(name, note=f"skipped: {' '.join(str(error).split())}"))
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; return 1 where a measurement broke, and 0 whatever the numbers are."""
    parser = argparse.ArgumentParser(description="Measure this machine.", epilog=f"Names: {', '.join(MEASUREMENTS)}.")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="a name or its beginning")
    parser.add_argument("--repeats", type=int, metavar="N", help="samples of every measurement")
    parser.add_argument("--threads", type=int, metavar="N", help="of torch on the CPU; use 1 on a busy machine")
    parser.add_argument("--data-root", type=Path, help="the published data sets (default: $BENCH_DATA)")
    parser.add_argument("--cache", type=Path, default=ROOT / "results/prepared", help="prepared data")
    parser.add_argument("--official", type=Path, help="clones of the authors' repositories, to compare with them")
    parser.add_argument("--output", type=Path, help="folder of the table (default: results/speed for all of it)")
    given = parser.parse_args(arguments)
    if any(number is not None and number < 1 for number in (given.repeats, given.threads)):
        parser.error("--repeats and --threads must be at least 1")
    data_root = given.data_root or (Path(os.environ["BENCH_DATA"]) if os.environ.get("BENCH_DATA") else None)
    options = Options(
        repeats=given.repeats, data_root=data_root, cache=given.cache, threads=given.threads, official=given.official
    )
    rows: list[Row] = []
    broken = False
    for name in chosen(given.only):
        print(f"{name} …", file=sys.stderr, flush=True)
        try:
            rows += measure(name, options)
        except Exception as error:  # hours of other measurements must not be lost with it
            traceback.print_exc()
            rows.append(Row(name, note=f"broke: {type(error).__name__}: {error}"))
            broken = True
    where = machine()
    print(markdown(rows, where))
    output = given.output or (None if given.only else ROOT / "results/speed")
    if output is not None:
        print(f"written: {write(output, rows, where)}", file=sys.stderr)
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
