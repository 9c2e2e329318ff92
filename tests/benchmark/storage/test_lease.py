"""One writer per folder: takeover, races, and an owner that wakes up too late."""

import json
import multiprocessing
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ssdg.benchmark.errors import LeaseHeld, LeaseLost
from ssdg.benchmark.storage import lease as leases
from ssdg.benchmark.storage.lease import Lease, is_gone, read_owner


def foreign_lease(folder, token=1, **changes):
    """Write the lease of an owner on another machine."""
    record = {"id": "other", "place": "elsewhere", "host": "node7", "pid": 4, "started": "9", "counter": 3}
    (folder / f"lease.{token}.json").write_text(json.dumps({**record, **changes}))


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
    first = Lease(tmp_path)
    first.__enter__()
    with ThreadPoolExecutor() as threads:
        second = threads.submit(Lease(tmp_path, wait=20, patience=0.5).__enter__)
        time.sleep(0.2)
        assert not second.done()
        first.__exit__()
        second.result(timeout=10).__exit__()


def test_a_killed_owner_on_this_machine_is_replaced_at_once(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from ssdg.benchmark.storage.lease import Lease\n"
        "Lease(Path(sys.argv[1])).__enter__(); print('held', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-P", "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert child.stdout.readline().strip() == b"held"
    assert not is_gone(read_owner(tmp_path))
    child.kill()
    child.wait()
    child.stdout.close()
    begin = time.monotonic()
    with Lease(tmp_path) as lease:
        assert lease.token == 2
        assert time.monotonic() - begin < 2
    assert read_owner(tmp_path) is None


def test_a_silent_owner_elsewhere_is_replaced_after_patience(tmp_path):
    foreign_lease(tmp_path)
    with Lease(tmp_path, patience=0.3) as lease:
        assert lease.token == 2
        assert [p.name for p in tmp_path.iterdir()] == ["lease.2.json"]


def test_a_beating_owner_elsewhere_is_left_alone(tmp_path):
    foreign_lease(tmp_path, counter=0)
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(Lease(tmp_path, patience=0.5).__enter__)
        for counter in range(1, 12):
            time.sleep(0.1)
            foreign_lease(tmp_path, counter=counter)
            if waiting.done():
                break
        with pytest.raises(LeaseHeld):
            waiting.result(timeout=5)


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


def test_the_counter_beats(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "INTERVAL", 0.05)
    with Lease(tmp_path):
        first = read_owner(tmp_path).counter
        time.sleep(0.4)
        assert read_owner(tmp_path).counter > first


def grab(folder, results):
    try:
        with Lease(folder):
            results.put(1)
            time.sleep(1.5)
    except LeaseHeld:
        results.put(0)


def test_of_processes_that_start_together_one_wins(tmp_path):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    racers = [context.Process(target=grab, args=(tmp_path, results)) for _ in range(6)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert sum(results.get() for _ in racers) == 1
