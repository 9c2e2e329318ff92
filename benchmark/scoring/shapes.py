"""Metrics from masks: surface distances and the centre-line Dice.

For HD95 a surface is the voxels of a class that share a face with a voxel outside it, or with the outside of the
image. Distances are Euclidean between voxel centres, in mm (3D) or pixels (2D), and exact: nearest neighbours among
surface voxels are much faster than distance maps over the volume.
"""

import warnings
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from .metrics import NSD_TOLERANCE, Metric

Mask: TypeAlias = NDArray[np.bool_]

ROUNDING = 1e-4
"""Relative: voxel sizes come from headers in single precision, so that 1 mm may read 1.0000001."""


def compute_classes(
    prediction: NDArray[np.uint8],
    label: NDArray[np.uint8],
    regions: Iterable[Sequence[int]],
    spacing: tuple[float, ...],
    metrics: Sequence[Metric],
) -> list[dict[str, float]]:
    """Return metrics from masks by name for regions, unions of classes, of two label maps (*S); NaN is undefined.

    ValueError names a metric that fails.
    """
    boxes = [ndimage.find_objects(array) for array in (prediction, label)]
    results = []
    for region in regions:
        box = _around(
            [each[index - 1] for each in boxes for index in region if index <= len(each) and each[index - 1]]
        )
        masks = np.isin(prediction[box], region), np.isin(label[box], region)
        values = {}
        for metric in metrics:
            try:
                values[metric.name] = metric.of_masks(*masks, spacing)
            except Exception as error:  # a third party's code may fail in any way
                raise ValueError(f"metric {metric.name} fails: {type(error).__name__}: {error}") from error
        results.append(values)
    return results


def hd95(prediction: Mask, label: Mask, spacing: tuple[float, ...]) -> float:
    """Return the larger directed 95th percentile (linear interpolation) of surface distances, voxels unweighted."""
    return float(max(np.percentile(part, 95) for part in surface_distances(prediction, label, spacing)))


def nsd(prediction: Mask, label: Mask, spacing: tuple[float, ...], tolerance: float = NSD_TOLERANCE) -> float:
    """Return the share (0..1) of both surfaces at most ``tolerance`` from the other, elements weighted by area.

    Source: Nikolov et al., Clinically applicable segmentation of head and neck anatomy for radiotherapy, 2021; MONAI.
    """
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MONAI's of its own arguments
        from monai.metrics import compute_surface_dice

        # No margin around the box is needed: MONAI adds one for elements between voxels, also at the image's border.
        pair = [torch.from_numpy(mask)[None, None] for mask in (prediction, label)]
        limits, threads = [tolerance * (1 + ROUNDING)], torch.get_num_threads()
        torch.set_num_threads(1)  # so that sums do not depend on how many there are
        try:
            share = compute_surface_dice(*pair, limits, include_background=True, spacing=spacing, use_subvoxels=True)
        finally:
            torch.set_num_threads(threads)
    return float(share)


def cldice(prediction: Mask, label: Mask, _spacing: tuple[float, ...]) -> float:
    """Return the centre-line Dice (0..1): the harmonic mean of each skeleton's share inside the other mask.

    Source: Shit et al., clDice - a novel topology-preserving loss function for tubular structure segmentation, 2021.
    """
    precision = label[skeleton(prediction)].mean()
    sensitivity = prediction[skeleton(label)].mean()
    both = precision + sensitivity
    return float(2 * precision * sensitivity / both) if both else 0.0


def surface_distances(
    prediction: Mask, label: Mask, spacing: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the distance of each voxel of the prediction's surface to the label's, and the reverse."""
    predicted, true = surface(prediction), surface(label)
    return nearest(predicted, true, spacing), nearest(true, predicted, spacing)


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
    """Return a mask's centre lines; a part that thinning removes (2 x 2 x 2 voxels) stays whole."""
    from skimage.morphology import skeletonize  # only for those who ask for clDice: its import takes a while

    # Padded: in 3D, skimage thins a part that touches the array's border otherwise than one that does not.
    padded = skeletonize(np.pad(mask, 1)).astype(bool, copy=False)
    thin: Mask = padded[(slice(1, -1),) * mask.ndim]
    parts, count = ndimage.label(mask, np.ones((3,) * mask.ndim))
    vanished = np.bincount(parts[thin], minlength=count + 1) == 0
    vanished[0] = False
    return np.asarray(thin | vanished[parts])


def _around(boxes: Sequence[tuple[slice, ...]]) -> tuple[Any, ...]:
    if not boxes:
        return (slice(0, 0), ...)
    axes = zip(*boxes, strict=True)
    return tuple(slice(min(side.start for side in axis), max(side.stop for side in axis)) for axis in axes)
