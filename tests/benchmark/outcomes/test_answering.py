"""What answers a request: weights by their content, cameras by their angle, and what the code of now would train."""

from dataclasses import replace
from pathlib import Path

import pytest

from ssdg.benchmark.outcomes.answering import is_current
from ssdg.benchmark.outcomes.planned_run import match_plan
from ssdg.benchmark.settings import weights_digest
from ssdg.benchmark.spec import PIPELINE_VERSION, NetworkConfig, PreprocessConfig, RunRequest, RunSpec
from ssdg.benchmark.storage.results_reader import StoredRun
from ssdg.benchmark.suites.inventory import inventory_with
from ssdg.benchmark.suites.suite import Filters, Planned
from ssdg.benchmark.suites.suite_file import load_suite
from ssdg.methods import registry

from ..stored import ERM, LESAV

REQUEST = RunRequest(task="fundus", source="drive", method="erm")
PLAIN = RunSpec(
    request=REQUEST, method_version=1, method_config={}, method_changed=(), source_manifest="m", split="s"
)


@pytest.fixture
def weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "w.pt"
    file.write_bytes(b"first")
    return file


def answered(path, used, digest):
    """Return whether a run that used a file of some digest answers a request for a file."""
    request, stored = (replace(REQUEST, network=NetworkConfig(weights=name)) for name in (path, used))
    return answers(Planned(ERM, (LESAV,), request), replace(PLAIN, request=stored, network_weights=digest))


def answers(planned, spec):
    run = StoredRun(Path("r"), spec, "DONE", (), "id", trained=True)
    return match_plan([planned], [run])[0][0].stored is run


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


SCALED = replace(REQUEST, preprocess=PreprocessConfig(scale="fov"))
SPEC = replace(PLAIN, request=SCALED, degrees=(45,))


@pytest.mark.parametrize(("cameras", "fits"), [({}, True), ({"drive": 45}, True), ({"drive": 60}, False)])
def test_a_run_is_of_the_angle_that_its_task_gives_the_camera(cameras, fits):
    assert answers(Planned(ERM, (LESAV,), SCALED, cameras=cameras | {"lesav": 30}), SPEC) is fits
    assert answers(Planned(ERM, (LESAV,), SCALED, cameras={"drive": 60}), replace(SPEC, degrees=())), "not recorded"


@pytest.mark.parametrize(
    ("setting", "used"),
    [
        ({"kernel_sizes": "1x3"}, {"kernel_sizes": [1, 3]}),
        ({"kernel_sizes": "1,3"}, {"kernel_sizes": [1, 3]}),
        ({"range": "0.5x1.5"}, {"range": [0.5, 1.5]}),
        ({"layers": "max,mix"}, {"layers": ["max", "mix"]}),
        ({"before": "none"}, {}),
        ({"clip": "none"}, {"clip": None}),
    ],
)
def test_a_setting_is_matched_however_it_is_written(setting, used):
    planned = Planned(ERM, (LESAV,), replace(REQUEST, method_settings=setting))
    assert answers(planned, replace(PLAIN, method_config=used))
    assert not answers(planned, replace(PLAIN, method_config=used | {"before": "gin"}, method_changed=("before",)))


def test_a_plan_has_the_angles_of_its_cameras_where_they_count():
    suite = load_suite("lesav-quick")
    inventory = inventory_with([])
    [native, *_] = suite.plan(Filters(), inventory).runs
    [scaled, *_] = suite.plan(Filters(overrides={"preprocess.scale": "fov"}), inventory).runs
    assert (native.cameras, scaled.cameras) == ({}, {"drive": 45, "lesav": 30})


METHODS = registry()
BEFORE_ERM = {"before": "ras4dg", "before.version": METHODS["ras4dg"].version}
NOW = replace(SPEC, method_version=METHODS["erm"].version, method_config=BEFORE_ERM, pipeline=PIPELINE_VERSION)


@pytest.mark.parametrize(
    ("change", "current"),
    [
        ({}, True),
        ({"pipeline": PIPELINE_VERSION - 1}, False),
        ({"method_version": METHODS["erm"].version + 1}, False),
        ({"method_config": BEFORE_ERM | {"before.version": METHODS["ras4dg"].version + 1}}, False),
        ({"method_config": {"before": "ras4dg"}}, True),  # a setting of the method's own
        ({"request": replace(SCALED, method="of-a-plugin"), "method_version": 9}, True),
    ],
)
def test_a_run_of_another_version_of_the_code_is_not_current(change, current):
    assert is_current(replace(NOW, **change), METHODS) is current
