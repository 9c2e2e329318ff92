from pathlib import Path

import pytest

from ssdg.datasets.base import DataError
from ssdg.datasets.discovery import PICTURES, Publication, by_id, listing, pair, stem, unknown

PUBLICATION = Publication("SET", "SET/images/", "https://example.org/set", "ask first", "")


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.nii.gz", "a"),
        ("a.NII.GZ", "a"),
        ("b.c.png", "b.c"),
        ("STAR 01_OSC.jpg", "STAR 01_OSC"),
        ("plain", "plain"),
    ],
)
def test_stem_drops_one_image_suffix(name: str, expected: str) -> None:
    assert stem(Path(name)) == expected


def test_listing_cuts_endings_and_passes_over_junk_and_other_types(tmp_path: Path) -> None:
    for name in ("22_manual1.gif", "21_manual1.GIF", "._21_manual1.gif", ".DS_Store", "Thumbs.db", "notes.txt"):
        touch(tmp_path / name)
    touch(tmp_path / "folder.png" / "x.png")
    found = listing(tmp_path, PICTURES, ("_manual1",))
    assert list(found) == ["21", "22"]
    assert found["21"].name == "21_manual1.GIF"


def test_two_files_of_one_case_are_an_error(tmp_path: Path) -> None:
    files = [touch(tmp_path / "21.tif"), touch(tmp_path / "21.png")]
    with pytest.raises(DataError, match=r"two files for case '21'.*21\.tif.*21\.png"):
        by_id(files)


def test_pair_counts_labels_without_image(tmp_path: Path) -> None:
    label = tmp_path / "label.png"
    cases, missing = pair(
        {"b": tmp_path / "b", "a": tmp_path / "a"}, {"a": label, "b": label, "z": label, "y": label}
    )
    assert [case.id for case in cases] == ["a", "b"]
    assert missing == ("y", "z")
    assert all(case.foreground is None and case.stratum == "all" for case in cases)


def test_pair_names_an_image_without_label_or_mask(tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    with pytest.raises(DataError, match=r"case 'a' has no label.*a\.png"):
        pair({"a": image}, {"b": tmp_path / "b.png"})
    with pytest.raises(DataError, match=r"case 'a' has no foreground mask"):
        pair({"a": image}, {"a": image}, {})


def test_an_unlabelled_domain_pairs_without_labels(tmp_path: Path) -> None:
    cases, missing = pair({"a": tmp_path / "a.png"}, None)
    assert cases[0].label is None
    assert missing == ()


def test_a_missing_folder_says_tree_source_and_terms(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        PUBLICATION.folder(tmp_path / "SET", tmp_path / "set")
    for part in ("SET not found", str(tmp_path / "SET"), "SET/images/", "https://example.org/set", "ask first"):
        assert part in str(caught.value)


def test_folder_takes_the_first_choice_that_exists(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    assert PUBLICATION.folder(tmp_path / "SET-2", tmp_path / "set") == tmp_path / "set"


def test_unknown_offers_the_nearest_name() -> None:
    assert "did you mean 'lesav'? known are drive, lesav" in str(unknown("target", "lesaf", ["lesav", "drive"]))
    assert "did you mean" not in str(unknown("target", "qqq", ["lesav"]))
