"""Numbers that papers printed, as reference data beside ours."""

import csv
import functools
import io
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources

from ..errors import unknown


@dataclass(frozen=True, slots=True)
class PublishedScore:
    """A printed mean ± spread, in percent."""

    mean: float
    sd: float | None  # None: the source prints no ±
    source: str = ""  # short citation; "": the one paper whose table it is


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """Printed numbers: a row's id, a target and a group of its cases → the score of each source, in order."""

    name: str
    rows: frozenset[str]  # also those without any number
    scores: Mapping[tuple[str, str, str], tuple[PublishedScore, ...]]
    citations: Mapping[str, str]  # of each source; empty where the scores have none
    notes: Mapping[str, str]  # a sentence on the numbers of a target, by its id

    def has_any_of(self, targets: Iterable[str]) -> bool:
        """Return whether it has a number on one of the targets."""
        return not {target for _, target, _ in self.scores}.isdisjoint(targets)


@functools.cache
def load_published(name: str) -> PublishedTable:
    """Return a table of published numbers by name.

    The CSV has the columns ``method`` (or ``variant``), ``target``, ``group``, ``dsc_mean``, ``dsc_std`` and perhaps
    ``source``; a cell the paper left empty has empty numbers. Each source of a cell has its own line; ours is
    compared with the first. ``sources.toml`` has the citations of sources, and the notes.

    Raises:
        UsageError: no such table.
    """
    folder = resources.files(__package__) / "published"
    names = [item.name.removesuffix(".csv") for item in folder.iterdir() if item.name.endswith(".csv")]
    if name not in names:
        raise unknown("published table", name, names)
    rows = list(csv.DictReader(io.StringIO((folder / f"{name}.csv").read_text(encoding="utf-8"))))
    key = "variant" if rows and "variant" in rows[0] else "method"
    scores: dict[tuple[str, str, str], tuple[PublishedScore, ...]] = {}
    for row in (row for row in rows if row["dsc_mean"]):
        cell, sd = (row[key], row["target"], row["group"]), float(row["dsc_std"]) if row["dsc_std"] else None
        score = PublishedScore(float(row["dsc_mean"]), sd, row.get("source", ""))
        scores[cell] = (*scores.get(cell, ()), score)
    cited = tomllib.loads((folder / "sources.toml").read_text(encoding="utf-8"))
    sources = dict.fromkeys(score.source for of_cell in scores.values() for score in of_cell if score.source)
    citations = {source: cited[source] for source in sources}
    return PublishedTable(name, frozenset(row[key] for row in rows), scores, citations, cited["notes"].get(name, {}))
