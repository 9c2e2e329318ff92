"""Columns of CSV and TSV files: the stratum or the patient of every case, or which cases a domain consists of."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .base import DataError
from .discovery import composed, spelled
from .text_files import read_text


@dataclass(frozen=True, slots=True)
class FileColumn:
    """Where the values are, and how they are called here."""

    file: str  # relative to the data set's folder
    id: str = "id"  # the column of case ids
    column: str = "stratum"
    map: Mapping[str, str] = field(default_factory=dict)  # value in the file, in any case -> value here; empty: as is
    prefix: str = ""  # what an id may lack in the file: "sub-"


def read_column(column: FileColumn, folder: Path, where: str) -> dict[str, str]:
    """Return case id -> value.

    Raises:
        DataError: the file is missing, lacks a column, contradicts itself, or has a value that is not in the map.
    """
    path = spelled(folder, column.file)
    words = {key.lower(): value for key, value in column.map.items()}
    values: dict[str, str] = {}
    for line, texts in _rows(path, (column.id, column.column), where):
        case, value = texts.get(column.id, ""), texts.get(column.column, "")  # a short row lacks some
        if words and value.lower() not in words:
            known = ", ".join(column.map)
            raise DataError(f"{path}: {case!r} has {column.column} {value!r}; expected one of {known}")
        if not case or not value:
            raise DataError(f"{path}, line {line}: {column.id} {case!r} has {column.column} {value!r}")
        case = column.prefix + case.removeprefix(column.prefix)
        value = words.get(value.lower(), value)
        if values.setdefault(case, value) != value:
            raise DataError(f"{path}: two rows contradict each other on {case!r}: {values[case]!r} and {value!r}")
    return values


def read_listed(column: FileColumn, folder: Path, where: str) -> frozenset[str]:
    """Return the texts of one column, ``column.id``; see :func:`read_column`.

    Raises:
        DataError: the file is missing, lacks the column or lists nothing.
    """
    path = spelled(folder, column.file)
    texts = frozenset(row.get(column.id, "") for _, row in _rows(path, (column.id,), where)) - {""}
    if not texts:
        raise DataError(f"{where}: {path} lists nothing in its column {column.id}")
    return texts


def _rows(path: Path, columns: tuple[str, ...], where: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the number and the texts of every row that is not blank."""
    lines = read_text(path, f"{where}: the table").splitlines()
    delimiter = "\t" if lines and "\t" in lines[0] else ","
    reader = csv.DictReader(lines, delimiter=delimiter, skipinitialspace=True)
    header = [name.strip() for name in reader.fieldnames or ()]
    if not set(columns) <= set(header):
        raise DataError(
            f"{where}: {path} needs the columns {' and '.join(columns)}, separated by commas or tabs; "
            f"it has {', '.join(header) or 'none'}"
        )
    for name in columns:
        if header.count(name) > 1:
            raise DataError(f"{where}: {path} has {header.count(name)} columns {name}: rename all but the right one")
    for row in reader:
        texts = {(name or "").strip(): composed(text.strip()) for name, text in row.items() if isinstance(text, str)}
        if any(texts.values()):
            yield reader.line_num, texts
