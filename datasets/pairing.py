"""Patterns with ``{case}`` from wildcards: which part of the names says that an image and a label belong together.

Of a folder or stem that varies between the files of a set, the text that all begin and end with is cut off; what is
left has to be unique to a file and the same in every set.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

from .base import AbsentData, DataError
from .discovery import PICTURES, PLAIN_PICTURES, VOLUMES, stem
from .patterns import Pattern

NAMED = 5
"""Files that a message names."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Patterns that pair all files of a domain, by key: "images", "labels 1", "foregrounds"."""

    patterns: Mapping[str, str]
    volumes: bool
    id: str = "{case}"  # template of case ids

    def files(self, key: str, root: Path) -> list[Path]:
        """Return the files that a pattern matches, sorted."""
        return [match.path for match in Pattern(self.patterns[key], key).matches(root)]


@dataclass(frozen=True, slots=True)
class _Names:
    """The files of one pattern."""

    key: str
    paths: list[Path]
    head: str  # of the pattern: / or up to **, before the columns
    columns: tuple[tuple[str, ...], ...]  # text of every file in each segment; the last are stems
    suffix: str

    @property
    def varying(self) -> list[int]:
        """Columns that tell files apart, the stem first."""
        return [place for place in reversed(range(len(self.columns))) if len(set(self.columns[place])) > 1]


@dataclass(frozen=True, slots=True)
class _Part:
    """The part of one column that varies between files; with a folder, both together are the id."""

    place: int
    before: str
    values: tuple[str, ...]
    after: str
    folder: int | None
    keys: tuple[tuple[str, ...], ...]  # what has to be equal in all sets


def pair_files(patterns: Mapping[str, str], root: Path) -> Pairs:
    """Return patterns with fields that join every image to its companions.

    Args:
        patterns: of "images" first, then of its companions; patterns that have fields are returned as they are.
        root: what relative patterns start from.

    Raises:
        AbsentData: no image matches.
        DataError: files of several kinds, or that do not pair; some of them are named.
    """
    checked = {key: Pattern(text, f"--{key.split()[0]}") for key, text in patterns.items()}
    files = {key: [match.path for match in pattern.matches(root)] for key, pattern in checked.items()}
    volumes = any(path.name.lower().endswith(VOLUMES) for path in files["images"])
    for key, pattern in checked.items():
        files[key] = [path for path in files[key] if path.name.lower().endswith(VOLUMES if volumes else PICTURES)]
        if not files[key]:
            absent = pattern.absent_folder(root)
            kinds = ", ".join(VOLUMES if volumes else PLAIN_PICTURES)
            state = f"there is no folder {absent}" if absent else f"no file ({kinds}) matches {root / pattern.text}"
            raise AbsentData(f"{pattern.where}: {state} (the data root is --data-root or $BENCH_DATA)")
    if any("{" in re.sub(r"\{[^{}:]*,[^{}]*\}", "", text) for text in patterns.values()):
        return Pairs(patterns, volumes)
    others = {path for key, paths in files.items() if key != "images" for path in paths}
    files["images"] = [path for path in files["images"] if path not in others]
    if len(files["images"]) < 2:
        raise DataError(f"{len(files['images'])} images tell no id from the rest of a name: write {{case}} around it")
    names = [_names(key, checked[key], paths) for key, paths in files.items()]
    parts = _best_parts(names)
    _require_pairs(names, parts)
    return _written(names, _extended(parts), root, volumes)


def _names(key: str, pattern: Pattern, paths: list[Path]) -> _Names:
    head, star, tail = pattern.text.rpartition("**/")
    depth = len([segment for segment in tail.split("/") if segment not in ("", ".")])
    stems = [stem(path) for path in paths]
    suffixes = {path.name[len(text) :] for path, text in zip(paths, stems, strict=True)}
    columns = zip(*((*path.parts[-depth:-1], text) for path, text in zip(paths, stems, strict=True)), strict=True)
    start = head + star if star else "/" if tail.startswith("/") else ""
    return _Names(key, paths, start, tuple(columns), suffixes.pop() if len(suffixes) == 1 else ".*")


def _best_parts(names: Sequence[_Names]) -> list[_Part]:
    """Return the part of each set that pairs most images; of a folder and a stem where no part alone is unique."""
    best, most = None, -1
    for with_folder, level in product((False, True), range(3)):
        options = [_options(each, level, with_folder) for each in names]
        for image in options[0] if all(options) else ():
            if len(set(image.keys)) == len(image.keys):
                overlap = partial(_overlap, set(image.keys))
                chosen = [image, *(max(choices, key=overlap) for choices in options[1:])]
                score = sum(map(overlap, chosen))
                best, most = (chosen, score) if score > most else (best, most)
    if best is None:
        raise DataError("no part of the images' names is unique to each: write {group} and {case} into the patterns")
    return best


def _overlap(wanted: set[tuple[str, ...]], part: _Part) -> int:
    return len(wanted & set(part.keys)) if len(set(part.keys)) == len(part.keys) else -1


