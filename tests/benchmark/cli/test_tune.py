"""``bench tune``: trials are runs that see no target, and the best on held-out source cases becomes a row."""

import importlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from ssdg.benchmark.outcomes import convergence
from ssdg.benchmark.suites.suite import Row
from ssdg.benchmark.suites.suite_file import load_suite

from ...suites import suite_file

tune = importlib.import_module("ssdg.benchmark.cli.tune")

FUSSY = """
from dataclasses import dataclass, field
from ssdg.methods.base import Method

@dataclass(frozen=True)
class Config:
    strength: float = field(default=0.0, metadata={"source": "test", "range": (0, 1)})

class Fussy(Method):
    "Diverges at its default."
    Config = Config

    def training_step(self, batch, context):
        terms = super().training_step(batch, context)
        return terms if self.config.strength else {"nothing": terms["segmentation"] * float("nan")}
"""


def test_the_best_trial_becomes_a_row(bench, tmp_path):
    plugin = tmp_path / "fussy.py"
    plugin.write_text(FUSSY)
    suite = suite_file(tmp_path / "mine.toml", [{"id": "fussy", "method": "fussy", "label": "Fussy"}], seeds=(4, 5))
    options = ("--row", "fussy", "--trials", "2", "--fields", "method.strength", "--plugin", str(plugin))
    roots = ("--data-root", str(bench.data), "--results-root", str(bench.results))
    planned = bench("tune", str(suite), *options, *roots, "--dry-run")
    assert "fussy-trial1 s4: phantom2d-a -> its held-out cases" in planned.output
    assert "2 to do" in planned.output
    result = bench("tune", str(suite), *options, *roots, "--jobs", "2", "--output", str(suite))
    assert result.exit_code == 0, result.output
    assert "trial 0     diverged  as in the suite" in result.output
    assert "trial 1 is best on held-out source cases" in result.output
    added = load_suite(str(suite)).rows[-1]
    assert (added.id, added.tuned, list(added.settings)) == ("fussy_tuned", 2, ["method.strength"])
    runs = list((bench.results / "runs" / "phantom2d" / "fussy").iterdir())
    assert len(runs) == 2
    scored = [path.name.split("-")[0] for run in runs for path in (run / "evaluations").glob("*")]
    assert scored == ["held"]
    # What won has only its targets left to score.
    assert (
        "0 to train"
        in bench("sweep", str(suite), "--methods", "fussy_tuned", "--seeds", "4", *options[-2:], "--dry-run").output
    )
    again = bench("tune", str(suite), *options, *roots, "--output", str(suite))
    assert again.exit_code == 2
    assert "has a row 'fussy_tuned' already" in again.output
    # Behind the rows that a file takes from the suite that it extends, not in their place.
    extending = tmp_path / "extending.toml"
    extending.write_text('extends = "demo"\n')
    assert bench("tune", str(suite), *options, *roots, "--output", str(extending)).exit_code == 0
    rows = [row.id for row in load_suite(str(extending)).rows]
    assert rows == [*(row.id for row in load_suite("demo").rows), "fussy_tuned"]
    # The first of a new file, whose columns are those of the file that was tuned.
    alone = tmp_path / "tuned" / "alone.toml"
    selection = SimpleNamespace(name=str(suite), named_files={"plugins": (plugin,), "tasks": ()})
    tune._add_row(alone, selection, '[[rows]]\nid = "fussy_tuned"\nmethod = "fussy"\n')
    assert [row.id for row in load_suite(str(alone)).rows] == ["fussy_tuned"]
    assert load_suite(str(alone)).columns == load_suite(str(suite)).columns
    assert [Path(file).resolve() for file in load_suite(str(alone)).plugins] == [plugin]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--row", "ermm", "--trials", "2"), "did you mean 'erm'"),
        (("--row", "erm", "--trials", "2", "--fields", "method.x"), "setting with a range"),
        (("--row", "fold", "--trials", "2"), "nothing to tune on the source"),
        (("--row", "erm", "--trials", "1"), "x>=2"),
        (("--row", "erm", "--trials", "2", "--selection", "oracle"), "judged on held-out source cases"),
    ],
)
def test_what_cannot_be_tuned(bench, tmp_path, options, words):
    fold = {"id": "fold", "method": "erm", "folds": 2, "access": "intra"}
    suite = suite_file(tmp_path / "mine.toml", ["erm", fold])
    result = bench("tune", str(suite), *options)
    assert result.exit_code == 2
    assert words in result.output


def test_a_trial_without_a_score_never_wins(monkeypatch, capsys):
    rows = [Row(id=f"erm-trial{index}", method="erm") for index in range(2)]
    runs = [SimpleNamespace(row=row, state="DONE") for row in rows]
    held_out = {"erm-trial0": float("nan"), "erm-trial1": 0.5}
    monkeypatch.setattr(convergence, "held_out_mean", lambda _results, run: held_out[run.row.id])
    results = SimpleNamespace(suite=SimpleNamespace(rows=rows), planned_runs=runs)
    assert tune._print_trials(results, Row(id="erm", method="erm")) == {1: 0.5}
    assert "trial 0     no score  as in the suite: no held-out label has a class" in capsys.readouterr().out
