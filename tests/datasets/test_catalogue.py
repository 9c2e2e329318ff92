"""The packaged data sets in the layouts that their owners publish, drawn as empty files."""

from pathlib import Path

import pytest

from ssdg.datasets import TASKS, DataError, Domain

FAMILIES = {
    "gholipour": "Neurotypical_Gholipour2017",
    "wu": "Neurotypical_Wu2021",
    "fidon": "SpinaBifida_Fidon2021",
}
CLASSES = TASKS["fetal"].classes


def load(name: str, root: Path) -> Domain:
    task = next(task for task in TASKS.values() if name in (*task.sources, *task.targets))
    return task.domain(name)(root)


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
    domain = load("drive", tmp_path)
    assert [case.id for case in domain.cases] == ["21", "22"]
    case = domain.cases[0]
    assert case.label is not None
    assert case.foreground is not None
    assert (case.image.name, case.label.name) == ("21_training.tif", f"21_manual1.{suffix}")
    assert case.foreground.name == f"21_training_mask.{suffix}"
    assert (domain.name, domain.published) == ("drive", 20)


def test_drive_test_is_unlabelled_without_first_manual(tmp_path: Path) -> None:
    write_drive(tmp_path, "test", labels=False)
    domain = load("drive-test", tmp_path)
    assert [case.label for case in domain.cases] == [None, None]
    write_drive(tmp_path, "test")
    assert all(case.label for case in load("drive-test", tmp_path).cases)


def test_an_image_without_label_is_named(tmp_path: Path) -> None:
    write_drive(tmp_path)
    (tmp_path / "DRIVE/training/1st_manual/22_manual1.gif").unlink()
    with pytest.raises(
        DataError, match=r"case '22' has no label.*22_training\.tif.*nearest is .*1st_manual.*\(images and labels\)"
    ):
        load("drive", tmp_path)


def test_a_label_without_image_is_counted(tmp_path: Path) -> None:
    write_drive(tmp_path)
    (tmp_path / "DRIVE/training/images/22_training.tif").unlink()
    domain = load("drive", tmp_path)
    assert domain.missing == ("22",)
    assert len(domain.cases) == 1


def test_lesav_as_published(tmp_path: Path) -> None:
    for case in ("34", "111"):
        touch(tmp_path / "LES-AV/images" / f"{case}.png")
        touch(tmp_path / "LES-AV/vessel-segmentations" / f"{case}.png")
        touch(tmp_path / "LES-AV/masks" / f"{case}_mask.gif")
    domain = load("lesav", tmp_path)
    assert [case.id for case in domain.cases] == ["111", "34"]
    assert domain.cases[1].foreground == tmp_path / "LES-AV/masks/34_mask.gif"
    assert domain.published == 22


def test_iostar_as_published(tmp_path: Path) -> None:
    touch(tmp_path / "IOSTAR/image/STAR 01_OSC.jpg")
    touch(tmp_path / "IOSTAR/GT/STAR 01_OSC_GT.tif")
    touch(tmp_path / "IOSTAR/mask/STAR 01_OSC_Mask.tif")
    domain = load("iostar", tmp_path)
    case = domain.cases[0]
    assert case.id == "STAR 01_OSC"
    assert case.foreground == tmp_path / "IOSTAR/mask/STAR 01_OSC_Mask.tif"
    assert domain.published == 30


def test_masks_may_be_absent_but_not_incomplete(tmp_path: Path) -> None:
    write_drive(tmp_path)
    mask = tmp_path / "DRIVE/training/mask"
    (mask / "22_training_mask.gif").unlink()
    with pytest.raises(DataError, match="case '22' has no foreground mask"):
        load("drive", tmp_path)
    (mask / "21_training_mask.gif").unlink()
    mask.rmdir()
    assert [case.foreground for case in load("drive", tmp_path).cases] == [None, None]