def _options(names: _Names, level: int, with_folder: bool) -> list[_Part]:
    folders = [place for place in names.varying if place < len(names.columns) - 1] if with_folder else [None]
    # The group is the outer of two: a patient's folder holds those of the scans.
    return [
        _part(names, place, folder, level)
        for folder in folders
        for place in names.varying
        if folder is None or place > folder
    ]


def _part(names: _Names, place: int, folder: int | None, level: int) -> _Part:
    """Cut off what all texts begin and end with: whole words (level 0), whole numbers (1), or every character (2)."""
    texts = names.columns[place]
    run = (r"[^\W_]+", r"\d+", r"(?!)")[level]
    before = re.sub(f"{run}$", "", common := _common_start(texts))
    after = re.sub(f"^{run}", "", _common_start([text[len(common) :][::-1] for text in texts])[::-1])
    values = tuple(text[len(before) : len(text) - len(after)] for text in texts)
    keys = zip(values, strict=True) if folder is None else zip(names.columns[folder], values, strict=True)
    return _Part(place, before, values, after, folder, tuple(keys))


def _require_pairs(names: Sequence[_Names], parts: Sequence[_Part]) -> None:
    images = dict(zip(parts[0].keys, names[0].paths, strict=True))
    alone = []
    for each, part in zip(names[1:], parts[1:], strict=True):
        companions = dict(zip(part.keys, each.paths, strict=True))
        kind = each.key.split()[0][:-1]
        alone += [f"no {kind} for image {path}" for key, path in images.items() if key not in companions]
        alone += [f"no image for {kind} {path}" for key, path in companions.items() if key not in images]
    if alone:
        more = f"\n  and {len(alone) - NAMED} more" if len(alone) > NAMED else ""
        raise DataError(
            f"{len(alone)} files do not pair:\n  " + "\n  ".join(alone[:NAMED]) + more + "\n  narrow the patterns, "
            "complete the files, or write {case} into every pattern around the text that pairs them"
        )


def _extended(parts: Sequence[_Part]) -> list[_Part]:
    """Give back to the ids what every set has before them (``Image_``) and, of the same word, behind them."""
    before = re.sub(r".*[^\w .-]|^[\W_]+", "", _common_start([part.before[::-1] for part in parts])[::-1])
    cut = any(part.before.removesuffix(before)[-1:].isalnum() for part in parts)
    if cut:  # img_ and seg_ share a piece of a word, which names nothing
        before = re.sub(r"^[^\W_]+[\W_]*", "", before)
    after = re.sub(r"[\W_].*", "", _common_start([part.after for part in parts]))
    return [
        replace(
            part,
            before=part.before.removesuffix(before),
            values=tuple(before + value + after for value in part.values),
            after=part.after.removeprefix(after),
        )
        for part in parts
    ]


def _written(names: Sequence[_Names], parts: Sequence[_Part], root: Path, volumes: bool) -> Pairs:
    patterns = {}
    for each, part in zip(names, parts, strict=True):
        texts = [_pattern(each, part, glob) for glob in ("", f":{_glob(part.values)}")]
        fitting = [
            text for text in texts if {m.path for m in Pattern(text, each.key).matches(root)} == set(each.paths)
        ]
        if not fitting:
            raise DataError(
                f"--{each.key.split()[0]}: {texts[0]} would match other files too: narrow the pattern, with {{case}} "
                "around the text that pairs the files"
            )
        patterns[each.key] = fitting[0]
    return Pairs(patterns, volumes, "{case}" if parts[0].folder is None else "{group}-{case}")


def _pattern(names: _Names, part: _Part, glob: str) -> str:
    segments = []
    for place, texts in enumerate(names.columns):
        pairs = list(zip(texts, part.values, strict=True))
        frames = {tuple(map(_plain, text.split(case, 1))) for text, case in pairs}
        frame = frames.pop() if len(frames) == 1 else ()
        if place == part.place:
            segment = f"{_plain(part.before)}{{case{glob}}}{_plain(part.after)}"
        elif len(set(texts)) == 1:
            segment = _plain(texts[0])
        elif len(frame) == 2:  # the case again, between fixed texts
            segment = "{case}".join(frame)
        else:  # the patient, which the case's name begins with, or any folder
            patient = all(case.startswith(text) for text, case in pairs)
            segment = "{group}" if patient or place == part.folder else "*"
        segments.append(segment)
    return names.head + "/".join(segments) + names.suffix


def _glob(ids: Sequence[str]) -> str:
    """Return wildcards that fit all ids and little else: ``patient???_frame??``."""
    shapes = [re.findall(r"\d+|\D+", text) for text in ids]
    if len(set(map(len, shapes))) > 1:
        return "*"
    marks = []
    for column in zip(*shapes, strict=True):
        varying = "?" * len(column[0]) if len(set(map(len, column))) == 1 else "*"
        marks.append(varying if len(set(column)) > 1 else _plain(column[0]))
    return "".join(marks)


def _common_start(texts: Sequence[str]) -> str:
    low, high = min(texts), max(texts)
    differing = (index for index, (a, b) in enumerate(zip(low, high, strict=False)) if a != b)
    return low[: next(differing, min(len(low), len(high)))]


def _plain(text: str) -> str:
    return re.sub(r"[\[\]{}*?\\]", "?", text)
