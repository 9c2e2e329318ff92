"""Observers of one's own: what they are sent, and that nothing they do reaches the run."""

import json
import re
from pathlib import Path

import pytest
import torch

from ssdg import methods
from ssdg.benchmark.cli import run as run_command
from ssdg.benchmark.cli import sweep
from ssdg.benchmark.launching.job_file import read_job
from ssdg.benchmark.storage.files import write_json
from ssdg.benchmark.storage.results_reader import numeric_history, read_run
from ssdg.benchmark.tracking import observers

from ...conftest import TINY
from ...suites import suite_file

ERM = ("run", "--method", "erm", "--target", "phantom2d-b", *TINY, "--set", "training.epochs=3")

PLUGIN = """
import json
import re
from pathlib import Path
from ssdg.benchmark.tracking.observers import Observer

class Recorder(Observer):
    "Writes each call to a file; stops the process at epoch {stop}, once."

    def begin(self, run, history):
        run.tracking.mkdir(parents=True, exist_ok=True)
        self.file = run.tracking / "calls.jsonl"
        self.say("begin", run.name, run.train_id, run.settings["training.epochs"], history)

    def epoch(self, row):
        mark = self.file.with_name("stopped")
        if row["epoch"] + 1 == {stop} and not mark.exists():
            mark.touch()
            raise KeyboardInterrupt
        self.say("epoch", row)

    def scores(self, dsc):
        self.say("scores", dsc)

    def end(self, state):
        self.say("end", state)

    def say(self, *call):
        with self.file.open("a") as stream:
            stream.write(json.dumps(call) + "\\n")


class Broken(Recorder):
    def {broken}(self, *_):
        raise RuntimeError("the server is\\naway")
"""


@pytest.fixture(autouse=True)
def observers_are_forgotten(monkeypatch):
    monkeypatch.setattr(observers, "_plugins", {})


@pytest.fixture
def plugin(tmp_path):
    def write(name="mine.py", stop=0, broken="epoch"):
        path = tmp_path / name
        path.write_text(PLUGIN.format(stop=stop, broken=broken))
        return str(path)

    return write


def calls(bench):
    return [json.loads(line) for line in (bench.results / "tracking" / "calls.jsonl").read_text().splitlines()]


def weights(bench):
    return torch.load(bench.run_path() / "checkpoints" / "final.pt", weights_only=True)["weights"]


def test_it_gets_history_and_scores_and_the_run_is_the_same(bench, plugin):
    assert bench(*ERM).exit_code == 0
    alone, folder = weights(bench), bench.run_path()
    folder.rename(bench.results / "alone")
    result = bench(*ERM, "--plugin", plugin(), "--observe", "recorder")
    assert result.exit_code == 0, result.output
    assert bench.run_path() == folder  # the digest
    assert all(torch.equal(alone[name], value) for name, value in weights(bench).items())
    [begin, *epochs, scores, end] = calls(bench)
    rows = [*begin[4], *(row for _, row in epochs)]
    assert [call for call, _ in epochs] == ["epoch", "epoch"]
    for row, stored in zip(rows, numeric_history(folder), strict=True):
        assert row == pytest.approx(stored, rel=1e-5)
    assert begin[1:4] == ["erm s0", read_run(folder).train_id, 3]
    assert set(scores[1]) == {"held-out", "phantom2d-b"}
    assert f"phantom2d-b: DSC {100 * scores[1]['phantom2d-b']:.2f}" in result.output
    assert end == ["end", "DONE"]
    # A run that is done is sent whole.
    assert bench(*ERM, "--plugin", plugin(), "--observe", "recorder").exit_code == 0
    again = calls(bench)[len(epochs) + 3 :]
    assert [call for call, *_ in again] == ["begin", "scores", "end"]
    assert again[0][4] == numeric_history(folder)


def test_a_resumed_run_begins_with_its_history(bench, plugin, monkeypatch):
    monkeypatch.setattr(run_command, "stop_on_request", lambda _: lambda: bool([*bench.results.rglob("history.csv")]))
    file = plugin()
    assert bench(*ERM, "--plugin", file, "--observe", "recorder").exit_code == 130
    monkeypatch.setattr(run_command, "stop_on_request", lambda _: lambda: False)
    assert bench(*ERM, "--plugin", file, "--observe", "recorder").exit_code == 0
    first, interrupted, second, *rest = calls(bench)
    assert [row["epoch"] for row in first[4]] == [0]
    assert interrupted == ["end", "INTERRUPTED"]
    assert [row["epoch"] for row in second[4]] == [0, 1]
    assert second[4][0] == first[4][0]
    assert [call for call, *_ in rest] == ["epoch", "scores", "end"]


def test_one_that_raises_is_named_once_and_the_run_goes_on(bench, plugin):
    result = bench(*ERM, "--plugin", plugin(), "--observe", "broken", "--observe", "recorder")
    assert result.exit_code == 0, result.output
    assert result.output.count("no longer observed by broken (RuntimeError: the server is); the run goes on") == 1
    assert [call for call, *_ in calls(bench)][-1] == "end"
    assert (bench.run_path() / "DONE").exists()


