"""Fetal brain tissues in T2-weighted MRI: three atlas families, and the subjects of the FeTA 2021 challenge."""

import csv
from collections.abc import Iterable
from pathlib import Path

from .base import Case, DataError, Domain
from .discovery import Publication, by_id, is_junk, pair

CLASSES = ("background", "eCSF", "GM", "WM", "LV", "CBM", "dGM", "BS")
"""External fluid, grey and white matter, ventricles, cerebellum, deep grey matter, brainstem: the order of FeTA."""

FAMILIES = {
    "gholipour": "Neurotypical_Gholipour2017",
    "wu": "Neurotypical_Wu2021",
    "fidon": "SpinaBifida_Fidon2021",
}
PUBLISHED = {"gholipour": 18, "wu": 14, "fidon": 15}

_TISSUES = {0: 0, 4: 1, 5: 2, 1: 3, 2: 4, 3: 5, 6: 6, 7: 7}
CORPUS_CALLOSUM = 8
LABEL_VARIANTS = {"wm": {**_TISSUES, CORPUS_CALLOSUM: 3}, "gm": {**_TISSUES, CORPUS_CALLOSUM: 2}}
"""Atlas parcellation -> class. The corpus callosum is white matter to anatomists and to the parcellation's authors;
the code that the published 3D numbers descend from counts it as grey matter."""

ATLASES = Publication(
    name="fetal brain atlases",
    tree=f"atlases/{{{','.join(FAMILIES.values())}}}/<age>/{{srr,parcellation,mask}}.nii.gz",
    source="https://github.com/LucasFidon/trustworthy-ai-fetal-brain-segmentation (with the refined parcellations)",
    licence="Gholipour: non-commercial research, with acknowledgement; Wu: the owners' terms; Fidon: CC0",
    citation="Gholipour et al. 2017; Wu et al. 2021; Fidon et al. 2021; parcellations: Fidon et al. 2022",
)
GHOLIPOUR = Publication(
    name="Gholipour's fetal brain atlas",
    tree=f"atlases/{FAMILIES['gholipour']}/<age>/{{srr,parcellation,mask}}.nii.gz",
    source="http://crl.med.harvard.edu/research/fetal_brain_atlas",
    licence="non-commercial research, with acknowledgement",
    citation="Gholipour et al., Scientific Reports 2017; parcellations: Fidon et al. 2022",
)
WU = Publication(
    name="Wu's fetal brain atlas",
    tree=f"atlases/{FAMILIES['wu']}/<age>/{{srr,parcellation,mask}}.nii.gz",
    source="https://github.com/DeepBMI/FBA-Chinese",
    licence="the owners' terms, as stated there",
    citation="Wu et al. 2021; parcellations: Fidon et al. 2022",
)
FIDON = Publication(
    name="Fidon's spina bifida atlas",
    tree=f"atlases/{FAMILIES['fidon']}/<age>/{{srr,parcellation,mask}}.nii.gz",
    source="https://doi.org/10.7303/syn25887675",
    licence="CC0 1.0",
    citation="Fidon et al., Open Research Europe 2021; parcellations: Fidon et al. 2022",
)
FETA = Publication(
    name="FeTA 2021",
    tree="feta2021/{participants.tsv,sub-001/anat/sub-001_rec-*_{T2w,dseg}.nii.gz,…} (or feta_2.x/, as unpacked)",
    source="https://www.synapse.org/Synapse:syn25649159",
    licence="research use, after a signed agreement with the owners",
    citation="Payette et al., Scientific Data 2021; Payette et al., Medical Image Analysis 2023",
)


def atlases(root: Path) -> Domain:
    """Return the 47 atlas volumes of three families (strata ``gholipour``, ``wu``, ``fidon``)."""
    return _atlas_domain("atlases", ATLASES, root, {family: family for family in FAMILIES})


def gholipour(root: Path) -> Domain:
    """Return the 18 volumes of the normal brain at 21 to 38 weeks."""
    return _atlas_domain("gholipour", GHOLIPOUR, root, {"gholipour": "normal"})


def wu(root: Path) -> Domain:
    """Return the 14 volumes of the normal Chinese brain at 22 to 35 weeks."""
    return _atlas_domain("wu", WU, root, {"wu": "normal"})


def fidon(root: Path) -> Domain:
    """Return the 15 volumes of the brain with spina bifida, before and after the operation, at 21 to 34 weeks."""
    return _atlas_domain("fidon", FIDON, root, {"fidon": "abnormal"})


