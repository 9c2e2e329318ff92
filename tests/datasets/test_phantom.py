import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import nibabel
import numpy as np
import pytest
from PIL import Image

from ssdg.datasets import TASKS
from ssdg.datasets.base import DataError
from ssdg.datasets.partition import held_out
from ssdg.datasets.phantom import SPACING, write_phantom

NDims = Literal[2, 3]


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def contents(folder: Path) -> dict[str, bytes]:
    return {name: content for name, (content, _) in snapshot(folder).items()}


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


@pytest.mark.parametrize(("name", "ndim", "domains"), [("phantom2d", 2, 3), ("phantom3d", 3, 2)])
def test_domains_read_what_was_written(tmp_path: Path, name: str, ndim: NDims, domains: int) -> None:
    assert write_phantom(tmp_path, ndim, cases=4, size=16) == tmp_path / name
    task = TASKS[name]
    loaders = {**task.sources, **task.targets}
    assert len(loaders) == domains
    for number, (domain_name, load) in enumerate(loaders.items()):
        domain = load(tmp_path)
        assert domain.name == domain_name
        assert len(domain.cases) == (4 if number == 0 else 2)
        assert all(case.label and case.foreground for case in domain.cases)
        assert domain.missing == ()
    assert held_out(task.sources[task.source](tmp_path)) == ("a-00",)


def test_pictures_are_rgb_with_dark_vessels_inside_the_field_of_view(tmp_path: Path) -> None:
    write_phantom(tmp_path, 2, cases=2, size=48)
    for load in [*TASKS["phantom2d"].sources.values(), *TASKS["phantom2d"].targets.values()]:
        domain = load(tmp_path)
        case = domain.cases[0]
        assert case.label is not None
        assert case.foreground is not None
        image, label, mask = (pixels(path) for path in (case.image, case.label, case.foreground))
        assert image.shape == (48, 48, 3)
        assert {*np.unique(label)} == {*np.unique(mask)} == {0, 255}
        assert set(np.unique(label)) <= set(domain.label_map)
        assert not image[mask == 0].any()
        assert not label[mask == 0].any()
        vessels, rest = image[label > 0].mean(axis=0), image[(label == 0) & (mask > 0)].mean(axis=0)
        assert np.all(vessels < rest)  # never inverted, on any channel
        assert 0.05 < (label > 0).sum() / (mask > 0).sum() < 0.35


def test_volumes_have_all_classes_one_grid_and_an_affine(tmp_path: Path) -> None:
    write_phantom(tmp_path, 3, cases=2, size=24)
    for load in [*TASKS["phantom3d"].sources.values(), *TASKS["phantom3d"].targets.values()]:
        case = load(tmp_path).cases[0]
        assert case.label is not None
        image, label = nibabel.load(case.image), nibabel.load(case.label)
        assert image.header.get_zooms() == (SPACING,) * 3
        assert np.allclose(image.affine, label.affine)
        values, classes = np.asarray(image.dataobj), np.asarray(label.dataobj)
        assert {*np.unique(classes)} == set(range(len(TASKS["phantom3d"].classes)))
        assert not values[classes == 0].any()
        assert (values[classes > 0] > 0).all()
        fluid, cortex, core = (values[classes == index].mean() for index in (1, 2, 3))
        assert fluid > core > cortex  # the same order for every scanner


def test_the_shift_is_one_of_appearance(tmp_path: Path) -> None:
    write_phantom(tmp_path, 2, cases=4, size=48)

    def contrast(name: str) -> np.ndarray:
        domain = TASKS["phantom2d"].domain(name)(tmp_path)
        losses = []
        for case in domain.cases:
            assert case.label is not None
            image, label = (pixels(path).astype(float) for path in (case.image, case.label))
            inside = image.sum(axis=-1) > 0
            losses.append(1 - image[label > 0].mean(axis=0) / image[inside & (label == 0)].mean(axis=0))
        return np.mean(losses, axis=0)

    strongest = {letter: int(contrast(f"phantom2d-{letter}").argmax()) for letter in "abc"}
    assert strongest == {"a": 1, "b": 2, "c": 0}


@pytest.mark.parametrize("ndim", [2, 3])
def test_writing_again_writes_nothing(tmp_path: Path, ndim: NDims) -> None:
    folder = write_phantom(tmp_path, ndim, cases=2, size=16)
    before = snapshot(folder)
    write_phantom(tmp_path, ndim, cases=2, size=16)
    assert snapshot(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


@pytest.mark.parametrize("ndim", [2, 3])
def test_bytes_depend_on_the_arguments_only(tmp_path: Path, ndim: NDims) -> None:
    first = contents(write_phantom(tmp_path / "x", ndim, cases=2, size=16))
    assert first == contents(write_phantom(tmp_path / "y", ndim, cases=2, size=16))
    other = contents(write_phantom(tmp_path / "z", ndim, cases=2, size=16, seed=1))
    assert set(other) == set(first)
    assert all(other[name] != first[name] for name in first if "/image/" in name)


def test_cases_are_all_different(tmp_path: Path) -> None:
    files = contents(write_phantom(tmp_path, 2, cases=4, size=32))
    images = [content for name, content in files.items() if "/image/" in name]
    assert len(set(images)) == len(images) == 8


def test_other_arguments_and_damage_are_made_good(tmp_path: Path) -> None:
    folder = write_phantom(tmp_path, 2, cases=4, size=16)
    write_phantom(tmp_path, 2, cases=2, size=24)
    assert json.loads((folder / "phantom.json").read_text())["size"] == 24
    assert len(list((folder / "a/image").iterdir())) == 2
    before = contents(folder)
    (folder / "a/image/a-00.png").write_bytes(b"cut")
    (folder / "b/stray.png").write_bytes(b"")
    write_phantom(tmp_path, 2, cases=2, size=24)
    assert contents(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["phantom2d"]


def test_a_folder_of_someone_else_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "phantom2d").mkdir()
    (tmp_path / "phantom2d/mine.txt").write_text("keep")
    with pytest.raises(DataError, match="was not written by this project"):
        write_phantom(tmp_path, 2, cases=2, size=16)
    assert (tmp_path / "phantom2d/mine.txt").read_text() == "keep"


def test_a_root_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write the phantom to .*file/phantom2d"):
        write_phantom(tmp_path / "file", 2, cases=2, size=16)


@pytest.mark.parametrize(("cases", "size"), [(1, 16), (2, 8)])
def test_a_phantom_too_small_is_refused(tmp_path: Path, cases: int, size: int) -> None:
    with pytest.raises(DataError, match="at least 2 cases of at least 16"):
        write_phantom(tmp_path, 2, cases, size)


def _write(root: Path) -> None:
    write_phantom(root, 2, cases=2, size=16)


def test_several_processes_may_write_at_once(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("fork")) as pool:
        list(pool.map(_write, [tmp_path / "many"] * 8))
    alone = write_phantom(tmp_path / "alone", 2, cases=2, size=16)
    assert contents(tmp_path / "many/phantom2d") == contents(alone)
    assert [path.name for path in (tmp_path / "many").iterdir()] == ["phantom2d"]


def test_absent_files_say_how_to_write_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"phantom2d-b.*there is no folder.*(?s:.*)bench data phantom --ndim 2"):
        TASKS["phantom2d"].domain("phantom2d-b")(tmp_path)
    write_phantom(tmp_path, 2, cases=2, size=16)
    (tmp_path / "phantom2d/b/image/b-00.png").unlink()
    with pytest.raises(DataError, match="no files match images"):
        TASKS["phantom2d"].domain("phantom2d-b")(tmp_path)
