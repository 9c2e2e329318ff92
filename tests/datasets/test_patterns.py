import errno
import os
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ssdg.datasets.base import DataError
from ssdg.datasets.patterns import Pattern

FILES = (
    "DRIVE/images/21_training.tif",
    "DRIVE/images/._21_training.tif",
    "chase/Image_01L.jpg",
    "chase/Image_01L_1stHO.png",
    "acdc/patient001/patient001_4d.nii.gz",
    "acdc/patient001/patient001_frame01.nii.gz",
    "acdc/patient001/patient001_frame01_gt.nii.gz",
    "acdc/patient002/patient001_frame01.nii.gz",
    "atlas/A_2017/x21_Study1/srr.nii.gz",
    "atlas/B_2021/x22/srr.nii.gz",
    "deep/a/b/c/7_mask.gif",
    "brackets [1]/a.png",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in FILES:
        path = tmp_path / "data [x]" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path / "data [x]"


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("DRIVE/images/{case}_training.*", [{"case": "21"}]),
        ("DRIVE/images/*.tif", [{"case": "21_training"}]),
        ("./DRIVE//images/*.tif", [{"case": "21_training"}]),
        ("chase/{case}.jpg", [{"case": "Image_01L"}]),
        ("chase/{case}_1stHO.png", [{"case": "Image_01L"}]),
        ("chase/{case:Image_[0-9][0-9][!R]}.*", [{"case": "Image_01L"}]),
        ("acdc/{group}/{case:*_frame??}.nii.gz", [
            {"group": "patient001", "case": "patient001_frame01"},
            {"group": "patient002", "case": "patient001_frame01"},
        ]),
        ("acdc/{group}/{group}_{case}_gt.nii.gz", [{"group": "patient001", "case": "frame01"}]),
        ("acdc/{case}/{case}_frame01.nii.gz", [{"case": "patient001"}]),
        ("atlas/{stratum}/{case}{_Study1,}/srr.nii.gz", [
            {"stratum": "A_2017", "case": "x21"},
            {"stratum": "B_2021", "case": "x22"},
        ]),
        ("**/{case}_mask.gif", [{"case": "7"}]),
        ("deep/**/7_mask.gif", [{"case": "7_mask"}]),
        ("brackets */{case}.png", [{"case": "a"}]),
        ("nowhere/{case}.png", []),
    ],
)  # fmt: skip
def test_patterns(root: Path, pattern: str, expected: list[dict[str, str]]) -> None:
    assert [match.fields for match in Pattern(pattern, "images").matches(root)] == expected


def test_a_pattern_may_be_absolute(root: Path, tmp_path: Path) -> None:
    [match] = Pattern(f"{tmp_path}/data */chase/{{case}}.jpg", "images").matches(Path("/nowhere"))
    assert match.path == root / "chase/Image_01L.jpg"


def test_dangling_links_match_and_links_in_a_circle_end(root: Path) -> None:
    (root / "chase/Image_02L.jpg").symlink_to("../.git/annex/gone")
    (root / "deep/a/again").symlink_to(root / "deep", target_is_directory=True)
    for pattern in ("chase/{case}.jpg", "chase/Image_02L.jpg"):
        assert "Image_02L.jpg" in {match.path.name for match in Pattern(pattern, "images").matches(root)}
    (root / "deep/up").symlink_to("..", target_is_directory=True)
    assert len(Pattern("deep/**/{case}_mask.gif", "labels").matches(root)) == 1


def test_folders_behind_links_are_folders_and_none_is_read_twice(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "x").mkdir(parents=True)
    (other / "x/8_mask.gif").write_bytes(b"")
    (root / "deep/a/0").symlink_to(other, target_is_directory=True)
    (root / "deep/a/1").symlink_to(other / "x", target_is_directory=True)  # is in the first
    (root / "deep/0").symlink_to("a/b", target_is_directory=True)  # is here by its own name
    found = [str(match.path.relative_to(root)) for match in Pattern("deep/**/{case}_mask.gif", "x").matches(root)]
    assert found == ["deep/a/0/x/8_mask.gif", "deep/a/b/c/7_mask.gif"]


@pytest.mark.parametrize("pattern", ["{case:p*}/img.png", "p2/{case}.png", "*/*.png", "**/img.png", "p2/img.png"])
@pytest.mark.parametrize(("fault", "way"), [(errno.EACCES, "change its permissions"), (errno.ESTALE, "the mount")])
def test_a_folder_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, fault: int, way: str
) -> None:
    for name in ("p1", "p2", "lost+found"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "img.png").write_bytes(b"")
    closed = tmp_path / "p2"

    def guarded(call: Callable[..., Any]) -> Callable[..., Any]:
        def inner(path: Any, *arguments: Any, **options: Any) -> Any:
            if path == closed / "img.png" or (call is os.listdir and path in (closed, tmp_path / "lost+found")):
                raise OSError(fault, os.strerror(fault))
            return call(path, *arguments, **options)

        return inner

    monkeypatch.setattr(os, "listdir", guarded(os.listdir))
    monkeypatch.setattr(os, "stat", guarded(os.stat))
    with pytest.raises(DataError, match=f"{re.escape(str(closed))}.*{way}"):
        Pattern(pattern, "images").matches(tmp_path)


def test_names_in_decomposed_unicode_are_the_same_case(tmp_path: Path) -> None:
    (tmp_path / "e\u0301.png").write_bytes(b"")  # as macOS writes it
    [match] = Pattern("{case}.png", "images").matches(tmp_path)
    assert match.fields == {"case": "\u00e9"}
    assert match.path.is_file()


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("pattern", ["Größe/é/{case}.png", "G*öße/**/{case:ä?}.png", "Größe/é/äö.png", "**/é/ä*.png"])
def test_names_in_a_pattern_and_on_disk_are_one_in_either_unicode(tmp_path: Path, pattern: str, form: Any) -> None:
    file = tmp_path / unicodedata.normalize(form, "Größe/é/äö.png")
    file.parent.mkdir(parents=True)
    file.write_bytes(b"")
    for text in ("NFC", "NFD"):
        written = Pattern(unicodedata.normalize(text, pattern), "images")
        [match] = written.matches(tmp_path)
        assert (match.path, match.fields) == (file, {"case": "äö"})
        assert written.absent_folder(tmp_path) is None


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("a/{cse}.png", "unknown field in images = 'a/{cse}.png': 'cse': did you mean 'case'?"),
        ("a\\{case}.png", "write / between folders"),
        ("a/{case.png", "stray brace"),
        ("a/{case}}.png", "stray brace"),
        ("a/{}.png", "stray brace"),
        ("{d/i,d/x}/{case}.png", "{d/i,d/x} crosses a folder: alternatives and wildcards stay within one name"),
        ("{case:*/i}.png", "as in {a,b}/i"),
        ("[a/b]/{case}.png", "[a/b] crosses a folder"),
    ],
)
def test_bad_patterns_say_what_is_wrong(pattern: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        Pattern(pattern, "images")
    assert message in str(caught.value)


def test_the_first_folder_that_is_absent_is_named(root: Path) -> None:
    assert Pattern("DRIVE/training/images/{case}.tif", "images").absent_folder(root) == root / "DRIVE/training"
    assert Pattern("DRIVE/images/{case}.tif", "images").absent_folder(root) is None
    assert Pattern("*/images/{case}.tif", "images").absent_folder(root) is None
    assert Pattern("a/{case}.tif", "images").absent_folder(root / "b") == root / "b"
