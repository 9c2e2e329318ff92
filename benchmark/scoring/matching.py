"""Assignment of the label files in a folder to cases."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from unicodedata import normalize

from ssdg.datasets.base import Case, DataError, Domain
from ssdg.datasets.discovery import PICTURES, VOLUMES, is_junk, stem

from ..errors import listed

SUFFIXES = {2: PICTURES, 3: VOLUMES}

LISTED = 12
"""Names that a message lists."""


def match_predictions(domain: Domain, folder: Path, ndim: int) -> tuple[dict[str, Path], list[str]]:
    """Return the file of each case, and the names of files that belong to none.

    A file is a case's if its path below the folder, without its suffix, is the case's id, or the end of the path of
    its image or of one of its label files.

    Raises:
        DataError: no file for a case, several, or one that may be of several cases.
    """
    files = {
        path.relative_to(folder): path
        for path in sorted(folder.rglob("*"))
        if path.name.lower().endswith(SUFFIXES[ndim]) and path.is_file() and not is_junk(path)
    }
    owners = _owners(domain)
    matched: defaultdict[str, list[Path]] = defaultdict(list)
    extra = []
    for relative, path in files.items():
        cases = owners.get(_key(relative), ())
        if len(cases) > 1:
            raise DataError(
                f"{path} may be of {listed(cases, LISTED)} of {domain.name}: name the files by the ids of the "
                f"cases, as in {cases[0]}{path.name[len(stem(path)) :]}"
            )
        for case in cases:
            matched[case].append(path)
        extra += [] if cases else [str(relative)]
    for case, paths in matched.items():
        if len(paths) > 1:
            raise DataError(
                f"case {case} has several files in {folder}: {listed([path.name for path in paths], LISTED)}"
            )
    if missing := [case.id for case in domain.cases if case.id not in matched]:
        names = ", ".join(dict.fromkeys(f"{name}.*" for name in (missing[0], stem(_case(domain, missing[0]).image))))
        others = f"; {listed(extra, LISTED)} belong to no case" if extra else ""
        raise DataError(
            f"{folder} lacks {len(missing)} of the {len(domain.cases)} cases of {domain.name}: "
            f"{listed(missing, LISTED)}; a file of the first is called {names}{others}"
        )
    return {case: paths[0] for case, paths in matched.items()}, extra


def _owners(domain: Domain) -> Mapping[tuple[str, ...], list[str]]:
    """Return the cases by the names that a file of theirs may have; those of the id go before all others."""
    ids: dict[tuple[str, ...], list[str]] = {(normalize("NFC", case.id),): [case.id] for case in domain.cases}
    others: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for case in domain.cases:
        paths = (case.image, *([case.label] if case.label is not None else []), *case.label_layers)
        keys = {_key(path) for path in paths}
        for end in {key[start:] for key in keys for start in range(len(key))}:
            others[end].append(case.id)
    return {**others, **ids}


def _key(path: Path) -> tuple[str, ...]:
    parts = (*(part for part in path.parent.parts if part != path.anchor), stem(path))
    return tuple(normalize("NFC", part) for part in parts)


def _case(domain: Domain, name: str) -> Case:
    return next(case for case in domain.cases if case.id == name)
