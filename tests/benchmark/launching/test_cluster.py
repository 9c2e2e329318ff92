"""Resources of allocations, and how a sweep's jobs become arrays of Slurm."""

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import submitit

from ssdg.benchmark.errors import UsageError
from ssdg.benchmark.launching.cluster import Cluster, read_cluster
from ssdg.benchmark.launching.job_file import Job, job_file
from ssdg.benchmark.launching.slurm import submit as slurm
from ssdg.benchmark.spec import RunRequest
from ssdg.benchmark.training.runtime import Runtime

PROFILE = """
partition = "gpu"
time = 600
gres = "gpu:1"
max_parallel = 4
setup = "module load cuda"

[sbatch]
nice = 100
"""


def test_a_profile_is_read_and_the_command_line_comes_on_top(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(PROFILE)
    cluster = read_cluster(path, {"time": 30, "partition": None, "setup": ()})
    expected = Cluster(partition="gpu", time=30, gres="gpu:1", max_parallel=4, setup=("module load cuda",))
    assert cluster == replace(expected, sbatch={"nice": 100})
    assert read_cluster(None, {}) == Cluster()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("partitoin = 'gpu'", "did you mean 'partition'"),
        ("time = 'soon'", "HH:MM:SS"),
        ("time = true", "expected a whole number"),
        ("memory = '16 apples'", "16G"),
        ("time = 0", "at least 1"),
        ("sbatch = 3", "table of options"),
        ("time = ", "cluster profile .* is not TOML"),
    ],
)
def test_a_wrong_profile_is_named(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message) as error:
        read_cluster(path, {})
    assert "mine.toml" in str(error.value) or "cluster.time" in str(error.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90", 90),
        ("90:30", 91),
        ("24:00:00", 24 * 60),
        ("00:00:01", 1),
        ("2-0", 2 * 24 * 60),
        ("1-12:30", 24 * 60 + 12 * 60 + 30),
        ("1-00:00:00", 24 * 60),
    ],
)
def test_a_time_is_read_as_slurm_reads_it(tmp_path, text, expected):
    assert read_cluster(None, {"time": text}).time == expected
    path = tmp_path / "mine.toml"
    path.write_text(f'time = "{text}"')
    assert read_cluster(path, {}).time == expected


def test_a_time_without_quotes_is_a_time_of_the_day_for_toml(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("time = 12:30:00")
    assert read_cluster(path, {}).time == 12 * 60 + 30


@pytest.mark.parametrize(
    ("text", "expected"), [("16", 16), ("16G", 16), ("16gb", 16), ("16 GiB", 16), ("1500M", 2), ("1T", 1024)]
)
def test_memory_is_read_with_its_unit(text, expected):
    assert read_cluster(None, {"memory": text}).memory == expected


@pytest.mark.parametrize("options", [{"time": "0"}, {"time": "-5"}, {"memory": "0G"}, {"time": "1:2:3:4"}])
def test_no_time_and_no_memory_are_refused(options):
    with pytest.raises(UsageError, match=rf"cluster\.{next(iter(options))}"):
        read_cluster(None, options)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_profile_of_a_windows_editor(tmp_path, encoding):
    path = tmp_path / "mine.toml"
    path.write_bytes(PROFILE.replace("\n", "\r\n").encode(encoding))
    assert read_cluster(path, {}).partition == "gpu"


@pytest.mark.parametrize(("time", "delay"), [(1, 15), (4, 60), (10, 120), (600, 120)])
def test_runs_are_told_of_the_end_in_good_time_but_not_at_the_start(time, delay):
    assert Cluster(time=time).delay == delay


@pytest.mark.parametrize(
    ("python", "started"),
    [(None, sys.executable), ("apptainer exec bench.sif python", "apptainer exec bench.sif python")],
)
def test_an_allocation_starts_this_python_or_the_profiles(tmp_path, monkeypatch, python, started):
    monkeypatch.setattr(submitit.SlurmExecutor, "affinity", lambda *_: 1)
    executor = slurm.make_executor("suite", Cluster(python=python), tmp_path, None, None)
    assert executor._executor._submitit_command_str.startswith(f"{started} -u -m submitit")


@pytest.fixture
def submitted(monkeypatch):
    """What a cluster with arrays of at most 6 was given, by a stand-in for submitit."""
    arrays = []

    class Executor:
        def map_array(self, _allocation, paths):
            arrays.append(list(paths))
            ids = [f"{len(arrays)}_{i}" for i in range(len(paths))] if len(paths) > 1 else [str(len(arrays))]
            return [SimpleNamespace(job_id=name, paths=SimpleNamespace(stdout=f"/logs/{name}.out")) for name in ids]

    made = []

    def make(*arguments):
        made.append(arguments[-2:])  # parallel, dependency
        return Executor()

    monkeypatch.setattr(slurm, "make_executor", make)
    return SimpleNamespace(arrays=arrays, made=made)


def files(folder, count):
    runtime = Runtime(data_root=Path("/d"), results_root=Path("/r"))
    requests = [RunRequest(task="t", source="s", method="erm", seed=seed) for seed in range(count)]
    return [job_file(folder, Job(request=request, targets=("x",), runtime=runtime)) for request in requests]


@pytest.mark.parametrize(
    ("runs", "pack", "lengths"), [(1, 1, [1]), (6, 1, [6]), (7, 1, [4, 3]), (14, 2, [4, 3]), (13, 1, [4, 5, 4])]
)
def test_jobs_are_packed_and_arrays_are_cut(tmp_path, submitted, runs, pack, lengths):
    jobs = files(tmp_path, runs)
    tickets = [ticket for array in slurm.submit(jobs, "suite", Cluster(pack=pack), tmp_path, 6) for ticket in array]
    assert sorted(map(len, submitted.arrays)) == sorted(lengths)
    assert [path for array in submitted.arrays for group in array for path in group] == [
        str(file.path) for file in jobs
    ]
    assert [stem for ticket in tickets for stem in ticket.stems] == [file.path.stem for file in jobs]


@pytest.mark.parametrize(
    ("parallel", "expected"),
    [
        (None, [(None, None)] * 3),
        (8, [(2, None), (3, None), (3, None)]),
        (2, [(1, None), (1, None), (1, "afterany:1")]),
    ],
)
def test_all_arrays_together_keep_the_number_of_allocations(tmp_path, submitted, parallel, expected):
    list(slurm.submit(files(tmp_path, 13), "suite", Cluster(max_parallel=parallel), tmp_path, 6))
    assert submitted.made == expected
