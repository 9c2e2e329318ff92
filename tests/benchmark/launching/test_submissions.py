"""Sweeps on a cluster whose scheduler is a stand-in: submitted, watched, cancelled, and done by ``bench run``."""

import json
import os
import shutil
from pathlib import Path

import pytest

from ssdg.benchmark.errors import UsageError
from ssdg.benchmark.launching import submissions
from ssdg.benchmark.launching.job_file import read_jobs
from ssdg.benchmark.launching.registry import SCHEDULERS, current_job
from ssdg.benchmark.launching.scheduler import Limits, QueuedJob, Scheduler, Ticket
from ssdg.benchmark.launching.slurm.scheduler import Slurm
from ssdg.benchmark.launching.submissions import read_tickets, wait_until_over
from ssdg.benchmark.storage.attempts import last_start
from ssdg.benchmark.storage.lease import Lease

from ...suites import suite_file


class Fake:
    """A queue in memory, whose allocations do nothing by themselves."""

    name = "Fake"

    def __init__(self) -> None:
        self.jobs: dict[str, QueuedJob] = {}
        self.paths: dict[str, Path] = {}
        self.here: str | None = None
        self.answers, self.silent = True, 0  # silent: questions without an answer
        self.cancelled: list[list[str]] = []
        self.resources = []

    def submit(self, files, name, cluster, folder):
        self.resources.append((name, cluster.cpus, folder.name))
        for file in files:
            job_id = f"f.{len(self.paths)}"
            self.paths[job_id], self.jobs[job_id] = file.path, QueuedJob("HELD", True, "slow", name)
            yield [Ticket(self.name, job_id, folder / f"{job_id}.log", (file.path.stem,))]

    def queue(self):
        if not self.answers or self.silent:
            self.silent -= 1
            raise UsageError("fakestat is not on the path")
        return dict(self.jobs)

    def cancel(self, job_ids):
        self.cancelled.append(list(job_ids))
        for job_id in self.cancelled[-1]:
            self.jobs.pop(job_id, None)

    def limits(self):
        return Limits("fake 1", 7)

    def current_job(self):
        return self.here


@pytest.fixture
def fake(monkeypatch):
    scheduler: Scheduler = Fake()
    monkeypatch.setitem(SCHEDULERS, "fake", scheduler)
    monkeypatch.setattr(submissions, "CANCEL_POLL", 0.01)
    monkeypatch.setattr(submissions, "WAIT_POLL", 0.01)
    monkeypatch.setattr(submissions, "GRACE", 0.05)
    return scheduler


@pytest.fixture
def suite(tmp_path):
    return str(suite_file(tmp_path / "mine.toml", seeds=(0, 1), settings={"training.epochs": 1}))


def lines(bench, suite):
    return json.loads(bench("status", suite, "--json").stdout)


def test_a_sweep_is_submitted_once_and_seen_in_the_queue(bench, suite, fake):
    first = bench("sweep", suite, "--launcher", "fake", "--cpus", "3")
    assert first.exit_code == 0, first.output
    assert "submitted 1 runs as f.0\nsubmitted 1 runs as f.1\n" in first.output
    assert fake.resources == [("mine", 3, "fake")]
    assert "2 are in the queue already" in bench("sweep", suite, "--launcher", "fake").output
    assert len(fake.paths) == 2
    assert "Fake f.1 HELD (slow)" in bench("status", suite).output
    described = [(line["scheduler"], line["job_id"], line["slurm"], line["queue"]) for line in lines(bench, suite)]
    assert described == [("Fake", f"f.{i}", f"f.{i}", "HELD (slow)") for i in range(2)]
    assert ("fake", True, "fake 1, user ") in [(n, good, text[:13]) for n, good, text in findings(bench)]


def findings(bench):
    return [(found["name"], found["good"], found["text"]) for found in json.loads(bench("doctor", "--json").stdout)]


def test_what_leaves_the_queue_without_a_result_is_over_and_is_submitted_again(bench, suite, fake):
    bench("sweep", suite, "--launcher", "fake")
    del fake.jobs["f.0"]
    assert bench("status", suite).output.count("is over") == 1
    again = bench("sweep", suite, "--launcher", "fake")
    assert "1 are in the queue already" in again.output
    assert "submitted 1 runs as f.2" in again.output
    assert "is over" not in bench("status", suite).output


