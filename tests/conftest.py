"""A phantom on disk and the command line, in this process and in one of its own."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

# Grids here are tiny: more threads only wait for each other, and for whatever else the machine does. Before torch is
# imported, and inherited by the processes that tests start.
os.environ["OMP_NUM_THREADS"] = "1"

# Tests compare bits, which only the CPU repeats: a machine's GPU is for `make test-gpu`.
if not os.environ.get("BENCH_TEST_GPU"):
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

# Where somebody keeps results of their own.
os.environ.pop("BENCH_RESULTS", None)

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, settings

from ssdg import methods
from ssdg.benchmark.cli import main
from ssdg.benchmark.launching.local import BENCH
from ssdg.datasets.phantom import write_phantom

from . import suites
from .processes import (  # noqa: F401 - fixtures of every test
    Process,
    processes_end_with_the_session,
    processes_end_with_their_module,
    processes_end_with_their_test,
)
from .suites import flags

# A busy machine is no fault of an example.
settings.register_profile("any-load", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-load")

TINY = flags(suites.TINY)
"""Settings of a run on the 2D phantom that takes a second, as options."""

TINY_3D = flags(suites.TINY_3D)
"""The same on the 3D phantom."""

SLOW = """
import time
from ssdg.methods.base import Method

class Slow(Method):
    "The baseline, at a pace that leaves time to disturb it and the processor to others."

    def training_step(self, batch, context):
        time.sleep({seconds})
        return super().training_step(batch, context)
"""
"""Plugin with a method ``slow``, to be formatted with the seconds that each step sleeps."""


@dataclass(frozen=True)
class Bench:
    """``bench`` with a data root and a results root of a test."""

    data: Path
    results: Path

    def arguments(self, *arguments: str) -> list[str]:
        roots = {"--data-root": self.data, "--results-root": self.results}
        takes = {"run": roots, "sweep": roots, "retry": roots, "rescore": roots, "doctor": roots}
        readers = ("status", "table", "compare", "rank", "cancel", "logs")
        extra = takes.get(arguments[0], {"--results-root": self.results} if arguments[0] in readers else {})
        return [*arguments, *(str(part) for pair in extra.items() for part in pair)]

    def __call__(self, *arguments: str) -> Result:
        """Run a verb in this process."""
        return CliRunner().invoke(main, self.arguments(*arguments))

    def start(self, *arguments: str) -> Process:
        """Start a verb in a process of its own."""
        return Process([*BENCH, *self.arguments(*arguments)])

    def run_path(self, method: str = "erm", task: str = "phantom2d") -> Path:
        """Return the folder of the only run of a method."""
        [path] = (self.results / "runs" / task / method).glob("s*")
        return path


@pytest.fixture(autouse=True)
def plugins_are_forgotten(monkeypatch):
    """What a test's command line registers is not there in the next one, which may run in the same process."""
    monkeypatch.setattr(methods, "_plugins", dict(methods._plugins))


@pytest.fixture
def forget_plugin(monkeypatch):
    """Return a function that makes this process import the plugins of a name again, as another one would."""

    def forget(stem):
        monkeypatch.setattr(methods, "_plugins", {})
        for name in [name for name in sys.modules if name.startswith(f"ssdg_plugin_{stem}_")]:
            monkeypatch.delitem(sys.modules, name)

    return forget


@pytest.fixture(scope="session")
def phantom_data(tmp_path_factory):
    """A data root with small phantoms in 2D and 3D."""
    root = tmp_path_factory.mktemp("data")
    write_phantom(root, 2, cases=8, size=48)
    write_phantom(root, 3, cases=4, size=24)
    return root


@pytest.fixture
def bench(phantom_data, tmp_path):
    """The command line on the shared phantom, with results of its own."""
    (tmp_path / "results").mkdir()
    return Bench(phantom_data, tmp_path / "results")


@pytest.fixture(scope="session")
def real_data():
    """The folder of published data sets, or a skip."""
    root = os.environ.get("BENCH_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("no data sets: set BENCH_DATA to the folder that holds DRIVE, LES-AV, …")
    return Path(root)
