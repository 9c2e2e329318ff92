"""The arrays of a prepared domain and their files: rows of one grid, or rows that have a grid each."""

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..digests import JSON, to_json
from .preprocess import PreparedCase

IMAGES, LABELS, FOREGROUNDS = "images.npy", "labels.npy", "foregrounds.npy"

Grid: TypeAlias = tuple[int, ...]
"""Voxels of a row along each axis."""


class Ragged:
    """Rows of different grids: read-only views of one flat array."""

    def __init__(self, flat: NDArray[Any], channels: tuple[int, ...], grids: Sequence[Grid]) -> None:
        """Divide (V,) values into rows of (*channels, *grid)."""
        self.shapes = tuple((*channels, *grid) for grid in grids)
        ends = np.cumsum([math.prod(shape) for shape in self.shapes])
        self._rows = tuple(zip((0, *ends.tolist()), ends.tolist(), strict=False))
        self._flat = flat

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self._flat.dtype

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, index: int) -> NDArray[Any]:
        start, stop = self._rows[index]
        return self._flat[start:stop].reshape(self.shapes[index])

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[row] for row in range(len(self)))


@dataclass(frozen=True, slots=True)
class Layout:
    """Layout of the files of a prepared domain; ragged rows follow each other in one flat array."""

    types: Mapping[str, np.dtype[Any]]  # by file name
    channels: int
    grid: Grid | None  # of every row; None: ragged
    count: int | None  # of rows; None: the number of slices of all cases

    @property
    def bytes(self) -> int | None:
        """Size of all files; None: it depends on the cases."""
        if self.grid is None or self.count is None:
            return None
        grids = (self.grid,) * self.count
        return sum(dtype.itemsize * math.prod(self._shape(name, grids)) for name, dtype in self.types.items())

    def map(self, folder: Path, grids: Sequence[Grid]) -> dict[str, Any]:
        """Map the arrays of rows of some grids into memory; OSError or ValueError: the files hold something else."""
        arrays: dict[str, Any] = {}
        for name, dtype in self.types.items():
            # Mapping checks the file's length against its header; asarray drops the memmap type, not the mapping.
            array = np.asarray(np.load(folder / name, mmap_mode="r"))
            if (array.dtype, array.shape) != (dtype, self._shape(name, grids)):
                raise ValueError(f"{folder / name} is of another layout")
            arrays[name] = array if self.grid is not None else Ragged(array, self._leading(name), grids)
        return arrays

    def write(self, folder: Path, cases: Iterable[tuple[str, PreparedCase]]) -> list[JSON]:
        """Append each (id, case) to the files and return the records of the cases."""
        # Plain writes, not a memory map: on a full disk a map kills the process, a write raises.
        records: list[JSON] = []
        grids: list[Grid] = []
        with ExitStack() as stack:
            streams = {name: stack.enter_context((folder / name).open("wb")) for name in self.types}
            self._write_headers(streams, grids)
            for identifier, case in cases:
                arrays = {IMAGES: case.image, FOREGROUNDS: case.foreground, LABELS: case.label}
                for name, stream in streams.items():
                    array = arrays[name]
                    assert array is not None
                    stream.write(np.ascontiguousarray(array).data)
                record: dict[str, JSON] = {"id": identifier, "geometry": to_json(case.geometry)}
                records.append(record if case.slices is None else {**record, "slices": case.slices})
                grids += [case.geometry.shape] * (1 if case.slices is None else case.slices)
            self._write_headers(streams, grids)
            for stream in streams.values():
                stream.flush()
                os.fsync(stream.fileno())
        return records

    def _write_headers(self, streams: Mapping[str, BinaryIO], grids: Sequence[Grid]) -> None:
        """Write the arrays' headers at the start of their files; NumPy leaves room for any number of rows."""
        for name, stream in streams.items():
            descr = np.lib.format.dtype_to_descr(self.types[name])
            header = {"descr": descr, "fortran_order": False, "shape": self._shape(name, grids)}
            stream.seek(0)
            np.lib.format.write_array_header_1_0(stream, header)

    def _leading(self, name: str) -> tuple[int, ...]:
        return (self.channels,) if name == IMAGES else ()

    def _shape(self, name: str, grids: Sequence[Grid]) -> tuple[int, ...]:
        leading = self._leading(name)
        if self.grid is not None:
            return (len(grids), *leading, *self.grid)
        return (sum(math.prod((*leading, *grid)) for grid in grids),)
