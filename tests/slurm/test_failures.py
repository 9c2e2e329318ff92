"""What goes wrong in a sweep on a cluster is named, hides nothing else, and can be tried again."""

import contextlib
import shutil
import subprocess
from dataclasses import replace

import pytest

from .sweeping import Sweep

FRAGILE = """
from pathlib import Path
from ssdg.methods.base import Method

class Raises(Method):
    "Raises while a file is there."

    def training_step(self, batch, context):
        if Path({marker!r}).exists():
            raise RuntimeError("broke on purpose")
        return super().training_step(batch, context)

class Explodes(Method):
    "Turns to NaN while a file is there."

    def training_step(self, batch, context):
        terms = dict(super().training_step(batch, context))
        if Path({marker!r}).exists():
            terms["boom"] = terms["segmentation"] * float("nan")
        return terms

class Stuck(Method):
    "Never takes a step while a file is there."

    def training_step(self, batch, context):
        import time
        while Path({marker!r}).exists():
            time.sleep(0.1)
        return super().training_step(batch, context)
"""

LAUNCH = ("--cpus", "1", "--time", "30")


@pytest.fixture
def marker(tmp_path):
    path = tmp_path / "break"
    path.touch()
    return path


@pytest.fixture
def options(tmp_path, marker):
    plugin = tmp_path / "fragile.py"
    plugin.write_text(FRAGILE.format(marker=str(marker)))
    return ("--plugin", str(plugin))


def test_a_run_that_raises_and_one_that_diverges_stop_no_other(
    cluster, phantom_data, tmp_path, marker, options, costs
):
    sweep = Sweep(cluster, phantom_data, tmp_path / "sweep", options, LAUNCH).write("raises", "explodes", "erm")
    sweep("sweep", "--wait", expect=1)
    assert sweep.states() == {"raises s0": "FAILED", "explodes s0": "DIVERGED", "erm s0": "DONE"}
    said = sweep("status", expect=1)
    assert "broke on purpose" in said
    assert "step 0: term 'boom' is nan" in said
    assert "RuntimeError: broke on purpose" in said, "the tail of the log is shown"
    assert "is over" not in said, "what failed is not what got lost"
    assert "0 to do" in sweep("sweep"), "what failed is left to retry"
    marker.unlink()
    sweep("retry", "--wait")
    assert set(sweep.states().values()) == {"DONE"}
    costs(sweep)


def test_a_corrupt_file_is_named_and_mended(cluster, phantom_data, tmp_path, costs):
    data = tmp_path / "data"
    shutil.copytree(phantom_data, data)
    image = data / "phantom2d" / "b" / "image" / "b-02.png"
    good = image.read_bytes()
    image.write_bytes(good[:100])
    sweep = Sweep(cluster, data, tmp_path / "sweep", (), LAUNCH).write("erm")
    sweep("sweep", "--wait", expect=1)
    assert image.name in sweep("status", expect=1)
    assert sweep.states() == {"erm s0": "FAILED"}
    image.write_bytes(good)
    sweep("retry", "--wait")
    assert sweep.states() == {"erm s0": "DONE"}
    costs(sweep)


def test_a_disk_that_fills_up_is_named_and_loses_nothing(cluster, phantom_data, tmp_path, costs):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)], check=True)
    try:
        sweep = Sweep(cluster, phantom_data, disk, (), LAUNCH).write("erm", seeds=2, epochs=300)
        sweep("sweep")
        cluster.wait_for("both runs to train", lambda: len(sweep.training()) == 2)
        filler = disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as stream:
            while stream.write(bytes(1 << 16)):
                pass
        cluster.wait_until_empty()
        assert "no space left" in sweep("status", expect=1 if "FAILED" in sweep.states().values() else 3)
        filler.unlink()
        sweep("retry", "--state", "failed,diverged,stale", "--wait")
        assert set(sweep.states().values()) == {"DONE"}
        costs(sweep)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_requeues_without_progress_end_in_a_failure_that_says_so(
    cluster, phantom_data, tmp_path, marker, options, costs
):
    sweep = Sweep(cluster, phantom_data, tmp_path / "sweep", options, LAUNCH).write("stuck")
    sweep("sweep")

    def begun(start):
        checkpoints = sweep.results.glob("runs/*/*/*/checkpoints/last.pt")
        return list(sweep.starts().values()) == [start] and sweep.owners() and list(checkpoints)

    for start in range(1, 5):  # the first prepares the data, which is progress
        cluster.wait_for(f"start {start}", lambda n=start: begun(n))
        [job] = cluster.queue()
        cluster.run("scontrol", "requeue", job)
        cluster.wait_for("the run to stop", lambda: not sweep.owners())
    cluster.wait_until_empty()
    assert sweep.states() == {"stuck s0": "FAILED"}
    assert "started 3 times in a row without reaching a checkpoint" in sweep("status", expect=1)
    marker.unlink()
    sweep("retry", "--wait")
    assert sweep.states() == {"stuck s0": "DONE"}
    costs(sweep)


def test_what_slurm_refuses_is_told_in_one_line(cluster, phantom_data, tmp_path):
    sweep = Sweep(cluster, phantom_data, tmp_path / "sweep", (), LAUNCH).write("erm")
    output = replace(sweep, launch=("--partition", "nowhere"))("sweep", expect=2)
    assert "Slurm refused the allocations" in output
    assert "partition" in output
    assert "Traceback" not in output
    assert sweep.states() == {"erm s0": "QUEUED"}
