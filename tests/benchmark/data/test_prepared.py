"""The prepared cache: computed once, whole or absent, rebuilt when damaged, and shared where nothing differs."""

import dataclasses
import errno
import json
import os
import pickle
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from signal import SIGKILL

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from ssdg.benchmark.data import arrays
from ssdg.benchmark.data import prepared as module
from ssdg.benchmark.data.prepared import prepare_domain, prepared_digest
from ssdg.benchmark.data.preprocess import prepare_case
from ssdg.benchmark.errors import Interrupted, StorageError
from ssdg.benchmark.spec import PreprocessConfig
from ssdg.benchmark.storage import lease as leases
from ssdg.datasets.base import Case, DataError, Domain, Intensity, Layer, Slices, Task
from ssdg.datasets.manifest import read_manifest

TASK = Task("toy", 2, 3, ("background", "vessel"), (16, 24), {}, {})
CONFIG = PreprocessConfig()
RAGGED = PreprocessConfig(spacing=(1.0, 1.0))
KILLED = """
import os, pickle, signal, sys
from ssdg.benchmark.data.prepared import prepare_domain
kill = lambda domain, done, total: done == 3 and os.kill(os.getpid(), signal.SIGKILL)
prepare_domain(*pickle.load(sys.stdin.buffer), kill)
"""
NATIVE = ((20, 30), (23, 29), (26, 28), (29, 27))


@pytest.fixture(params=[CONFIG, RAGGED], ids=["fixed", "ragged"])
def config(request):
    return request.param


def same(rows, others):
    return len(rows) == len(others) and all(map(np.array_equal, rows, others))


@pytest.fixture
def data(tmp_path):
    """A data root of four labelled pictures, the last two with a field of view."""
    root = tmp_path / "data"
    root.mkdir()
    rng = np.random.default_rng(0)
    cases = []
    for i in range(4):
        shape = (20 + 3 * i, 30 - i)
        Image.fromarray(rng.integers(0, 256, (*shape, 3), dtype=np.uint8)).save(root / f"{i}.png")
        Image.fromarray(rng.integers(0, 2, shape, dtype=np.uint8) * 255).save(root / f"{i}-label.png")
        Image.fromarray(rng.integers(0, 2, shape, dtype=np.uint8)).save(root / f"{i}-mask.png")
        mask = root / f"{i}-mask.png" if i > 1 else None
        cases.append(Case(f"case-{i}", root / f"{i}.png", root / f"{i}-label.png", mask, "ab"[i % 2]))
    return Domain("toy", "test", tuple(cases), {0: 0, 255: 1}, "nowhere", "none")


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "results" / "prepared"


def counter():
    calls = []
    return calls, lambda domain, done, total: calls.append((domain, done, total))


def state_of(folder):
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}


def leftovers(cache):
    return [path for path in (cache / ".building").rglob("*") if path.is_file()]


def test_every_case_is_stored_as_it_was_prepared(data, cache, config):
    before = state_of(data.cases[0].image.parent)
    calls, progress = counter()
    domain = prepare_domain(data, TASK, config, "m", cache, progress)
    assert calls == [("toy", done, 4) for done in (1, 2, 3, 4)]
    assert domain.name == "toy"
    assert domain.ids == ("case-0", "case-1", "case-2", "case-3")
    assert domain.strata == ("a", "b", "a", "b")
    assert domain.shapes == (NATIVE if config is RAGGED else ((16, 24),) * 4)
    assert len(domain.image) == len(domain.label) == len(domain.foreground) == 4
    for index, case in enumerate(data.cases):
        expected = prepare_case(case, data, TASK, config)
        assert np.array_equal(domain.image[index], expected.image)
        assert np.array_equal(domain.label[index], expected.label)
        assert np.array_equal(domain.foreground[index], expected.foreground)
        assert domain.geometries[index] == expected.geometry
        assert domain.span(case.id) == (index, index + 1)
        with pytest.raises(ValueError, match="read-only"):
            domain.image[index][:] = 0
    assert (domain.image.dtype, domain.label.dtype, domain.foreground.dtype) == (np.uint8, np.uint8, np.bool_)
    assert {path.name for path in (cache / domain.digest).iterdir()} == {
        "images.npy",
        "labels.npy",
        "foregrounds.npy",
        "cases.json",
    }
    assert not leftovers(cache)
    assert state_of(data.cases[0].image.parent) == before


