"""Sweeps on this machine: states, one failure that stops nothing, retry, and continuing after the sweep is killed."""

import json
import signal
import time

import pytest

SUITE = """
title = "Two methods, two seeds"
protocol = "clean"
seeds = [0, 1]

[settings]
training.epochs = 2
training.batch_size = 4
optimizer.lr = 1e-3
network.init_filters = 8
preprocess.shape = [32, 32]

[[columns]]
task = "phantom2d"
source = "phantom2d-a"
target = "phantom2d-b"

[[rows]]
id = "erm"
method = "erm"
setting = "source-only"

[[rows]]
id = "other"
method = "{other}"
"""

FRAGILE = """
from pathlib import Path
from ssdg.methods.base import Method

class Fragile(Method):
    "Raises as long as a file is there, in the run with seed 1."

    def training_step(self, batch, context):
        if Path({marker!r}).exists() and context.rng.initial_seed() % 2 == {parity}:
            raise RuntimeError("fragile broke on purpose")
        return super().training_step(batch, context)
"""


@pytest.fixture
def suite(tmp_path):
    def write(other="randconv"):
        path = tmp_path / "mine.toml"
        path.write_text(SUITE.format(other=other))
        return str(path)

    return write


def states(bench, suite, *options):
    result = bench("status", suite, "--json", *options)
    return {(row["row"], row["seed"]): row["state"] for row in json.loads(result.stdout)}


def test_a_sweep_ends_done_and_a_second_one_has_nothing_to_do(bench, suite):
    name = suite()
    planned = bench("sweep", name, "--dry-run")
    assert "4 to do" in planned.output
    assert not (bench.results / "runs").exists()
    first = bench("sweep", name, "--jobs", "2")
    assert first.exit_code == 0, first.output
    assert set(states(bench, name).values()) == {"DONE"}
    again = bench("sweep", name)
    assert "0 to do" in again.output
    table = bench("table", name, "--final", "--held-out")
    assert table.exit_code == 0, table.output
    assert "±" in table.output


def test_one_failure_is_named_and_hides_nothing(bench, suite, tmp_path):
    from ssdg.benchmark.randomness import derived_seed

    marker = tmp_path / "break"
    marker.touch()
    plugin = tmp_path / "fragile.py"
    # Only one of the two seeds breaks: told apart by the first step's generator.
    parities = [derived_seed(seed, "method", 0) % 2 for seed in (0, 1)]
    plugin.write_text(FRAGILE.format(marker=str(marker), parity=parities[0]))
    name, options = suite("fragile"), ("--plugin", str(plugin))
    result = bench("sweep", name, "--jobs", "2", *options)
    assert result.exit_code == 1, result.output
    found = states(bench, name, *options)
    assert found["erm", 0] == found["erm", 1] == "DONE"
    assert found["other", 0] == "FAILED"
    status = bench("status", name, *options)
    assert status.exit_code == 1
    assert "fragile broke on purpose" in status.output
    table = bench("table", name, "--final", *options)
    assert table.exit_code == 3
    assert "other" in table.output
    untouched = bench("sweep", name, *options)
    assert "0 to do" in untouched.output or found["other", 1] == "FAILED"
    marker.unlink()
    retried = bench("retry", name, *options)
    assert retried.exit_code == 0, retried.output
    assert set(states(bench, name, *options).values()) == {"DONE"}


def test_a_killed_sweep_continues(bench, suite):
    name = suite()
    process = bench.start("sweep", name)
    while not list(bench.results.glob("runs/*/*/*/history.csv")):
        time.sleep(0.05)
        assert process.poll() is None, process.stdout.read()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    result = bench("sweep", name, "--jobs", "2")
    assert result.exit_code == 0, result.output
    assert set(states(bench, name).values()) == {"DONE"}
    assert len(list(bench.results.glob("runs/*/*/*"))) == 4, "nothing was trained twice"


def test_ctrl_c_stops_the_jobs_too(bench, suite):
    process = bench.start("sweep", suite())
    while not list(bench.results.glob("runs/*/*/*/lease.*.json")):
        time.sleep(0.02)
        assert process.poll() is None, process.stdout.read()
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode in (1, 130), output
    assert not list(bench.results.glob("runs/*/*/*/lease.*.json")), "a job is still running"
