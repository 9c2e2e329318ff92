"""The catalogue's tasks on small real files, drawn in the layouts that their owners publish."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ssdg.datasets import TASKS, Case, DataError, Domain

Classes = NDArray[np.uint8]


def truth(classes: int, ndim: int) -> Classes:
    """Return nested squares of all classes, the last innermost, background at the border and in the end slices."""
    array = np.zeros((16, 20, 6)[:ndim], dtype=np.uint8)
    for index in range(1, classes):
        array[(slice(index + 1, -index - 1), slice(index + 1, -index - 1), slice(1, -1))[:ndim]] = index
    return array


@dataclass(frozen=True)
class Layout:
    """Files of one domain: per case its image, then one or several label files."""

    task: str
    domain: str
    published: int
    files: Mapping[str, tuple[str, ...]]
    values: Mapping[int, int] = field(default_factory=dict)  # class -> value in the label file; empty: itself
    layers: Sequence[tuple[int, ...]] = ()  # classes that each label file marks with 255 (the others: 64)
    texts: Mapping[str, str] = field(default_factory=dict)  # tables by path
    extra: Sequence[str] = ()  # files of the tree that are no image of the domain
    groups: Mapping[str, str] = field(default_factory=dict)
    strata: Mapping[str, str] = field(default_factory=dict)
    ndim: int = 2  # on disk


def riga(folder: str, part: str, collection: str, name: str) -> tuple[str, str]:
    place = f"{part}/{collection}"
    return f"{folder}/RIGA/{place}/{name}.tif", f"{folder}/RIGA-mask/{place}/{name}-1.tif"


RIGA_IDS = {"BinRushed1-image1": "BinRushed1", "BinRushed2-image1": "BinRushed2"}
MAGRABIA_IDS = {"MagrabiFemale-image8": "MagrabiFemale", "MagrabiaMale-image8": "MagrabiaMale"}
RIGA_CSV = "image,mask\n" + "".join(
    f"RIGA/BinRushed/{name}/image1.tif,RIGA-mask/BinRushed/{name}/image1.tif\n" for name in RIGA_IDS.values()
)
RIM_255, RIM_128 = {0: 0, 1: 255, 2: 128}, {0: 255, 1: 128, 2: 0}


def processed(folder: str, *cases: str) -> dict[str, tuple[str, ...]]:
    return {case: (f"{folder}/image_{case}.nii.gz", f"{folder}/label_{case}.nii.gz") for case in cases}


def prostate(site: str, published: int, ending: str = "segmentation") -> Layout:
    files = {
        case: (f"Prostate/{site}/{case}.nii.gz", f"Prostate/{site}/{case}_{ending}.nii.gz")
        for case in ("Case00", "Case02")
    }
    return Layout("prostate", site.lower(), published, files, {0: 0, 1: 2}, ndim=3)


def triad(name: str, folder: str, published: int, parts: Mapping[str, str], suffix: str = "png") -> Layout:
    root = f"zenodo-8009107/{folder}"
    files = {id: (f"{root}/{part}/image/{id}.{suffix}", f"{root}/{part}/mask/{id}.png") for id, part in parts.items()}
    return Layout("disc-cup-triad", f"triad-{name}", published, files, RIM_128)


def polyps(domain: str, published: int, folders: Mapping[str, str], *extra: str) -> Layout:
    """Cases are named by their folder's text: "TrainDataset/{}" with "image" and "mask" put in."""
    files = {
        case: (f"Polyp/{folder.format('image')}/{case}.png", f"Polyp/{folder.format('mask')}/{case}.png")
        for case, folder in folders.items()
    }
    return Layout("polyp", domain, published, files, layers=[(1,)], extra=[f"Polyp/{name}.png" for name in extra])


def drishti(case: str, folder: str, gt: str) -> tuple[str, ...]:
    maps = f"Drishti-GS/{folder}/{gt}/{case}/SoftMap/{case}"
    return f"Drishti-GS/{folder}/Images/{case}.png", f"{maps}_ODsegSoftmap.png", f"{maps}_cupsegSoftmap.png"


