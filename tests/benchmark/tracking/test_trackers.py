"""TensorBoard and MLflow, read back with their own readers."""

import pytest

from ssdg.benchmark.storage.results_reader import numeric_history
from ssdg.benchmark.tracking import observers

from .test_observers import ERM, PLUGIN, observers_are_forgotten  # noqa: F401 - a fixture

WHY = "of the extra `tracking`: `make test-tracking` installs it"


@pytest.fixture
def interrupted_and_resumed(bench, tmp_path, monkeypatch):
    """The folder of a run that was ended in its second epoch, before a checkpoint, and trained to its end."""

    def train(name):
        monkeypatch.chdir(tmp_path)
        plugin = tmp_path / "mine.py"
        plugin.write_text(PLUGIN.format(stop=2, broken="epoch"))
        command = (*ERM, "--plugin", str(plugin), "--observe", name, "--observe", "recorder")
        assert bench(*command).exit_code == 130
        result = bench(*command)
        assert result.exit_code == 0, result.output
        assert "no longer observed" not in result.output
        assert bench(*command).exit_code == 0  # done: sends nothing twice
        assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.py", "results"]
        return bench.run_path(), result.output

    return train


def target_dsc(value, output):
    return f"phantom2d-b: DSC {100 * value:.2f}" in output


def test_tensorboard_has_each_epoch_once(bench, interrupted_and_resumed):
    pytest.importorskip("tensorboard", reason=WHY)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run, output = interrupted_and_resumed("tensorboard")
    [folder] = (bench.results / "tracking" / "tensorboard" / "phantom2d").iterdir()
    assert len([*folder.iterdir()]) == 3
    events = EventAccumulator(str(folder)).Reload()
    history = numeric_history(run)
    for name in {name for row in history for name in row} - {"epoch"}:
        scalars = events.Scalars(f"history/{name}")
        stored = {row["epoch"] + 1: row[name] for row in history if name in row}
        assert [scalar.step for scalar in scalars] == list(stored)
        assert [scalar.value for scalar in scalars] == pytest.approx(list(stored.values()), rel=1e-5)
    [dsc] = events.Scalars("dsc/phantom2d-b")
    assert dsc.step == 3
    assert target_dsc(dsc.value, output)
    times = [scalar.wall_time for scalar in events.Scalars("history/seconds")]
    assert times == sorted(times)


def test_mlflow_has_one_run_with_each_epoch_once(bench, interrupted_and_resumed, monkeypatch):
    pytest.importorskip("mlflow", reason=WHY)
    from mlflow import MlflowClient

    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_ALLOW_FILE_STORE"):
        monkeypatch.delenv(name, raising=False)
    run, output = interrupted_and_resumed("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = MlflowClient(tracking_uri=(bench.results / "tracking" / "mlflow").as_uri())
    experiment = client.get_experiment_by_name("ssdg-bench phantom2d")
    [stored] = client.search_runs([experiment.experiment_id])
    assert (stored.info.run_name, stored.info.status) == ("erm s0", "FINISHED")
    assert stored.data.tags["ssdg.train_id"] in run.name
    assert (stored.data.params["training.epochs"], stored.data.params["optimizer.lr"]) == ("3", "0.001")
    history = numeric_history(run)
    for name in {name for row in history for name in row} - {"epoch", "seconds"}:
        metrics = client.get_metric_history(stored.info.run_id, f"history/{name}")
        expected = {row["epoch"] + 1: row[name] for row in history if name in row}
        assert [metric.step for metric in metrics] == list(expected)
        assert [metric.value for metric in metrics] == pytest.approx(list(expected.values()), rel=1e-5)
    [dsc] = client.get_metric_history(stored.info.run_id, "dsc/phantom2d-b")
    assert dsc.step == 3
    assert target_dsc(dsc.value, output)


def test_a_server_that_is_away_ends_the_observation(bench, monkeypatch):
    pytest.importorskip("mlflow", reason=WHY)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    result = bench(*ERM, "--observe", "mlflow")
    assert result.exit_code == 0, result.output
    assert result.output.count("no longer observed by mlflow") == 1


def test_the_built_in_observers_keep_to_the_protocol():
    for package, name in (("tensorboard", "tensorboard_events:TensorBoard"), ("mlflow", "mlflow_runs:MLflow")):
        pytest.importorskip(package, reason=WHY)
        observer = observers.load_observer(package)
        assert observers.BUILT_IN[package].endswith(name)
        assert all(callable(getattr(observer, call)) for call in ("begin", "epoch", "scores", "end"))
