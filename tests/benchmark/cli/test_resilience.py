"""Runs that are killed, stopped, doubled, or out of disk: nothing is lost and nothing is done twice."""

import os
import shutil
import signal
import subprocess

import pytest
import torch

from ssdg.benchmark.errors import StorageError
from ssdg.benchmark.storage.results_reader import read_run
from ssdg.benchmark.training.checkpoint import Checkpoints

from ...conftest import TINY, Bench

LONG = (*TINY[:2], "--set=training.epochs=12", *TINY[3:])

HELD = """
import time
from pathlib import Path
from ssdg.methods.ras4dg import RAS4DG

class Held(RAS4DG):
    "A method that waits at the beginning of an epoch as long as a file is there that names it."

    def training_step(self, batch, context):
        while Path({folder!r}, f"hold-{{context.epoch}}").exists():
            time.sleep(0.02)
        return super().training_step(batch, context)
"""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    path = tmp_path_factory.mktemp("held") / "held.py"
    path.write_text(HELD.format(folder=str(path.parent)))
    return path


@pytest.fixture(scope="module")
def run(plugin):
    """The arguments of the run that things happen to."""
    return ("run", "--method", "held", "--target", "phantom2d-b", "--plugin", str(plugin), *LONG)


@pytest.fixture
def hold(plugin):
    """Return a function that makes a run wait once it has written down so many epochs, and what ends that."""

    def after(epochs):
        (plugin.parent / f"hold-{epochs}").touch()
        return (plugin.parent / f"hold-{epochs}").unlink

    yield after
    for marker in plugin.parent.glob("hold-*"):
        marker.unlink()


def epochs(bench):
    """Return how many epochs the only run of the method has written down."""
    [*files] = bench.results.glob("runs/phantom2d/held/*/history.csv")
    return len(files[0].read_text().splitlines()) - 1 if files else 0


def weights(bench):
    return torch.load(bench.run_path("held") / "checkpoints" / "final.pt", weights_only=True)["weights"]


@pytest.fixture(scope="module")
def undisturbed(phantom_data, run, tmp_path_factory):
    """The weights of a run that nothing happened to."""
    bench = Bench(phantom_data, tmp_path_factory.mktemp("undisturbed"))
    bench.start(*run).finish()
    return weights(bench)


def assert_bitwise(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_ctrl_c_saves_and_the_same_command_continues_bitwise(bench, run, hold, undisturbed):
    release = hold(6)
    process = bench.start(*run)
    process.until(lambda: epochs(bench) == 6, "epoch 6")
    process.send_signal(signal.SIGINT)
    release()
    output = process.finish(130)
    assert "the same command continues it" in output
    assert read_run(bench.run_path("held")).state == "STALE"
    assert "training from step" in bench.start(*run).finish()
    assert_bitwise(weights(bench), undisturbed)


@pytest.mark.parametrize("moment", [1, 9])
def test_kill_9_and_the_same_command_continues_bitwise(bench, run, hold, undisturbed, moment):
    release = hold(moment)
    process = bench.start(*run, "--checkpoint-interval", "0.001")
    process.until(lambda: epochs(bench) == moment, f"epoch {moment}")
    process.kill()
    process.finish(-signal.SIGKILL)
    release()
    assert "training from step" in bench.start(*run).finish()
    assert_bitwise(weights(bench), undisturbed)
    assert read_run(bench.run_path("held")).state == "DONE"


def test_the_same_run_twice_at_once_trains_once(bench, run, hold):
    release = hold(1)
    first = bench.start(*run)
    first.until(lambda: epochs(bench) == 1, "epoch 1")
    waiting = bench.start(*run, "--wait")
    output = bench.start(*run).finish(expected=3)
    assert f"being worked on by process {first.pid}" in output
    release()
    first.finish()
    output = waiting.finish()
    assert "training" not in output
    assert "already done" in output


@pytest.fixture
def small_disk(tmp_path):
    """A file system of a few megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=14m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=False)


def test_a_disk_that_fills_up_loses_nothing(phantom_data, small_disk, run, hold, undisturbed):
    release = hold(5)
    bench = Bench(phantom_data, small_disk)
    process = bench.start(*run)
    process.until(lambda: epochs(bench) == 5, "epoch 5")
    filler = small_disk / "filler"
    with filler.open("wb") as stream:
        free = os.statvfs(small_disk)
        stream.write(b"0" * (free.f_bavail * free.f_frsize - 4096))
    release()
    output = process.finish(3)
    assert "no space left" in output
    assert "Traceback" not in output
    filler.unlink()
    bench.start(*run).finish()
    assert_bitwise(weights(bench), undisturbed)


def test_a_disk_that_is_full_from_the_start(phantom_data, small_disk, run):
    (small_disk / "filler").write_bytes(b"0" * (13 << 20))
    output = Bench(phantom_data, small_disk).start(*run).finish(3)
    assert "space" in output
    assert "Traceback" not in output


INTERRUPTED = """
import signal
from ssdg.methods.base import Method

class Interrupted(Method):
    "The baseline, interrupted in its third step."

    def training_step(self, batch, context):
        if context.step == 3:
            signal.raise_signal(signal.SIGINT)
        return super().training_step(batch, context)
"""


def test_a_checkpoint_of_another_run_is_refused(bench, tmp_path):
    plugin = tmp_path / "interrupted.py"
    plugin.write_text(INTERRUPTED)
    command = ("run", "--method", "interrupted", "--target", "phantom2d-b", "--plugin", str(plugin), *TINY)
    other = Bench(bench.data, tmp_path / "other")
    for each, seed in ((bench, "0"), (other, "1")):
        assert each(*command, "--seed", seed).exit_code == 130
    folders = [each.run_path("interrupted") / "checkpoints" for each in (bench, other)]
    shutil.copy(folders[1] / "last.pt", folders[0] / "last.pt")
    result = bench(*command, "--seed", "0")
    assert result.exit_code == 2
    assert "belongs to another run (train_id:" in result.output


def test_a_diverged_run_is_marked_and_retried_on_request(bench, tmp_path):
    plugin = tmp_path / "exploding.py"
    plugin.write_text(
        "from ssdg.methods.base import Method\n"
        "class Exploding(Method):\n"
        "    'Turns to NaN at the third step.'\n"
        "    def training_step(self, batch, context):\n"
        "        terms = dict(super().training_step(batch, context))\n"
        "        terms['boom'] = terms['segmentation'] * (float('nan') if context.step >= 3 else 0)\n"
        "        return terms\n"
    )
    result = bench("run", "--method", "exploding", "--target", "phantom2d-b", "--plugin", str(plugin), *TINY)
    assert result.exit_code == 1, result.output
    assert "exploding, seed 0, step 3: term 'boom' is nan" in result.output
    run = read_run(bench.run_path("exploding"))
    assert run.state == "DIVERGED"
    assert not (run.path / "DONE").exists()


def test_a_checkpoint_that_does_not_fit_leaves_the_one_before(small_disk):
    folder = small_disk / "checkpoints"
    checkpoints = Checkpoints(folder, {"train_id": "x"})
    checkpoints.save({"step": 1, "weights": torch.zeros(1 << 20)})
    with pytest.raises(StorageError, match=r"no space left while writing .*last\.pt"):
        checkpoints.save({"step": 2, "weights": torch.zeros(4 << 20)})
    assert checkpoints.load()["step"] == 1
    assert [path.name for path in folder.iterdir()] == ["last.pt"]
