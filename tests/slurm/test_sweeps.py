"""Sweeps on a real cluster: undisturbed, preempted, killed, out of time, doubled, cancelled."""

import functools
import os
import random
import signal
import sys
import time

import pytest

from ssdg.benchmark.storage.lease import read_owner

from ..conftest import SLOW
from .cluster import until_exists
from .sweeping import Sweep, assert_bitwise

EPOCHS, SEEDS = 150, 6
"""Of the sweeps that are disturbed; what they are without that is found once."""


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    """The options of a plugin with a method ``slow``."""
    plugin = tmp_path_factory.mktemp("plugin") / "slow.py"
    plugin.write_text(SLOW.format(seconds=0.05))
    return ("--plugin", str(plugin))


@pytest.fixture
def make(cluster, phantom_data, tmp_path, options):
    """Make a suite for the cluster."""

    def sweep(*methods, launch=(), **sizes):
        launch = ("--partition", "low", "--cpus", "1", "--time", "30", *launch)
        return Sweep(cluster, phantom_data, tmp_path / "sweep", options, launch).write(*methods, **sizes)

    return sweep


@pytest.fixture(scope="module")
def undisturbed(phantom_data, tmp_path_factory, options):
    """Return the weights of runs of ``slow``, by the names of their folders, as they are when nothing happens."""

    @functools.cache
    def weights(seeds=SEEDS, epochs=EPOCHS):
        # As many at a time as there are cores: one thread each, as --cpus 1 gives, for the same bits.
        jobs = ("--jobs", str(len(os.sched_getaffinity(0))))
        calm = Sweep(None, phantom_data, tmp_path_factory.mktemp("undisturbed"), options, jobs)
        calm.write("slow", seeds=seeds, epochs=epochs)("sweep")
        return calm.weights()

    return weights


def test_24_runs_are_each_trained_once_and_fill_the_table(make, cluster, costs):
    sweep = make("erm", "randconv", "ras4dg", seeds=8, launch=("--pack", "2", "--max-parallel", "3"))
    plan = sweep("sweep", "--dry-run")
    assert "24 to do" in plan
    assert cluster.queue() == {}
    output = sweep("sweep")
    assert output.count("submitted") == 2, "12 allocations are two arrays, where an array may have 6"
    again = sweep("sweep")
    assert "24 are in the queue already" in again or "to do" in again
    assert "submitted" not in again
    waiting = sweep.status()
    assert any(line["queue"] for line in waiting.values())
    sweep("sweep", "--wait")
    assert set(sweep.states().values()) == {"DONE"}
    assert len(sweep.runs()) == 24
    assert set(sweep.starts().values()) == {1}
    assert "±" in sweep("table", "--final")
    assert "0 to do" in sweep("sweep")
    costs(sweep)


def test_preempted_runs_are_requeued_and_end_as_if_nothing_had_happened(make, cluster, undisturbed, costs, tmp_path):
    # Started by a command of the profile's, as in a container.
    starter = tmp_path / "starter"
    starter.write_text(f'#!/bin/sh\necho "$SLURM_JOB_ID" >> {tmp_path}/started\nexec "$@"\n')
    starter.chmod(0o755)
    (tmp_path / "profile.toml").write_text(f'python = "{starter} {sys.executable}"\n')
    sweep = make("slow", seeds=3, epochs=EPOCHS, launch=("--cluster", str(tmp_path / "profile.toml")))
    sweep("sweep")
    cluster.wait_for("three runs that train", lambda: len(sweep.training()) == 3)
    seen = tmp_path / "seen"
    cluster.submit(until_exists(seen), "--partition=high", f"--cpus-per-task={cluster.cpus}", "--time=5")
    cluster.wait_for("the preempted runs to stop", lambda: not sweep.owners())
    seen.touch()
    cluster.wait_until_empty()
    assert set(sweep.states().values()) == {"DONE"}
    assert set(sweep.starts().values()) == {2}
    assert len((tmp_path / "started").read_text().splitlines()) == 6
    costs(sweep)
    assert_bitwise(sweep.weights(), undisturbed())