def test_pictures_without_colour_are_told_apart(data, cache, config):
    assert not prepare_domain(data, TASK, config, "colour", cache).is_grey
    for case in data.cases:
        Image.open(case.image).convert("L").save(case.image)
    assert prepare_domain(data, TASK, config, "grey", cache).is_grey
    one_channel = replace(TASK, channels=1)
    assert not prepare_domain(data, one_channel, config, "grey", cache).is_grey  # as the task wants it


def test_a_second_call_reads_no_source_file(data, cache, config):
    first = prepare_domain(data, TASK, config, "m", cache)
    for case in data.cases:
        case.image.unlink()
        case.label.unlink()
    calls, progress = counter()
    second = prepare_domain(data, TASK, config, "m", cache, progress)
    assert not calls
    assert same(first.image, second.image)
    assert first.geometries == second.geometries


def test_slices_of_one_volume_share_a_grid(tmp_path, cache):
    """Two volumes of 3 and 5 slices, with neighbours as channels."""
    cases = []
    for depth, side in ((3, 18), (5, 21)):
        volume = np.random.default_rng(depth).uniform(1, 2, (side, 20, depth)).astype(np.float32)
        for name, array in (("image", volume), ("label", (volume > 1.5).astype(np.uint8))):
            nib.save(nib.Nifti1Image(array, np.diag([2.0, 1.0, 5.0, 1.0])), tmp_path / f"{depth}-{name}.nii")
        cases.append(Case(str(depth), tmp_path / f"{depth}-image.nii", tmp_path / f"{depth}-label.nii"))
    task = replace(TASK, sliced=True)
    sliced = Domain("sliced", "MR", tuple(cases), {0: 0, 1: 1}, "", "", slices=Slices(neighbours=1))
    domain = prepare_domain(sliced, task, PreprocessConfig(spacing=(2.0, 4.0)), "m", cache)
    assert domain.shapes == ((18, 5),) * 3 + ((21, 5),) * 5
    assert (domain.depths, domain.span("5")) == ((3, 5), (3, 8))
    for case in cases:
        expected = prepare_case(case, sliced, task, PreprocessConfig(spacing=(2.0, 4.0)))
        first, end = domain.span(case.id)
        image, label = (np.stack([array[row] for row in range(first, end)]) for array in (domain.image, domain.label))
        assert image.shape == (end - first, 3, *expected.geometry.shape)
        assert np.array_equal(image, expected.image)
        assert np.array_equal(label, expected.label)


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "foregrounds.npy", "cases.json"])
@pytest.mark.parametrize("damage", ["missing", "cut", "other"])
def test_a_damaged_cache_is_made_anew(data, cache, config, name, damage):
    first = prepare_domain(data, TASK, config, "m", cache)
    expected = [image.copy() for image in first.image]
    path = cache / first.digest / name
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(b"" if name == "labels.npy" else path.read_bytes()[:-5])
    elif path.suffix == ".npy":
        np.save(path, np.zeros((4, 2, 2), np.uint8))
    else:
        path.write_text("[]")
    calls, progress = counter()
    second = prepare_domain(data, TASK, config, "m", cache, progress)
    assert len(calls) == 4
    assert same(second.image, expected)
    assert not leftovers(cache)


@pytest.mark.parametrize("reader", [(module, "read_json"), (arrays.np, "load")], ids=["cases", "arrays"])
@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM, errno.ESTALE, errno.EACCES])
def test_a_cache_that_cannot_be_opened_now_stays(data, cache, monkeypatch, reader, number):
    folder = cache / prepare_domain(data, TASK, CONFIG, "m", cache).digest
    before = state_of(folder)

    def fail(*_arguments, **_options):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(*reader, fail)
        with pytest.raises(StorageError, match=rf"cannot read {folder}: {os.strerror(number)}. It stays as it is"):
            prepare_domain(data, TASK, CONFIG, "m", cache)
    assert state_of(folder) == before


def test_whoever_waits_for_another_process_can_be_stopped(data, cache, monkeypatch):
    identity = prepared_digest(data, TASK, CONFIG, "m")
    other = leases.Lease(cache / ".building" / identity)

    def look():
        raise Interrupted

    with other:
        # With the fault it waits for good: let it get on after the first pause.
        monkeypatch.setattr(leases.time, "sleep", lambda _seconds: other.__exit__())
        with pytest.raises(Interrupted):
            prepare_domain(data, TASK, CONFIG, "m", cache, look=look)


