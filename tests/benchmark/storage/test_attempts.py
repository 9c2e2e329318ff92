"""Starts of a run: recorded, and ended where they come to nothing."""

import pytest

from ssdg.benchmark.errors import NoProgress
from ssdg.benchmark.storage import environment
from ssdg.benchmark.storage.attempts import Attempts, last_start, read_record
from ssdg.benchmark.storage.run_folder import RunFolder

START = environment.start(None)


def test_a_run_may_be_started_in_vain_so_often_and_no_more(tmp_path):
    for _ in range(3):
        Attempts(tmp_path, limit=3).begin(START, forgive=False)
    with pytest.raises(NoProgress, match="started 3 times in a row without reaching a checkpoint"):
        Attempts(tmp_path, limit=3).begin(START, forgive=False)
    Attempts(tmp_path, limit=3).begin(START, forgive=True)
    assert read_record(tmp_path)["without_progress"] == 1


def test_progress_forgives_what_was_before(tmp_path):
    for _ in range(10):
        attempts = Attempts(tmp_path, limit=3)
        attempts.begin(START, forgive=False)
        attempts.progressed()
    assert read_record(tmp_path)["without_progress"] == 0
    assert len(read_record(tmp_path)["starts"]) == 10


def test_somebody_at_a_terminal_may_start_a_run_as_often_as_they_like(tmp_path):
    for _ in range(10):
        Attempts(tmp_path).begin(START, forgive=False)


def test_a_start_says_where_and_by_whom(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    Attempts(tmp_path).begin(environment.start(tmp_path / "a.log"), forgive=False)
    start = last_start(tmp_path)
    assert start is not None
    assert (start.slurm, start.log) == ("12_3", str(tmp_path / "a.log"))
    assert start.code == environment.code_digest()
    assert last_start(tmp_path / "elsewhere") is None


def test_a_damaged_record_is_a_fresh_start(tmp_path):
    (tmp_path / "starts.json").write_text("{")
    Attempts(tmp_path, limit=3).begin(START, forgive=False)
    assert read_record(tmp_path)["without_progress"] == 1


def test_failures_are_forgotten_once(tmp_path):
    store = RunFolder(tmp_path)
    assert store.clear_failure() is False
    store.mark("FAILED", {"message": "x"})
    assert store.clear_failure() is True
    assert store.clear_failure() is False
