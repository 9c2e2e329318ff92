"""Atomic writes: an old version survives every failure, and the disk's errors say what to do."""

import errno
import os
import threading
from pathlib import Path

import pytest

from ssdg.benchmark.errors import USAGE, StorageError
from ssdg.benchmark.storage.files import (
    atomic_file,
    make_folder,
    output_file,
    read_json,
    write_json,
    write_output,
    write_text,
)


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


def test_two_writers_with_one_pid_do_not_share_a_temporary_file(tmp_path):
    path = tmp_path / "a.txt"
    with atomic_file(path) as stream:
        stream.write(b"first")
        write_text(path, "second, which is longer")  # as by the process 1 of another container
        assert path.read_text() == "second, which is longer"
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_guard_that_raises_stops_the_rename(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, 1)

    def refuse():
        raise ValueError("taken over")

    with pytest.raises(ValueError, match="taken over"):
        write_json(path, 2, guard=refuse)
    assert read_json(path) == 1


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, r"no space left while writing .*a\.bin.*same command again"),
        (errno.EACCES, r"cannot write .*--results-root"),
        (errno.ESTALE, r"cannot write .*a\.bin: Stale file handle.*same command again"),
    ],
)
def test_what_keeps_a_file_from_being_written_is_named(tmp_path, number, message):
    def fail():
        with atomic_file(tmp_path / "a.bin"):
            raise OSError(number, os.strerror(number))

    with pytest.raises(StorageError, match=message):
        fail()


def test_a_name_that_cannot_be_is_wrong_use(tmp_path):
    with pytest.raises(StorageError, match=r"name too long.*Give another name") as refused:
        write_text(tmp_path / ("x" * 300), "")
    assert refused.value.exit_code == USAGE


def test_a_link_stays_and_its_target_is_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "table.md", tmp_path / "table.md"
    link.symlink_to("there/table.md")
    for text in ("new", "newer"):  # the target is not there at first
        write_output(link, text)
        assert link.is_symlink()
        assert target.read_text() == text

    def fail():
        with output_file(link) as stream:
            stream.write(b"half")
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        fail()
    assert target.read_text() == "newer"
    assert [path.name for path in target.parent.iterdir()] == ["table.md"]


def test_a_pipe_is_written_to_and_stays_one(tmp_path):
    pipe, received = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: received.append(pipe.read_text()), daemon=True)
    reader.start()
    write_output(pipe, "text")
    reader.join(10)
    assert received == ["text"]
    assert pipe.is_fifo()


def test_a_device_reached_by_a_link_stays_one(tmp_path):
    (tmp_path / "null").symlink_to(os.devnull)
    write_output(tmp_path / "null", "text")
    assert (tmp_path / "null").is_char_device()
    assert list(tmp_path.iterdir()) == [tmp_path / "null"]


def test_a_folder_in_the_way_and_a_name_too_long_are_named(tmp_path):
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder", tmp_path / ("x" * 250)):
        with pytest.raises(StorageError, match=r"cannot write .*Give another name"):
            write_text(path, "text")


def test_a_link_that_leads_nowhere_and_a_folder_that_cannot_be_made_are_named(tmp_path):
    link = tmp_path / "results"
    link.symlink_to(tmp_path / "disk")
    with pytest.raises(StorageError, match=rf"{link} is a link to {tmp_path / 'disk'}, which is not there"):
        write_text(link / "runs" / "a.txt", "text")
    with pytest.raises(StorageError, match="cannot make /proc/none"):
        make_folder(Path("/proc/none"))