@pytest.mark.parametrize("name", ["drive", "drive-test", "lesav", "iostar"])
def test_absent_data_says_where_it_is_published(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"(?s)there is no folder.*expected.*published at: https?://.*terms: \w+"):
        load(name, tmp_path)


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    for kind in ("images", "vessel-segmentations"):
        (tmp_path / "LES-AV" / kind).mkdir(parents=True)
    with pytest.raises(DataError, match=r"no files match images = .*LES-AV/images"):
        load("lesav", tmp_path)


FOLDERS = {
    "gholipour": ("HarvardSTA21_Study1", "HarvardSTA22_Study1"),
    "wu": ("Chinese25_Study1", "Chinese35_Study1"),
    "fidon": ("fetal_SB_atlas_GA25_operated",),
}


def write_atlases(root: Path) -> None:
    for family, folders in FOLDERS.items():
        for folder in folders:
            path = root / "atlases" / FAMILIES[family] / folder
            path.mkdir(parents=True)
            for kind in ("srr", "parcellation", "mask"):
                (path / f"{kind}.nii.gz").write_bytes(f"{folder} {kind}".encode())
        (root / "atlases" / FAMILIES[family] / "LICENSE").write_text("terms")


def write_feta(folder: Path, pathology: dict[str, str], reconstruction: str = "mial") -> None:
    rows = ["participant_id\tPathology\tGestational age"]
    for subject, value in pathology.items():
        anat = folder / subject / "anat"
        anat.mkdir(parents=True)
        for kind in ("T2w", "dseg"):
            (anat / f"{subject}_rec-{reconstruction}_{kind}.nii.gz").write_bytes(f"{subject}{kind}".encode())
        rows.append(f"{subject}\t{value}\t27.9")
    (folder / "participants.tsv").write_text("\n".join(rows) + "\n")


def test_atlases_are_one_domain_with_families_as_strata(tmp_path: Path) -> None:
    write_atlases(tmp_path)
    domain = load("atlases", tmp_path)
    assert {case.id: case.stratum for case in domain.cases} == {
        "Chinese25": "wu",
        "Chinese35": "wu",
        "HarvardSTA21": "gholipour",
        "HarvardSTA22": "gholipour",
        "fetal_SB_atlas_GA25_operated": "fidon",
    }
    assert domain.published == 47
    assert domain.skull_stripped
    assert all(case.foreground is None for case in domain.cases), "mask.nii.gz is the label's outline"


@pytest.mark.parametrize(
    ("name", "count", "published", "stratum"),
    [("gholipour", 2, 18, "normal"), ("wu", 2, 14, "normal"), ("fidon", 1, 15, "abnormal")],
)
def test_each_family_is_a_domain(tmp_path: Path, name: str, count: int, published: int, stratum: str) -> None:
    write_atlases(tmp_path)
    domain = load(name, tmp_path)
    assert (len(domain.cases), domain.published) == (count, published)
    assert {case.stratum for case in domain.cases} == {stratum}


def test_a_volume_without_image_is_left_out_and_counted(tmp_path: Path) -> None:
    write_atlases(tmp_path)
    (tmp_path / "atlases/Neurotypical_Wu2021/Chinese35_Study1/srr.nii.gz").unlink()
    for name in ("wu", "atlases"):
        domain = load(name, tmp_path)
        assert domain.missing == ("Chinese35",)
        assert "Chinese35" not in {case.id for case in domain.cases}


def test_a_volume_without_parcellation_is_an_error(tmp_path: Path) -> None:
    write_atlases(tmp_path)
    (tmp_path / "atlases/Neurotypical_Wu2021/Chinese35_Study1/parcellation.nii.gz").unlink()
    with pytest.raises(DataError, match=r"case 'Chinese35' has no label.*srr\.nii\.gz"):
        load("wu", tmp_path)


