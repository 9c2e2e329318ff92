"""Atomic writes: an old version survives every failure, and the disk's errors say what to do."""

import errno

import pytest

from ssdg.benchmark.errors import StorageError
from ssdg.benchmark.storage.files import atomic_file, read_json, write_json, write_text


def test_a_failure_inside_leaves_the_old_file_and_no_temporary(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail():
        with atomic_file(path) as stream:
            stream.write(b"half")
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        fail()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_guard_that_raises_stops_the_rename(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, 1)

    def refuse():
        raise ValueError("taken over")

    with pytest.raises(ValueError, match="taken over"):
        write_json(path, 2, guard=refuse)
    assert read_json(path) == 1


def test_a_full_disk_is_named(tmp_path):
    def fill():
        with atomic_file(tmp_path / "big.bin"):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StorageError, match=r"no space left while writing .*big\.bin.*same command again"):
        fill()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")

    def forbid():
        with atomic_file(tmp_path / "a.txt"):
            raise PermissionError(errno.EACCES, "Permission denied")

    with pytest.raises(StorageError, match=r"cannot write .*--results-root"):
        forbid()