@pytest.mark.parametrize("other", [{"shape": [20, 31]}, {"shape": None}])
def test_a_table_of_other_grids_is_no_cache(data, cache, other):
    folder = cache / prepare_domain(data, TASK, RAGGED, "m", cache).digest
    cases = json.loads((folder / "cases.json").read_text())
    cases[0]["geometry"] |= other
    (folder / "cases.json").write_text(json.dumps(cases))
    calls, progress = counter()
    assert prepare_domain(data, TASK, RAGGED, "m", cache, progress).shapes == NATIVE
    assert len(calls) == 4


def test_bad_cases_are_all_named_and_leave_nothing(data, cache, config):
    data.cases[1].image.write_bytes(b"broken")
    Image.fromarray(np.full((29, 27), 7, np.uint8)).save(data.cases[3].label)
    with pytest.raises(DataError) as caught:
        prepare_domain(data, TASK, config, "m", cache)
    message = str(caught.value)
    assert message.startswith("toy: 2 of 4 cases cannot be used")
    assert f"case case-1: {data.cases[1].image} cannot be read" in message
    assert f"case case-3: {data.cases[3].label}: values not in the label map: 7 (783 times)" in message
    assert [path.name for path in cache.iterdir()] == [".building"]
    assert not leftovers(cache)


def test_a_domain_with_an_unlabelled_case_has_no_labels_and_opens_none(data, cache):
    cases = (dataclasses.replace(data.cases[0], label=None), *data.cases[1:])
    for case in cases[1:]:
        case.label.write_bytes(b"not to be read")
    domain = prepare_domain(dataclasses.replace(data, cases=cases), TASK, CONFIG, "m", cache)
    assert domain.label is None
    assert domain.image.shape[0] == 4


def test_what_dead_processes_left_is_removed(data, cache, config):
    identity = prepared_digest(data, TASK, config, "m")
    left = cache / ".building" / identity / "data.7"
    left.mkdir(parents=True)
    (left / "images.npy").write_bytes(b"half")
    prepare_domain(data, TASK, config, "m", cache)
    assert not leftovers(cache)
    assert not left.exists()


def test_a_process_killed_in_the_middle_leaves_no_cache(data, cache, config):
    arguments = pickle.dumps((data, TASK, config, "m", cache))
    assert subprocess.run([sys.executable, "-c", KILLED], input=arguments, check=False).returncode == -SIGKILL
    assert leftovers(cache)
    calls, progress = counter()
    prepared = prepare_domain(data, TASK, config, "m", cache, progress)
    assert len(calls) == 4
    assert same(prepared.image, [prepare_case(case, data, TASK, config).image for case in data.cases])
    assert not leftovers(cache)


def test_of_several_at_once_one_computes(data, cache):
    calls, progress = counter()
    results = []

    def ask():
        results.append(prepare_domain(data, TASK, CONFIG, "m", cache, progress))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 4
    assert len(results) == 3
    assert all(same(result.image, results[0].image) for result in results)
    assert not leftovers(cache)


def test_a_cache_that_appears_before_the_rename_is_taken(data, cache, monkeypatch):
    prepare_domain(data, TASK, CONFIG, "m", cache)
    identity = prepared_digest(data, TASK, CONFIG, "m")
    (cache / identity).rename(cache / "theirs")

    def slow_json(path, records):
        original(path, records)
        (cache / "theirs").rename(cache / identity)

    original = module.write_json
    monkeypatch.setattr(module, "write_json", slow_json)
    theirs = (cache / "theirs" / "images.npy").stat().st_ino
    prepare_domain(data, TASK, CONFIG, "m", cache)
    assert (cache / identity / "images.npy").stat().st_ino == theirs
    assert not leftovers(cache)