def test_cancel_takes_what_waits_at_once_and_what_runs_after_its_grace(bench, suite, fake):
    assert "nothing to cancel" in bench("cancel", suite).output
    bench("sweep", suite, "--launcher", "fake")
    fake.jobs["f.1"] = QueuedJob("RUNNING", False)
    output = bench("cancel", suite).output
    assert f"2 waiting taken from the queue; `bench sweep {suite}`" in output
    assert "2 allocations ended, 1 of them by force" in output
    assert fake.cancelled == [["f.0"], ["f.1"]]
    assert not fake.jobs
    assert "nothing to cancel" in bench("cancel", suite).output
    assert bench("status", suite).output.count("cancelled") == 2
    assert "submitted" in bench("sweep", suite, "--launcher", "fake").output, "a sweep takes a cancelling back"
    assert "cancelled" not in bench("status", suite).output


def test_a_scheduler_that_does_not_answer_is_named(bench, suite, fake):
    bench("sweep", suite, "--launcher", "fake")
    fake.answers = False
    output = bench("status", suite).output
    assert "fakestat is not on the path. The states are from the results folder alone" in output
    assert "is over" not in output, "nobody knows that"
    cancelled = bench("cancel", suite)
    assert cancelled.exit_code == 2
    assert "some jobs were submitted to Fake: fakestat is not on the path" in cancelled.output
    sweep = bench("sweep", suite, "--launcher", "fake")
    assert sweep.exit_code == 2
    assert "fakestat is not on the path" in sweep.output


@pytest.fixture
def wide(tmp_path):
    """A suite of one run and two targets."""
    columns = ("phantom2d-b", "phantom2d-c")
    return str(suite_file(tmp_path / "mine.toml", targets=columns, settings={"training.epochs": 1}))


@pytest.mark.parametrize("other", ["mine", "another"])
def test_a_training_that_is_queued_for_other_targets_is_not_submitted_twice(bench, wide, fake, tmp_path, other):
    if other == "mine":
        bench("sweep", wide, "--launcher", "fake", "--targets", "phantom2d-b")
    else:
        suite = suite_file(tmp_path / "another.toml", settings={"training.epochs": 1})
        bench("sweep", str(suite), "--launcher", "fake")
    damaged = bench.results / "logs" / "third" / "submissions" / "1.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{")
    second = bench("sweep", wide, "--launcher", "fake")
    assert "1.json is damaged" in second.output, "told, and of another suite"
    assert f"1 not submitted: jobs in the queue, of suite {other}, train the same" in second.output
    assert len(fake.jobs) == 1
    fake.jobs.clear()
    assert "submitted 1 runs" in bench("sweep", wide, "--launcher", "fake").output


def test_cancel_stops_a_training_whatever_targets_it_was_submitted_for(bench, wide, fake):
    bench("sweep", wide, "--launcher", "fake", "--targets", "phantom2d-b")
    output = bench("cancel", wide).output
    assert "1 allocations ended" in output
    assert "1 waiting taken from the queue" in output
    assert not fake.jobs
    assert "nothing to cancel" in bench("cancel", wide).output
    bench("sweep", wide, "--launcher", "fake")
    assert bench("cancel", wide, "--targets", "phantom2d-c").output.count("ended") == 1


def test_an_allocation_of_another_name_is_not_ours(bench, suite, fake):
    bench("sweep", suite, "--launcher", "fake")
    fake.jobs["f.0"] = QueuedJob("RUNNING", False, "", "another")  # of another suite, with an id used again
    assert bench("status", suite).output.count("is over") == 1
    bench("cancel", suite)
    assert list(fake.jobs) == ["f.0"]


def test_a_job_counts_as_queued_whatever_clocks_say(bench, suite, fake):
    bench("sweep", suite, "--launcher", "fake")
    records = sorted(bench.results.glob("logs/mine/submissions/fake-*.json"))
    late = json.loads(records[0].read_text()) | {"submitted": "2099-01-01T00:00:00+00:00"}
    records[0].write_text(json.dumps(late))
    del fake.jobs["f.0"]
    bench("sweep", suite, "--launcher", "fake")  # on a login node whose clock is behind
    assert "2 are in the queue already" in bench("sweep", suite, "--launcher", "fake").output
    assert list(fake.jobs) == ["f.1", "f.2"]
    assert "Fake f.2 HELD" in bench("status", suite).output
    fake.jobs.clear()
    assert "Fake f.2 is over" in bench("status", suite).output


def test_waiting_outlives_a_scheduler_that_does_not_answer_at_times(bench, suite, fake, monkeypatch):
    bench("sweep", suite, "--launcher", "fake")
    folder = bench.results / "logs" / "mine"
    files = read_jobs(folder)
    fake.silent = 2
    naps = []

    def sleep(seconds):
        naps.append(seconds)
        if len(naps) > 2:
            fake.jobs.clear()

    monkeypatch.setattr(submissions.time, "sleep", sleep)
    wait_until_over(fake, files, folder)
    assert len(naps) == 3
    monkeypatch.setattr(submissions, "PATIENCE", 0.0)
    fake.answers = False
    with pytest.raises(UsageError, match="fakestat"):
        wait_until_over(fake, files, folder)


