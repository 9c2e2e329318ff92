"""Metric files: one version of a metric for an evaluation, in its ``metrics/<name>-v<version>.csv``.

A row is a case, class and region with its six ``counts`` of ``cases.csv``: if these have changed, its value is of
another prediction and not taken. ``nan`` is undefined; a missing row was not computed. Earlier results have one
``shapes.csv`` for all metrics, valid for a metric without a file of its own whose version its ``definitions`` name.
"""

import csv
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

from ..errors import UsageError
from ..storage.files import write_text
from ..storage.run_folder import COUNTS, to_csv
from .case_file import CaseFile, RowKey
from .metrics import REGIONS, Metric

FOLDER, OLD_FILE = "metrics", "shapes.csv"

COLUMNS = ("case", "class_index", "class_name", "region", "value", "counts", "commit")


@dataclass(frozen=True, slots=True)
class Stored:
    """A value and the commit of the code that computed it."""

    value: float
    commit: str


Entries: TypeAlias = Mapping[tuple[RowKey, str], Stored]
"""Values by row of ``cases.csv`` and region."""


class MaskValues(NamedTuple):
    """A metric from masks of one evaluation, as it is stored."""

    by_region: Mapping[str, list[float | None]]  # of each row of cases.csv: NaN is undefined, None not computed
    commits: frozenset[str]  # of the code that computed them


def stored_values(folder: Path, cases: CaseFile, metric: Metric) -> MaskValues:
    """Return a metric from masks of each row of ``cases.csv``, in both regions.

    Raises:
        UsageError: a file that cannot be opened.
    """
    entries, rows = read_entries(folder, metric), cases.row_keys()
    stored = {region: [entries.get((row, region)) for row in rows] for region in REGIONS}
    return MaskValues(
        {region: [None if e is None else e.value for e in of_rows] for region, of_rows in stored.items()},
        frozenset(entry.commit for of_rows in stored.values() for entry in of_rows if entry is not None),
    )


def has_any(folder: Path) -> bool:
    """Tell whether an evaluation was ever rescored."""
    return (folder / FOLDER).is_dir() or (folder / OLD_FILE).exists()


def read_entries(folder: Path, metric: Metric) -> dict[tuple[RowKey, str], Stored]:
    """Return the stored values of a metric's present version; damaged rows are left out.

    Raises:
        UsageError: a file that cannot be opened.
    """
    own = path_of(folder, metric)
    texts = _own_texts(own) if own.exists() else _old_texts(folder / OLD_FILE, metric)
    entries = {}
    for row, region, value, commit in texts:
        try:
            entries[row, region] = Stored(float(value), commit)
        except ValueError:
            continue
    return entries


def write_entries(folder: Path, metric: Metric, rows: Sequence[RowKey], entries: Entries) -> None:
    """Write the file of a metric atomically, in the order of the rows of ``cases.csv``."""
    lines = [
        dict(zip(COLUMNS, (*row[:3], region, entry.value, row[3], entry.commit), strict=True))
        for row, region in itertools.product(rows, REGIONS)
        if (entry := entries.get((row, region))) is not None
    ]
    write_text(path_of(folder, metric), to_csv(COLUMNS, lines))


def path_of(folder: Path, metric: Metric) -> Path:
    """Return the file of a metric's present version in an evaluation's folder."""
    return folder / FOLDER / f"{metric.name}-v{metric.version}.csv"


def _own_texts(path: Path) -> Iterator[tuple[RowKey, str, str, str]]:
    for row in _rows(path, COLUMNS):
        key = row["case"], row["class_index"], row["class_name"], row["counts"]
        yield key, row["region"], row["value"], row["commit"]


def _old_texts(path: Path, metric: Metric) -> Iterator[tuple[RowKey, str, str, str]]:
    for row in _rows(path, ("case", "class_index", "class_name", *COUNTS, "definitions", "commit")):
        if metric.token in row["definitions"].split():
            key = row["case"], row["class_index"], row["class_name"], " ".join(row[name] for name in COUNTS)
            for region in REGIONS:
                yield key, region, row.get(f"{metric.name}_{region}", ""), row["commit"]


def _rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Return the complete rows of a file with at least these columns; none of a damaged one."""
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            rows = list(reader) if set(columns) <= set(reader.fieldnames or ()) else []
    except (FileNotFoundError, UnicodeDecodeError, csv.Error):
        return []
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None
    return [row for row in rows if None not in row and None not in row.values()]