def test_the_published_mapping_and_the_corpus_callosum_switch(tmp_path: Path) -> None:
    write_atlases(tmp_path)
    domain = load("gholipour", tmp_path)
    names = {value: CLASSES[index] for value, index in domain.label_map.items()}
    expected = {0: "background", 4: "eCSF", 5: "GM", 1: "WM", 2: "LV", 3: "CBM", 6: "dGM", 7: "BS", 8: "WM"}
    assert names == expected
    assert domain.label_variants["wm"] == domain.label_map
    changed = {value for value in range(9) if domain.label_variants["gm"][value] != domain.label_map[value]}
    assert changed == {8}
    assert CLASSES[domain.label_variants["gm"][8]] == "GM"


def test_a_missing_family_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"(?s)there is no folder .*atlases.*expected.*published at.*terms"):
        load("atlases", tmp_path)
    (tmp_path / "atlases" / FAMILIES["wu"]).mkdir(parents=True)
    with pytest.raises(DataError, match="no files match"):
        load("wu", tmp_path)


@pytest.mark.parametrize("name", ["feta2021", "feta_2.4"])
def test_feta_as_published(tmp_path: Path, name: str) -> None:
    write_feta(tmp_path / name, {"sub-002": "Pathological", "sub-001": "Neurotypical"}, "irtk")
    (tmp_path / name / "sub-001/anat/._sub-001_rec-irtk_T2w.nii.gz").write_bytes(b"")
    domain = load("feta2021", tmp_path)
    assert [(case.id, case.stratum) for case in domain.cases] == [("sub-001", "normal"), ("sub-002", "abnormal")]
    assert domain.cases[0].image.name == "sub-001_rec-irtk_T2w.nii.gz"
    assert domain.label_map == {value: value for value in range(8)}
    assert not domain.skull_stripped
    assert domain.published == 80
    assert domain.cases[0].foreground is None


def test_feta_takes_no_guess_between_releases(tmp_path: Path) -> None:
    for name in ("feta_2.1", "feta_2.4"):
        write_feta(tmp_path / name, {"sub-001": "Neurotypical"})
    with pytest.raises(DataError, match=r"several folders match .feta_2.*feta_2\.1, feta_2\.4"):
        load("feta2021", tmp_path)
    write_feta(tmp_path / "feta2021", {"sub-001": "Neurotypical"})
    assert load("feta2021", tmp_path).cases[0].image.is_relative_to(tmp_path / "feta2021")


def test_feta_needs_to_know_who_is_pathological(tmp_path: Path) -> None:
    folder = tmp_path / "feta2021"
    write_feta(folder, {"sub-001": "Neurotypical"})
    table = folder / "participants.tsv"
    table.write_text("participant_id\tPathology\nsub-009\tPathological\n")
    with pytest.raises(DataError, match=r"participants\.tsv has no row for case .sub-001."):
        load("feta2021", tmp_path)
    table.write_text("participant_id\tPathology\nsub-001\tunclear\n")
    with pytest.raises(DataError, match=r"'sub-001' has Pathology 'unclear'"):
        load("feta2021", tmp_path)
    table.unlink()
    with pytest.raises(DataError, match=r"cannot read .*participants\.tsv"):
        load("feta2021", tmp_path)


def test_feta_image_without_label_and_label_without_image(tmp_path: Path) -> None:
    folder = tmp_path / "feta2021"
    write_feta(folder, {"sub-001": "Neurotypical", "sub-002": "Pathological"})
    (folder / "sub-002/anat/sub-002_rec-mial_T2w.nii.gz").unlink()
    assert load("feta2021", tmp_path).missing == ("sub-002",)
    (folder / "sub-001/anat/sub-001_rec-mial_dseg.nii.gz").unlink()
    with pytest.raises(DataError, match=r"case 'sub-001' has no label"):
        load("feta2021", tmp_path)


def test_feta_absent_names_the_agreement(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"(?s)there is no folder .*feta2021.*synapse\.org.*signed agreement"):
        load("feta2021", tmp_path)
    (tmp_path / "feta2021").mkdir()
    (tmp_path / "feta2021/participants.tsv").write_text("participant_id\tPathology\n")
    with pytest.raises(DataError, match="no files match"):
        load("feta2021", tmp_path)