def test_watching_asks_a_queue_a_few_times_a_minute(bench, suite, fake, monkeypatch):
    naps = []

    def sleep(seconds):
        naps.append(seconds)
        raise KeyboardInterrupt

    monkeypatch.setattr("ssdg.benchmark.cli.status.time.sleep", sleep)
    bench("status", suite, "--watch")
    bench("sweep", suite, "--launcher", "fake")
    bench("status", suite, "--watch")
    assert naps[0] < 10 <= naps[1]


def test_a_job_file_is_done_by_the_allocation_and_names_it(bench, suite, fake):
    bench("sweep", suite, "--launcher", "fake")
    fake.here = "f.0"
    done = bench("run", str(fake.paths["f.0"]))
    assert done.exit_code == 0, done.output
    refused = bench("run", str(fake.paths["f.1"]), "--device", "cuda:7")
    assert "--device cuda:7: this machine has no such" in refused.output, "what the command line says holds"
    [run] = bench.results.glob("runs/*/erm/*")
    start = last_start(run)
    assert start is not None
    assert start.job_id == "f.0"
    assert sorted(line["state"] for line in lines(bench, suite)) == ["DONE", "QUEUED"]
    fake.jobs.clear()
    (run / "DONE").unlink()
    shutil.rmtree(run / "evaluations")
    with Lease(run):  # as if `bench run`, which reads no mark of a suite's, worked on it
        assert "erm s0 goes on: `bench run` on " in bench("cancel", suite).output
        starts = json.loads((run / "starts.json").read_text())
        starts["starts"][-1]["log"] = "results/logs/another/erm-s0.log"
        (run / "starts.json").write_text(json.dumps(starts))
        output = bench("cancel", suite).output
        assert "erm s0 goes on: a job of suite another works on it; `bench cancel another` stops it" in output
        assert "nothing to cancel: no run of" in output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--partition", "gpu", "--time", "240", "--cpus", "7"), "--partition, --time: for a cluster"),
        (("--launcher", "fake", "--jobs", "7"), "--jobs counts the runs of this machine"),
    ],
)
def test_options_of_another_launcher_are_refused(bench, suite, fake, options, message):
    result = bench("sweep", suite, *options)
    assert result.exit_code == 2
    assert message in result.output
    assert not (bench.results / "logs").exists()


SQUEUE = """#!/bin/sh
case "$*" in *--user\\ {user}\\ *) ;; *) exit 1;; esac
echo "1_0|PENDING|Resources|bench-mine"
echo "2|RUNNING|None|jupyter"
"""


def test_slurm_is_asked_for_the_jobs_of_suites_and_of_a_user_without_a_name(monkeypatch, tmp_path):
    for name in ("squeue", "sbatch"):
        (tmp_path / name).write_text(SQUEUE.format(user=os.getuid()))
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Slurm().queue() == {"1_0": QueuedJob("PENDING", True, "Resources", "mine")}


def test_a_launcher_that_does_not_exist_is_refused(bench, suite):
    result = bench("sweep", suite, "--launcher", "slrum")
    assert result.exit_code == 2
    assert "did you mean 'slurm'" in result.output


def test_the_allocation_of_a_process(monkeypatch):
    for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    assert current_job() is None
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert Slurm().current_job() == current_job() == "17"
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert current_job() == "12_3"


def test_a_record_of_an_earlier_version_is_read(tmp_path):
    (tmp_path / "submissions").mkdir()
    allocations = [{"slurm": "12_0", "log": "/logs/a.out", "stems": ["a", "b"]}]
    old = {"submitted": "2025-01-01T00:00:00+00:00", "allocations": allocations}
    (tmp_path / "submissions" / "12.json").write_text(json.dumps(old))
    (tmp_path / "submissions" / "lease.1.json").write_text("{}")
    ticket = Ticket("Slurm", "12_0", Path("/logs/a.out"), ("a", "b"))
    assert read_tickets(tmp_path) == [ticket]


@pytest.mark.parametrize("text", ["{", "[]", '{"submitted": "x", "allocations": [{"log": "a"}]}'])
def test_a_damaged_record_of_a_submission_is_named(tmp_path, text):
    (tmp_path / "submissions").mkdir()
    (tmp_path / "submissions" / "12.json").write_text(text)
    with pytest.raises(UsageError, match=r"12\.json is damaged"):
        read_tickets(tmp_path)
