import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import ssdg.datasets
from ssdg.datasets import TASKS, DataError, find_target

TRIAD = [f"triad-{name}" for name in ("binrushed", "magrabia", "refuge", "origa", "drishti")]
POLYPS = ["cvc-300", "cvc-colondb", "etis", "kvasir", "cvc-clinicdb"]


def test_cameras_are_as_published() -> None:
    domains = {**TASKS["fundus"].sources, **TASKS["fundus"].targets}
    degrees = [(name, loader.domain.degrees) for name, loader in domains.items()]
    assert degrees == [("drive", 45), ("lesav", 30), ("iostar", 45), ("drive-test", 45), ("chase", 30), ("stare", 35)]
    assert TASKS["optic-disc"].domain("drions").domain.degrees is None
    assert all("degrees" not in loader.domain.rules() for loader in domains.values())


def test_tasks_are_as_designed() -> None:
    table = {
        task.name: (task.ndim, task.channels, task.shape, list(task.sources), list(task.targets))
        for task in TASKS.values()
    }
    assert table == {
        "fundus": (2, 3, (512, 512), ["drive"], ["lesav", "iostar", "drive-test", "chase", "stare"]),
        "fetal": (3, 1, (144,) * 3, ["atlases"], ["feta2021"]),
        "fetal-atlases": (3, 1, (144,) * 3, ["gholipour"], ["wu", "fidon"]),
        "phantom2d": (2, 3, (96, 96), ["phantom2d-a"], ["phantom2d-b", "phantom2d-c"]),
        "phantom3d": (3, 1, (32,) * 3, ["phantom3d-a"], ["phantom3d-b"]),
        "optic-disc": (2, 3, (256, 256), *2 * [["drishti", "drions"]]),
        "optic-cup": (2, 3, (256, 256), ["drishti-training"], ["drishti-test"]),
        "disc-cup": (2, 3, (512, 512), ["binrushed", "magrabia"], [f"messidor-base{base}" for base in (1, 2, 3)]),
        "disc-cup-triad": (2, 3, (512, 512), *2 * [TRIAD]),
        "polyp": (2, 3, (352, 352), POLYPS[3:], POLYPS),
        "cardiac": (3, 1, (128, 128, 48), ["acdc"], ["mscmr-lge"]),
        "cardiac-slices": (2, 1, (192, 192), ["acdc-slices"], ["mscmr-lge-slices"]),
        "cardiac-seq": (2, 3, (192, 192), *2 * [["bssfp", "lge"]]),
        "abdomen": (2, 3, (192, 192), *2 * [["chaos", "btcv"]]),
        "prostate": (2, 1, (192, 192), *2 * [["runmc", "bmc", "i2cvb", "ucl", "bidmc", "hk"]]),
    }
    assert TASKS["fetal"].classes == ("background", "eCSF", "GM", "WM", "LV", "CBM", "dGM", "BS")
    assert TASKS["fetal-atlases"].classes == TASKS["fetal"].classes
    assert all(name == task.name for name, task in TASKS.items())


def test_structures_are_numbered_as_their_owners_number_them() -> None:
    order = {
        "cardiac": ("RV", "MYO", "LV"),  # ACDC
        "cardiac-slices": ("RV", "MYO", "LV"),
        "cardiac-seq": ("Myo", "LV", "RV"),  # the processed copies of CSDG and SLAug
        "abdomen": ("liver", "right-kidney", "left-kidney", "spleen"),
    }
    assert {name: TASKS[name].classes[1:] for name in order} == order
    for name in ("optic-cup", "disc-cup", "disc-cup-triad"):
        assert TASKS[name].regions == {"disc": (1, 2), "cup": (2,)}


def test_a_target_names_its_task() -> None:
    for task in TASKS.values():
        assert all(find_target(target) is task for target in task.targets)


def test_a_name_belongs_to_one_domain_over_all_tasks() -> None:
    names = [name for task in TASKS.values() for name in {*task.sources, *task.targets}]
    assert len(names) == len(set(names))


def test_an_unknown_target_gets_the_nearest_name() -> None:
    with pytest.raises(DataError, match=r"unknown target 'les-av': did you mean 'lesav'\?"):
        find_target("les-av")


def test_a_target_of_two_tasks_is_an_error() -> None:
    twice = {"fundus": TASKS["fundus"], "again": replace(TASKS["fundus"], name="again")}
    with pytest.raises(DataError, match="'lesav' belongs to the tasks fundus and again"):
        find_target("lesav", twice)


def test_all_names_of_the_package_exist() -> None:
    assert all(hasattr(ssdg.datasets, name) for name in ssdg.datasets.__all__)


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = ("numpy", "PIL", "nibabel", "torch", "monai", "pandas", "scipy", "skimage")
    code = f"import sys, ssdg.datasets; print([name for name in {heavy} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_no_committed_list_is_unused_by_a_task() -> None:
    sources = {name for task in TASKS.values() for name in task.sources}
    folder = Path(ssdg.datasets.__file__).parent / "splits"
    assert {path.stem for path in folder.glob("*.txt")} <= sources


def test_the_default_source_of_a_target_is_another_domain() -> None:
    assert TASKS["optic-disc"].source_for("drions") == "drishti"
    assert TASKS["optic-disc"].source_for("drishti") == "drions"
    assert TASKS["optic-disc"].source_for("drishti", "drions") == "drishti"
