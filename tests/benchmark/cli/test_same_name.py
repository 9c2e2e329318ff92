"""An own task that is named like a packaged one: its runs are not read, scored or predicted as the other's."""

import pytest

from ssdg.benchmark.spec import RunRequest, RunSpec
from ssdg.benchmark.task_digests import task_digest
from ssdg.datasets import TASKS

from ...conftest import TINY
from ...suites import suite_file

TASK = """
name = "phantom2d"
ndim = 2
channels = 3
classes = ["background", "vessel"]
shape = [48, 48]

[source.phantom2d-a]
images = "phantom2d/a/image/*.png"
labels = "phantom2d/a/label/*.png"
label_map = { 0 = 0, 255 = 1 }

[target.phantom2d-b]
images = "phantom2d/b/image/*.png"
labels = "phantom2d/b/label/*.png"
label_map = { 0 = 0, 255 = 1 }
"""
NOTE = "task 'phantom2d': 1 run left out, trained on another task of this name"


@pytest.fixture
def trained(bench, tmp_path):
    """The file of the task, with a run trained on it."""
    path = tmp_path / "own.toml"
    path.write_text(TASK)
    result = bench("run", "--method", "erm", "--task", str(path), "--target", "phantom2d-b", *TINY)
    assert result.exit_code == 0, result.output
    return path


def test_predict_wants_the_task_that_was_trained_on(bench, trained, tmp_path):
    image = next((bench.data / "phantom2d" / "b" / "image").glob("*.png"))
    command = ("predict", str(bench.run_path()), "--input", str(image), "--output", str(tmp_path / "out"))
    result = bench(*command)
    assert result.exit_code == 2
    assert "another task called 'phantom2d'" in result.output
    assert "--task FILE" in result.output
    assert not (tmp_path / "out").exists()
    assert bench(*command, "--task", str(trained)).exit_code == 0
    other = tmp_path / "another.toml"
    other.write_text(TASK.replace("phantom2d-a", "camera"))
    wrong = bench(*command, "--task", str(other))
    assert wrong.exit_code == 2
    assert "trained on 'phantom2d-a', of which task 'phantom2d' knows nothing" in wrong.output
    # The name, classes and grid are what counts, not the file.
    trained.write_text(TASK.replace("phantom2d-b", "other"))
    assert bench(*command, "--task", str(trained)).exit_code == 0


def test_readers_of_a_suite_leave_its_runs_out_and_say_so(bench, trained, tmp_path):
    suite = str(suite_file(tmp_path / "mine.toml"))
    own = ("--task", str(trained))
    data, results = ("--data-root", str(bench.data)), ("--results-root", str(bench.results))
    for command, more in {
        ("table", suite, "--final"): (),
        ("rescore", suite): (),
        ("figure", "predictions", suite): (*data, *results, "--output", str(tmp_path / "a.pdf")),
        ("report", suite): (*data, *results, "--output", str(tmp_path / "a.html")),
    }.items():
        assert bench(*command, *more).exit_code == 3, command
        result = bench(*command, *own, *more)
        assert result.exit_code == 0, result.output
    assert NOTE in bench("rescore", suite).output
    assert NOTE in bench("table", suite).output
    assert NOTE not in bench("table", suite, *own).output
    assert "1 run: 1 QUEUED" in bench("status", suite).output
    assert "1 run: 1 DONE" in bench("status", suite, *own).output


def test_runs_that_do_not_say_their_task_are_of_any():
    request = RunRequest(task="phantom2d", source="phantom2d-a", method="erm")
    names = ("method_config", "method_changed", "source_manifest", "split")
    spec = RunSpec(request=request, method_version=1, **dict(zip(names, ({}, (), "", ""), strict=True)))
    assert spec.is_of(task_digest(TASKS["phantom2d"]))


def test_the_digest_of_a_task_is_that_of_stored_runs():
    assert task_digest(TASKS["phantom2d"]) == "99b553d829a0"
