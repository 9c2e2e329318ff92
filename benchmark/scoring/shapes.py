"""Measures of shapes, which counts are not enough for: surface distances and the centre-line Dice.

A surface is the voxels of a class that share a face with a voxel that is not of the class; outside the image nothing
is. Distances are Euclidean, from voxel centre to voxel centre, in mm (3D) or pixels (2D), and exact: nearest
neighbours among the surface voxels, which takes a fraction of the time of distance maps over the volume.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from .metrics import NSD_TOLERANCE

Mask: TypeAlias = NDArray[np.bool_]

NAN = float("nan")

ROUNDING = 1e-4
"""Relative: voxel sizes come from headers in single precision, so that 1 mm may read 1.0000001."""


@dataclass(frozen=True)
class Pair:
    """One class of one case: where it is predicted and where it is, around both of them.

    Attributes:
        prediction: bool (*S).
        label: bool (*S).
        spacing: size of a voxel along each axis, in mm; 1 in 2D.
    """

    prediction: Mask
    label: Mask
    spacing: tuple[float, ...]

    @property
    def has_label(self) -> bool:
        """Whether the label has the class."""
        return bool(self.label.any())

    @property
    def has_both(self) -> bool:
        """Whether label and prediction have the class."""
        return self.has_label and bool(self.prediction.any())

    @cached_property
    def distances(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Of each voxel of the prediction's surface to the label's, and the reverse; both are there."""
        found, true = surface(self.prediction), surface(self.label)
        return nearest(found, true, self.spacing), nearest(true, found, self.spacing)


def measure_classes(
    prediction: NDArray[np.uint8],
    label: NDArray[np.uint8],
    classes: int,
    spacing: tuple[float, ...],
    names: Sequence[str],
) -> list[dict[str, float]]:
    """Return measures by name for each foreground class of a case; NaN where not defined.

    Args:
        prediction: class indices (*S).
        label: class indices (*S).
        classes: number of classes, background included.
        spacing: size of a voxel along each axis.
        names: of measures in :data:`MEASURED`.
    """
    boxes = [ndimage.find_objects(array, max_label=classes - 1) for array in (prediction, label)]
    results = []
    for index, both in enumerate(zip(*boxes, strict=True), start=1):
        box = _around([one for one in both if one is not None])
        pair = Pair(prediction[box] == index, label[box] == index, spacing)
        results.append({name: MEASURED[name](pair) for name in names})
    return results


def hd95(pair: Pair) -> float:
    """Return the larger of the two directed 95th percentiles (linear interpolation) of the surface distances.

    NaN where label or prediction lacks the class.
    """
    if not pair.has_both:
        return NAN
    return float(max(np.percentile(distances, 95) for distances in pair.distances))


def nsd(pair: Pair, tolerance: float = NSD_TOLERANCE) -> float:
    """Return the share (0..1) of both surfaces' voxels that are at most ``tolerance`` from the other surface.

    0 where only the prediction lacks the class, NaN where the label does.
    Source: Nikolov et al., Clinically applicable segmentation of head and neck anatomy for radiotherapy, 2021; there
    by area of surface elements, here by surface voxels.
    """
    if not pair.has_both:
        return 0.0 if pair.has_label else NAN
    limit = tolerance * (1 + ROUNDING)
    return float(np.mean(np.concatenate(pair.distances) <= limit))


def cldice(pair: Pair) -> float:
    """Return the centre-line Dice (0..1): the harmonic mean of how much of each skeleton lies inside the other mask.

    0 where only the prediction lacks the class, NaN where the label does.
    Source: Shit et al., clDice - a novel topology-preserving loss function for tubular structure segmentation, 2021.
    """
    if not pair.has_both:
        return 0.0 if pair.has_label else NAN
    right = pair.label[skeleton(pair.prediction)].mean()
    found = pair.prediction[skeleton(pair.label)].mean()
    return float(2 * right * found / (right + found)) if right + found else 0.0


MEASURED: dict[str, Callable[[Pair], float]] = {"cldice": cldice, "nsd": nsd, "hd95": hd95}
"""What computes each measure of shapes."""


def surface(mask: Mask) -> Mask:
    """Return the voxels of a mask with a face neighbour outside it; outside the array is outside the mask."""
    padded = np.pad(mask, 1)
    inside = mask.copy()
    for axis in range(mask.ndim):
        for start in (0, 2):
            window = [slice(1, -1)] * mask.ndim
            window[axis] = slice(start, start + mask.shape[axis])
            inside &= padded[tuple(window)]
    return mask & ~inside


def nearest(points: Mask, others: Mask, spacing: Sequence[float]) -> NDArray[np.float64]:
    """Return the distance of each voxel of one surface to the nearest of another that is not empty."""
    distances = np.zeros(np.count_nonzero(points))
    apart = ~others[points]
    if apart.any():
        # Lattice points split evenly as they come; balancing the tree costs more than it saves.
        tree = KDTree(np.argwhere(others) * np.asarray(spacing), balanced_tree=False, compact_nodes=False)
        distances[apart] = tree.query(np.argwhere(points)[apart] * np.asarray(spacing))[0]
    return distances


def skeleton(mask: Mask) -> Mask:
    """Return a mask's centre lines; a part that thinning leaves nothing of (2 x 2 x 2 voxels) stands for itself."""
    from skimage.morphology import skeletonize  # only for those who ask for clDice: its import takes a while

    # Padded: in 3D, skimage thins a part that touches the array's border otherwise than one that does not.
    padded = skeletonize(np.pad(mask, 1)).astype(bool, copy=False)
    thin: Mask = padded[(slice(1, -1),) * mask.ndim]
    parts, count = ndimage.label(mask, np.ones((3,) * mask.ndim))
    vanished = np.bincount(parts[thin], minlength=count + 1) == 0
    vanished[0] = False
    return np.asarray(thin | vanished[parts])


def _around(boxes: Iterable[tuple[slice, ...]]) -> tuple[Any, ...]:
    """Return the smallest box around boxes; an empty one around none."""
    boxes = list(boxes)
    if not boxes:
        return (slice(0, 0), ...)
    axes = zip(*boxes, strict=True)
    return tuple(slice(min(one.start for one in axis), max(one.stop for one in axis)) for axis in axes)
