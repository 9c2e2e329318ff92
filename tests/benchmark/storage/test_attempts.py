"""Starts of a run: recorded, and ended where they come to nothing."""

import json

import pytest

from ssdg.benchmark import environment
from ssdg.benchmark.errors import NoProgress
from ssdg.benchmark.storage.attempts import Attempts, last_start, read_record, start_here
from ssdg.benchmark.storage.run_folder import RunFolder

START = start_here()


def test_a_run_may_be_started_in_vain_so_often_and_no_more(tmp_path):
    for _ in range(3):
        Attempts(tmp_path, limit=3).begin(START, reset=False)
    with pytest.raises(NoProgress, match="started 3 times in a row without reaching a checkpoint"):
        Attempts(tmp_path, limit=3).begin(START, reset=False)
    Attempts(tmp_path, limit=3).begin(START, reset=True)
    assert read_record(tmp_path)["without_progress"] == 1


def test_progress_forgives_what_was_before(tmp_path):
    for _ in range(10):
        attempts = Attempts(tmp_path, limit=3)
        attempts.begin(START, reset=False)
        attempts.progressed()
    assert read_record(tmp_path)["without_progress"] == 0
    assert len(read_record(tmp_path)["starts"]) == 10


def test_what_was_no_fault_of_the_run_is_not_counted(tmp_path):
    for _ in range(3):
        attempts = Attempts(tmp_path, limit=1)
        attempts.begin(START, reset=False)
        attempts.forgive()
    assert len(read_record(tmp_path)["starts"]) == 3


def test_somebody_at_a_terminal_may_start_a_run_as_often_as_they_like(tmp_path):
    for _ in range(10):
        Attempts(tmp_path).begin(START, reset=False)


def test_a_start_says_where_and_by_whom(tmp_path):
    Attempts(tmp_path).begin(start_here(tmp_path / "a.log", "12_3", "cuda (X)"), reset=False)
    start = last_start(tmp_path)
    assert start is not None
    assert (start.job_id, start.log, start.device) == ("12_3", str(tmp_path / "a.log"), "cuda (X)")
    assert start.versions == environment.package_versions()
    assert start.code == environment.code_digest()
    assert last_start(tmp_path / "elsewhere") is None


def test_a_record_of_an_earlier_version_is_read_and_continued(tmp_path):
    old = {"time": "t", "host": "h", "commit": "c", "code": "d", "log": None, "slurm": "12_3"}
    (tmp_path / "starts.json").write_text(json.dumps({"without_progress": 1, "starts": [old]}))
    start = last_start(tmp_path)
    assert start is not None
    assert (start.job_id, start.host) == ("12_3", "h")
    Attempts(tmp_path, limit=3).begin(START, reset=False)
    assert read_record(tmp_path)["without_progress"] == 2
    assert [record.get("slurm") for record in read_record(tmp_path)["starts"]] == ["12_3", None]


def test_a_damaged_record_is_a_fresh_start(tmp_path):
    (tmp_path / "starts.json").write_text("{")
    Attempts(tmp_path, limit=3).begin(START, reset=False)
    assert read_record(tmp_path)["without_progress"] == 1


def test_failures_are_forgotten_once(tmp_path):
    store = RunFolder(tmp_path)
    assert store.clear_failure() is False
    store.mark("FAILED", {"message": "x"})
    assert store.clear_failure() is True
    assert store.clear_failure() is False
