from collections.abc import Callable
from pathlib import Path

import pytest

from ssdg.datasets import fundus
from ssdg.datasets.base import DataError, Domain


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(path.name.encode())


def write_drive(root: Path, part: str = "training", suffix: str = "gif", labels: bool = True) -> None:
    for case in ("21", "22"):
        touch(root / "DRIVE" / part / "images" / f"{case}_{part}.tif")
        touch(root / "DRIVE" / part / "mask" / f"{case}_{part}_mask.{suffix}")
        if labels:
            touch(root / "DRIVE" / part / "1st_manual" / f"{case}_manual1.{suffix}")


@pytest.mark.parametrize("suffix", ["gif", "tif", "png"])
def test_drive_as_published(tmp_path: Path, suffix: str) -> None:
    write_drive(tmp_path, suffix=suffix)
    touch(tmp_path / "DRIVE/training/images/._21_training.tif")
    touch(tmp_path / "DRIVE/training/images/Thumbs.db")
    domain = fundus.drive(tmp_path)
    assert [case.id for case in domain.cases] == ["21", "22"]
    case = domain.cases[0]
    assert case.label is not None
    assert case.foreground is not None
    assert (case.image.name, case.label.name) == ("21_training.tif", f"21_manual1.{suffix}")
    assert case.foreground.name == f"21_training_mask.{suffix}"
    assert (domain.name, domain.published) == ("drive", 20)


def test_drive_test_is_unlabelled_without_first_manual(tmp_path: Path) -> None:
    write_drive(tmp_path, "test", labels=False)
    domain = fundus.drive_test(tmp_path)
    assert [case.label for case in domain.cases] == [None, None]
    write_drive(tmp_path, "test")
    assert all(case.label for case in fundus.drive_test(tmp_path).cases)


def test_an_image_without_label_is_named(tmp_path: Path) -> None:
    write_drive(tmp_path)
    (tmp_path / "DRIVE/training/1st_manual/22_manual1.gif").unlink()
    with pytest.raises(DataError, match=r"case '22' has no label.*1st_manual.*22_training\.tif"):
        fundus.drive(tmp_path)


def test_a_label_without_image_is_counted(tmp_path: Path) -> None:
    write_drive(tmp_path)
    (tmp_path / "DRIVE/training/images/22_training.tif").unlink()
    domain = fundus.drive(tmp_path)
    assert domain.missing == ("22",)
    assert len(domain.cases) == 1


def test_lesav_as_published(tmp_path: Path) -> None:
    for case in ("34", "111"):
        touch(tmp_path / "LES-AV/images" / f"{case}.png")
        touch(tmp_path / "LES-AV/vessel-segmentations" / f"{case}.png")
        touch(tmp_path / "LES-AV/masks" / f"{case}_mask.gif")
    domain = fundus.lesav(tmp_path)
    assert [case.id for case in domain.cases] == ["111", "34"]
    assert domain.cases[1].foreground == tmp_path / "LES-AV/masks/34_mask.gif"
    assert domain.published == 22


def test_iostar_as_published(tmp_path: Path) -> None:
    touch(tmp_path / "IOSTAR/image/STAR 01_OSC.jpg")
    touch(tmp_path / "IOSTAR/GT/STAR 01_OSC_GT.tif")
    touch(tmp_path / "IOSTAR/mask/STAR 01_OSC_Mask.tif")
    domain = fundus.iostar(tmp_path)
    case = domain.cases[0]
    assert case.id == "STAR 01_OSC"
    assert case.foreground == tmp_path / "IOSTAR/mask/STAR 01_OSC_Mask.tif"
    assert domain.published == 30


def test_masks_may_be_absent_but_not_incomplete(tmp_path: Path) -> None:
    write_drive(tmp_path)
    mask = tmp_path / "DRIVE/training/mask"
    (mask / "22_training_mask.gif").unlink()
    with pytest.raises(DataError, match="case '22' has no foreground mask"):
        fundus.drive(tmp_path)
    (mask / "21_training_mask.gif").unlink()
    mask.rmdir()
    assert [case.foreground for case in fundus.drive(tmp_path).cases] == [None, None]


@pytest.mark.parametrize("load", [fundus.drive, fundus.drive_test, fundus.lesav, fundus.iostar])
def test_absent_data_says_where_it_is_published(tmp_path: Path, load: Callable[[Path], Domain]) -> None:
    with pytest.raises(DataError, match=r"(?s)not found.*expected.*published at: https?://.*terms: \w+"):
        load(tmp_path)


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    for kind in ("images", "vessel-segmentations"):
        (tmp_path / "LES-AV" / kind).mkdir(parents=True)
    with pytest.raises(DataError, match="LES-AV: no images in"):
        fundus.lesav(tmp_path)