@pytest.mark.parametrize("broken", ["__init__", "begin", "epoch", "scores", "end"])
def test_no_call_of_an_observer_gets_out(broken, monkeypatch, tmp_path):
    sent, warnings = [], []

    class Fake:
        def __getattr__(self, call):
            return lambda *_: sent.append(call)

    class Broken(Fake):
        pass

    def fail(*_):
        raise SystemExit("away")

    setattr(Broken, broken, fail)
    monkeypatch.setattr(observers, "_plugins", {"broken": Broken, "fake": Fake})
    with observers.Observers(["broken", "fake"], "erm s0", warnings.append) as guarded:
        guarded.open(observers.ObservedRun("id", "task", tmp_path, tmp_path, {}))
        for epochs in (1, 2):
            guarded.history([{"epoch": epoch} for epoch in range(epochs)])
        guarded.scores({"b": 0.5})
    assert warnings == ["no longer observed by broken (SystemExit: away); the run goes on"]
    calls_of_both = ("begin", "epoch", "scores", "end")
    by_broken = calls_of_both.index(broken) if broken in calls_of_both else 0
    assert sorted(sent) == sorted([*calls_of_both, *calls_of_both[:by_broken]])


def test_an_unknown_name_and_a_missing_package_are_refused_before_a_run(bench, monkeypatch, tmp_path):
    suite = str(suite_file(tmp_path / "mine.toml"))
    for command in (ERM, ("sweep", suite)):
        refused = bench(*command, "--observe", "tensorbord")
        assert (refused.exit_code, "did you mean 'tensorboard'?" in refused.output) == (2, True)
    monkeypatch.setattr(observers, "find_spec", lambda _: None)
    for command in (ERM, ("sweep", suite)):
        refused = bench(*command, "--observe", "mlflow")
        assert refused.exit_code == 2
        assert refused.output.splitlines() == [
            "bench: observer 'mlflow' needs a package that is not installed: pip install 'ssdg-bench[tracking]'"
        ]
    assert not list(bench.results.iterdir())


def test_the_flag_travels_in_job_files_and_changes_no_name(bench, monkeypatch, plugin, tmp_path):
    suite, files = str(suite_file(tmp_path / "mine.toml")), {}
    monkeypatch.setattr(sweep, "_run_here", lambda jobs, _: [files.update({j.path: j.job}) for j in jobs])
    assert bench("sweep", suite).exit_code == 3
    [(path, plain)] = files.items()
    monkeypatch.setenv("BENCH_OBSERVE", "recorder")
    assert bench("sweep", suite, "--plugin", plugin()).exit_code == 3
    monkeypatch.delenv("BENCH_OBSERVE")
    assert list(files) == [path]
    assert (plain.runtime.observers, files[path].runtime.observers) == ((), ("recorder",))
    write_json(path, files[path].data)
    assert read_job(path, {}).runtime.observers == ("recorder",)
    # A worker registers the plugin itself; a name that is gone by then ends the observation, not the run.
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "runtime": {**data["runtime"], "observers": ["recorder", "gone"]}}))
    monkeypatch.setattr(observers, "_plugins", {})
    monkeypatch.setattr(methods, "_plugins", {})
    result = bench("run", str(path))
    assert result.exit_code == 0, result.output
    assert "no longer observed by gone (unknown observer 'gone'" in result.output
    assert calls(bench)[-1] == ["end", "DONE"]
    earlier = {name: value for name, value in data["runtime"].items() if name != "observers"}
    path.write_text(json.dumps({**data, "runtime": earlier}))
    assert read_job(path, {}).runtime.observers == ()


def test_an_installed_package_adds_one(bench, plugin, tmp_path, monkeypatch):
    site = tmp_path / "site"
    info = site / "theirs-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ssdg.observers]\ntheirs = their_observer:Recorder\n")
    (site / "their_observer.py").write_text(PLUGIN.format(stop=0, broken="epoch"))
    monkeypatch.syspath_prepend(site)
    assert bench(*ERM, "--observe", "theirs").exit_code == 0
    assert calls(bench)[-1] == ["end", "DONE"]


def test_a_plugin_cannot_take_a_built_in_name(bench, plugin, tmp_path):
    path = tmp_path / "taken.py"
    path.write_text(PLUGIN.format(stop=0, broken="epoch").replace("Recorder", "TensorBoard"))
    refused = bench(*ERM, "--plugin", str(path))
    assert (refused.exit_code, "the name 'tensorboard' is taken" in refused.output) == (2, True)


def test_the_observer_of_the_documentation_works(bench, tmp_path):
    text = (Path(__file__).resolve().parents[3] / "docs" / "tracking.md").read_text()
    plugin = tmp_path / "mine.py"
    plugin.write_text(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1])
    result = bench(*ERM, "--plugin", str(plugin), "--observe", "printer")
    assert result.exit_code == 0, result.output
    assert "erm s0 2\n" in result.output
    assert "erm s0 3\n" in result.output
    assert "erm s0 {'held-out': 0." in result.output
    assert "no longer observed" not in result.output
