"""What a run reads: its source, the target that it adapts to, and the targets that it scores."""

import json
import shutil

import numpy as np
import pytest

from ssdg.benchmark.data.run_data import DataSource, find_run_data
from ssdg.benchmark.errors import UsageError
from ssdg.benchmark.spec import Fold, PreprocessConfig, RunRequest, TrainingConfig
from ssdg.benchmark.storage.run_folder import VALIDATION
from ssdg.datasets import TASKS
from ssdg.datasets.base import DataError
from ssdg.datasets.grammar import task_from_toml

from .files import save_volume

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


SEQUENCES = """
name = "brain"
ndim = 3
channels = 1
classes = ["background", "tumour"]
shape = [16, 16, 16]

[domain.t2]
decathlon = "dataset.json"
channels = [1]

[target.flair]
decathlon = "dataset.json"
channels = [{flair}]
"""


def test_two_channels_of_one_file_are_two_images_of_a_patient(tmp_path):
    rng = np.random.default_rng(0)
    names = [f"{number}.nii" for number in range(5)]
    for depth, name in enumerate(names, 6):
        label = np.zeros((16, 16, 16), np.uint8)
        label[4:9, 4:9, 4:depth] = 1
        image = 1 + rng.random((16, 16, 16, 3), dtype=np.float32)
        save_volume(tmp_path / f"image-{name}", image * np.arange(1, 4, dtype=np.float32))
        save_volume(tmp_path / f"label-{name}", label)
    training = [{"image": f"image-{name}", "label": f"label-{name}"} for name in names]
    (tmp_path / "dataset.json").write_text(json.dumps({"training": training}))
    said = []

    def found(flair):
        (tmp_path / "task.toml").write_text(SEQUENCES.format(flair=flair))
        task = task_from_toml(tmp_path / "task.toml")
        asked = RunRequest(task=task.name, source="t2", method="erm")
        return task, find_run_data(asked, task, ("flair",), DataSource(tmp_path, tmp_path / "cache"), said.append)

    with pytest.raises(DataError, match="share 5 identical images"):
        found(1)
    task, data = found(2)
    assert "flair: the labels of 5 cases are files of source t2" in said[-1]
    prepared = data.prepare(task, PreprocessConfig(shape=(16, 16, 16)), tmp_path / "prepared")
    assert prepared["t2"].digest != prepared["flair"].digest
    assert not np.array_equal(prepared["t2"].image, prepared["flair"].image)
    assert np.array_equal(prepared["t2"].label, prepared["flair"].label)