def test_runs_of_a_node_that_dies_go_on_when_it_is_back(make, cluster, undisturbed, costs):
    sweep = make("slow", seeds=2, epochs=EPOCHS, launch=("--checkpoint-interval", "0.1"))
    sweep("sweep")
    cluster.wait_for("two runs that train", lambda: len(sweep.training()) == 2)
    with cluster.without_node():
        cluster.wait_for("requeue", lambda: list(cluster.queue().values()) == ["PENDING"] * 2)
        cluster.wait_for("the lost runs to be seen as that", lambda: not sweep.owners())
        assert set(sweep.states().values()) == {"STALE"}
    cluster.wait_until_empty()
    met = set(sweep.states().values()) != {"DONE"}
    if met:
        # The node is back so soon that Slurm's order to end what ran on it can meet the same jobs, started again.
        sweep("sweep", "--wait")
    assert set(sweep.states().values()) == {"DONE"}
    assert set(sweep.starts().values()) <= ({2, 3} if met else {2})
    costs(sweep)
    assert_bitwise(sweep.weights(), undisturbed())


def test_20_kills_at_random_moments_lose_nothing_and_double_nothing(make, cluster, undisturbed, costs):
    sweep = make("slow", seeds=SEEDS, epochs=EPOCHS, launch=("--checkpoint-interval", "0.1"))
    sweep("sweep")
    rng = random.Random(0)
    killed = []
    while len(killed) < 20 and cluster.queue():
        time.sleep(rng.uniform(0.2, 1.5))
        owned = sweep.training()
        if owned:
            run = rng.choice(owned)
            owner = read_owner(run)
            if owner is not None:
                os.kill(owner.pid, signal.SIGKILL)
                killed.append(run.name)
    cluster.wait_until_empty()
    assert len(killed) == 20
    for _ in range(3):  # one that was hit again and again before its first checkpoint is FAILED, and says so
        if set(sweep.states().values()) == {"DONE"}:
            break
        assert set(sweep.states().values()) <= {"DONE", "FAILED"}
        sweep("retry", "--wait", expect=0)
    assert len(sweep.runs()) == 6, "nothing was trained twice"
    costs(sweep)
    assert_bitwise(sweep.weights(), undisturbed())


def test_a_run_longer_than_its_allocation_is_resumed_until_it_is_done(make, cluster, undisturbed, costs):
    sweep = make("slow", epochs=300, launch=("--partition", "short", "--time", "1"))
    sweep("sweep")
    cluster.wait_until_empty()
    assert sweep.states() == {"slow s0": "DONE"}
    [starts] = sweep.starts().values()
    assert starts >= 2, "the run was meant to be longer than a minute"
    costs(sweep)
    assert_bitwise(sweep.weights(), undisturbed(seeds=1, epochs=300))


def test_two_sweeps_at_the_same_moment_train_no_run_twice(make, cluster, costs):
    sweep = make("erm", "randconv", seeds=2, epochs=20)
    sweeps = [sweep.start("sweep") for _ in range(2)]
    outputs = [process.finish() for process in sweeps]
    assert sum("submitted" in output for output in outputs) == 1
    here = Sweep(None, sweep.data, sweep.folder, sweep.options)
    here("sweep")
    cluster.wait_until_empty()
    assert set(sweep.states().values()) == {"DONE"}
    assert set(sweep.starts().values()) == {1}
    costs(sweep)


def test_cancel_leaves_no_process_and_no_lease(make, cluster, costs):
    sweep = make("slow", seeds=4, epochs=2000, launch=("--pack", "2", "--max-parallel", "1"))
    sweep("sweep")
    cluster.wait_for("the two runs of an allocation to train", lambda: len(sweep.training()) == 2)
    output = sweep("cancel")
    assert "2 allocations ended" in output
    assert "by force" not in output
    assert cluster.queue() == {}
    assert sweep.owners() == []
    assert list(sweep.results.glob("runs/*/*/*/lease.*.json")) == []
    assert set(sweep.states().values()) <= {"STALE", "QUEUED"}
    assert "cancelled" in sweep("status", expect=3)
    costs(sweep)
