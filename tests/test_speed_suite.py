"""The speed suite runs from end to end; its numbers are nobody's business here."""

import csv
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ssdg.methods.losses import soft_dice

SUITE = Path(__file__).parents[1] / "speed" / "suite.py"


def measure(tmp_path, *arguments):
    environment = {name: value for name, value in os.environ.items() if name != "BENCH_DATA"}
    command = [sys.executable, "-P", SUITE, "--output", tmp_path, "--repeats", "2", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert result.returncode == 0, result.stderr
    (table,) = tmp_path.glob("*.csv")
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return rows, next(tmp_path.glob("*.md")).read_text()


def test_the_cheapest_measurement_is_written_with_its_provenance(tmp_path):
    (row,), text = measure(tmp_path, "--only", "startup-help")
    assert row["name"] == "bench --help"
    assert 0 < float(row["low"]) <= float(row["measured"]) <= float(row["high"])
    assert (row["budget"], row["bound"], row["n"], row["unit"]) == ("0.3", "at most", "2", "s")
    assert row["cores"] == str(len(os.sched_getaffinity(0)))
    assert "torch" in row["versions"]
    assert "| bench --help [1] |" in text


def test_what_needs_data_or_clones_says_so_where_there_are_none(tmp_path):
    only = [option for name in ("loading-drive", "memory", "official") for option in ("--only", name)]
    rows, text = measure(tmp_path, *only, "--cache", str(tmp_path / "cache"))
    assert [row["name"] for row in rows[:2]] == ["loading-drive", "memory"]
    assert all(row["measured"] == "" and "BENCH_DATA" in row["note"] for row in rows[:2])
    [official] = rows[2:]
    assert "pass it as --official" in official["note"]
    assert text.count("not measured") == 3


def test_an_official_repository_that_is_not_there_is_named(tmp_path):
    rows, _ = measure(tmp_path, "--only", "official", "--official", str(tmp_path / "clones"))
    assert len(rows) == 7
    assert all(row["measured"] == "" and "git clone https://github.com/" in row["note"] for row in rows)


def test_what_draws_its_own_cost_is_compared_by_its_mean(module):
    found = module("sampling").ratio_of_means([1.0, 5.0], [2.0, 1.0])
    assert (found.value, found.n) == (2.0, 2)
    assert found.low <= 2.0 <= found.high


@pytest.fixture
def module(monkeypatch):
    """Return the suite's modules by name; they see each other as the suite's own process does."""
    monkeypatch.syspath_prepend(SUITE.parent)
    return importlib.import_module


def test_a_budget_may_be_the_least_that_is_asked_for(module):
    sheet, exact = module("sheet"), module("sampling").exact
    enough, short = (sheet.Row("row", exact(value), "x", 3.0, at_least=True) for value in (3.0, 2.9))
    assert (enough.met, short.met) == (True, False)
    assert enough.cells()[1:3] == ("3.00 x", "≥ 3 x")
    assert short.cells()[1] == "2.90 x **missed**"
    assert short.record()["bound"] == "at least"


@pytest.mark.parametrize("shape", [(16, 24), (8, 8, 16)])
def test_monai_is_given_the_same_loss(module, shape):
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn((2, 3, *shape), generator=rng)
    label = torch.randint(2, (2, 1, *shape), generator=rng)  # the last class is absent
    theirs = module("monai_way").monai_dice()(logits, label.float())
    torch.testing.assert_close(theirs, soft_dice(logits, label))


@pytest.mark.parametrize("shape", [(32, 32), (16, 16, 16)])
def test_monai_draws_images_by_the_same_law(module, shape):
    transform = module("monai_way").augmentation(shape)
    transform.set_random_state(seed=0)
    ramp = torch.arange(shape[0]).float().view(-1, *[1] * (len(shape) - 1)).expand(1, *shape)
    drawn = [transform({"image": ramp, "label": ramp}) for _ in range(200)]
    same, flipped = (
        sum(torch.equal(one["image"], other) for one in drawn) / len(drawn) for other in (ramp, ramp.flip(1))
    )
    # A quarter is neither turned nor scaled; half of that is flipped along the first axis.
    assert 0.07 < same < 0.18
    assert 0.07 < flipped < 0.18
    assert all(torch.equal(one["label"], one["label"].round()) for one in drawn)


@pytest.mark.parametrize("shape", [(32, 32), (16, 16, 16)])
def test_the_operations_of_a_sample_are_those_of_its_convolutions(module, shape):
    size = module("workload").Workload(shape, init_filters=8)
    network = size.method("erm", torch.device("cpu")).network
    forward = []

    def count(convolution, _, result):
        forward.append(2 * result.numel() * convolution.weight[0].numel())  # a multiply-add is two

    for part in network.modules():
        if isinstance(part, torch.nn.Conv2d | torch.nn.Conv3d):
            part.register_forward_hook(count)
    network(torch.zeros(1, size.channels, *shape))
    # Backward is as much again for the weights and for the input, which the first convolution has no use for.
    assert module("floor").sample_flop(size) == 3 * sum(forward) - forward[0]


@pytest.fixture
def windows(module):
    """Return four windows a step, of two small images."""
    return module("workload").Workload(
        (48, 48), cases=4, window=(16, 16), windows_per_image=2, augmentation="geometric"
    )


def test_a_window_costs_what_an_image_of_its_size_does(module, windows):
    floor, workload = module("floor"), module("workload")
    assert (windows.samples, windows.name) == (4, "windows of 16² in 48²")
    assert floor.sample_flop(windows) == floor.sample_flop(workload.Workload((16, 16)))


def test_the_time_of_a_step_is_told_apart_by_kinds_of_work(module, windows):
    profiling, device = module("profiling"), torch.device("cpu")
    plain, step = (windows.steps("ras4dg", device, 1) for _ in range(2))
    with torch.profiler.profile() as recorded:
        terms = profiling.labelled(step)(0)
    assert terms == plain(0)
    spent = profiling.by_kind(recorded.events(), device)
    assert set(spent) == {*profiling.KINDS, profiling.REST}
    assert all(seconds > 0 for seconds in spent.values())
    names = [event.name for event in recorded.events()]
    assert names.count("step: batch") == names.count("step: optimiser") == 1
    assert names.count("step: views") == 2  # augmentation, normalisation


def test_monai_cuts_as_many_windows(module, windows):
    work = module("real_run").Work(windows.request("erm", 1), None, windows.task, windows.pool(torch.device("cpu")))
    _, loader = next(module("monai_way").loaders(work))
    batches = list(loader)
    assert len(batches) == 2
    assert all(batch["image"].shape == (4, 3, 16, 16) for batch in batches)
    assert all(batch["label"].shape == (4, 1, 16, 16) for batch in batches)
