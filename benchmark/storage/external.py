"""Predictions that another program made, as they are kept below a results folder.

``external/<suite>/<row>/`` holds ``row.json`` and, of each seed, ``s<seed>/<task>/<source>/<target>/`` with the files
of an evaluation: ``evaluation.json``, ``cases.csv``, ``predictions/``, ``DONE``.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ..digests import digest
from ..errors import UsageError
from .files import read_object
from .run_folder import folder_name

R = TypeVar("R")

ROW_FILE = "row.json"


def rows_folder(results_root: Path, suite: str) -> Path:
    """Return the folder of a suite's external rows."""
    return results_root / "external" / folder_name(suite)


def row_folder(results_root: Path, suite: str, row: str) -> Path:
    """Return the folder of an external row; UsageError for an id that cannot name one."""
    if not re.fullmatch(r"\w[\w.+-]*", row):
        raise UsageError(f"row {row!r} takes letters, digits and . + - _, such as nnunet")
    return rows_folder(results_root, suite) / row


def scored_folder(row: Path, seed: int, task: str, source: str, target: str) -> Path:
    """Return the folder of what was scored of an external row on a target."""
    return row / f"s{seed}" / folder_name(task) / folder_name(source) / folder_name(target)


def external_id(suite: str, row: str, seed: int, task: str, source: str, target: str | None) -> str:
    """Return what stands for the ``train_id`` of a training that was not seen; ``target``: of a row per target."""
    return digest({"external": [suite, row, seed, task, source, target]})


def stored_rows(results_root: Path, suite: str) -> Iterator[tuple[Path, dict[str, str]]]:
    """Yield the folder and the ``row.json`` of each external row of a suite, by id.

    Raises:
        UsageError: a damaged ``row.json``.
    """
    names = ("id", "label", "access", "note")
    yield from described_rows(
        rows_folder(results_root, suite), lambda data: {n: str(data[n]) for n in names}, "score one target again"
    )


def described_rows(folder: Path, read: Callable[[Mapping[str, Any]], R], way_out: str) -> Iterator[tuple[Path, R]]:
    """Yield the folder of each row below a folder, and what is read of its ``row.json``, by id.

    Raises:
        UsageError: a damaged file, with the way out.
    """
    for path in sorted(folder.glob(f"*/{ROW_FILE}")):
        try:
            facts = read(read_object(path))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{path} is damaged ({type(error).__name__}: {error}): remove it and {way_out}"
            ) from None
        yield path.parent, facts
