from pathlib import Path

import pytest

from ssdg.datasets.discovery import is_junk, stem, unknown


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.nii.gz", "a"),
        ("a.NII.GZ", "a"),
        ("b.c.png", "b.c"),
        ("STAR 01_OSC.jpg", "STAR 01_OSC"),
        ("plain", "plain"),
        ("im0001.ppm.gz", "im0001"),
    ],
)
def test_stem_drops_one_image_suffix(name: str, expected: str) -> None:
    assert stem(Path(name)) == expected


@pytest.mark.parametrize("name", ["._21_manual1.gif", ".DS_Store", "Thumbs.db", "desktop.ini", "lost+found"])
def test_what_a_desktop_leaves_behind_is_junk(name: str) -> None:
    assert is_junk(Path(name))
    assert not is_junk(Path("21_manual1.gif"))


def test_unknown_offers_the_nearest_name() -> None:
    assert "did you mean 'lesav'? known are drive, lesav" in str(unknown("target", "lesaf", ["lesav", "drive"]))
    assert "did you mean" not in str(unknown("target", "qqq", ["lesav"]))
