from pathlib import Path

import pytest

from ssdg.datasets.base import AbsentData, DataError
from ssdg.datasets.pairing import Pairs, pair_files

EYES = [f"{number:02}{side}" for number in (1, 2, 11) for side in "LR"]
HEARTS = [
    (f"patient{number:03}", f"patient{number:03}_frame{frame:02}") for number in (1, 20, 100) for frame in (1, 12)
]

LAYOUTS = {  # name -> patterns given, image and label files, patterns written
    "drive": (
        ("DRIVE/training/images/*", "DRIVE/training/1st_manual/*.gif"),
        [(f"images/{n}_training.tif", f"1st_manual/{n}_manual1.gif") for n in range(21, 41)],
        "DRIVE/training",
        ("DRIVE/training/images/{case}_training.tif", "DRIVE/training/1st_manual/{case}_manual1.gif"),
    ),
    "chase": (
        ("CHASEDB1/*.jpg", "CHASEDB1/*_1stHO.png"),
        [(f"Image_{eye}.jpg", f"Image_{eye}_1stHO.png") for eye in EYES],
        "CHASEDB1",
        ("CHASEDB1/{case}.jpg", "CHASEDB1/{case}_1stHO.png"),
    ),
    "one folder and suffix": (
        ("flat/*.png", "flat/*_mask.png"),
        [(f"Image_{eye}.png", f"Image_{eye}_mask.png") for eye in EYES],
        "flat",
        ("flat/{case:Image_???}.png", "flat/{case}_mask.png"),
    ),
    "stare": (
        ("STARE/stare-images/*.gz", "STARE/labels-ah/*.gz"),
        [(f"stare-images/im{n:04}.ppm.gz", f"labels-ah/im{n:04}.ah.ppm.gz") for n in (1, 2, 77, 324)],
        "STARE",
        ("STARE/stare-images/{case}.ppm.gz", "STARE/labels-ah/{case}.ah.ppm.gz"),
    ),
    "acdc": (
        ("ACDC/training/*/*.nii.gz", "ACDC/training/*/*_gt.nii.gz"),
        [(f"{patient}/{case}.nii.gz", f"{patient}/{case}_gt.nii.gz") for patient, case in HEARTS],
        "ACDC/training",
        ("ACDC/training/{group}/{case:patient???_frame??}.nii.gz", "ACDC/training/{group}/{case}_gt.nii.gz"),
    ),
    "acdc by any folders": (
        ("ACDC/**/*.nii.gz", "ACDC/**/*_gt.nii.gz"),
        [(f"{patient}/{case}.nii.gz", f"{patient}/{case}_gt.nii.gz") for patient, case in HEARTS],
        "ACDC/training",
        ("ACDC/**/{case:patient???_frame??}.nii.gz", "ACDC/**/{case}_gt.nii.gz"),
    ),
    "drishti": (
        ("Drishti-GS/*/Images/*", "Drishti-GS/*/GT/*/SoftMap/*ODseg*"),
        [
            (f"{part}/Images/d_{n:03}.jpg", f"{part}/GT/d_{n:03}/SoftMap/d_{n:03}_ODsegSoftmap.png")
            for n, part in enumerate(["Training", "Test"] * 6)
        ],
        "Drishti-GS",
        ("Drishti-GS/*/Images/{case}.jpg", "Drishti-GS/*/GT/{case}/SoftMap/{case}_ODsegSoftmap.png"),
    ),
    "scans of patients, each in a folder": (
        ("data/*/*/ct.nii.gz", "data/*/*/organs.nii.gz"),
        [(f"P{p:03}/scan{n}/ct.nii.gz", f"P{p:03}/scan{n}/organs.nii.gz") for p in range(3) for n in range(2)],
        "data",
        ("data/{group}/{case}/ct.nii.gz", "data/{group}/{case}/organs.nii.gz"),
    ),
    "two prefixes": (
        ("x/img_*", "x/mask_*"),
        [(f"img_{n}.png", f"mask_{n}.png") for n in (1, 9, 10, 11)],
        "x",
        ("x/img_{case}.png", "x/mask_{case}.png"),
    ),
    "two prefixes that end alike": (
        ("p/*/img_*", "p/*/seg_*"),
        [(f"p{n}/img_0.png", f"p{n}/seg_0.png") for n in (1, 2, 3)],
        "p",
        ("p/{case}/img_0.png", "p/{case}/seg_0.png"),
    ),
    "two prefixes that end alike, several a folder": (
        ("data/*/img_*", "data/*/seg_*"),
        [(f"p{n}/img_{k}.png", f"p{n}/seg_{k}.png") for n in (1, 2, 3) for k in (0, 1)],
        "data",
        ("data/{group}/img_{case}.png", "data/{group}/seg_{case}.png"),
    ),
    "two prefixes that end in one word": (
        ("x/my_eye_*", "x/an_eye_*"),
        [(f"my_eye_{n}.png", f"an_eye_{n}.png") for n in (1, 2, 3)],
        "x",
        ("x/my_{case}.png", "x/an_{case}.png"),
    ),
    "prefixes without a separator": (
        ("x/img*", "x/mask*"),
        [(f"img{n}.png", f"mask{n}.png") for n in (101, 201, 301)],
        "x",
        ("x/img{case}.png", "x/mask{case}.png"),
    ),
    "numbers that begin anew in each site": (
        ("data/*/images/*", "data/*/labels/*"),
        [(f"{site}/images/{n}.png", f"{site}/labels/{n}_m.png") for site in ("aachen", "bonn") for n in (1, 2, 3)],
        "data",
        ("data/{group}/images/{case}.png", "data/{group}/labels/{case}_m.png"),
    ),
    "ids that are folders": (
        ("brats/*/t1.nii.gz", "brats/*/seg.nii.gz"),
        [(f"sub-{n}/t1.nii.gz", f"sub-{n}/seg.nii.gz") for n in (1, 2, 10)],
        "brats",
        ("brats/{case}/t1.nii.gz", "brats/{case}/seg.nii.gz"),
    ),
    "two suffixes, brackets and the next file's number": (
        ("a/*", "b/*"),
        [("x [1].png", "x [1]_m.png"), ("x [2].jpg", "x [2]_m.png"), ("x [12].png", "x [12]_m.png")],
        "",
        ("a/x ?{case}?.*", "b/x ?{case}?_m.png"),
    ),
}


