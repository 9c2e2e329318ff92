import dataclasses
import hashlib
import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ssdg.datasets import manifest
from ssdg.datasets.base import Case, DataError, Domain
from ssdg.datasets.manifest import read_manifest, require_apart, shared_files, shared_labels


def write_domain(root: Path, name: str = "here", ids: tuple[str, ...] = ("a", "b")) -> Domain:
    cases = []
    for id in ids:
        files = [root / f"{id}-{kind}.png" for kind in ("image", "label", "mask")]
        for file in files:
            root.mkdir(parents=True, exist_ok=True)
            file.write_bytes(file.name.encode())
            os.utime(file, (1_000_000, 1_000_000))
        cases.append(Case(id, *files))
    return Domain(name, "photograph", tuple(cases), {0: 0, 255: 1}, "nowhere", "none")


def test_records_hashes_and_sizes(tmp_path: Path) -> None:
    record = read_manifest(write_domain(tmp_path)).cases[0]
    assert record.image.sha256 == hashlib.sha256(b"a-image.png").hexdigest()
    assert record.image.bytes == len(b"a-image.png")
    assert record.foreground is not None


def test_counts_all_bytes(tmp_path: Path) -> None:
    domain = write_domain(tmp_path)
    assert read_manifest(domain).bytes == sum(file.stat().st_size for file in tmp_path.iterdir())


def test_digest_knows_no_paths_and_no_name(tmp_path: Path) -> None:
    here, there = write_domain(tmp_path / "x"), write_domain(tmp_path / "y", "there")
    digest = read_manifest(here).digest
    assert digest == read_manifest(there).digest
    assert len(digest) == 12
    assert int(digest, 16) >= 0


@pytest.mark.parametrize(
    "change",
    [
        {"label_map": {0: 0, 255: 0}},
        {"label_variants": {"gm": {0: 0}}},
        {"skull_stripped": False},
        {"cases": "one less"},
        {"cases": "other id"},
        {"cases": "other stratum"},
        {"cases": "no label"},
    ],
)
def test_digest_changes_with_what_a_method_would_see(tmp_path: Path, change: dict[str, object]) -> None:
    domain = write_domain(tmp_path)
    first, second = domain.cases
    cases = {
        "one less": (first,),
        "other id": (first, dataclasses.replace(second, id="c")),
        "other stratum": (first, dataclasses.replace(second, stratum="rare")),
        "no label": (first, dataclasses.replace(second, label=None)),
    }
    if "cases" in change:
        change = {"cases": cases[str(change["cases"])]}
    assert read_manifest(dataclasses.replace(domain, **change)).digest != read_manifest(domain).digest


