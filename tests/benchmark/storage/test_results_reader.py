"""Reading a results folder: what is found, what is named and left out, and runs that others write meanwhile."""

import json
import os
from dataclasses import replace
from types import SimpleNamespace

import pytest

from ssdg.benchmark.errors import UsageError
from ssdg.benchmark.spec import RunRequest
from ssdg.benchmark.storage import results_reader as reading
from ssdg.benchmark.storage.lease import Lease
from ssdg.benchmark.storage.results_reader import last_error, read_run, scan, training_seconds

from ..stored import cases, write_run

REQUEST = RunRequest(task="fundus", source="drive", method="ras4dg", method_settings={"alpha": 1.0})


def several(root, seeds=(0, 1, 2), **options):
    """Write runs that differ in nothing but their seed."""
    return [write_run(root, replace(REQUEST, seed=seed), {"lesav": cases(0.5)}, **options) for seed in seeds]


def edit(path, change):
    """Change a run's spec.json in place."""
    data = json.loads((path / "spec.json").read_text())
    change(data)
    (path / "spec.json").write_text(json.dumps(data))


def test_a_scan_finds_what_was_written_in_order(tmp_path):
    several(tmp_path, seeds=(2, 0, 10))
    write_run(tmp_path, replace(REQUEST, method="erm", method_settings={}, seed=5), {})
    runs, problems = scan(tmp_path)
    assert problems == []
    assert (runs[0].spec.request.method, runs[0].spec.request.seed) == ("erm", 5)
    assert [run.path for run in runs] == sorted(run.path for run in runs)
    assert all(run == read_run(run.path) and run.path.name.endswith(run.spec.train_id) for run in runs)
    assert scan(tmp_path / "nowhere") == ([], [])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["request"].update(seed=9), "edited, or of another version"),
        (lambda d: d["request"].update(seed=True), "damaged .*seed is True"),
        (lambda d: d["request"].update(seed="1"), "damaged .*seed is '1'"),
        (lambda d: d["request"].pop("seed"), "damaged .*seed"),
        (lambda d: d["request"]["training"].update(epochs=7), "edited, or of another version"),
        (lambda d: d["request"]["training"].update(epochs=0), "epochs must be at least 1"),
        (lambda d: d["request"]["training"].update(epochs=True), "expected a whole number"),
        (lambda d: d["request"].update(sede=1), "not a run request"),
        (lambda d: d["method_config"].update(alpha=2.0), "edited, or of another version"),
        (lambda d: d.update(train_id="0" * 12), "edited, or of another version"),
        (lambda d: d.pop("train_id"), "damaged .*train_id"),
        (lambda d: d.update(request=[]), "damaged"),
    ],
)
def test_an_edited_spec_is_named_and_the_others_are_shown(tmp_path, change, message):
    paths = several(tmp_path)
    edit(paths[1], change)
    runs, problems = scan(tmp_path)
    assert [run.path for run in runs] == sorted([paths[0], paths[2]])
    assert len(problems) == 1
    assert str(paths[1]) in problems[0]
    with pytest.raises(UsageError, match=message):
        read_run(paths[1])


@pytest.mark.parametrize("text", ["", "[]", "{", '{"domain": "lesav"}'])
def test_a_damaged_evaluation_is_named_and_other_runs_are_shown(tmp_path, text):
    paths = several(tmp_path)
    [evaluation] = paths[0].glob("evaluations/*/evaluation.json")
    evaluation.write_text(text)
    runs, problems = scan(tmp_path)
    assert len(runs) == 2
    assert [str(evaluation) in problem and "score the run again" in problem for problem in problems] == [True]


def test_what_is_no_run_is_passed_over(tmp_path):
    [path] = several(tmp_path, seeds=(0,))
    for stray in (tmp_path / "runs/notes", path.parent / "s-notes", path / "evaluations/notes"):
        stray.write_text("")
    (path.parent / "s1-notyet").mkdir()
    (path / "evaluations/begun").mkdir()
    (tmp_path / "runs/fundus/loop").symlink_to("loop")
    [run], problems = scan(tmp_path)
    assert len(run.evaluations) == 1
    assert ["loop" in problem for problem in problems] == [True]
    for nothing in (path / "spec.json", path.parent / "s1-notyet", tmp_path / "nowhere"):
        with pytest.raises(UsageError, match="not the folder of a run"):
            read_run(nothing)


@pytest.mark.parametrize("state", ["DONE", "FAILED", "DIVERGED"])
def test_a_marker_says_how_a_run_ended(tmp_path, state):
    [path] = several(tmp_path, seeds=(0,), state=state)
    assert read_run(path).state == state
    assert last_error(path) == ""
    (path / "FAILED").write_text('{"message": "no memory"}')
    assert last_error(path) == "no memory"
    assert read_run(path).state == ("DIVERGED" if state == "DIVERGED" else "FAILED")


def test_states_without_a_marker(tmp_path):
    [path] = several(tmp_path, seeds=(0,), state="QUEUED")
    assert read_run(path).state == "QUEUED"
    with Lease(path):
        assert read_run(path).state == "RUNNING"
    (path / "checkpoints").mkdir()
    assert read_run(path).state == "STALE"


def test_a_run_that_is_trained_is_running_while_it_is_scored(tmp_path):
    [path] = several(tmp_path, seeds=(0,), state="DONE")
    with Lease(path):
        run = read_run(path)
        assert (run.state, run.trained) == ("RUNNING", True)
        left = (path / "lease.1.json").read_text().replace(f'"pid": {os.getpid()}', '"pid": 999999999')
    (path / "lease.1.json").write_text(left)  # by a kill right behind DONE
    assert read_run(path).state == "DONE"


def test_a_run_that_ends_while_it_is_looked_at_is_not_stale(tmp_path, monkeypatch):
    [path] = several(tmp_path, seeds=(0,), state="RUNNING")
    (path / "checkpoints").mkdir()
    (path / "lease.1.json").write_text("{}")

    def leaves(folder):
        (folder / "DONE").write_text("{}")
        (folder / "lease.1.json").unlink()

    monkeypatch.setattr(reading, "read_owner", leaves)
    assert read_run(path).state == "DONE"


def test_a_training_takes_the_fastest_epoch_of_all_its_runs_times_their_mean_length(tmp_path):
    histories = {0: (9.0, 4.0), 1: (2.0, 8.0, 8.0, 8.0), 2: (0.1,), 3: None}
    for seed, path in zip(histories, several(tmp_path, seeds=tuple(histories)), strict=True):
        if histories[seed] is not None:
            lines = [f"{epoch},{seconds}" for epoch, seconds in enumerate(histories[seed])]
            (path / "history.csv").write_text("\n".join(["epoch,seconds", *lines]) + "\n")
        if seed == 2:  # a run that diverged is no training
            (path / "DONE").rename(path / "DIVERGED")
    runs = scan(tmp_path)[0]
    assert [run.trained for run in runs] == [True, True, False, True]
    assert training_seconds(runs) == 2 * 3
    assert training_seconds(runs, epochs=10) == 2 * 10
    assert training_seconds(runs[2:]) is None
    exported = SimpleNamespace(trained=True, recorded={"epochs": "40", "training_seconds": "60"})
    assert training_seconds([exported]) == 60, "of before version 0.1.0: its mean epoch"