DRISHTI = {
    "drishtiGS_001": drishti("drishtiGS_001", "Test", "Test_GT"),
    "drishtiGS_002": drishti("drishtiGS_002", "Training", "GT"),
}
LAYOUTS = [
    Layout("optic-disc", "drishti", 101, {case: files[:2] for case, files in DRISHTI.items()}, layers=[(1,)]),
    *(
        Layout(
            "optic-cup", f"drishti-{part}", n, {case: DRISHTI[case]}, layers=[(1, 2), (2,)], extra=[DRISHTI[other][0]]
        )
        for part, n, case, other in (
            ("training", 50, "drishtiGS_002", "drishtiGS_001"),
            ("test", 51, "drishtiGS_001", "drishtiGS_002"),
        )
    ),
    Layout(
        "disc-cup",
        "binrushed",
        156,
        {id: riga("RIGAPlus", "BinRushed", stratum, "image1") for id, stratum in RIGA_IDS.items()},
        RIM_255,
        texts={"RIGAPlus/BinRushed_train.csv": RIGA_CSV},
        extra=[
            "RIGAPlus/RIGA-mask/BinRushed/BinRushed1/image1-2.tif",
            *riga("RIGAPlus", "BinRushed", "BinRushed1", "image9"),  # of the test list
        ],
        strata=RIGA_IDS,
    ),
    Layout(
        "disc-cup",
        "messidor-base2",
        30,
        {"Labeled-image20": riga("zenodo-6325549", "MESSIDOR_Base2", "Labeled", "image20")},
        RIM_255,
        texts={"zenodo-6325549/MESSIDOR_Base2_test.csv": "image,mask\nRIGA/MESSIDOR_Base2/Labeled/image20.tif,x\n"},
        extra=["zenodo-6325549/RIGA/MESSIDOR_Base2/Unlabeled/image99.tif"],
        strata={"Labeled-image20": "Labeled"},
    ),
    Layout(
        "disc-cup-triad",
        "triad-magrabia",
        95,
        {id: riga("zenodo-8009107", "Magrabia", stratum, "image8") for id, stratum in MAGRABIA_IDS.items()},
        RIM_128,
        strata=MAGRABIA_IDS,
    ),
    triad("refuge", "REFUGE", 400, {"g0003": "train", "n0004": "test"}),
    triad("origa", "ORIGA", 650, {"1": "train", "501": "test"}, "jpg"),
    triad("drishti", "Drishti_GS", 101, {"gdrishtiGS_001": "test", "gdrishtiGS_002": "train"}),
    polyps(
        "kvasir",
        1000,
        {"cju0qkwl35piu0993l0dewei2": "TrainDataset/{}", "cju1": "TestDataset/Kvasir/{}s"},
        *("TrainDataset/image/7", "TrainDataset/mask/7"),
    ),
    polyps(
        "cvc-clinicdb",
        612,
        {"7": "TrainDataset/{}s", "12": "TestDataset/CVC-ClinicDB/{}s"},
        *("TrainDataset/images/cju1", "TestDataset/CVC-300/images/7", "TestDataset/CVC-300/masks/7"),
    ),
    polyps("cvc-300", 60, {"149": "TestDataset/CVC-300/{}s"}),
    polyps("cvc-colondb", 380, {"1": "TestDataset/CVC-ColonDB/{}s"}),
    polyps("etis", 196, {"1": "TestDataset/ETIS-LaribPolypDB/{}s"}),
    Layout(
        "cardiac",
        "acdc",
        200,
        {
            f"patient001_frame{frame}": (
                f"ACDC/training/patient001/patient001_frame{frame}.nii.gz",
                f"ACDC/training/patient001/patient001_frame{frame}_gt.nii.gz",
            )
            for frame in ("01", "12")
        },
        extra=["ACDC/training/patient001/patient001_4d.nii.gz"],
        groups={"patient001_frame01": "patient001", "patient001_frame12": "patient001"},
        ndim=3,
    ),
    Layout(
        "cardiac-slices",
        "mscmr-lge-slices",
        45,
        {"subject5": ("MSCMR/images/subject5_DE.nii.gz", "MSCMR/labels/subject5_DE_manual.nii.gz")},
        extra=["MSCMR/images/subject5_C0.nii.gz"],
        ndim=3,
    ),
    Layout("cardiac-seq", "bssfp", 45, processed("bSSFP", "1", "45"), ndim=3),
    Layout("cardiac-seq", "lge", 45, processed("cardiac/processed/LGE", "1", "10"), ndim=3),
    Layout("abdomen", "chaos", 20, processed("CHAOST2/processed", "1", "39"), ndim=3),
    Layout("abdomen", "btcv", 30, processed("abdominal/SABSCT/processed", "0", "29"), ndim=3),
    *(prostate(site, n) for site, n in (("RUNMC", 30), ("I2CVB", 19), ("UCL", 13), ("BIDMC", 12), ("HK", 12))),
    prostate("BMC", 30, "Segmentation"),
]


