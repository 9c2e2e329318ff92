"""Counts on the data sets as their owners publish them, where $BENCH_DATA points at them."""

import gzip
import io
from pathlib import Path
from typing import Any

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
    "chase": (28, 28, ()),
    "stare": (20, 20, ()),
    "drishti": (101, 101, ()),
    "drions": (109, 110, ()),
    "drishti-training": (50, 50, ()),
    "drishti-test": (51, 51, ()),
    "acdc": (50, 200, ()),
    "acdc-slices": (50, 200, ()),
    "mscmr-lge": (15, 45, ()),
    "mscmr-lge-slices": (15, 45, ()),
}


def load(root: Path, name: str) -> Domain:
    task = next(task for task in TASKS.values() if name in (*task.sources, *task.targets))
    return task.domain(name)(root)


def read(path: Path) -> Any:
    import nibabel
    import numpy as np
    from PIL import Image

    if path.name.endswith(".nii.gz"):
        return np.asarray(nibabel.load(path).dataobj)
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture)


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
    import numpy as np

    for name in COUNTS:
        domain = load(real_data, name)
        case = domain.cases[0]
        assert case.label is not None
        values = read(case.label)
        if domain.layers:  # the disc is 3 % of a photograph, and brighter than what is not marked
            assert domain.layers[0].at_least is not None
            assert 0.005 < np.mean(values >= domain.layers[0].at_least) < 0.08
        else:
            assert {int(value) for value in np.unique(values)} <= set(domain.label_map)


def test_the_cup_lies_within_the_disc(real_data: Path) -> None:
    import numpy as np

    for name in ("drishti-training", "drishti-test"):
        for case in load(real_data, name).cases[:5]:
            assert case.label is not None
            disc, cup = (read(path) >= 191 for path in (case.label, *case.label_layers))
            assert 0 < np.mean(cup) < np.mean(disc)
            assert np.mean(cup & ~disc) < 0.05 * np.mean(cup)


def test_the_hearts_of_both_data_sets_lie_alike(real_data: Path) -> None:
    """Axes as the catalogue takes them: the right ventricle at low indices of axis 0, the base at those of axis 2."""
    import numpy as np

    for name, allowed in (("acdc", 1), ("mscmr-lge", 1)):  # patient047 and subject38 are stored the other way round
        domain = load(real_data, name)
        turned = []
        for case in domain.cases:
            assert case.label is not None
            values = read(case.label)
            for axis, (_, sign) in enumerate(domain.axes):
                values = np.flip(values, axis) if sign < 0 else values
            right, left = (np.argwhere(values == index) for index in (1, 3))
            assert right[:, 0].mean() < left[:, 0].mean()
            slices = np.bincount(left[:, 2])[left[:, 2].min() :]
            turned.append(slices[:3].mean() < slices[-3:].mean())
        assert sum(turned) <= allowed


DIGESTS = {
    "drive": "3f87847a71e6",
    "lesav": "fef1cd41b4d7",
    "iostar": "c8b9e1d380ab",
    "gholipour": "bc9c7025492d",
    "wu": "255f4a1577b9",
    "fidon": "571b4f181f24",
    "atlases": "edb7b220c1ef",
}
"""As they were when each data set had a loader of its own: runs of that time are still found."""


@pytest.mark.parametrize("name", DIGESTS)
def test_the_grammar_did_not_change_what_runs_are_identified_by(real_data: Path, name: str) -> None:
    from ssdg.datasets.manifest import read_manifest

    assert read_manifest(load(real_data, name)).digest == DIGESTS[name]
