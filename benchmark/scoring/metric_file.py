"""Metric files: one version of a metric for an evaluation, in its ``metrics/<name>-v<version>.csv``.

A row is a case, class and region with its six ``counts`` of ``cases.csv``: if these have changed, its value is of
another prediction and not taken. ``nan`` is undefined; a missing row was not computed. Earlier results have one
``shapes.csv`` for all metrics, valid for a metric without a file of its own whose version its ``definitions`` name.
"""

import contextlib
import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from ..errors import UsageError
from ..storage.csv_text import to_csv
from ..storage.files import write_text
from ..storage.run_folder import COUNTS
from .case_file import CaseFile, RowKey
from .metrics import REGIONS, Metric

FOLDER, OLD_FILE = "metrics", "shapes.csv"

COLUMNS = ("case", "class_index", "class_name", "region", "value", "counts", "commit")


class Stored(NamedTuple):
    """A value and the commit of the code that computed it."""

    value: float
    commit: str


Entries: TypeAlias = dict[tuple[RowKey, str], Stored]
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


def read_entries(folder: Path, metric: Metric) -> Entries:
    """Return a metric's values of its present version, damaged rows left out; UsageError if unreadable."""
    own = path_of(folder, metric)
    entries: Entries = {}
    for row in _rows(own, COLUMNS) if own.exists() else _old_rows(folder / OLD_FILE, metric):
        key = row["case"], row["class_index"], row["class_name"], row["counts"]
        with contextlib.suppress(ValueError):
            entries[key, row["region"]] = Stored(float(row["value"]), row["commit"])
    return entries


def write_entries(folder: Path, metric: Metric, rows: Sequence[RowKey], entries: Entries) -> None:
    """Write the file of a metric atomically, in the order of the rows of ``cases.csv``."""
    stored = [(row, region, *entries[row, region]) for row in rows for region in REGIONS if (row, region) in entries]
    texts = [(*row[:3], region, value, row[3], commit) for row, region, value, commit in stored]
    write_text(path_of(folder, metric), to_csv(COLUMNS, [dict(zip(COLUMNS, text, strict=True)) for text in texts]))


def path_of(folder: Path, metric: Metric) -> Path:
    """Return the file of a metric's present version in an evaluation's folder."""
    return folder / FOLDER / f"{metric.name}-v{metric.version}.csv"


def _old_rows(path: Path, metric: Metric) -> Iterator[dict[str, str]]:
    for row in _rows(path, ("case", "class_index", "class_name", *COUNTS, "definitions", "commit")):
        if metric.token in row["definitions"].split():
            counts = " ".join(row[name] for name in COUNTS)
            for region in REGIONS:
                yield row | {"counts": counts, "region": region, "value": row.get(f"{metric.name}_{region}", "")}


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
