"""One writer per folder: takeover, races, and an owner that wakes up too late."""

import errno
import json
import multiprocessing
import os
import sys
from types import SimpleNamespace

import pytest

from ssdg.benchmark.errors import LeaseHeld, LeaseLost, StorageError
from ssdg.benchmark.storage import lease as leases
from ssdg.benchmark.storage.lease import Lease, is_gone, read_owner

from ...processes import Process
from ...waiting import wait_for


def foreign_lease(folder, token=1, **changes):
    """Write the lease of an owner on another machine."""
    record = {"id": "other", "place": "elsewhere", "host": "node7", "pid": 4, "started": "9", "counter": 3}
    # By a rename: a reader that met half of it would take that for a beat.
    (folder / "new").write_text(json.dumps({**record, **changes}))
    (folder / "new").replace(folder / f"lease.{token}.json")


def names(folder):
    return [path.name for path in folder.iterdir()]


def test_a_lease_is_held_and_given_back(tmp_path):
    with Lease(tmp_path) as lease:
        lease.check()
        assert read_owner(tmp_path).pid > 0
    assert read_owner(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_live_owner_keeps_others_out(tmp_path):
    with Lease(tmp_path), pytest.raises(LeaseHeld, match="being worked on by process"):
        Lease(tmp_path).__enter__()


def test_a_waiting_process_gets_the_lease_when_it_is_free(tmp_path):
    first, looks = Lease(tmp_path).__enter__(), []

    def look():
        looks.append(read_owner(tmp_path).id)
        if len(looks) == 3:
            first.__exit__()

    with Lease(tmp_path, wait=float("inf"), patience=0.1, look=look) as second:
        assert looks == [first._id] * 3
        assert read_owner(tmp_path).id == second._id


def test_a_killed_owner_on_this_machine_is_replaced_at_once(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from ssdg.benchmark.storage.lease import Lease\n"
        "Lease(Path(sys.argv[1])).__enter__(); print('held', flush=True); time.sleep(10000)"
    )
    child = Process([sys.executable, "-P", "-c", code, str(tmp_path)])
    child.until(lambda: "held" in child.output(), "the lease")
    assert not is_gone(read_owner(tmp_path))
    child.kill()
    child.wait()
    with Lease(tmp_path, look=lambda: pytest.fail("it was waited for")) as lease:
        assert lease.token == 2
    assert read_owner(tmp_path) is None


def test_a_silent_owner_elsewhere_is_replaced_after_patience(tmp_path):
    foreign_lease(tmp_path)
    with Lease(tmp_path, patience=0.3) as lease:
        assert lease.token == 2
        assert names(tmp_path) == ["lease.2.json"]


def test_a_beating_owner_elsewhere_is_left_alone(tmp_path):
    foreign_lease(tmp_path, counter=0)
    looks = []

    def look():
        assert names(tmp_path) == ["lease.1.json"]
        looks.append(1)
        if len(looks) % 10 == 0:  # within the patience of twelve looks
            foreign_lease(tmp_path, counter=len(looks))

    with pytest.raises(LeaseHeld, match="by process 4 on node7"):
        Lease(tmp_path, patience=0.1, look=look).__enter__()
    assert len(looks) == 10, "the first beat decides"
    assert names(tmp_path) == ["lease.1.json"], "nobody has tried to take over"


def test_the_owner_elsewhere_is_waited_for_as_long_as_it_beats(tmp_path):
    foreign_lease(tmp_path)
    looks = []

    def look():
        looks.append(1)
        if len(looks) == 60:
            (tmp_path / "lease.1.json").unlink()
        elif len(looks) < 60 and len(looks) % 5 == 0:
            foreign_lease(tmp_path, counter=len(looks))

    with Lease(tmp_path, wait=float("inf"), patience=0.1, look=look) as lease:
        assert lease.token == 1, "a free folder is not taken over"
        assert len(looks) >= 60


def test_a_stall_of_the_observer_is_not_the_silence_of_the_owner(tmp_path, monkeypatch):
    foreign_lease(tmp_path, counter=0)
    clock = [0.0]

    def stalled(seconds):
        clock[0] += 3600.0  # the observer was suspended; the owner beats when both go on
        if clock[0] > 3 * 3600.0:
            foreign_lease(tmp_path, counter=1)

    monkeypatch.setattr(leases, "time", SimpleNamespace(monotonic=lambda: clock[0], sleep=stalled))
    with pytest.raises(LeaseHeld):
        Lease(tmp_path).__enter__()
    assert names(tmp_path) == ["lease.1.json"]


def test_an_owner_that_wakes_after_a_takeover_may_not_write(tmp_path):
    with Lease(tmp_path) as lease:
        foreign_lease(tmp_path, token=2)
        with pytest.raises(LeaseLost, match="taken over by process 4 on node7"):
            lease.check()
    assert read_owner(tmp_path).id == "other", "leaving must not remove the new owner's lease"


def test_an_owner_whose_successor_is_done_may_not_write(tmp_path):
    with Lease(tmp_path) as lease:
        (tmp_path / "lease.1.json").unlink()
        with pytest.raises(LeaseLost):
            lease.check()


def test_an_unreadable_lease_counts_as_held_until_patience_runs_out(tmp_path):
    (tmp_path / "lease.1.json").write_text("")
    with Lease(tmp_path, patience=0.3) as lease:
        assert lease.token == 2


def test_an_empty_lease_is_gone_once_it_is_old(tmp_path):
    file = tmp_path / "lease.1.json"
    file.touch()
    assert not is_gone(read_owner(tmp_path))
    os.utime(file, (0, 0))
    assert is_gone(read_owner(tmp_path))


def test_a_lease_that_cannot_be_written_is_not_left_empty(tmp_path, monkeypatch):
    def full(_lease, _counter):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Lease, "_record", full)
    with pytest.raises(StorageError, match="no space left while writing"):
        Lease(tmp_path).__enter__()
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("host", "boot", "machine", "gone"),
    [
        ("here", "before", None, True),  # by an earlier version
        ("here", "before", "id-1", True),
        ("here", "before", "id-2", False),  # another machine of that name
        ("there", "before", "id-1", False),  # an image of one id for all nodes
        ("localhost", "before", None, False),
        ("here", "now", None, False),  # another container of this boot
    ],
)
def test_an_owner_of_before_the_machine_restarted_is_gone(tmp_path, monkeypatch, host, boot, machine, gone):
    own = "localhost" if host == "localhost" else "here"
    monkeypatch.setattr(leases, "_place", lambda: f"{own}|now|pid:[1]|id-1")
    parts = [host, boot, "pid:[2]", *([] if machine is None else [machine])]
    foreign_lease(tmp_path, place="|".join(parts), host=host)
    assert is_gone(read_owner(tmp_path)) is gone