def test_a_full_disk_is_told_before_and_during_the_writing(data, cache, config, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(module, "free_bytes", lambda _folder: 100)
        if config is CONFIG:  # the size of ragged rows is not known before they are written
            with pytest.raises(
                StorageError, match=r"no space left in .*prepared: the prepared data of toy need 1 MB"
            ):
                prepare_domain(data, TASK, config, "m", cache)

    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    size = "need 1 MB" if config is CONFIG else "do not fit"
    with monkeypatch.context() as patch:
        patch.setattr(arrays.os, "fsync", full)
        with pytest.raises(
            StorageError, match=rf"no space left in .*the prepared data of toy {size}.*--results-root"
        ):
            prepare_domain(data, TASK, config, "m", cache)
    assert not leftovers(cache)
    assert len(prepare_domain(data, TASK, config, "m", cache).image) == 4


def test_a_cache_root_that_may_not_be_written(data, cache, monkeypatch):
    def closed(*_args, **_options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", closed)
    with pytest.raises(StorageError, match=r"cannot write .*prepared.*--results-root"):
        prepare_domain(data, TASK, CONFIG, "m", cache)


def test_an_empty_domain_is_refused(data, cache):
    with pytest.raises(DataError, match="toy: there is no case"):
        prepare_domain(dataclasses.replace(data, cases=()), TASK, CONFIG, "m", cache)


def test_the_identity_holds_what_changes_the_data_and_nothing_else(data):
    def identity(domain=data, task=TASK, manifest="m", **config):
        return prepared_digest(domain, task, dataclasses.replace(CONFIG, **config), manifest)

    base = identity()
    assert identity(manifest="n") != base
    assert identity(grid="stretch") != base
    assert identity(shape=(32, 32)) != base
    assert identity(task=dataclasses.replace(TASK, shape=(32, 32))) == identity(shape=(32, 32))
    assert identity(domain=dataclasses.replace(data, label_map={0: 0, 255: 2})) != base
    assert identity(normalisation="grid") == base
    assert identity(brain_mask="label") == base  # 2D
    assert identity(corpus_callosum="gm") == base  # no such variant
    assert identity(domain=dataclasses.replace(data, name="other", licence="other")) == base
    ragged = identity(spacing=(1.0, 1.0))
    assert len({base, ragged, identity(spacing=(2.0, 2.0)), identity(scale="fov")}) == 4
    assert identity(spacing=(1, 1), grid="stretch") == ragged  # the grid plays no part there
    volume = dataclasses.replace(TASK, ndim=3, shape=(16, 16, 16))
    head = dataclasses.replace(data, skull_stripped=False)
    assert identity(task=volume, brain_mask="label") == identity(task=volume)
    assert identity(domain=head, task=volume, brain_mask="label") != identity(domain=head, task=volume)


@pytest.mark.real_data
def test_drive_is_prepared(cache):
    if not os.environ.get("BENCH_DATA"):
        pytest.skip("BENCH_DATA is not set")
    root = Path(os.environ["BENCH_DATA"]) / "DRIVE" / "training"
    cases = tuple(
        Case(name, root / f"images/{name}_training.tif", root / f"1st_manual/{name}_manual1.gif")
        for name in ("21", "40")
    )
    if not cases[0].image.exists():
        pytest.skip("DRIVE is not there")
    drive = Domain("drive", "fundus", cases, {0: 0, 255: 1}, "", "")
    task = Task("fundus", 2, 3, ("background", "vessel"), (256, 256), {}, {})
    domain = prepare_domain(drive, task, CONFIG, "m", cache)
    assert domain.image.shape == (2, 3, 256, 256)
    assert 0.05 < domain.label.mean() < 0.15


def test_how_files_are_read_enters_the_digest_only_where_it_is_said(data):
    rules = (
        {},
        {"intensity": Intensity(window=(-160, 240))},
        {"intensity": Intensity(percentiles=(0.5, 99.5))},
        {"orientation": "stored"},
        {"axes": ((0, 1), (1, -1), (2, -1))},
        {"same_grid": "shape"},
        {"layers": (Layer(1, at_least=128),)},
        {"layers": (Layer(1, at_least=129),)},
    )
    digests = [prepared_digest(replace(data, **rule), TASK, CONFIG, "m") for rule in rules]
    assert digests[0] == "9653a7ca6942", "data prepared by an earlier version are found again"
    assert len(set(digests)) == len(rules)


def test_the_cameras_angle_enters_the_digest_only_where_it_scales(data):
    fov = PreprocessConfig(scale="fov")
    cameras = [replace(data, degrees=degrees) for degrees in (None, 45, 30)]
    assert {prepared_digest(domain, TASK, CONFIG, "m") for domain in cameras} == {"9653a7ca6942"}
    unknown, same_angle, narrow = (prepared_digest(domain, TASK, fov, "m") for domain in cameras)
    assert unknown == same_angle != narrow
    assert len({read_manifest(domain).digest for domain in cameras}) == 1
