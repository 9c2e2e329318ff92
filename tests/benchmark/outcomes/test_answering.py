"""Runs that start from a file of weights answer a request by the file's content, not by its path."""

from dataclasses import replace
from pathlib import Path

import pytest

from ssdg.benchmark.outcomes.planned_run import match_plan
from ssdg.benchmark.settings import weights_digest
from ssdg.benchmark.spec import NetworkConfig, RunRequest, RunSpec
from ssdg.benchmark.storage.results_reader import StoredRun
from ssdg.benchmark.suites.suite import Planned

from ..stored import ERM, LESAV

REQUEST = RunRequest(task="fundus", source="drive", method="erm")


@pytest.fixture
def weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "w.pt"
    file.write_bytes(b"first")
    return file


def answered(path, used, digest):
    """Return whether a run that used a file of some digest answers a request for a file."""
    request, stored = (replace(REQUEST, network=NetworkConfig(weights=name)) for name in (path, used))
    spec = RunSpec(
        request=stored,
        method_version=1,
        method_config={},
        method_changed=(),
        source_manifest="m",
        split="s",
        network_weights=digest,
    )
    run = StoredRun(Path("r"), spec, "DONE", (), "id", trained=True)
    return match_plan([Planned(ERM, (LESAV,), request)], [run])[0][0].stored is run


def test_weights_are_matched_by_their_content(weights):
    digest = weights_digest("w.pt")
    assert answered(str(weights), "w.pt", digest)
    assert answered("./w.pt", "elsewhere/other-name.pt", digest)
    assert not answered(None, "w.pt", digest)
    assert not answered("w.pt", None, "")
    weights.write_bytes(b"second")
    assert not answered("w.pt", "w.pt", digest)


def test_a_reader_without_the_file_goes_by_its_name(weights):
    assert answered("nowhere/w.pt", str(weights), "0123456789ab")
    assert not answered("nowhere/v.pt", str(weights), "0123456789ab")
    assert answered("w.pt", "w.pt", ""), "a run that did not record the content"
