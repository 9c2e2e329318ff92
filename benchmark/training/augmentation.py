"""Shared augmentations by name, applied to every method's source batch on its device.

``none``: nothing. ``geometric``: moderate flips, rotations and scalings. ``nnunet``: the default training
augmentation of nnU-Net v2. ``nnunet-da5``: its stronger one (``nnUNetTrainerDA5``). Label and foreground follow the
image; ``Batch.target`` is left untouched.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ssdg.methods.base import Batch
from ssdg.methods.transforms.affine import AffineRange, deform
from ssdg.methods.transforms.intensity import IntensityChanges
from ssdg.methods.transforms.strong_intensity import perturb_strongly

from ..errors import unknown


@dataclass(frozen=True, slots=True)
class Augmentation:
    """A shared augmentation: affine maps for a grid, and intensities; both drawn from the generator alone."""

    geometry: Callable[[Sequence[int]], AffineRange] | None = None
    intensity: Callable[[Tensor, Tensor, torch.Generator], Tensor] | None = None
    scaling: tuple[float, ...] | None = None  # range of the scalings instead of the geometry's own

    def affine(self, shape: Sequence[int]) -> AffineRange | None:
        """Return the distribution of affine maps for a grid or a window; None: nothing moves."""
        if self.geometry is None:
            return None
        affine = self.geometry(shape)
        return affine if self.scaling is None else replace(affine, scaling=(self.scaling[0], self.scaling[1]))

    def __call__(self, batch: Batch, rng: torch.Generator) -> Batch:
        """Return whole images moved, then changed in their intensities; the input is unchanged."""
        affine = self.affine(batch.image.shape[2:])
        if affine is not None:
            with exactly(batch.image.device):
                batch = deform(batch, affine, rng)
        return self.recoloured(batch, rng)

    def recoloured(self, batch: Batch, rng: torch.Generator) -> Batch:
        """Return the batch with changed intensities."""
        if self.intensity is None:
            return batch
        with exactly(batch.image.device):
            return replace(batch, image=self.intensity(batch.image, batch.foreground, rng))


@contextmanager
def exactly(device: torch.device) -> Iterator[None]:
    """Work in float32, without gradients."""
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        yield


def augmentation(name: str, scaling: tuple[float, ...] | None = None) -> Augmentation:
    """Return the shared augmentation of a name; UsageError for another name."""
    if name not in AUGMENTATIONS:
        raise unknown("augmentation", name, AUGMENTATIONS)
    return replace(AUGMENTATIONS[name], scaling=scaling)


def moderate_geometry(shape: Sequence[int]) -> AffineRange:
    """Return the affine maps of ``geometric`` for a grid.

    Flips with probability 1/2 each: both axes in 2D (left and right eyes; vessels have no up), left-right in 3D
    (brains are symmetric that way only). With probability 1/2 each, so that a quarter of the images are not
    interpolated: rotation up to 15° about each axis, nnU-Net's range for oblong images, and scaling of 0.9 to 1.1,
    TorchIO's default.
    """
    return AffineRange(
        flip_axes=(0, 1) if len(shape) == 2 else (0,),
        rotation_probability=0.5,
        rotation=15.0,
        scaling_probability=0.5,
        scaling=(0.9, 1.1),
    )


def nnunet_geometry(shape: Sequence[int]) -> AffineRange:
    """Return the affine maps of nnU-Net v2's defaults: no elastic deformation, mirroring along all axes.

    Source: code of ``nnUNetTrainer``: 180° in the plane (15° if a side exceeds 1.5 times the other), 30° about each
    axis of a volume.
    """
    # Departure: labels take the nearest voxel; nnU-Net interpolates one map a class linearly and takes the largest.
    # Departure: mirroring comes first, fused into the one resampling; nnU-Net mirrors last. The drawn images have the
    # same distribution, except for where the samples of the low-resolution change lie.
    oblong = max(shape) > 1.5 * min(shape)
    in_plane = 15.0 if oblong else 180.0
    return AffineRange(
        flip_axes=tuple(range(len(shape))),
        rotation_probability=0.2,
        rotation=in_plane if len(shape) == 2 else 30.0,
        scaling_probability=0.2,
        scaling=(0.7, 1.4),
    )


def nnunet_da5_geometry(shape: Sequence[int]) -> AffineRange:
    """Return the affine maps of nnU-Net's stronger augmentation, with turns and shuffles of axes of equal length.

    Source: code of ``nnUNetTrainerDA5``; what it does about volumes of unequal voxels is left out.
    """
    return replace(
        nnunet_geometry(shape),
        rotation_probability=0.4,
        rotation_axis_probability=0.5,
        scaling=(0.7, 1.43),
        independent_scaling=True,
        permutation=True,
    )


AUGMENTATIONS: dict[str, Augmentation] = {
    "none": Augmentation(),
    "geometric": Augmentation(moderate_geometry),
    "nnunet": Augmentation(nnunet_geometry, IntensityChanges()),
    "nnunet-da5": Augmentation(nnunet_da5_geometry, perturb_strongly),
}
