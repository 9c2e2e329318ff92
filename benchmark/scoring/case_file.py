"""Reading ``cases.csv`` column by column: a table over thousands of runs reads millions of its numbers."""

import csv
import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import UsageError
from ..storage.results_reader import StoredEvaluation
from ..storage.run_folder import CASE_COLUMNS, COUNTS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RowKey: TypeAlias = tuple[str, str, str, str]
"""Key of a row in metric files: case, index and name of the class, and the six counts separated by spaces."""


@dataclass(frozen=True, slots=True)
class CaseLayout:
    """Cases and classes of the rows of a ``cases.csv``."""

    cases: tuple[str, ...]
    strata: tuple[str, ...]  # of each case
    classes: tuple[str, ...]
    order: "NDArray[np.int64]"  # the row of each case and class, case by case

    def arranged(self, values: "NDArray[Any]") -> "NDArray[Any]":
        """Return values (..., rows) as (..., cases, classes)."""
        return values[..., self.order].reshape(*values.shape[:-1], len(self.cases), len(self.classes))


@dataclass(frozen=True, slots=True)
class CaseFile:
    """Content of a ``cases.csv``."""

    layout: CaseLayout
    counts: "NDArray[np.int64]"  # (6, rows): tp, fp, fn inside the foreground, then outside of it
    lines: Sequence[str]  # the rows as they are written

    def in_region(self, region: str) -> "NDArray[np.int64]":
        """Return tp, fp and fn (3, rows) inside the "foreground", or in the whole "image"."""
        return counts_in_region(self.counts, region)

    def row_keys(self) -> list[RowKey]:
        """Return the key of each row."""
        rows = csv.reader(self.lines)
        return [(case, index, name, " ".join(counts)) for case, _, index, name, *counts in rows]


def counts_in_region(counts: "NDArray[np.int64]", region: str) -> "NDArray[np.int64]":
    """Return tp, fp and fn (3, …) inside the "foreground", or in the whole "image", of the six counts (6, …)."""
    return counts[:3] if region == "foreground" else counts[:3] + counts[3:]


def read_cases(evaluation: StoredEvaluation) -> CaseFile:
    """Return the rows of an evaluation with their counts; UsageError if ``cases.csv`` is damaged."""
    path = f"{evaluation.path}/cases.csv"
    try:
        with open(path, "rb", buffering=0) as stream:  # noqa: PTH123 - pathlib takes twice as long for small files
            file = parse_cases(stream.readall().decode().replace("\r\n", "\n"))
        expected = evaluation.data.get("counts", {}).get("scored", len(file.layout.cases))
        if len(file.layout.cases) != expected:
            raise ValueError(f"it should have {expected} cases, not {len(file.layout.cases)}")
    except (OSError, ValueError, OverflowError, csv.Error) as error:
        problem = (isinstance(error, OSError) and error.strerror) or error
        raise UsageError(
            f"{path} is damaged ({problem}); remove that evaluation's folder and score the run again"
        ) from None
    return file


def parse_cases(text: str) -> CaseFile:
    """Return the content of a ``cases.csv``; ValueError if it is damaged."""
    import numpy as np

    header, *lines = text.removesuffix("\n").split("\n")
    if header != ",".join(CASE_COLUMNS) or not lines:
        raise ValueError("its header is not the expected one" if lines else "it has no rows")
    # Names may be quoted and hold commas, counts never: from the right, every comma separates.
    rows = [line.rsplit(",", len(COUNTS)) for line in lines]
    if {len(row) for row in rows} != {1 + len(COUNTS)}:
        raise ValueError("a row is cut short")
    described, *columns = zip(*rows, strict=True)
    try:
        counts = np.array([list(map(int, column)) for column in columns], dtype=np.int64)
    except ValueError:
        wrong = ((row, text) for row, *texts in rows for text in texts if not text.removeprefix("-").isdecimal())
        row, text = next(wrong)
        raise ValueError(f"{row}: {text!r} is not a count") from None
    if counts.min() < 0:
        raise ValueError("a count is negative")
    return CaseFile(_layout(described), counts, lines)


@functools.lru_cache(maxsize=64)
def _layout(described: tuple[str, ...]) -> CaseLayout:
    import numpy as np

    rows = list(csv.reader(described, strict=True))
    if {len(row) for row in rows} != {len(CASE_COLUMNS) - len(COUNTS)}:
        raise ValueError("a row is cut short")
    strata = {case: stratum for case, stratum, _, _ in rows}
    by_index = sorted({(int(index), name) for _, _, index, name in rows})
    cases = {case: position for position, case in enumerate(strata)}
    classes = {name: position for position, (_, name) in enumerate(by_index)}
    if len(by_index) != len(classes):
        raise ValueError("a class has two indices")
    place = [cases[case] * len(classes) + classes[name] for case, _, _, name in rows]
    if sorted(place) != list(range(len(cases) * len(classes))):
        counts = Counter((case, name) for case, _, _, name in rows)
        wrong = next((f"{case}, {name}" for case in cases for name in classes if counts[case, name] != 1), "")
        raise ValueError(f"it should have one row for each class of each case; it has not for {wrong}")
    return CaseLayout(tuple(cases), tuple(strata.values()), tuple(classes), np.argsort(place))
