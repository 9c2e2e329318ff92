from collections.abc import Callable
from pathlib import Path

import pytest

from ssdg.datasets import fetal
from ssdg.datasets.base import DataError, Domain

FOLDERS = {
    "gholipour": ("HarvardSTA21_Study1", "HarvardSTA22_Study1"),
    "wu": ("Chinese25_Study1", "Chinese35_Study1"),
    "fidon": ("fetal_SB_atlas_GA25_operated",),
}


def write_atlases(root: Path) -> None:
    for family, folders in FOLDERS.items():
        for folder in folders:
            path = root / "atlases" / fetal.FAMILIES[family] / folder
            path.mkdir(parents=True)
            for kind in ("srr", "parcellation", "mask"):
                (path / f"{kind}.nii.gz").write_bytes(f"{folder} {kind}".encode())
        (root / "atlases" / fetal.FAMILIES[family] / "LICENSE").write_text("terms")


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
    domain = fetal.atlases(tmp_path)
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
    ("load", "count", "published", "stratum"),
    [(fetal.gholipour, 2, 18, "normal"), (fetal.wu, 2, 14, "normal"), (fetal.fidon, 1, 15, "abnormal")],
)
def test_each_family_is_a_domain(
    tmp_path: Path, load: Callable[[Path], Domain], count: int, published: int, stratum: str
) -> None:
    write_atlases(tmp_path)
    domain = load(tmp_path)
    assert (len(domain.cases), domain.published) == (count, published)
    assert {case.stratum for case in domain.cases} == {stratum}


def test_a_volume_without_image_is_left_out_and_counted(tmp_path: Path) -> None:
    write_atlases(tmp_path)
    (tmp_path / "atlases/Neurotypical_Wu2021/Chinese35_Study1/srr.nii.gz").unlink()
    for load in (fetal.wu, fetal.atlases):
        domain = load(tmp_path)
        assert domain.missing == ("Chinese35",)
        assert "Chinese35" not in {case.id for case in domain.cases}


def test_a_volume_without_parcellation_is_an_error(tmp_path: Path) -> None:
    write_atlases(tmp_path)
    (tmp_path / "atlases/Neurotypical_Wu2021/Chinese35_Study1/parcellation.nii.gz").unlink()
    with pytest.raises(DataError, match=r"case 'Chinese35' has no label.*srr\.nii\.gz"):
        fetal.wu(tmp_path)


def test_the_published_mapping_and_the_corpus_callosum_switch(tmp_path: Path) -> None:
    write_atlases(tmp_path)
    domain = fetal.gholipour(tmp_path)
    names = {value: fetal.CLASSES[index] for value, index in domain.label_map.items()}
    expected = {0: "background", 4: "eCSF", 5: "GM", 1: "WM", 2: "LV", 3: "CBM", 6: "dGM", 7: "BS", 8: "WM"}
    assert names == expected
    assert domain.label_variants["wm"] == domain.label_map
    changed = {value for value in range(9) if domain.label_variants["gm"][value] != domain.label_map[value]}
    assert changed == {8}
    assert fetal.CLASSES[domain.label_variants["gm"][8]] == "GM"


def test_a_missing_family_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"(?s)atlases not found.*Neurotypical_Gholipour2017.*published at.*terms"):
        fetal.atlases(tmp_path)
    (tmp_path / "atlases" / fetal.FAMILIES["wu"]).mkdir(parents=True)
    with pytest.raises(DataError, match="no volumes"):
        fetal.wu(tmp_path)


@pytest.mark.parametrize("name", ["feta2021", "feta_2.4"])
def test_feta_as_published(tmp_path: Path, name: str) -> None:
    write_feta(tmp_path / name, {"sub-002": "Pathological", "sub-001": "Neurotypical"}, "irtk")
    (tmp_path / name / "sub-001/anat/._sub-001_rec-irtk_T2w.nii.gz").write_bytes(b"")
    domain = fetal.feta2021(tmp_path)
    assert [(case.id, case.stratum) for case in domain.cases] == [("sub-001", "normal"), ("sub-002", "abnormal")]
    assert domain.cases[0].image.name == "sub-001_rec-irtk_T2w.nii.gz"
    assert domain.label_map == {value: value for value in range(8)}
    assert not domain.skull_stripped
    assert domain.published == 80
    assert domain.cases[0].foreground is None


def test_feta_takes_no_guess_between_releases(tmp_path: Path) -> None:
    for name in ("feta_2.1", "feta_2.4"):
        write_feta(tmp_path / name, {"sub-001": "Neurotypical"})
    with pytest.raises(DataError, match=r"several releases.*feta_2\.1, feta_2\.4"):
        fetal.feta2021(tmp_path)
    write_feta(tmp_path / "feta2021", {"sub-001": "Neurotypical"})
    assert fetal.feta2021(tmp_path).cases[0].image.is_relative_to(tmp_path / "feta2021")


def test_feta_needs_to_know_who_is_pathological(tmp_path: Path) -> None:
    folder = tmp_path / "feta2021"
    write_feta(folder, {"sub-001": "Neurotypical"})
    table = folder / "participants.tsv"
    table.write_text("participant_id\tPathology\nsub-009\tPathological\n")
    with pytest.raises(DataError, match=r"participants\.tsv has no row for sub-001"):
        fetal.feta2021(tmp_path)
    table.write_text("participant_id\tPathology\nsub-001\tunclear\n")
    with pytest.raises(DataError, match=r"'sub-001' has Pathology 'unclear'"):
        fetal.feta2021(tmp_path)
    table.unlink()
    with pytest.raises(DataError, match=r"participants\.tsv is missing"):
        fetal.feta2021(tmp_path)


def test_feta_image_without_label_and_label_without_image(tmp_path: Path) -> None:
    folder = tmp_path / "feta2021"
    write_feta(folder, {"sub-001": "Neurotypical", "sub-002": "Pathological"})
    (folder / "sub-002/anat/sub-002_rec-mial_T2w.nii.gz").unlink()
    assert fetal.feta2021(tmp_path).missing == ("sub-002",)
    (folder / "sub-001/anat/sub-001_rec-mial_dseg.nii.gz").unlink()
    with pytest.raises(DataError, match=r"case 'sub-001' has no label"):
        fetal.feta2021(tmp_path)


def test_feta_absent_names_the_agreement(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"(?s)FeTA 2021 not found.*synapse\.org.*signed agreement"):
        fetal.feta2021(tmp_path)
    (tmp_path / "feta2021").mkdir()
    (tmp_path / "feta2021/participants.tsv").write_text("participant_id\tPathology\n")
    with pytest.raises(DataError, match="no subjects"):
        fetal.feta2021(tmp_path)
