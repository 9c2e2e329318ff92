"""What a run reads: its source, the target that it adapts to, and the targets that it scores."""

import shutil

import pytest

from ssdg.benchmark.data.run_data import DataSource, find_run_data
from ssdg.benchmark.errors import UsageError
from ssdg.benchmark.spec import Fold, PreprocessConfig, RunRequest, TrainingConfig
from ssdg.benchmark.storage.run_folder import VALIDATION
from ssdg.datasets import TASKS
from ssdg.datasets.base import DataError

TASK = TASKS["phantom2d"]
B, C = "phantom2d-b", "phantom2d-c"


def run_data(phantom_data, tmp_path, targets, say=print, **request):
    adapting = {"method": "cutmix", "target": B} | request
    asked = RunRequest(task=TASK.name, source="phantom2d-a", **adapting)
    return find_run_data(asked, TASK, targets, DataSource(phantom_data, tmp_path), say)


@pytest.fixture
def pictures(phantom_data, tmp_path):
    """A copy of the pictures, which a test may replace."""
    shutil.copytree(phantom_data / "phantom2d", tmp_path / "data/phantom2d")
    return tmp_path / "data/phantom2d"


@pytest.mark.parametrize("targets", [(), (B,), (C,)])
def test_the_target_that_is_adapted_to_is_scored_only_where_it_is_asked_for(phantom_data, tmp_path, targets):
    data = run_data(phantom_data, tmp_path, targets)
    assert data.target.domain.name == B
    assert tuple(data.scored) == (VALIDATION, *targets)
    prepared = data.prepare(TASK, PreprocessConfig(shape=(16, 16)), tmp_path)
    assert set(prepared) == {"phantom2d-a", B, *targets}


def test_a_target_that_selects_has_to_be_scored(phantom_data, tmp_path):
    oracle = TrainingConfig(selection="oracle")
    with pytest.raises(UsageError, match="not among the targets to score"):
        run_data(phantom_data, tmp_path, (C,), training=oracle)


@pytest.mark.parametrize("asked", [{}, {"method": "erm", "target": None, "fold": Fold(0, 2)}])
def test_one_picture_on_both_sides_of_a_split_is_refused(pictures, tmp_path, asked):
    data = run_data(pictures.parent, tmp_path, (), **asked)
    apart = data.scored["phantom2d-a"].ids if asked else data.validation
    folder = pictures / "a/image"
    shutil.copy(folder / f"{data.training[0]}.png", folder / f"{data.training[1]}.png")
    run_data(pictures.parent, tmp_path, (), **asked)
    shutil.copy(folder / f"{data.training[0]}.png", folder / f"{apart[0]}.png")
    with pytest.raises(DataError, match=rf"2 of the images .*{data.training[0]} = {apart[0]}.*groups"):
        run_data(pictures.parent, tmp_path, (), **asked)


def test_labels_that_source_and_target_share_are_said_and_noted(pictures, tmp_path):
    for ours, theirs in zip(*(sorted((pictures / f"{site}/label").glob("*0[12].png")) for site in "ab"), strict=True):
        shutil.copy(ours, theirs)
    said = []
    scored = run_data(pictures.parent, tmp_path, (B, C), said.append).scored
    notes = {name: cases.counts(None, TASK).get("note") for name, cases in scored.items()}
    assert notes == {VALIDATION: None, B: "2 labels are files of the source: the same patients", C: None}
    assert [line.split(" are files of source phantom2d-a (")[0] for line in said] == [f"{B}: the labels of 2 cases"]