def test_digest_changes_with_content(tmp_path: Path) -> None:
    domain = write_domain(tmp_path)
    before = read_manifest(domain).digest
    domain.cases[1].image.write_bytes(b"other")
    assert read_manifest(domain).digest != before


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as rested at once: nobody can set back the change time that the cache compares."""
    monkeypatch.setattr(manifest, "SETTLED", -1.0)


@pytest.mark.usefixtures("settled")
def test_the_cache_spares_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    domain, cache = write_domain(tmp_path / "data"), tmp_path / "cache" / "hashes.json"
    first = read_manifest(domain, cache)

    def never(*_: object) -> None:
        raise AssertionError("a remembered file was read again")

    monkeypatch.setattr(manifest.hashlib, "file_digest", never)
    assert read_manifest(domain, cache) == first
    assert [file.name for file in cache.parent.iterdir()] == ["hashes.json"]


@pytest.mark.usefixtures("settled")
def test_the_cache_sees_a_change_of_time_or_size(tmp_path: Path) -> None:
    domain, cache = write_domain(tmp_path / "data"), tmp_path / "hashes.json"
    first = read_manifest(domain, cache)
    image = domain.cases[0].image
    image.write_bytes(b"A-image.png")  # same size
    os.utime(image, (1_000_001, 1_000_001))
    assert read_manifest(domain, cache).digest != first.digest


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("way", ["copied over it", "renamed onto it", "written into it"])
def test_the_cache_sees_a_replacement_of_equal_size_and_time(tmp_path: Path, way: str) -> None:
    domain, cache = write_domain(tmp_path / "data"), tmp_path / "hashes.json"
    image = domain.cases[0].image
    first, status = read_manifest(domain, cache), image.stat()
    other = image.with_name("other")
    other.write_bytes(b"A-image.png")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    if way == "copied over it":
        shutil.copy2(other, image)  # cp -p
    elif way == "renamed onto it":
        other.replace(image)
    else:
        image.write_bytes(other.read_bytes())
        os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (image.stat().st_size, image.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert read_manifest(domain, cache).digest != first.digest


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077])
def test_the_cache_can_be_read_by_whom_the_umask_lets(tmp_path: Path, mask: int) -> None:
    domain, cache = write_domain(tmp_path / "data"), tmp_path / "hashes.json"
    before = os.umask(mask)
    try:
        read_manifest(domain, cache)
    finally:
        os.umask(before)
    assert cache.stat().st_mode & 0o777 == 0o666 & ~mask


@pytest.mark.usefixtures("settled")
def test_a_cache_of_an_earlier_version_is_read_anew(tmp_path: Path) -> None:
    domain, cache = write_domain(tmp_path / "data"), tmp_path / "hashes.json"
    status = domain.cases[0].image.stat()
    cache.write_text(json.dumps({str(domain.cases[0].image): [status.st_size, status.st_mtime_ns, "0" * 64]}))
    assert read_manifest(domain, cache) == read_manifest(domain)
    assert all(len(entry) == 5 for entry in json.loads(cache.read_text()).values())


def test_a_file_written_just_now_is_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    domain, cache = write_domain(tmp_path / "data"), tmp_path / "hashes.json"
    monkeypatch.setattr(manifest, "SETTLED", 0.5)
    time.sleep(0.6)
    image = domain.cases[0].image
    image.write_bytes(b"new")
    os.utime(image, (1_000_000, 1_000_000))
    read_manifest(domain, cache)
    content = json.loads(cache.read_text())
    assert str(image) not in content
    assert str(domain.cases[1].image) in content


@pytest.mark.parametrize("damage", ["{", "[1, 2]", '{"a": "b"}', '{"x": [1, 2, 3]}'])
def test_a_damaged_cache_is_an_empty_one(tmp_path: Path, damage: str) -> None:
    domain, cache = write_domain(tmp_path / "data"), tmp_path / "hashes.json"
    cache.write_text(damage)
    assert read_manifest(domain, cache) == read_manifest(domain)


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    domain = write_domain(tmp_path / "data")
    (tmp_path / "file").write_text("not a folder")
    assert read_manifest(domain, tmp_path / "file" / "hashes.json") == read_manifest(domain)


@pytest.mark.usefixtures("settled")
def test_many_writers_share_one_cache(tmp_path: Path) -> None:
    cache = tmp_path / "hashes.json"
    domains = [write_domain(tmp_path / str(index), ids=(f"case{index}",)) for index in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            list(pool.map(lambda domain: read_manifest(domain, cache), domains))
    content = json.loads(cache.read_text())
    assert content
    assert all(hashlib.sha256(Path(path).read_bytes()).hexdigest() == entry[-1] for path, entry in content.items())
    assert list(tmp_path.glob("*.tmp")) == []


def test_an_unreadable_file_is_named_with_its_case(tmp_path: Path) -> None:
    domain = write_domain(tmp_path)
    domain.cases[1].image.unlink()
    with pytest.raises(DataError, match=r"case 'b': cannot read .*b-image\.png"):
        read_manifest(domain)


def test_shared_files_finds_equal_images_under_other_names(tmp_path: Path) -> None:
    a, b = write_domain(tmp_path / "a"), write_domain(tmp_path / "b", ids=("x", "y"))
    assert shared_files(read_manifest(a), read_manifest(b)) == []
    b.cases[1].image.write_bytes(a.cases[0].image.read_bytes())
    assert shared_files(read_manifest(a), read_manifest(b)) == [("a", "y")]


def test_shared_labels_are_those_that_stand_once_in_each_domain(tmp_path: Path) -> None:
    a, b = write_domain(tmp_path / "a"), write_domain(tmp_path / "b", ids=("x", "y", "z"))
    first, *labels = [case.label for case in (a.cases[0], *b.cases) if case.label]
    assert shared_labels(read_manifest(a), read_manifest(b)) == []
    labels[1].write_bytes(first.read_bytes())
    assert shared_labels(read_manifest(a), read_manifest(b)) == [("a", "y")]
    labels[2].write_bytes(first.read_bytes())  # a blank mask
    assert shared_labels(read_manifest(a), read_manifest(b)) == []


def test_equal_images_may_be_on_one_side_of_a_split_alone(tmp_path: Path) -> None:
    domain = write_domain(tmp_path, ids=("a", "b", "c"))
    domain.cases[2].image.write_bytes(domain.cases[0].image.read_bytes())
    require_apart(read_manifest(domain), ("a", "c"), ("b",))
    with pytest.raises(DataError, match=r"1 of the images of here that train.*\(a = c\): let \{group\} or groups"):
        require_apart(read_manifest(domain), ("a", "b"), ("c",))
