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
from ...waiting import wait_for

LONG = (*TINY[:2], "--set=training.epochs=120", *TINY[3:])
"""Several seconds of training: long enough to be hit in the middle."""

RUN = ("run", "--method", "ras4dg", "--target", "phantom2d-b")


def epochs(bench):
    """Return how many epochs the only run of the method has written down."""
    [*files] = bench.results.glob("runs/phantom2d/ras4dg/*/history.csv")
    return len(files[0].read_text().splitlines()) - 1 if files else 0


def weights(bench):
    return torch.load(bench.run_path("ras4dg") / "checkpoints" / "final.pt", weights_only=True)["weights"]


@pytest.fixture(scope="module")
def undisturbed(phantom_data, tmp_path_factory):
    """The weights of a run that nothing happened to."""
    bench = Bench(phantom_data, tmp_path_factory.mktemp("undisturbed"))
    process = bench.start(*RUN, *LONG)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return weights(bench)


def assert_bitwise(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def finish(bench, expected=0):
    process = bench.start(*RUN, *LONG)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == expected, output
    return output


def test_ctrl_c_saves_and_the_same_command_continues_bitwise(bench, undisturbed):
    process = bench.start(*RUN, *LONG)
    wait_for(lambda: epochs(bench) >= 10, "epoch 10", process=process)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 130, output
    assert "the same command continues it" in output
    assert read_run(bench.run_path("ras4dg")).state == "STALE"
    output = finish(bench)
    assert "training from step" in output
    assert_bitwise(weights(bench), undisturbed)


@pytest.mark.parametrize("moment", [1, 10, 30])
def test_kill_9_and_the_same_command_continues_bitwise(bench, undisturbed, moment):
    process = bench.start(*RUN, *LONG)
    wait_for(lambda: epochs(bench) >= moment, f"epoch {moment}", process=process)
    process.kill()
    process.communicate()
    finish(bench)
    assert_bitwise(weights(bench), undisturbed)
    assert read_run(bench.run_path("ras4dg")).state == "DONE"


def test_the_same_run_twice_at_once_trains_once(bench):
    longer = (*LONG, "--set=training.epochs=400")  # the others start and look while it runs
    first = bench.start(*RUN, *longer)
    wait_for(lambda: epochs(bench) >= 1, "epoch 1", process=first)
    second, waiting = bench.start(*RUN, *longer), bench.start(*RUN, *longer, "--wait")
    output, _ = second.communicate(timeout=300)
    first_output, _ = first.communicate(timeout=300)
    waiting_output, _ = waiting.communicate(timeout=300)
    assert second.returncode == 3, output
    assert f"being worked on by process {first.pid}" in output
    assert first.returncode == 0, first_output
    assert waiting.returncode == 0, waiting_output
    assert "training" not in waiting_output
    assert "already done" in waiting_output


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


def test_a_disk_that_fills_up_loses_nothing(phantom_data, small_disk, undisturbed):
    bench = Bench(phantom_data, small_disk)
    process = bench.start(*RUN, *LONG)
    wait_for(lambda: epochs(bench) >= 5, "epoch 5", process=process)
    filler = small_disk / "filler"
    with filler.open("wb") as stream:
        free = os.statvfs(small_disk)
        stream.write(b"0" * (free.f_bavail * free.f_frsize - 4096))
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 2, output
    assert "no space left" in output
    assert "Traceback" not in output
    filler.unlink()
    finish(bench)
    assert_bitwise(weights(bench), undisturbed)


def test_a_disk_that_is_full_from_the_start(phantom_data, small_disk):
    (small_disk / "filler").write_bytes(b"0" * (13 << 20))
    bench = Bench(phantom_data, small_disk)
    process = bench.start(*RUN, *LONG)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 2, output
    assert "space" in output
    assert "Traceback" not in output


def test_a_checkpoint_of_another_run_is_refused(bench, tmp_path):
    process = bench.start(*RUN, *LONG)
    wait_for(lambda: epochs(bench) >= 2, "epoch 2", process=process)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=300)
    run = bench.run_path("ras4dg")
    other = Bench(bench.data, tmp_path / "other")
    process = other.start("run", "--method", "ras4dg", "--target", "phantom2d-b", "--seed", "1", *LONG)
    wait_for(lambda: epochs(other) >= 2, "epoch 2", process=process)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=300)
    shutil.copy(other.run_path("ras4dg") / "checkpoints" / "last.pt", run / "checkpoints" / "last.pt")
    output = finish(bench, expected=2)
    assert "belongs to another run (train_id:" in output


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
    assert checkpoints.load(torch.device("cpu"))["step"] == 1
    assert [path.name for path in folder.iterdir()] == ["last.pt"]
