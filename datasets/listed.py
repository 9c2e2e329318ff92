"""Data sets that a JSON file describes: lists of the Medical Segmentation Decathlon, folders of nnU-Net v2."""

from dataclasses import dataclass
from pathlib import Path

from .base import DataError
from .discovery import is_junk, spelled, status, stem, unknown
from .patterns import Match, Pattern
from .text_files import read_json


@dataclass(frozen=True, slots=True)
class Listed:
    """What stands in a task file in the place of patterns."""

    kind: str  # "decathlon" or "nnunet"
    place: str  # the JSON file, or the data set's folder
    split: str


def decathlon_files(listed: Listed, folder: Path, where: str) -> tuple[list[Match], list[Match]]:
    """Return the images and labels of one list in a Decathlon JSON; paths in it are relative to it.

    Raises:
        DataError: no such list, an entry of another form, listed twice, or with a label that does not exist.
    """
    path = spelled(folder, listed.place)
    content = read_json(path, f"{where}: the list")
    content = content if isinstance(content, dict) else {}
    if "file_ending" in content:
        name = Path(listed.place).parent.as_posix()
        raise DataError(f"{where}: {path} is of nnU-Net v2 and lists no files: write nnunet = {name!r}")
    if not isinstance(content.get(listed.split), list):
        lists = [key for key, value in content.items() if isinstance(value, list)]
        raise unknown(f"list in {path}:", listed.split, lists)
    images: dict[str, Match] = {}
    labels: dict[str, Match] = {}
    for entry in content[listed.split]:
        pair = (entry.get("image"), entry.get("label")) if isinstance(entry, dict) else (entry, None)
        if not isinstance(pair[0], str) or not isinstance(pair[1], str | None):
            raise DataError(f"{where}: {path}: {listed.split} holds {entry!r}; expected one image and one label file")
        names = [None if text is None else text.replace("\\", "/") for text in pair]
        image, label = (None if name is None else spelled(path.parent, name) for name in names)
        assert image is not None
        assert names[0] is not None
        if is_junk(image):
            continue
        case = stem(Path(names[0]))
        if case in images:
            raise DataError(f"{where}: {path} lists case {case!r} twice: {images[case].path} and {image}")
        images[case] = Match(image, {"case": case})
        if label is None:
            continue
        labels[case] = Match(label, {"case": case})
        if status(image) and not status(label, follow=False):  # a dangling link counts as missing
            raise DataError(f"{where}: case {case!r} has no label: {label} does not exist")
    return list(images.values()), list(labels.values())


def nnunet_patterns(listed: Listed, folder: Path, where: str) -> tuple[Pattern, Pattern]:
    """Return the patterns of images and labels in a folder of nnU-Net v2.

    Raises:
        DataError: no ``dataset.json`` of that version, or an unknown split.
    """
    description = spelled(folder, listed.place) / "dataset.json"
    content = read_json(description, f"{where}: the data set")
    ending = content.get("file_ending") if isinstance(content, dict) else None
    if not isinstance(ending, str):
        raise DataError(f"{where}: {description} has no file_ending: it is not of nnU-Net v2")
    parts = {"training": "Tr", "test": "Ts"}
    if listed.split not in parts:
        raise unknown(f"split of {where}:", listed.split, parts)
    part = parts[listed.split]
    images = f"{listed.place}/images{part}/{{case}}_{{channel:[0-9][0-9][0-9][0-9]}}{ending}"
    labels = f"{listed.place}/labels{part}/{{case}}{ending}"
    return Pattern(images, f"{where}: nnunet"), Pattern(labels, f"{where}: nnunet")
