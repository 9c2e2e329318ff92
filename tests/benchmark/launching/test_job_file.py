"""Jobs: their files never collide, and a file gives the job back."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ssdg.benchmark.errors import UsageError
from ssdg.benchmark.launching.job_file import Job, cancel_mark, job_file, last_lines, read_job, write_jobs
from ssdg.benchmark.launching.local import LocalLauncher
from ssdg.benchmark.spec import RunRequest
from ssdg.benchmark.storage.files import write_json
from ssdg.benchmark.training.runtime import Runtime

REQUEST = RunRequest(task="phantom2d", source="phantom2d-a", method="ras4dg", method_settings={"rass": False})
JOB = Job(request=REQUEST, targets=("phantom2d-b",), runtime=Runtime(data_root=Path("/d"), results_root=Path("/r")))


def test_rows_of_one_method_have_files_of_their_own():
    other = replace(JOB, request=replace(REQUEST, method_settings={"rms": False}))
    elsewhere = replace(JOB, request=replace(REQUEST, source="another"))
    assert JOB.name == other.name == "ras4dg s0"
    assert len({JOB.stem, other.stem, elsewhere.stem}) == 3
    assert "/" not in replace(JOB, request=replace(REQUEST, method="my/own.py:Class")).stem


def test_jobs_started_together_run_what_they_were_given(tmp_path, monkeypatch):
    given = []

    class Process:
        def __init__(self, command, **_):
            self.command = command

        pid = 0

        def poll(self):  # a process reads its file some time after the next one was started
            given.append(read_job(Path(self.command[self.command.index("run") + 1]), {}).request.method_settings)
            return 0

    monkeypatch.setattr("ssdg.benchmark.launching.local.subprocess.Popen", Process)
    settings = [{"rass": False}, {"rms": False}, {"rsd": False}]
    jobs = [replace(JOB, request=replace(REQUEST, method_settings=one)) for one in settings]
    LocalLauncher(at_once=3).run(write_jobs([job_file(tmp_path / "logs", job) for job in jobs]))
    assert given == settings


def test_jobs_at_the_same_time_have_slots_of_their_own(tmp_path, monkeypatch):
    slots, polls = [], iter([None, 0, None, None, 0, 0])  # the second of two ends first

    class Process:
        pid = 0

        def __init__(self, *_, env, **__):
            slots.append(env["BENCH_JOB_SLOT"])

        def poll(self):
            return next(polls)

    monkeypatch.setattr("ssdg.benchmark.launching.local.subprocess.Popen", Process)
    jobs = [replace(JOB, request=replace(REQUEST, seed=seed)) for seed in range(3)]
    LocalLauncher(at_once=2).run(write_jobs([job_file(tmp_path / "logs", job) for job in jobs]))
    assert slots == ["0", "1", "1"]


def test_a_job_is_named_by_its_row_and_survives_its_file(tmp_path):
    job = replace(JOB, row="without_rass")
    assert job.name == "without_rass s0"
    write_json(tmp_path / "job.json", job.data)
    assert read_job(tmp_path / "job.json", {}) == job


def test_a_job_that_adapts_to_a_target_need_not_score_it(tmp_path):
    adapting = replace(JOB, request=replace(REQUEST, method="cutmix", target="phantom2d-b"), targets=())
    write_json(tmp_path / "job.json", adapting.data)
    assert read_job(tmp_path / "job.json", {}).targets == ()
    spec = json.loads((tmp_path / "job.json").read_text())
    del spec["targets"]
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    assert read_job(tmp_path / "spec.json", {}).targets == ("phantom2d-b",)


def test_a_file_of_an_earlier_version_gives_the_same_job(tmp_path):
    job = replace(JOB, runtime=replace(JOB.runtime, threads=2, max_attempts=3))
    write_json(tmp_path / "job.json", job.data)
    data = json.loads((tmp_path / "job.json").read_text())
    place = data.pop("runtime")
    place["starts"] = place.pop("max_attempts")
    del place["job_id"]
    (tmp_path / "old.json").write_text(json.dumps({**data, "place": place}))
    assert read_job(tmp_path / "old.json", {}) == job


@pytest.mark.parametrize("key", ["runtime", "request"])
def test_a_file_of_a_newer_version_is_named_with_a_way_out(tmp_path, key):
    data = json.loads(json.dumps(JOB.data))
    data[key]["future"] = 1
    write_json(tmp_path / "job.json", data)
    with pytest.raises(UsageError, match=r"job\.json .*version"):
        read_job(tmp_path / "job.json", {})


def test_weights_are_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    jobs = [
        replace(JOB, request=replace(JOB.request, network=replace(JOB.request.network, weights=path)))
        for path in ("w.pt", "./w.pt", str(tmp_path / "w.pt"))
    ]
    assert {job.request.network.weights for job in jobs} == {str(tmp_path.resolve() / "w.pt")}
    assert len({job.training for job in jobs}) == 1


def test_a_file_is_never_changed_by_a_later_sweep(tmp_path):
    threads = [replace(JOB, runtime=replace(JOB.runtime, threads=count)) for count in (4, None, 4)]
    first, second, third = (write_jobs([job_file(tmp_path, job)])[0] for job in threads)
    assert first.path == third.path != second.path
    assert [read_job(file.path, {}).runtime.threads for file in (first, second)] == [4, None]
    assert {(file.log, file.failure) for file in (first, second)} == {
        (tmp_path / f"{JOB.stem}.log", tmp_path / f"{JOB.stem}.failed")
    }
    cancel_mark(first.path).touch()
    assert second.cancelled
    assert job_file(tmp_path, JOB).cancelled


def test_the_last_lines_of_a_log(tmp_path):
    log = tmp_path / "a.log"
    assert last_lines(log, 2) == []
    log.write_text("one\n\ntwo  \nthree\n\n")
    assert last_lines(log, 2) == ["two", "three"]
