"""``bench new``: its files work, keep their own tests, and replace nothing."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ssdg.benchmark.cli import main
from ssdg.benchmark.cli.new import LONGEST
from ssdg.benchmark.suites.inventory import Inventory
from ssdg.benchmark.suites.suite import Filters
from ssdg.benchmark.suites.suite_file import load_suite
from ssdg.benchmark.training import contract
from ssdg.datasets import TASKS
from ssdg.datasets.grammar import task_from_toml
from ssdg.methods import registry

ROOT = Path(__file__).parents[3]


def new(*arguments):
    return CliRunner().invoke(main, ["new", *map(str, arguments)])


def written(folder, kind, name, *options):
    result = new(kind, name, "--output", folder / "made here", *options)
    assert result.exit_code == 0, result.output
    return folder / "made here", result.output


def run_tests(path, tmp_path):
    """Run a generated test file in this process; its tests take a folder or nothing."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tests = [test for name, test in vars(module).items() if name.startswith("test_")]
    assert tests
    for test in tests:
        test(*[tmp_path] * test.__code__.co_argcount)


def uncommented(path):
    """Use every key and table that a file shows in a comment."""
    text = path.read_text(encoding="utf-8")
    shown = re.compile(r"^# (?=\[|[a-z_.]+ = )", re.MULTILINE)
    assert shown.search(text)
    path.write_text(shown.sub("", text), encoding="utf-8")


@pytest.fixture
def few_checks(monkeypatch):
    """The contract of the template is a test of its own; here it is whether the generated test runs it."""
    monkeypatch.setattr(contract, "CHECKS", dict(list(contract.CHECKS.items())[:1]))
    monkeypatch.setattr(contract, "WINDOW_CHECKS", {})


@pytest.mark.usefixtures("few_checks")
def test_a_method_is_registered_by_its_name_and_tested_by_the_contract(tmp_path):
    folder, output = written(tmp_path, "method", "my_own_method")
    run_tests(folder / "test_my_own_method.py", tmp_path)
    plugin = folder / "my_own_method.py"
    listed = CliRunner().invoke(main, ["list", "methods", "--plugin", str(plugin)])
    assert re.search(r"^my_own_method +MyOwnMethod ", listed.output, re.MULTILINE), listed.output
    assert "emplate" not in plugin.read_text(encoding="utf-8")
    assert f"bench check my_own_method --plugin '{plugin}'\n" in output
    plugin.write_text(plugin.read_text(encoding="utf-8").replace("batch.image.pow(gamma)", "batch.image.log()"))
    sys.modules.pop(next(name for name in sys.modules if name.startswith("ssdg_plugin_my_own_method")))
    with pytest.raises(AssertionError, match="finite"):
        run_tests(folder / "test_my_own_method.py", tmp_path)


def test_a_suite_is_planned_as_written_and_with_every_key_it_shows(tmp_path):
    folder, output = written(tmp_path, "suite", "my-suite")
    suite = folder / "my-suite.toml"
    run_tests(folder / "test_my_suite.py", tmp_path)
    assert load_suite(str(suite)).rows == load_suite("demo").rows
    assert f"bench sweep '{suite}'\n" in output
    uncommented(suite)
    for kind, name in (("method", "my_method"), ("task", "my_task")):
        written(tmp_path, kind, name)
    loaded = load_suite(str(suite))
    assert [row.id for row in loaded.rows] == ["erm", "ras4dg", "ras4dg-mild"]
    assert len(loaded.plan(Filters(), Inventory(registry(), TASKS)).runs) == 15
    run_tests(folder / "test_my_suite.py", tmp_path)
    suite.write_text(suite.read_text(encoding="utf-8").replace('method = "erm"', 'method = "emr"'), encoding="utf-8")
    with pytest.raises(AssertionError, match=r"unknown method .*'erm'"):
        run_tests(folder / "test_my_suite.py", tmp_path)


def test_a_suite_extends_the_one_that_is_named(tmp_path):
    folder, _ = written(tmp_path, "suite", "mine", "--extends", "lesav-quick")
    assert load_suite(str(folder / "mine.toml")).columns == load_suite("lesav-quick").columns
    other, _ = written(tmp_path / "other", "suite", "yours", "--extends", str(folder / "mine.toml"))
    assert load_suite(str(other / "yours.toml")).columns == load_suite("lesav-quick").columns


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_task_reads_a_drawn_case_as_written_and_with_every_key_it_shows(tmp_path, ndim):
    folder, output = written(tmp_path, "task", "my-task", "--ndim", ndim)
    file = folder / "my-task.toml"
    run_tests(folder / "test_my_task.py", tmp_path / "first")
    assert task_from_toml(file).ndim == ndim
    assert f"bench data verify --task '{file}'" in output
    uncommented(file)
    assert task_from_toml(file).domain("my-task-a").domain.published == 40
    run_tests(folder / "test_my_task.py", tmp_path / "second")
    file.write_text(file.read_text(encoding="utf-8").replace("b/images/", "b/scans/"), encoding="utf-8")
    with pytest.raises(AssertionError, match="there is no folder"):
        run_tests(folder / "test_my_task.py", tmp_path / "third")


def test_the_files_are_formatted_with_the_longest_name_too(tmp_path):
    name = "a" * LONGEST
    for kind, own in (("method", name), ("suite", f"{name[1:]}s"), ("task", f"{name[1:]}t")):
        folder, _ = written(tmp_path, kind, own)
    ruff, config = [sys.executable, "-m", "ruff"], ["--config", str(ROOT / "pyproject.toml"), "--no-cache"]
    for command in (["format", "--check"], ["check", "--select", "E,F,W,UP,B,PT"]):
        result = subprocess.run([*ruff, *command, *config, folder], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
    assert max(len(line) for path in folder.iterdir() for line in path.read_text().splitlines()) <= 118


REFUSED = {
    "method, word of Python": ("method", "class"),
    "method, hyphen": ("method", "my-method"),
    "method, capital": ("method", "Mine"),
    "method, folder": ("method", "../mine"),
    "method, taken": ("method", "ras4dg"),
    "method, module": ("method", "torch"),
    "method, name in the file": ("method", "batch"),
    "method, long": ("method", "a" * (LONGEST + 1)),
    "suite, folder": ("suite", "a/b"),
    "suite, taken": ("suite", "demo"),
    "suite, empty": ("suite", ""),
    "suite, unknown base": ("suite", "mine", "--extends", "demmo"),
    "task, dot": ("task", "mine.toml"),
    "task, taken": ("task", "fundus"),
    "task, long": ("task", "a" * (LONGEST + 1)),
}


@pytest.mark.parametrize("arguments", REFUSED.values(), ids=REFUSED)
def test_a_name_that_cannot_be_is_refused_in_a_line(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    result = new(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("bench: ")
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("existing", ["mine.toml", "test_mine.py"])
def test_nothing_is_replaced(tmp_path, existing):
    (tmp_path / existing).write_text("precious")
    result = new("task", "mine", "--output", tmp_path)
    assert result.exit_code == 2
    assert f"{existing} exists and is not replaced" in result.stderr
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(existing, "precious")]


def test_both_ways_to_a_task_name_each_other():
    assert "bench data new" in new("task", "--help").output
    assert "bench new task" in CliRunner().invoke(main, ["data", "new", "--help"]).output
