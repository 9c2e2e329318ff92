"""The cluster does what the other tests of this folder rely on."""

from pathlib import Path

import pytest

from .cluster import Cluster, until_exists


def test_a_job_runs_with_srun_and_its_number_in_the_environment(cluster: Cluster, tmp_path: Path) -> None:
    job = cluster.submit(f"srun printenv SLURM_JOB_ID > {tmp_path}/ran")
    cluster.wait_until_empty()
    assert (tmp_path / "ran").read_text() == f"{job}\n"


def test_a_job_of_high_preempts_one_of_low_which_starts_again_and_finishes(cluster: Cluster, tmp_path: Path) -> None:
    log = tmp_path / "log"
    first = 'test -n "$SLURM_RESTART_COUNT" || exec sleep 300'
    script = f"echo start $SLURM_RESTART_COUNT >> {log}; {first}; echo end >> {log}"
    low = cluster.submit(script, "--partition=low", f"--cpus-per-task={cluster.cpus}", "--requeue")
    cluster.wait_for("start", log.exists)
    seen = tmp_path / "seen"
    held = f"echo high >> {log}; {until_exists(seen)}"
    high = cluster.submit(held, "--partition=high", "--time=5")
    cluster.wait_for("requeue", lambda: cluster.queue().get(low) == "PENDING")
    assert high in cluster.queue()
    seen.touch()
    cluster.wait_until_empty()
    assert log.read_text().split("\n") == ["start", "high", "start 1", "end", ""]


def test_an_array_beyond_the_largest_index_is_refused(cluster: Cluster) -> None:
    assert f"MaxArraySize            = {cluster.max_array_size}" in cluster.run("scontrol", "show", "config")
    with pytest.raises(RuntimeError, match="Invalid job array specification"):
        cluster.submit("true", f"--array=0-{cluster.max_array_size}")
    job = cluster.submit("sleep 300", f"--array=0-{cluster.max_array_size - 1}", "--hold")
    assert cluster.queue() == {f"{job}_{index}": "PENDING" for index in range(cluster.max_array_size)}