def test_of_a_process_that_proc_hides_patience_decides(tmp_path, monkeypatch):
    """Another user's, where /proc is mounted with hidepid; its lease is one of an earlier version."""

    def refuse(pid, _signal):
        raise PermissionError if pid == 4 else ProcessLookupError

    monkeypatch.setattr(leases, "started", lambda pid: "" if pid in (4, 5) else "1")
    monkeypatch.setattr(leases, "os", SimpleNamespace(**{**vars(os), "kill": refuse}))
    place = leases._place().rpartition("|")[0]
    foreign_lease(tmp_path, pid=5, place=place)
    assert is_gone(read_owner(tmp_path))
    foreign_lease(tmp_path, place=place)
    assert not is_gone(read_owner(tmp_path))
    beats = iter(range(9, 10**9))
    with pytest.raises(LeaseHeld):
        Lease(
            tmp_path, patience=0.1, look=lambda: foreign_lease(tmp_path, place=place, counter=next(beats))
        ).__enter__()
    with Lease(tmp_path, patience=0.1) as lease:
        assert lease.token == 2


def test_the_counter_beats(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "INTERVAL", 0.01)
    with Lease(tmp_path) as lease:
        first = read_owner(tmp_path)
        wait_for(lambda: read_owner(tmp_path).counter > first.counter + 10, "ten beats")
        assert read_owner(tmp_path).id == first.id
        lease.check()
        assert names(tmp_path) == ["lease.1.json"]


def test_a_reader_never_meets_half_a_beat(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "INTERVAL", 0.0)
    with Lease(tmp_path) as lease:
        assert len({len(lease._record(counter)) for counter in (0, 9, 10, 10**9)}) == 1, "it is written in place"
        while read_owner(tmp_path).counter < 1000:
            lease.check()


def test_a_beat_never_brings_back_a_lease_that_was_lost(tmp_path, monkeypatch):
    """The successor has come and gone while the owner was paused in the middle of a beat."""
    with Lease(tmp_path) as lease:
        record = lease._record

        def paused(counter):
            (tmp_path / "lease.1.json").unlink(missing_ok=True)
            return record(counter)

        monkeypatch.setattr(lease, "_record", paused)
        lease._write_beat(1)
        assert names(tmp_path) == []
        with pytest.raises(LeaseLost):
            lease.check()


def grab(folder, results, all_tried):
    try:
        with Lease(folder):
            results.put(1)
            all_tried.wait()
    except LeaseHeld:
        results.put(0)


def test_of_processes_that_start_together_one_wins(tmp_path):
    context = multiprocessing.get_context("fork")
    results, all_tried = context.Queue(), context.Event()
    racers = [context.Process(target=grab, args=(tmp_path, results, all_tried)) for _ in range(6)]
    for racer in racers:
        racer.start()
    wait_for(lambda: results.qsize() == 6, "all to have tried")
    all_tried.set()
    for racer in racers:
        racer.join()
    assert sum(results.get() for _ in racers) == 1
