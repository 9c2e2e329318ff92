"""Retinal vessels in colour and laser images: DRIVE, LES-AV and IOSTAR, in the folders their owners publish."""

from pathlib import Path

from .base import DataError, Domain
from .discovery import PICTURES, Publication, listing, pair

CLASSES = ("background", "vessel")
LABEL_MAP = {0: 0, 1: 1, 255: 1}
"""The owners write 0 / 255, bilevel TIFFs read as 0 / 1."""

DRIVE = Publication(
    name="DRIVE",
    tree="DRIVE/{training,test}/{images,1st_manual,mask}/",
    source="https://drive.grand-challenge.org",
    licence="research use, after registration at the owners' site",
    citation="Staal et al., IEEE Transactions on Medical Imaging 2004",
)
LES_AV = Publication(
    name="LES-AV",
    tree="LES-AV/{images,vessel-segmentations,masks}/",
    source="https://figshare.com/articles/dataset/LES-AV_dataset/11857698",
    licence="scientific use only, no commercial use (README.txt of the data set)",
    citation="Orlando et al., MICCAI 2018",
)
IOSTAR = Publication(
    name="IOSTAR",
    tree="IOSTAR/{image,GT,mask}/",
    source="http://www.retinacheck.org/datasets (the link has expired before: ask the authors)",
    licence="research use",
    citation="Zhang et al., IEEE Transactions on Medical Imaging 2016",
)


def drive(root: Path) -> Domain:
    """Return DRIVE's 20 training photographs (565×584), with the first observer's vessels."""
    return _drive(root, "drive", "training")


def drive_test(root: Path) -> Domain:
    """Return DRIVE's 20 test photographs; labelled where the user has ``test/1st_manual``.

    The owners withhold these labels; without the folder every case is unlabelled.
    """
    return _drive(root, "drive-test", "test")


def _drive(root: Path, name: str, part: str) -> Domain:
    folder = DRIVE.folder(root / "DRIVE" / part)
    labels: tuple[Path, ...] = (folder / "1st_manual",)
    if part == "test" and not labels[0].is_dir():
        labels = ()
    endings = (f"_{part}_mask", "_manual1", f"_{part}", "_mask")
    return _domain(
        name, DRIVE, "colour fundus photography", 20, (folder / "images", *labels), folder / "mask", endings
    )


def lesav(root: Path) -> Domain:
    """Return the 22 photographs of LES-AV: 21 of 1620×1444 and one of 2196×1958; arteries and veins are one class."""
    folder = LES_AV.folder(root / "LES-AV")
    pictures = (folder / "images", folder / "vessel-segmentations")
    return _domain("lesav", LES_AV, "colour fundus photography", 22, pictures, folder / "masks", ("_mask",))


def iostar(root: Path) -> Domain:
    """Return the images of IOSTAR (30 published, 1024×1024), from a laser ophthalmoscope, not a fundus camera."""
    folder = IOSTAR.folder(root / "IOSTAR")
    pictures = (folder / "image", folder / "GT")
    return _domain("iostar", IOSTAR, "scanning laser ophthalmoscopy", 30, pictures, folder / "mask", ("_GT", "_Mask"))


def _domain(
    name: str,
    publication: Publication,
    modality: str,
    published: int,
    pictures: tuple[Path, ...],
    masks: Path,
    endings: tuple[str, ...],
) -> Domain:
    """Return a domain of ``pictures`` = (images, labels) or (images,), and of ``masks`` where that folder exists."""
    found = [listing(publication.folder(folder), PICTURES, endings) for folder in pictures]
    foregrounds = listing(masks, PICTURES, endings) if masks.is_dir() else None
    cases, missing = pair(found[0], found[1] if len(found) > 1 else None, foregrounds)
    if not cases:
        raise DataError(f"{publication.name}: no images in {pictures[0]}; it is published at {publication.source}")
    return Domain(
        name=name,
        modality=modality,
        cases=cases,
        label_map=LABEL_MAP,
        source=publication.source,
        licence=publication.licence,
        citation=publication.citation,
        published=published,
        missing=missing,
    )
