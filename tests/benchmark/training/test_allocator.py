"""What the C library does with freed memory, in processes of their own: the setting is for good."""

import os
import subprocess
import sys

import pytest
import torch

from ssdg.benchmark.training.allocator import CHOSEN, keep_freed_memory

FREES = """
import resource, sys
import torch
from ssdg.benchmark.training.allocator import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory(torch.device("cpu"))
torch.set_num_threads(1)

def step():
    kept = [torch.ones(9 * 2**20) for _ in range(3)]  # 36 MiB each, more than glibc keeps by itself
    return sum(float(t[-1]) for t in kept)

for _ in range(10):  # what is free has to find its place first
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
assert [step() for _ in range(5)] == [3.0] * 5
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str) -> int:
    """Return how often the system had to hand a cleared page to five steps after ten others."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(CHOSEN)}
    command = [sys.executable, "-P", "-c", FREES, how]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=plain)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a setting of glibc")
def test_a_step_gets_the_memory_that_the_last_one_freed():
    pages = 5 * 3 * 36 * 2**20 // 4096
    assert page_faults("leave") > pages // 2  # so that the other number says something
    assert page_faults("keep") < pages // 100


@pytest.mark.parametrize("name", ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES", "LD_PRELOAD"])
def test_an_allocator_that_the_user_chose_is_left_alone(monkeypatch, name):
    monkeypatch.setenv(name, "")
    assert not keep_freed_memory(torch.device("cpu"))


def test_nothing_is_done_for_a_gpu():
    assert not keep_freed_memory(torch.device("cuda"))
