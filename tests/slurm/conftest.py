"""A real Slurm cluster for the tests of this folder: ``pytest -m slurm tests/slurm``, as root."""

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .cluster import Cluster
from .sweeping import Sweep

HERE = Path(__file__).resolve().parent
COSTS = pytest.StashKey[list[str]]()
HEADINGS = ("runs", "done", "starts", "wall s", "allocated s", "training s", "added s/start")


@pytest.hookimpl(tryfirst=True)  # before pytest selects by marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker("slurm")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster with an idle node of 8 CPUs."""
    reason = Cluster.missing()
    if reason is not None:
        pytest.skip(reason)
    # The same folder each time, so that what a killed test process left is found and ended by the next one.
    checkout = hashlib.sha256(str(HERE).encode()).hexdigest()[:8]
    with Cluster(Path(tempfile.gettempdir()) / f"ssdg-slurm-{checkout}") as running:
        yield running


@pytest.fixture(autouse=True)
def empty_queue(cluster: Cluster) -> Iterator[None]:
    """Leave no job behind, whatever becomes of the test."""
    yield
    cluster.cancel_all()


@pytest.fixture
def costs(cluster: Cluster, request: pytest.FixtureRequest) -> Callable[[Sweep], None]:
    """Return what notes, for the end of the session, what a sweep came to and what it cost beside training.

    Allocated: seconds that Slurm gave the sweep's runs, counted for each run of a packed allocation. What was not
    spent in epochs that count was added: start-up, preparing, scoring, saving, and steps taken again.
    """
    before, began = len(cluster.ended()), time.monotonic()

    def note(sweep: Sweep) -> None:
        wall = time.monotonic() - began
        allocated = sweep.pack * sum(cluster.ended()[before:])
        states, starts, trained = sweep.states(), sum(sweep.starts().values()), sweep.trained()
        numbers = (len(states), list(states.values()).count("DONE"), starts)
        seconds = (f"{wall:.0f}", f"{allocated:.0f}", f"{trained:.0f}", f"{(allocated - trained) / starts:.1f}")
        cells = "".join(f"{cell:>15}" for cell in (*numbers, *seconds))
        request.config.stash.setdefault(COSTS, []).append(f"{request.node.name[5:55]:50}{cells}")

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lines = config.stash.get(COSTS, [])
    if lines:
        terminalreporter.section("what the sweeps cost")
        terminalreporter.write_line(" " * 50 + "".join(f"{heading:>15}" for heading in HEADINGS))
        for line in lines:
            terminalreporter.write_line(line)
