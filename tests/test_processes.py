"""What a test starts ends with it, whichever way the test ends; and a wait ends on progress, not on time."""

import signal
import sys
from pathlib import Path

import pytest

from . import waiting
from .processes import KILLED_WITH_US, Process, ending_with
from .waiting import wait_for

ROOT = Path(__file__).resolve().parents[1]

INNER = """
import subprocess, time
from pathlib import Path
from tests.processes import Process

def test_that_starts_processes():
    # One in a session of its own, whose parent is gone, and one by other means than ours.
    Process(["sh", "-c", "setsid sleep 1000 & echo $! $$ > {folder}/first; exec sleep 1000"])
    other = subprocess.Popen(["sleep", "1000"])
    Path("{folder}/second").write_text(str(other.pid))
    while not Path("{folder}/first").exists() or not Path("{folder}/first").read_text():
        time.sleep(0.01)
    other.returncode = 0  # nobody waits for it any more
    Path("{folder}/ready").touch()
    {ending}
"""


def run_inner(folder, ending):
    """Start pytest on a test with an ending."""
    (folder / "test_inner.py").write_text(INNER.format(folder=folder, ending=ending))
    options = ("-q", "-p", "no:cacheprovider", "-p", "tests.processes", "--rootdir", str(folder), "--noconftest")
    command = [sys.executable, "-m", "pytest", *options, str(folder / "test_inner.py")]
    return Process(command, {"PYTHONPATH": str(ROOT)})


def assert_gone(folder):
    pids = [int(pid) for name in ("first", "second") for pid in (folder / name).read_text().split()]
    assert len(pids) == 3
    wait_for(lambda: not any(runs(pid) for pid in pids), "the end of the inner test's processes")


def runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_test_that_fails_leaves_no_process(tmp_path):
    run_inner(tmp_path, "assert False").finish(expected=1)
    assert_gone(tmp_path)


def test_a_test_that_is_interrupted_leaves_no_process(tmp_path):
    process = run_inner(tmp_path, "time.sleep(1000)")
    process.until((tmp_path / "ready").exists, "the inner test's processes")
    process.send_signal(signal.SIGINT)
    process.finish(expected=2)
    assert_gone(tmp_path)


@pytest.mark.skipif(not KILLED_WITH_US, reason="no setpriv on the path")
def test_a_process_of_ours_is_killed_with_pytest_itself(tmp_path):
    process = run_inner(tmp_path, "time.sleep(1000)")
    process.until((tmp_path / "ready").exists, "the inner test's processes")
    _orphan, ours = map(int, (tmp_path / "first").read_text().split())
    process.kill()
    wait_for(lambda: not runs(ours), "the end of the process")


def test_marks_nest():
    with ending_with():
        with ending_with():
            process = Process(["sleep", "1000"])
        assert process.returncode == -signal.SIGKILL
        process = Process(["sh", "-c", "setsid -f sh -c 'echo $$; exec sleep 1000'"])
        process.finish()
        process.until(process.output, "the orphan")
        orphan = int(process.output())
        assert runs(orphan)
    assert not runs(orphan)


def test_a_wait_goes_on_while_something_moves(monkeypatch):
    monkeypatch.setattr(waiting, "STILL", 0.2)
    monkeypatch.setattr(waiting, "LOOKS", 1)
    moves = iter(range(100))
    wait_for(lambda: next(moves) > 20, "the 20th look", progress=lambda: next(moves))


def test_a_wait_ends_when_nothing_moves(monkeypatch):
    monkeypatch.setattr(waiting, "STILL", 0.2)
    monkeypatch.setattr(waiting, "LOOKS", 1)
    process = Process(["sh", "-c", "echo hello; exec sleep 1000"])
    with pytest.raises(AssertionError, match=r"waited for nothing, and nothing moved any more; printed: hello"):
        process.until(lambda: False, "nothing")


def test_a_wait_ends_with_the_process(tmp_path):
    with pytest.raises(AssertionError, match="ended before the moon: hello"):
        Process(["echo", "hello"]).until(lambda: False, "the moon")


def test_a_wait_has_an_end(monkeypatch):
    monkeypatch.setattr(waiting, "CEILING", 0.2)
    monkeypatch.setattr(waiting, "LOOKS", 1)
    moves = iter(range(100))
    with pytest.raises(AssertionError, match="for an hour"):
        wait_for(lambda: False, "nothing", progress=lambda: next(moves))


def test_computing_counts_as_progress():
    before = waiting.processor_seconds()
    Process(["timeout", "600", "sh", "-c", "while :; do :; done"]).until(
        lambda: waiting.processor_seconds() > before, "a second of the processor"
    )
