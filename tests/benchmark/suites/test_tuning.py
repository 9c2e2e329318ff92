"""Trials of a row's settings: what is drawn, and the row that wins as a suite takes it."""

from dataclasses import dataclass, field

import pytest

from ssdg.benchmark.errors import UsageError
from ssdg.benchmark.suites.suite import Row
from ssdg.benchmark.suites.suite_file import base_lines, load_suite
from ssdg.benchmark.suites.tuning import LEARNING_RATE, Range, ranges, trial_rows, tuned_row
from ssdg.methods import METHODS, load_method

from ...suites import suite_file


@dataclass(frozen=True)
class Config:
    strength: float = field(default=1.0, metadata={"source": "test", "range": (0, 4)})
    steps: int = field(default=1, metadata={"source": "test", "range": (1, 9)})
    mode: str = field(default="mix", metadata={"source": "test"})


ROW = Row(id="mine", method="mine", label="Mine", settings={"method.mode": "mix"})


def test_the_learning_rate_and_fields_with_a_range_are_tuned():
    assert ranges(Config) == {
        LEARNING_RATE: Range(1e-4, 1e-2),
        "method.strength": Range(0, 4),
        "method.steps": Range(1, 9, whole=True),
    }


def test_positive_ranges_are_drawn_by_their_logarithm():
    assert [Range(1e-4, 1e-2).draw(share) for share in (0, 0.5, 1)] == [1e-4, 1e-3, 1e-2]
    assert [Range(0, 4).draw(share) for share in (0, 0.5, 1)] == [0, 2, 4]
    assert Range(1, 9, whole=True).draw(0.5) == 3


def test_the_first_trial_is_the_row_as_it_is_and_the_others_differ():
    rows = trial_rows(ROW, 20, ranges(Config))
    assert [row.id for row in rows[:3]] == ["mine-trial0", "mine-trial1", "mine-trial2"]
    assert rows[0].settings == ROW.settings
    assert all(row.settings.keys() == {"method.mode", *ranges(Config)} for row in rows[1:])
    rates = [row.settings[LEARNING_RATE] for row in rows[1:]]
    assert len(set(rates)) == 19
    assert min(rates) < 5e-4 < 2e-3 < max(rates)
    assert all(1 <= row.settings["method.steps"] <= 9 for row in rows[1:])


def test_trials_are_the_same_each_time_and_have_the_same_rates_for_every_row():
    other = Row(id="other", method="other")
    first, again = (trial_rows(ROW, 5, ranges(Config)) for _ in range(2))
    assert first == again
    assert trial_rows(ROW, 9, ranges(Config))[:5] == first
    alone = trial_rows(other, 5, ranges(load_method("erm").Config))
    assert [row.settings.get(LEARNING_RATE) for row in alone] == [row.settings.get(LEARNING_RATE) for row in first]
    assert "method.steps" not in alone[1].settings


def test_a_setting_without_a_range_is_refused():
    with pytest.raises(UsageError, match=r"setting with a range of method 'mine' 'method\.mode'"):
        trial_rows(ROW, 2, ranges(Config), ["method.mode"])


def test_the_row_that_wins_is_one_of_a_suite(tmp_path):
    row = Row(
        id="erm", method="erm", label='"Plain"', access="source-only", settings={"training.augmentation": "none"}
    )
    winner = trial_rows(row, 3, ranges(load_method("erm").Config))[2]
    path = suite_file(tmp_path / "mine.toml")
    path.write_text(f"{path.read_text()}\n{tuned_row(row, winner, 3)}")
    added = load_suite(str(path)).rows[-1]
    assert (added.id, added.label, added.tuned) == ("erm_tuned", '"Plain", tuned', 3)
    assert added.settings == winner.settings
    assert added.remark == "tuned on held-out source cases, 3 trials"


def test_rows_of_a_table_are_tuned_alike(tmp_path):
    rows = [{"id": str(count), "method": "randconv", "tuned": count} for count in (3, 8)]
    with pytest.raises(UsageError, match="rows tuned with 3 and 8 trials"):
        load_suite(str(suite_file(tmp_path / "mine.toml", rows)))


@pytest.mark.parametrize("name", METHODS)
def test_ranges_of_methods_contain_their_defaults(name):
    config = load_method(name).Config
    for setting, tuned in ranges(config).items():
        section, _, key = setting.partition(".")
        if section == "method":
            assert tuned.low <= getattr(config(), key) <= tuned.high


def test_a_new_file_names_what_the_command_line_does(tmp_path):
    lines = base_lines("demo", tmp_path, {"plugins": (tmp_path / "methods" / "mine.py",), "tasks": ()})
    assert lines.splitlines() == ['extends = "demo"', 'plugins = ["methods/mine.py"]']
    plain = Row(id="erm", method="erm")
    assert "settings" not in tuned_row(plain, plain, 3)
