"""Counts on the data sets as their owners publish them, where $BENCH_DATA points at them."""

from pathlib import Path

import pytest

from ssdg.datasets import TASKS, Domain, find_target
from ssdg.datasets.partition import held_out

pytestmark = pytest.mark.real_data

COUNTS = {
    "drive": (20, 20, ()),
    "drive-test": (20, 20, ()),
    "lesav": (22, 22, ()),
    "iostar": (10, 30, ()),
    "gholipour": (18, 18, ()),
    "wu": (13, 14, ("Chinese35",)),
    "fidon": (15, 15, ()),
    "atlases": (46, 47, ("Chinese35",)),
}


def load(root: Path, name: str) -> Domain:
    task = next(task for task in TASKS.values() if name in (*task.sources, *task.targets))
    return task.domain(name)(root)


@pytest.mark.parametrize("name", COUNTS)
def test_counts(real_data: Path, name: str) -> None:
    domain = load(real_data, name)
    assert (len(domain.cases), domain.published, domain.missing) == COUNTS[name]
    assert all(case.label for case in domain.cases)
    assert all(bool(case.foreground) == (name in ("drive", "drive-test", "lesav", "iostar")) for case in domain.cases)


@pytest.mark.parametrize(("name", "held"), [("drive", 4), ("atlases", 5), ("gholipour", 2)])
def test_committed_lists_are_complete_on_disk(real_data: Path, name: str, held: int) -> None:
    assert len(held_out(load(real_data, name))) == held


def test_atlas_strata(real_data: Path) -> None:
    strata = [case.stratum for case in load(real_data, "atlases").cases]
    assert {name: strata.count(name) for name in set(strata)} == {"gholipour": 18, "wu": 13, "fidon": 15}


@pytest.mark.parametrize("name", ["lesav", "iostar", "drive-test"])
def test_no_photograph_is_in_source_and_target(real_data: Path, name: str) -> None:
    from ssdg.datasets.manifest import read_manifest, shared_files

    source = find_target(name).source
    assert shared_files(read_manifest(load(real_data, source)), read_manifest(load(real_data, name))) == []


def test_label_values_are_all_in_the_map(real_data: Path) -> None:
    import nibabel
    import numpy as np
    from PIL import Image

    for name in COUNTS:
        domain = load(real_data, name)
        path = domain.cases[0].label
        assert path is not None
        if path.name.endswith(".nii.gz"):
            values = np.asarray(nibabel.load(path).dataobj)
        else:
            with Image.open(path) as picture:
                values = np.asarray(picture)
        assert {int(value) for value in np.unique(values)} <= set(domain.label_map)
