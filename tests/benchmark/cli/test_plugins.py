"""Plugins: edited or of another version since they trained, named by suites, with constructors of any kind."""

import json
from importlib import resources

import pytest

from ssdg.benchmark import open_results

from ...suites import TINY as SETTINGS
from ...suites import flags, suite_file

PLUGIN = """
from ssdg.methods.base import Method

class Mine(Method):
    version = {version}

class Front(Method):
    def augment(self, batch, rng):
        return batch
"""

EDITED = "plugin edited after training or scoring, which a raised version trains anew: mine"


@pytest.fixture
def edit(tmp_path, forget_plugin):
    """Write the plugin as for processes that begin afterwards."""

    def write(version=1, text=""):
        plugin = tmp_path / "mine.py"
        plugin.write_text(PLUGIN.format(version=version) + text)
        forget_plugin("mine")
        return plugin

    return write


def test_an_edited_plugin_and_a_raised_version_are_said(bench, tmp_path, edit):
    options = ("--plugin", str(edit()))
    suite = str(suite_file(tmp_path / "suite.toml", ("mine",)))
    run = ("run", "--method", "mine", "--target", "phantom2d-b", *flags(SETTINGS), *options)
    assert bench(*run).exit_code == 0
    reading = [("table", suite, *options), ("status", suite, *options), ("sweep", suite, "--dry-run", *options)]
    assert not any("edited" in bench(*call).output for call in reading)

    edit(text="# with another loss\n")
    again = bench(*run)
    assert again.exit_code == 0, again.output
    assert "the plugin of mine was edited after training: raise its version" in again.output
    table, status, sweep = (bench(*call).output for call in reading)
    assert (EDITED in table, "the plugin of mine was edited since" in status, EDITED in sweep) == (True, True, True)

    edit(version=2)
    table, status, sweep = (bench(*call).output for call in reading)
    assert "not of the code that is here, which a sweep trains: mine (version 1, here version 2)" in table
    assert ("QUEUED" in status, "1 to do" in sweep) == (True, True)

    # Read alone, and by somebody who has not the plugin, an export says neither.
    folder = str(tmp_path / "exported")
    edit(version=1)
    assert bench("export", suite, *options, "--results-root", str(bench.results), "--output", folder).exit_code == 0
    for name in ("version", "plugin"):
        assert name not in "".join(open_results(folder).notes()), name
    ran = json.loads((tmp_path / "exported" / "provenance.json").read_text())["rows"][0]["ran_as"]
    assert list(ran[0]["plugins"]) == ["mine"]


def test_a_target_that_an_edited_plugin_scored_is_said(bench, tmp_path, edit):
    options = ("--plugin", str(edit()))
    run = ("run", "--method", "mine", *flags(SETTINGS), *options, "--target")
    assert bench(*run, "phantom2d-b").exit_code == 0
    edit(text="# with other logits\n")
    assert bench(*run, "phantom2d-c").exit_code == 0
    edit()
    suite = str(suite_file(tmp_path / "suite.toml", ("mine",), ["phantom2d-b", "phantom2d-c"]))
    assert EDITED in bench("table", suite, *options).output


def test_of_two_plugins_the_one_that_is_not_given_is_not_compared(bench, tmp_path, edit):
    row = {"id": "both", "method": "erm", "settings": {"method.before": "front"}}
    suite = str(suite_file(tmp_path / "suite.toml", [row]))
    options = ("--plugin", str(edit()))
    assert bench("sweep", suite, *options).exit_code == 0
    assert "edited" not in bench("table", suite).output
    assert "edited" not in bench("table", suite, *options).output
    edit(text="# otherwise\n")
    assert EDITED.replace("mine", "both") in bench("table", suite, *options).output


def test_a_suite_names_its_plugins_and_tasks_itself(bench, tmp_path, edit):
    (tmp_path / "own").mkdir()
    edit().rename(tmp_path / "own" / "mine.py")
    catalogue = (resources.files("ssdg.datasets") / "catalogue" / "phantom2d.toml").read_text()
    (tmp_path / "own" / "task.toml").write_text(catalogue.replace('name = "phantom2d"', 'name = "own"'))
    column = {"task": "own", "source": "phantom2d-a", "target": "phantom2d-b"}
    suite_file(tmp_path / "own" / "suite.toml", ("mine",), [column], plugins=["mine.py"], tasks=["task.toml"])
    extending = tmp_path / "extending.toml"
    extending.write_text('extends = "own/suite.toml"\n')
    swept = bench("sweep", str(extending))
    assert swept.exit_code == 0, swept.output
    results = open_results(extending, bench.results)
    assert results.table()[["row", "state"]].values.tolist() == [["mine", "complete"]]
    assert results.runs()["state"].tolist() == ["DONE"]


ODD = """
import functools
import numpy as np
import torch
from ssdg.methods.base import Method

@functools.cache
def table():
    return torch.linspace(0, 1, 3)

class Odd(Method):
    "Its constructor computes with values, and keeps a tensor beyond itself."

    def __init__(self, network, config=None):
        super().__init__(network, config)
        self.values = np.asarray(torch.ones(2)).tolist()
        self.register_buffer("table", table().clone())
"""


def test_a_constructor_may_compute_with_values(bench, tmp_path):
    plugin = tmp_path / "odd.py"
    plugin.write_text(ODD)
    run = bench("run", "--method", "odd", "--target", "phantom2d-b", "--plugin", str(plugin), *flags(SETTINGS))
    assert run.exit_code == 0, run.output
