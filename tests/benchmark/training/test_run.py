"""A run from start to scores: what its starts record, prepare and score, and what is not its fault."""

import json
import shutil

import pytest

from ssdg.benchmark.data import prepared, run_data
from ssdg.benchmark.errors import Interrupted, LeaseHeld, StorageError
from ssdg.benchmark.launching.local import Finished
from ssdg.benchmark.progress import Display
from ssdg.benchmark.settings import resolve_sections
from ssdg.benchmark.spec import RunRequest
from ssdg.benchmark.storage.attempts import read_record
from ssdg.benchmark.storage.lease import Lease
from ssdg.benchmark.storage.results_reader import read_run
from ssdg.benchmark.training import evaluate as scoring
from ssdg.benchmark.training import run as runs
from ssdg.benchmark.training.runtime import Runtime
from ssdg.datasets import TASKS
from ssdg.methods import register_plugin

from ...conftest import TINY, Bench

B, C = "phantom2d-b", "phantom2d-c"
SHORT = (*TINY[:2], "--set=training.epochs=1", "--set=training.batch_size=2", *TINY[4:])


class Scored(Display):
    """Asks to stop once so many cases were scored."""

    def __init__(self, most=10**9):
        super().__init__("test")
        self.most, self.count = most, 0

    def scored(self):
        self.count += 1

    def should_stop(self):
        return self.count >= self.most


class Stepped(Display):
    """Asks to stop after so many steps; knows from which it began."""

    def __init__(self, most=10**9):
        super().__init__("test")
        self.most = most

    def start(self, step, total_steps):
        self.began = self.at = step

    def step(self, step):
        self.at = step

    def should_stop(self):
        return getattr(self, "at", 0) >= self.most


def start(bench, *targets, display=None, method="erm", **runtime):
    sections, _ = resolve_sections("clean", dict(text[6:].split("=") for text in SHORT))
    request = RunRequest(task="phantom2d", source="phantom2d-a", method=method, **sections)
    place = Runtime(data_root=bench.data, results_root=bench.results, device="cpu", **runtime)
    display = display or Scored()
    return runs.run_one(request, TASKS["phantom2d"], targets, place, display, display.should_stop)


@pytest.fixture(scope="module")
def trained(phantom_data, tmp_path_factory):
    """A run that failed on a GPU before its first step, and was trained and scored on the CPU."""
    bench = Bench(phantom_data, tmp_path_factory.mktemp("trained") / "results")

    def out_of_memory(*_arguments):
        raise RuntimeError("CUDA error: device-side assert triggered")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "device_name", lambda _device: "cuda (a GPU)")
        patch.setattr(runs, "build_method", out_of_memory)
        with pytest.raises(RuntimeError, match="device-side"):
            start(bench, B)
    start(bench, B)
    return bench


@pytest.fixture
def again(trained, tmp_path):
    shutil.copytree(trained.results, tmp_path / "results")
    return Bench(trained.data, tmp_path / "results")


def scores(bench, target=B):
    [folder] = bench.run_path().glob(f"evaluations/{target}-*")
    return folder


def test_a_run_records_the_device_that_trained_it_and_that_of_each_start(trained):
    run = read_run(trained.run_path())
    assert run.environment["device"] == "cpu"
    assert all("trained_on" not in evaluation.data for evaluation in run.evaluations)
    starts = read_record(run.path)["starts"]
    assert [start["device"] for start in starts] == ["cuda (a GPU)", "cpu"]
    assert all(start["versions"] == run.environment["versions"] for start in starts)


def test_of_a_trained_run_only_what_is_scored_is_prepared(again, monkeypatch):
    names, original = [], run_data.prepare_domain
    monkeypatch.setattr(
        run_data, "prepare_domain", lambda domain, *rest: names.append(domain.name) or original(domain, *rest)
    )
    start(again, B, C)
    assert names == [C]