def _atlas_domain(name: str, publication: Publication, root: Path, strata: dict[str, str]) -> Domain:
    """Return the families named in ``strata`` (family -> stratum) as one domain."""
    cases: list[Case] = []
    missing: list[str] = []
    for family, stratum in strata.items():
        folder = publication.folder(root / "atlases" / FAMILIES[family])
        found, absent = _family(folder, stratum)
        cases += found
        missing += absent
    if not cases:
        raise DataError(f"{publication.name}: no volumes in {root / 'atlases'}; expected {publication.tree}")
    return Domain(
        name=name,
        modality="T2-weighted MRI atlas",
        cases=tuple(sorted(cases, key=lambda case: case.id)),
        label_map=LABEL_VARIANTS["wm"],
        source=publication.source,
        licence=publication.licence,
        citation=publication.citation,
        published=sum(PUBLISHED[family] for family in strata),
        missing=tuple(sorted(missing)),
        label_variants=LABEL_VARIANTS,
    )


def _family(folder: Path, stratum: str) -> tuple[tuple[Case, ...], tuple[str, ...]]:
    """Return cases and ids without an image of one family; ids are the folders' names without "_Study1"."""
    folders = [path for path in folder.iterdir() if path.is_dir() and not is_junk(path)]

    def files(kind: str) -> dict[str, Path]:
        present = (path / f"{kind}.nii.gz" for path in folders if (path / f"{kind}.nii.gz").is_file())
        return by_id(present, lambda file: file.parent.name.removesuffix("_Study1"))

    # mask.nii.gz is left alone: it is the outline of the parcellation, an oracle. The volumes are skull-stripped, and
    # their brain is read off them.
    return pair(files("srr"), files("parcellation"), None, lambda _: stratum)


def feta2021(root: Path) -> Domain:
    """Return the 80 subjects of FeTA 2021 (strata ``normal`` and ``abnormal``), tissue around the brain included.

    All 80 are scored: the list of 40 that the parent code tests on is not published in full.
    """
    folder = _feta_folder(root)
    strata = _feta_strata(folder / "participants.tsv")
    subjects = sorted(path for path in folder.glob("sub-*") if path.is_dir())
    images = _feta_files(subjects, "*_T2w.nii.gz")
    labels = _feta_files(subjects, "*_dseg.nii.gz")

    def stratum(subject: str) -> str:
        if subject not in strata:
            raise DataError(f"FeTA 2021: {folder / 'participants.tsv'} has no row for {subject}")
        return strata[subject]

    cases, missing = pair(images, labels, None, stratum)
    if not cases:
        raise DataError(f"FeTA 2021: no subjects in {folder}; expected {FETA.tree}")
    return Domain(
        name="feta2021",
        modality="T2-weighted MRI, super-resolution reconstruction",
        cases=cases,
        label_map={value: value for value in range(len(CLASSES))},
        source=FETA.source,
        licence=FETA.licence,
        citation=FETA.citation,
        published=80,
        missing=missing,
        skull_stripped=False,
    )


def _feta_folder(root: Path) -> Path:
    """Return ``feta2021`` or the one unpacked release; releases correct labels, so that two of them are ambiguous."""
    releases = sorted(path for path in root.glob("feta_2.*") if path.is_dir())
    if not (root / "feta2021").is_dir() and len(releases) > 1:
        names = ", ".join(path.name for path in releases)
        raise DataError(f"FeTA 2021: several releases in {root} ({names}); rename the one to use to feta2021")
    return FETA.folder(root / "feta2021", *releases)


def _feta_files(subjects: Iterable[Path], pattern: str) -> dict[str, Path]:
    files = [path for subject in subjects for path in (subject / "anat").glob(pattern)]
    return by_id(files, lambda path: path.parent.parent.name)


def _feta_strata(table: Path) -> dict[str, str]:
    """Return subject -> "normal" or "abnormal" from the column Pathology of participants.tsv."""
    if not table.is_file():
        raise DataError(f"FeTA 2021: {table} is missing; it says which subjects are pathological")
    with table.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    strata = {}
    for row in rows:
        subject, pathology = (row.get("participant_id") or "").strip(), (row.get("Pathology") or "").strip()
        words = {"neurotypical": "normal", "normal": "normal", "pathological": "abnormal", "abnormal": "abnormal"}
        if not subject or pathology.lower() not in words:
            raise DataError(
                f"{table}: participant {subject!r} has Pathology {pathology!r}; expected Neurotypical or "
                "Pathological in tab-separated columns participant_id and Pathology"
            )
        strata["sub-" + subject.removeprefix("sub-")] = words[pathology.lower()]
    return strata
