"""The demonstration from drawn images to the table, and that its domain shift is a real one."""

import csv
import io
import shutil
import subprocess
from pathlib import Path

import pytest

from ssdg.datasets.phantom import write_phantom

from .conftest import Bench

SEEDS = ("--seeds", "0")
GAP = 0.20
"""Least drop of source-only training from the held-out source cases to either target, in DSC."""
MARGIN = 0.08
"""Least gain of a method made against such shifts over source-only training, on the mean of the targets."""


def test_make_demo_leaves_data_and_results_where_every_command_looks():
    if shutil.which("make") is None:
        pytest.skip("no make")
    command = ["make", "--dry-run", "--assume-old", ".venv/.installed", "demo"]
    lines = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True)
    calls = [line for line in lines.stdout.splitlines() if "bench " in line]
    assert [line.split()[1] for line in calls] == ["data", "sweep", "table", "table", "table"]
    assert not any("-root" in line for line in calls)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """One of the demo suite's seeds, run to its end as `make demo` runs all."""
    root = tmp_path_factory.mktemp("demo")
    write_phantom(root / "data", 2)
    bench = Bench(root / "data", root / "results")
    bench.start("sweep", "demo", *SEEDS, "--jobs", "2").finish()
    return bench


@pytest.fixture(scope="module")
def scores(demo):
    """(row, target) -> DSC; the target "held-out" is the source's own."""
    result = demo("table", "demo", *SEEDS, "--held-out", "--format", "csv", "--final")
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    return {(row["row"], row["target"]): float(row["mean"]) / 100 for row in rows}


def mean_on_targets(scores, row):
    return (scores[row, "phantom2d-b"] + scores[row, "phantom2d-c"]) / 2


@pytest.mark.slow
def test_source_only_training_knows_its_source_and_not_the_targets(scores):
    held_out = scores["erm", "held-out"]
    assert held_out > 0.85
    for target in ("phantom2d-b", "phantom2d-c"):
        assert scores["erm", target] < held_out - GAP


@pytest.mark.slow
@pytest.mark.parametrize("row", ["ras4dg", "freesdg"])
def test_generalising_methods_do_better_on_the_targets(scores, row):
    assert mean_on_targets(scores, row) > mean_on_targets(scores, "erm") + MARGIN
    for target in ("phantom2d-b", "phantom2d-c"):
        assert scores[row, target] > scores["erm", target]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["csv", "latex", "markdown", "json"])
def test_the_table_is_written(demo, tmp_path, form):
    path = tmp_path / f"table.{form}"
    result = demo("table", "demo", *SEEDS, "--format", form, "--output", str(path))
    assert result.exit_code == 0, result.output
    assert "FreeSDG" in path.read_text()
