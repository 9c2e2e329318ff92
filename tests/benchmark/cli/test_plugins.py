"""Runs of a plugin that was edited, or whose version was raised, since they were trained."""

import sys
from importlib import resources

from ssdg import methods
from ssdg.benchmark import open_results

from ...suites import TINY as SETTINGS
from ...suites import flags, suite_file

PLUGIN = """
from ssdg.methods.base import Method

class Edited(Method):
    version = {version}
"""


def test_an_edited_plugin_and_a_raised_version_are_said(bench, tmp_path, monkeypatch):
    plugin, options = tmp_path / "edited.py", ("--plugin", str(tmp_path / "edited.py"))
    suite = str(suite_file(tmp_path / "mine.toml", ("edited",)))
    run = ("run", "--method", "edited", "--target", "phantom2d-b", *flags(SETTINGS), *options)
    plugin.write_text(PLUGIN.format(version=1))
    assert bench(*run).exit_code == 0
    reading = [("table", suite, *options), ("status", suite, *options), ("sweep", suite, "--dry-run", *options)]
    assert not [call for call in reading if "edited after training" in bench(*call).output]

    plugin.write_text(PLUGIN.format(version=1) + "# with another loss\n")
    again = bench(*run)
    assert (again.exit_code, "edited after training: raise its version" in again.output) == (0, True), again.output
    assert [call for call in reading if "edited after training" not in bench(*call).output] == []

    plugin.write_text(PLUGIN.format(version=2))
    monkeypatch.setattr(methods, "_plugins", {})
    for name in [name for name in sys.modules if name.startswith("ssdg_plugin_edited")]:
        monkeypatch.delitem(sys.modules, name)
    table, status, sweep = (bench(*call).output for call in reading)
    assert "not of the code that is here, which a sweep trains: edited (version 1, here version 2)" in table
    assert ("QUEUED" in status, "1 to do" in sweep) == (True, True)


def test_a_suite_names_its_plugins_and_tasks_itself(bench, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "edited.py").write_text(PLUGIN.format(version=1))
    catalogue = (resources.files("ssdg.datasets") / "catalogue" / "phantom2d.toml").read_text()
    (tmp_path / "own" / "task.toml").write_text(catalogue.replace('name = "phantom2d"', 'name = "mine"'))
    column = {"task": "mine", "source": "phantom2d-a", "target": "phantom2d-b"}
    suite_file(tmp_path / "own" / "mine.toml", ("edited",), [column], plugins=["edited.py"], tasks=["task.toml"])
    extending = tmp_path / "extending.toml"
    extending.write_text('extends = "own/mine.toml"\n')
    swept = bench("sweep", str(extending))
    assert swept.exit_code == 0, swept.output
    results = open_results(extending, bench.results)
    assert results.table()[["row", "state"]].values.tolist() == [["edited", "complete"]]
    assert results.runs()["state"].tolist() == ["DONE"]