def save(path: Path, array: Classes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith(".nii.gz"):
        nib.save(nib.Nifti1Image(array, np.diag([1.4, 1.4, 8, 1])), path)
    else:
        Image.fromarray(array).save(path)


def write(root: Path, layout: Layout, values: Mapping[int, int] | None = None) -> Classes:
    """Write a layout's files and return the classes that every label shows."""
    classes = truth(len(TASKS[layout.task].classes), layout.ndim)
    picture = np.arange(classes.size, dtype=np.uint8).reshape(classes.shape)
    picture = np.stack([picture] * 3, axis=-1) if layout.ndim == 2 else picture
    encoding = values or layout.values
    for image, *labels in layout.files.values():
        save(root / image, picture)
        for number, label in enumerate(labels):
            if layout.layers:
                marked = np.isin(classes, layout.layers[number])
                save(root / label, np.where(marked, 255, 64).astype(np.uint8))
            else:
                table = np.array([encoding.get(index, index) for index in range(classes.max() + 1)], dtype=np.uint8)
                save(root / label, table[classes])
    for name in layout.extra:
        save(root / name, picture)
    for name, text in layout.texts.items():
        (root / name).write_text(text)
    return classes


def shown(case: Case, domain: Domain) -> Classes:
    """Return the classes of a case's label files by the domain's rules; a value without a class is an error."""
    assert case.label is not None
    files = [read(path) for path in (case.label, *case.label_layers)]
    if not domain.layers:
        values, position = np.unique(files[0], return_inverse=True)
        return np.array([domain.label_map[int(value)] for value in values], np.uint8)[position].reshape(
            files[0].shape
        )
    classes = np.zeros(files[0].shape, dtype=np.uint8)
    for layer, values in zip(domain.layers, files, strict=True):
        marked = np.isin(values, layer.values) if layer.at_least is None else values >= layer.at_least
        classes[marked] = layer.class_index
    return classes


def read(path: Path) -> NDArray[np.int64]:
    if path.name.endswith(".nii.gz"):
        return np.asarray(nib.load(path).dataobj, dtype=np.int64)
    with Image.open(path) as picture:
        return np.asarray(picture, dtype=np.int64)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.domain)
def test_a_published_layout_is_read_without_renaming(tmp_path: Path, layout: Layout) -> None:
    classes = write(tmp_path, layout)
    task = TASKS[layout.task]
    domain = task.domain(layout.domain)(tmp_path)
    assert {case.id: case.image.relative_to(tmp_path).as_posix() for case in domain.cases} == {
        case: files[0] for case, files in layout.files.items()
    }
    assert (domain.name, domain.published, domain.missing) == (layout.domain, layout.published, ())
    for case in domain.cases:
        labels = tuple(tmp_path / name for name in layout.files[case.id][1:])
        assert (case.label, *case.label_layers) == labels
        assert case.group == layout.groups.get(case.id, "")
        assert case.stratum == layout.strata.get(case.id, "all")
        assert np.array_equal(shown(case, domain), classes)


def test_every_domain_that_no_other_test_reads_is_drawn() -> None:
    elsewhere = {"fundus", "fetal", "fetal-atlases", "phantom2d", "phantom3d"}  # test_catalogue, test_phantom
    domains = {
        name for task in TASKS.values() if task.name not in elsewhere for name in (*task.sources, *task.targets)
    }
    like_another = {"magrabia", "messidor-base1", "messidor-base3", "triad-binrushed", "mscmr-lge", "acdc-slices"}
    assert {layout.domain for layout in LAYOUTS} == domains - like_another - {"drions"}  # drions: test_real_data


def test_prostate_takes_both_values_of_the_gland(tmp_path: Path) -> None:
    for value in (1, 2):
        classes = write(tmp_path / str(value), prostate("UCL", 13), {1: value})
        domain = TASKS["prostate"].domain("ucl")(tmp_path / str(value))
        assert np.array_equal(shown(domain.cases[0], domain), classes)


@pytest.mark.parametrize(("domain", "wrong"), [("binrushed", RIM_128), ("triad-magrabia", RIM_255)])
def test_the_two_encodings_of_disc_and_cup_cannot_be_mixed_up_unseen(
    tmp_path: Path, domain: str, wrong: dict[int, int]
) -> None:
    layout = next(layout for layout in LAYOUTS if layout.domain == domain)
    write(tmp_path / "right", layout)
    write(tmp_path / "wrong", layout, wrong)
    for name in ("right", "wrong"):  # both hold 0, 128 and 255, so that no value is unknown
        loaded = TASKS[layout.task].domain(domain)(tmp_path / name)
        classes = shown(loaded.cases[0], loaded)
        border = {*classes[0], *classes[-1], *classes[:, 0], *classes[:, -1]}
        assert (border == {0}) if name == "right" else (0 not in border)


def test_neither_release_is_found_in_the_folder_of_the_other(tmp_path: Path) -> None:
    write(tmp_path, next(layout for layout in LAYOUTS if layout.domain == "triad-magrabia"))
    with pytest.raises(DataError, match=r"there is no folder .*RIGAPlus"):
        TASKS["disc-cup"].domain("magrabia")(tmp_path)


@pytest.mark.parametrize("name", ["cardiac", "cardiac-slices"])
def test_late_enhancement_is_turned_onto_cine(tmp_path: Path, name: str) -> None:
    for layout in LAYOUTS:
        if layout.task.startswith("cardiac"):
            write(tmp_path, layout)
    task = TASKS[name]
    source, target = (task.domain(domain)(tmp_path) for domain in (*task.sources, *task.targets))
    assert (source.orientation, source.axes, source.same_grid) == ("stored", (), "affine")
    assert (target.orientation, target.axes, target.same_grid) == ("stored", ((0, 1), (1, -1), (2, -1)), "shape")
    assert [case.group for case in source.cases] == ["patient001"] * 2
