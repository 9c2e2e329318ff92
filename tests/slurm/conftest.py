"""A real Slurm cluster for the tests of this folder: ``pytest -m slurm tests/slurm``, as root."""

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .cluster import Cluster

HERE = Path(__file__).resolve().parent


@pytest.hookimpl(tryfirst=True)  # before pytest selects by marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker("slurm")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster with an idle node of 8 CPUs; a test leaves its queue empty."""
    reason = Cluster.missing()
    if reason is not None:
        pytest.skip(reason)
    # The same folder each time, so that what a killed test process left is found and ended by the next one.
    checkout = hashlib.sha256(str(HERE).encode()).hexdigest()[:8]
    with Cluster(Path(tempfile.gettempdir()) / f"ssdg-slurm-{checkout}") as running:
        yield running
