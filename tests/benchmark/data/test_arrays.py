"""Rows of different grids in one flat array."""

import numpy as np
import pytest

from ssdg.benchmark.data.arrays import Ragged

GRIDS = [(2, 3), (4, 1), (2, 3)]


@pytest.fixture
def rows():
    return Ragged(np.arange(32, dtype=np.uint8), (2,), GRIDS)


def test_rows_follow_each_other(rows):
    assert (len(rows), rows.dtype) == (3, np.uint8)
    assert [row.shape for row in rows] == [(2, 2, 3), (2, 4, 1), (2, 2, 3)]
    assert np.array_equal(np.concatenate([row.ravel() for row in rows]), np.arange(32))
    assert np.array_equal(rows[-1], rows[2])
    with pytest.raises(IndexError):
        rows[3]


def test_grids_are_those_of_rows_without_channels():
    assert Ragged(np.zeros(16, bool), (), GRIDS).shapes == tuple(GRIDS)