def test_scoring_goes_on_where_it_was_interrupted_and_ends_alike(again, monkeypatch):
    whole = (scores(again) / "cases.csv").read_bytes()
    shutil.rmtree(scores(again))
    counted, original = [], scoring.count_case
    monkeypatch.setattr(scoring, "SAVE_INTERVAL", 0.0)
    monkeypatch.setattr(
        scoring,
        "count_case",
        lambda predicted, case, *rest: counted.append(case.id) or original(predicted, case, *rest),
    )
    # Each start gets a case further, which is progress: one start in a row is allowed to make none.
    for scored in range(1, 4):
        with pytest.raises(Interrupted):
            start(again, B, display=Scored(scored), max_attempts=1)
    assert len(counted) == 3
    prediction = next(scores(again).glob(f"predictions/{counted[0]}.*"))
    prediction.unlink()
    start(again, B)
    assert prediction.exists()
    assert sorted(counted) == sorted([counted[0], *(path.stem for path in scores(again).glob("predictions/*"))])
    assert (scores(again) / "cases.csv").read_bytes() == whole
    assert not (scores(again) / scoring.PARTIAL).exists()


def test_counts_of_other_weights_are_not_taken_over(again, monkeypatch):
    monkeypatch.setattr(scoring, "SAVE_INTERVAL", 0.0)
    whole = (scores(again) / "cases.csv").read_bytes()
    shutil.rmtree(scores(again))
    with pytest.raises(Interrupted):
        start(again, B, display=Scored(2))
    partial = scores(again) / scoring.PARTIAL
    content = json.loads(partial.read_text())
    for rows in content["cases"].values():
        rows[0]["tp"] = -1
    content["maker"][-1] = "other"
    partial.write_text(json.dumps(content))
    start(again, B)
    assert (scores(again) / "cases.csv").read_bytes() == whole


def test_checkpoints_that_a_kill_behind_the_last_step_left_are_removed(again):
    folder = again.run_path() / "checkpoints"
    left = [folder / name for name in ("last.pt", "previous.pt")]
    for path in left:
        path.write_bytes(b"weights and optimiser")
    start(again, B)
    assert [path.name for path in folder.iterdir()] == ["final.pt"]


def test_a_start_that_scores_nothing_new_is_no_progress(again, monkeypatch):
    monkeypatch.setattr(scoring, "SAVE_INTERVAL", 0.0)
    shutil.rmtree(scores(again))
    with pytest.raises(Interrupted):
        start(again, B, display=Scored(2))
    assert read_record(again.run_path())["without_progress"] == 0
    with pytest.raises(Interrupted):
        start(again, B, display=Scored(1))  # stopped at the first of the two that are there
    assert read_record(again.run_path())["without_progress"] == 1


def test_a_full_disk_is_no_failure_of_the_run(again, monkeypatch):
    shutil.rmtree(scores(again))

    def full(*_arguments):
        raise StorageError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(runs, "evaluate", full)
        with pytest.raises(StorageError):
            start(again, B)
    assert read_run(again.run_path()).state == "DONE"  # trained; what is left to score is queued
    assert read_record(again.run_path())["without_progress"] == 0
    assert not Finished(None, StorageError.exit_code).failed, "a sweep would leave it alone"
    start(again, B)
    assert (scores(again) / "DONE").exists()


def test_waiting_for_prepared_data_can_be_stopped_and_is_no_attempt(bench, monkeypatch):
    class Held(Lease):
        def __enter__(self):
            self.look()
            raise LeaseHeld("by another process")

    monkeypatch.setattr(prepared, "Lease", Held)
    with pytest.raises(Interrupted):
        start(bench, B, display=Scored(0))
    assert read_record(bench.run_path())["without_progress"] == 0


@pytest.mark.parametrize(("edit", "began"), [("", 2), ("# with another loss", 0)])
def test_a_training_begins_anew_if_its_plugin_was_edited(bench, tmp_path, capsys, forget_plugin, edit, began):
    plugin = tmp_path / "edited.py"
    plugin.write_text("from ssdg.methods.base import Method\n\n\nclass Edited(Method):\n    pass\n")
    register_plugin(plugin)
    with pytest.raises(Interrupted):
        start(bench, B, method="edited", display=Stepped(2))
    with plugin.open("a") as stream:
        stream.write(edit)
    forget_plugin("edited")
    register_plugin(plugin)
    display = Stepped()
    start(bench, B, method="edited", display=display)
    assert display.began == began
    assert ("it begins anew" in capsys.readouterr().out) == (began == 0)
