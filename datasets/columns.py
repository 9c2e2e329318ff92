"""A column of a CSV or TSV file that says something of every case: its stratum, or the patient it comes from."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .base import DataError
from .text_files import read_text


@dataclass(frozen=True, slots=True)
class Column:
    """Where the values are, and how they are called here."""

    file: str  # relative to the data set's folder
    id: str = "id"  # the column of case ids
    column: str = "stratum"
    map: Mapping[str, str] = field(default_factory=dict)  # value in the file, in any case -> value here; empty: as is
    prefix: str = ""  # what an id may lack in the file: "sub-"


def read_column(column: Column, folder: Path, where: str) -> dict[str, str]:
    """Return case id -> value.

    Raises:
        DataError: the file is missing, lacks a column, contradicts itself, or has a value that is not in the map.
    """
    path = folder / column.file
    lines = read_text(path, f"{where}: the table").splitlines()
    delimiter = "\t" if lines and "\t" in lines[0] else ","
    reader = csv.DictReader(lines, delimiter=delimiter, skipinitialspace=True)
    header = [name.strip() for name in reader.fieldnames or ()]
    if column.id not in header or column.column not in header:
        raise DataError(
            f"{where}: {path} needs the columns {column.id} and {column.column}, separated by commas or tabs; "
            f"it has {', '.join(header) or 'none'}"
        )
    words = {key.lower(): value for key, value in column.map.items()}
    values: dict[str, str] = {}
    for row in reader:
        texts = {(name or "").strip(): text.strip() for name, text in row.items() if isinstance(text, str)}
        case, value = texts.get(column.id, ""), texts.get(column.column, "")
        if not any(texts.values()):
            continue
        if words and value.lower() not in words:
            known = ", ".join(column.map)
            raise DataError(f"{path}: {case!r} has {column.column} {value!r}; expected one of {known}")
        if not case or not value:
            raise DataError(f"{path}, line {reader.line_num}: {column.id} {case!r} has {column.column} {value!r}")
        case = column.prefix + case.removeprefix(column.prefix)
        value = words.get(value.lower(), value)
        if values.setdefault(case, value) != value:
            raise DataError(f"{path}: two rows contradict each other on {case!r}: {values[case]!r} and {value!r}")
    return values
