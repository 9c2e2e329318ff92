"""Metric files: one version of a metric for an evaluation, in its ``metrics/<name>-v<version>.csv``.

A row is a case, class and region with its six ``counts`` of ``cases.csv``: if these have changed, its value is of
another prediction and not taken. ``nan`` is undefined; a missing row was not computed. Earlier results have one
``shapes.csv`` for all metrics, valid for a metric without a file of its own whose version its ``definitions`` name.
"""

import contextlib
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from ..errors import NotRescored, UsageError
from ..storage.files import write_text
from ..storage.run_folder import COUNTS, to_csv
from .case_file import CaseFile, RowKey
from .metrics import REGIONS, Metric, mask_metrics

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FOLDER, OLD_FILE = "metrics", "shapes.csv"

COLUMNS = ("case", "class_index", "class_name", "region", "value", "counts", "commit")


class Stored(NamedTuple):
    """A value and the commit of the code that computed it."""

    value: float
    commit: str


Entries: TypeAlias = dict[tuple[RowKey, str], Stored]
"""Values by row of ``cases.csv`` and region."""


def mask_values(folder: Path, cases: CaseFile, metric: Metric, region: str) -> "NDArray[np.float64]":
    """Return a metric of each row of ``cases.csv``, (rows,), NaN: undefined; NotRescored if one lacks."""
    import numpy as np

    entries = read_entries(folder, metric)
    try:
        return np.array([entries[row, region].value for row in cases.row_keys()])
    except KeyError:
        message = f"{folder} has no {metric.short}: `bench rescore SUITE` computes it from the predictions"
        raise NotRescored(message) from None


def stored_values(folder: Path, cases: CaseFile, region: str) -> dict[str, list[float | None]]:
    """Return the metrics from masks with any value in a region, by row of ``cases.csv``; None: not computed."""
    stored: dict[str, list[float | None]] = {}
    for name, metric in mask_metrics().items() if has_any(folder) else ():
        entries = read_entries(folder, metric)
        of_rows = [entries.get((row, region)) for row in cases.row_keys()]
        if any(of_rows):
            stored[name] = [None if entry is None else entry.value for entry in of_rows]
    return stored


def stored_commits(folder: Path, cases: CaseFile) -> set[str]:
    """Return the commits of the code that computed an evaluation's metrics from masks."""
    rows = set(cases.row_keys())
    files = [read_entries(folder, metric) for metric in (mask_metrics().values() if has_any(folder) else ())]
    return {entry.commit for entries in files for (row, _), entry in entries.items() if row in rows}


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