def paired(root: Path, images: str, labels: str, **more: str) -> Pairs:
    return pair_files({"images": images, "labels 1": labels, **more}, root)


def write(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.mark.parametrize(("given", "files", "folder", "expected"), LAYOUTS.values(), ids=LAYOUTS)
def test_published_layouts(
    tmp_path: Path, given: tuple[str, str], files: list[tuple[str, str]], folder: str, expected: tuple[str, str]
) -> None:
    folders = [folder, folder] if folder else ["a", "b"]
    write(tmp_path, *(f"{place}/{name}" for pair in files for place, name in zip(folders, pair, strict=True)))
    pairs = paired(tmp_path, *given)
    assert tuple(pairs.patterns.values()) == expected
    assert [len(pairs.files(key, tmp_path)) for key in pairs.patterns] == [len(files), len(files)]
    assert pairs.id == ("{group}-{case}" if "data/" in given[0] else "{case}")
    absolute = paired(tmp_path, *(f"{tmp_path}/{pattern}" for pattern in given))
    assert tuple(absolute.patterns.values()) == tuple(f"{tmp_path}/{pattern}" for pattern in expected)


def test_labels_and_masks_agree_on_the_id(tmp_path: Path) -> None:
    write(
        tmp_path,
        *(f"i/Image_{n}.jpg" for n in (1, 2)),
        *(f"l/Image_{n}_x.png" for n in (1, 2)),
        "m/f1.gif",
        "m/f2.gif",
    )
    pairs = paired(tmp_path, "i/*", "l/*", foregrounds="m/*")
    assert list(pairs.patterns.values()) == ["i/Image_{case}.jpg", "l/Image_{case}_x.png", "m/f{case}.gif"]


def test_patterns_with_fields_are_kept(tmp_path: Path) -> None:
    write(tmp_path, "a/1.png", "b/1.png")
    assert paired(tmp_path, "a/{case}.*", "b/*").patterns == {"images": "a/{case}.*", "labels 1": "b/*"}


def test_files_that_do_not_pair_are_named(tmp_path: Path) -> None:
    write(tmp_path, *(f"i/{n}_training.tif" for n in range(21, 41)), *(f"l/{n}_manual1.gif" for n in range(20, 30)))
    with pytest.raises(DataError) as caught:
        paired(tmp_path, "i/*", "l/*")
    text = str(caught.value)
    assert f"12 files do not pair:\n  no label for image {tmp_path}/i/30_training.tif" in text
    assert "and 7 more" in text
    (tmp_path / "l/20_manual1.gif").rename(tmp_path / "l/40_manual1.gif")
    write(tmp_path, *(f"l/{n}_manual1.gif" for n in range(30, 39)))
    with pytest.raises(DataError, match=r"1 files do not pair:\n  no label for image .*/i/39_training.tif"):
        paired(tmp_path, "i/*", "l/*")


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        ("none/*", "l/*", "--images: there is no folder .*none"),
        ("i/*.png", "l/*", r"--images: no file \(.*.tif.*\) matches .*i/\*.png"),
        ("i/*", "l/*.nii.gz", "--labels: no file"),
        ("i/1*", "l/*", "write {case}"),
        ("i/{cse}.tif", "l/*", "did you mean 'case'"),
    ],
)
def test_patterns_that_match_nothing(tmp_path: Path, images: str, labels: str, words: str) -> None:
    write(tmp_path, "i/1.tif", "i/2.tif", "i/notes.txt", "l/1.tif", "l/2.tif")
    with pytest.raises(DataError, match=words) as caught:
        paired(tmp_path, images, labels)
    assert isinstance(caught.value, AbsentData) == (": " in words)


def test_a_pattern_that_would_match_other_files(tmp_path: Path) -> None:
    write(tmp_path, "x/1.png", "x/a22.png", "x/1_m.png", "x/a22_m.png", "x/z-z.png")
    with pytest.raises(DataError, match="would match other files"):
        paired(tmp_path, "x/[1a]*", "x/*_m.png")


@pytest.mark.real_data
def test_real_layouts(real_data: Path) -> None:
    drive = paired(real_data, "DRIVE/test/images/*", "DRIVE/test/1st_manual/*", foregrounds="DRIVE/test/mask/*")
    assert drive.patterns["foregrounds"] == "DRIVE/test/mask/{case}_test_mask.gif"
    hearts = paired(real_data, "ACDC/*/*/*", "ACDC/*/*/*_gt*")
    assert hearts.patterns["images"] == "ACDC/training/{group}/{case:patient???_frame??}.nii.gz"
    with pytest.raises(DataError, match=r"no image for label .*Chinese35"):
        paired(real_data, "atlases/*/*/srr.nii.gz", "atlases/*/*/parcellation.nii.gz")
