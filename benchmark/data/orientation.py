"""Order and direction of a volume's axes: from the file's to the domain's, and back."""

from typing import Any, TypeAlias

import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation, ornt_transform
from numpy.typing import NDArray

from ssdg.datasets.base import Domain

Turn: TypeAlias = NDArray[np.float64]
"""(3, 2): for each axis on disk, the axis it becomes and 1, or -1 where it is flipped; nibabel's orientation."""

STORED: Turn = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])
"""The identity: no axis moves or is flipped."""

_NUDGE = np.eye(4)
_NUDGE[:3, :3] += 1e-4 * np.array([[0, -4, 2], [4, 0, -1], [-2, 1, 0]])


def turn_to_ras(affine: NDArray[np.float64]) -> Turn:
    """Return the turn of a file's axes to right, anterior, superior."""
    # An axis at 45 degrees is as close to one direction as to another, and the rounding of a header would decide:
    # a rotation by 0.03 degrees, larger than any rounding, always decides alike.
    return np.asarray(io_orientation(_NUDGE @ affine))


def turn_to_domain(affine: NDArray[np.float64], domain: Domain) -> Turn:
    """Return the turn of a file's axes by a domain's ``orientation`` and then its ``axes``."""
    turn = turn_to_ras(affine) if domain.orientation == "ras" else STORED
    if not domain.axes:
        return turn
    second = np.empty((3, 2))
    for new, (old, sign) in enumerate(domain.axes):
        second[old] = new, sign
    middle = turn[:, 0].astype(int)
    return np.column_stack([second[middle, 0], turn[:, 1] * second[middle, 1]])


def turn_between(affine: NDArray[np.float64], other: NDArray[np.float64]) -> Turn:
    """Return the turn of a grid's axes onto another grid's, by their affines."""
    return np.asarray(io_orientation(np.linalg.solve(other, affine)))


def turned_shape(shape: tuple[int, ...], turn: Turn) -> tuple[int, ...]:
    """Return the shape (X, Y, Z) of a volume whose axes are turned."""
    sides = {int(new): side for side, new in zip(shape, turn[:, 0], strict=True)}
    return sides[0], sides[1], sides[2]


def turned(array: NDArray[Any], affine: NDArray[np.float64], turn: Turn) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return a volume (C, X, Y, Z) with its axes turned, and the affine of the turned grid."""
    channels_last = apply_orientation(np.moveaxis(array, 0, -1), turn)
    return np.moveaxis(channels_last, -1, 0), affine @ inv_ornt_aff(turn, array.shape[1:])


def turned_back(array: NDArray[Any], turn: Turn) -> NDArray[Any]:
    """Return an array (X, Y, Z) in the order on disk again."""
    return np.asarray(apply_orientation(array, ornt_transform(STORED, turn)))
