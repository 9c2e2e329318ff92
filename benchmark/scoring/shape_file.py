"""``shapes.csv``: the measures of shapes of an evaluation, beside its ``cases.csv`` and row for row the same.

Each row is a row of ``cases.csv`` as it stands there, with a value for each measure and region after it (empty: not
computed; nan: not defined), how these were computed, and at which commit. So a value never outlives the counts that
it belongs to: where the row has changed, it is not found.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import NotRescored, UsageError
from ..storage.files import write_text
from ..storage.run_folder import CASE_COLUMNS
from .metrics import MEASURES, Measure

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NAME = "shapes.csv"

SHAPES = {measure.name: measure for measure in MEASURES.values() if measure.source == "shapes"}

REGIONS = ("foreground", "image")
"""Of 3D the image only, which is all that is scored there."""

ADDED_COLUMNS = (*(f"{name}_{region}" for name in SHAPES for region in REGIONS), "definitions", "commit")

SHAPE_COLUMNS = (*CASE_COLUMNS, *ADDED_COLUMNS)

_DEFINITIONS = ADDED_COLUMNS.index("definitions")


def read_shapes(folder: Path, lines: Sequence[str], measure: Measure, region: str) -> "NDArray[np.float64]":
    """Return a measure of each row of an evaluation's ``cases.csv``; NaN where it is not defined.

    Args:
        folder: of the evaluation.
        lines: the rows of its ``cases.csv``.
        measure: one of shapes.
        region: "foreground" or "image".

    Raises:
        NotRescored: a row has no value, or one of an older definition.
    """
    import numpy as np

    position = ADDED_COLUMNS.index(f"{measure.name}_{region}")
    rows = _read(folder)
    try:
        found = [rows[line] for line in lines]
        values = [float(row[position]) for row in found]
    except (KeyError, ValueError):
        values = []
    if not values or not all(measure.token in how.split() for how in {row[_DEFINITIONS] for row in found}):
        raise NotRescored(f"{folder} has no {measure.short}: `bench rescore SUITE` computes it from the predictions")
    return np.array(values)


def current_values(folder: Path, lines: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return by row of ``cases.csv`` what is there of it, by column; without what is old or no number."""
    rows = _read(folder)
    return {line: _usable(dict(zip(ADDED_COLUMNS, rows[line], strict=True))) for line in lines if line in rows}


def has_measure(row: Mapping[str, str], name: str) -> bool:
    """Tell whether a row has a measure by its current definition."""
    return SHAPES[name].token in row.get("definitions", "").split()


def add_values(
    row: Mapping[str, str], names: Sequence[str], values: Mapping[str, float], commit: str
) -> dict[str, str]:
    """Return a row with the values of some measures, by column, added to what is there."""
    definitions = {*row.get("definitions", "").split(), *(SHAPES[name].token for name in names)}
    written = {column: f"{value:.6g}" for column, value in values.items()}
    return {**row, **written, "definitions": " ".join(sorted(definitions)), "commit": commit}


def write_shapes(folder: Path, rows: Mapping[str, Mapping[str, str]]) -> None:
    """Write ``shapes.csv``, atomically.

    Args:
        folder: of the evaluation.
        rows: by row of its ``cases.csv`` the text of each added column; none holds a comma.
    """
    lines = [f"{line},{','.join(row.get(name, '') for name in ADDED_COLUMNS)}" for line, row in rows.items()]
    write_text(folder / NAME, "\n".join([",".join(SHAPE_COLUMNS), *lines]) + "\n")


def _usable(row: dict[str, str]) -> dict[str, str]:
    kept = [name for name in SHAPES if has_measure(row, name) and _is_number(row[f"{name}_image"])]
    old = [f"{name}_{region}" for name in SHAPES if name not in kept for region in REGIONS]
    return {**row, **dict.fromkeys(old, ""), "definitions": " ".join(sorted(SHAPES[name].token for name in kept))}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read(folder: Path) -> dict[str, list[str]]:
    """Return what follows each row of ``cases.csv``; nothing where there is no file, or one of another layout.

    Raises:
        UsageError: a file that cannot be opened.
    """
    try:
        header, *lines = (folder / NAME).read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (FileNotFoundError, UnicodeDecodeError):
        return {}
    except OSError as error:
        raise UsageError(f"{folder / NAME} cannot be read: {error.strerror or error}") from None
    if header != ",".join(SHAPE_COLUMNS):
        return {}
    parts = [line.rsplit(",", len(ADDED_COLUMNS)) for line in lines]
    return {row: added for row, *added in parts if len(added) == len(ADDED_COLUMNS)}
