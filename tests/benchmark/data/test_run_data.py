"""What a run reads: its source, the target that it adapts to, and the targets that it scores."""

import pytest

from ssdg.benchmark.data.run_data import DataSource, find_run_data
from ssdg.benchmark.errors import UsageError
from ssdg.benchmark.spec import PreprocessConfig, RunRequest, TrainingConfig
from ssdg.benchmark.storage.run_folder import VALIDATION
from ssdg.datasets import TASKS

TASK = TASKS["phantom2d"]
B, C = "phantom2d-b", "phantom2d-c"


def run_data(phantom_data, tmp_path, targets, **request):
    adapting = RunRequest(task=TASK.name, source="phantom2d-a", method="cutmix", target=B, **request)
    return find_run_data(adapting, TASK, targets, DataSource(phantom_data, tmp_path), print)


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
