"""Devices: which one a run gets, and how it computes there."""

from types import SimpleNamespace

import pytest
import torch

from ssdg.benchmark.environment import SLOT, record
from ssdg.benchmark.training import explain
from ssdg.benchmark.training.build import ARITHMETIC, find_device
from ssdg.benchmark.training.contract_fixture import MethodUnderTest, tensors_of
from ssdg.methods.base import Method

SWITCHES = [
    (torch.backends.cudnn, "allow_tf32"),
    (torch.backends.cuda.matmul, "allow_tf32"),
    (torch.backends.cudnn, "benchmark"),
]


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    before = [getattr(owner, name) for owner, name in SWITCHES]
    yield
    for (owner, name), value in zip(SWITCHES, before, strict=True):
        setattr(owner, name, value)


@pytest.mark.parametrize(
    ("slot", "name", "device"),
    [
        (None, "auto", "cuda:0"),
        ("0", "auto", "cuda:0"),
        ("3", "auto", "cuda:1"),
        ("of another program", "auto", "cuda:0"),
        ("3", "cuda:0", "cuda:0"),
        ("3", "cpu", "cpu"),
    ],
)
def test_jobs_side_by_side_are_dealt_out_to_the_gpus(two_gpus, monkeypatch, slot, name, device):
    monkeypatch.delenv(SLOT, raising=False)
    if slot is not None:
        monkeypatch.setenv(SLOT, slot)
    assert find_device(name) == torch.device(device)


def test_a_slot_changes_nothing_without_a_gpu(monkeypatch):
    monkeypatch.setenv(SLOT, "3")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_device("auto") == torch.device("cpu")


def test_float32_on_a_gpu_is_computed_in_full(two_gpus):
    for owner, name in SWITCHES:
        setattr(owner, name, True)
    find_device("cpu")
    assert all(getattr(owner, name) for owner, name in SWITCHES)
    find_device("cuda")
    assert not any(getattr(owner, name) for owner, name in SWITCHES)


def test_a_step_is_timed_from_a_device_at_rest_to_one_at_rest(monkeypatch):
    calls = []

    class Taken:
        method = SimpleNamespace(train=lambda: None)
        total_steps = 3

        def __call__(self, step):
            calls.append("step")

    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: calls.append("wait"))
    monkeypatch.setattr(explain.time, "monotonic", lambda: calls.append("clock") or 0.0)
    explain._seconds(Taken(), torch.device("cuda"))
    assert calls == ["step", "wait", "clock", *["step"] * explain.STEPS, "wait", "clock"]


def test_a_method_under_test_and_its_batches_lie_on_their_device():
    subject = MethodUnderTest(Method, 2, device=torch.device("meta"))
    tensors = [*subject.method().parameters(), *tensors_of(subject.batch(targets=True)).values()]
    assert {tensor.device.type for tensor in tensors if tensor is not None} == {"meta"}


def test_the_record_of_a_run_has_the_arithmetic_of_a_gpu_alone():
    assert record("cuda (A)", 0, ARITHMETIC)["arithmetic"] == dict.fromkeys(ARITHMETIC, False)
    assert "arithmetic" not in record("cpu", 1, {})
