"""One case as pictures: its image, label and predictions on the plane that is shown, in a figure's colours.

2D cases are shown whole, cut to the field of view; of 3D cases the axial slice with the most labelled voxels, cut to
the brain, anterior up and the patient's left on the left.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ssdg.datasets.base import Case, Domain, Task

from ..data.images import read_image, read_label, read_mask
from ..data.preprocess import label_map_of
from ..errors import UsageError
from ..scoring.overlap import count
from ..spec import PreprocessConfig

MARGIN = 4
"""Voxels around the brain that are shown."""

COUNTED = ("tp", "fp", "fn", "tp_outside", "fp_outside", "fn_outside")

RGB = NDArray[np.uint8]
"""(H, W, 3)."""


@dataclass(frozen=True, slots=True)
class CaseView:
    """A labelled case on its native grid, and which part of it is shown.

    Attributes:
        image: (C, *S).
        label: (*S) class indices.
        foreground: (*S) bool, where the case ships one.
        spacing: mm per voxel.
        window: of the native grid; a volume's last entry is the slice.
    """

    image: NDArray[np.float32]
    label: NDArray[np.uint8]
    foreground: NDArray[np.bool_] | None
    spacing: tuple[float, ...]
    window: tuple[slice | int, ...]

    @property
    def aspect(self) -> float:
        """Height over width of what is shown, in mm."""
        height, width = self.plane(self.label).shape
        rows, columns = (0, 1) if self.label.ndim == 2 else (1, 0)  # a slice is turned upright
        return float(height * self.spacing[rows] / (width * self.spacing[columns]))

    def plane(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the shown part (H, W) of an array (*S)."""
        shown = values[self.window]
        return shown if self.label.ndim == 2 else np.rot90(shown)

    def picture(self) -> RGB:
        """Return the image: 2D as it is, 3D grey from the 1st to the 99.5th percentile of the slice."""
        planes = np.stack([self.plane(channel) for channel in self.image], axis=-1)
        if self.label.ndim == 3:
            low, high = np.percentile(planes, [1, 99.5])
            planes = (planes - low) / max(float(high - low), 1e-6)
        pixels = np.rint(255 * np.clip(planes, 0, 1)).astype(np.uint8)
        return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def view_case(case: Case, domain: Domain, task: Task, config: PreprocessConfig) -> CaseView:
    """Read a case and choose what is shown of it.

    Raises:
        DataError: a file that cannot be used.
    """
    assert case.label is not None, "only labelled cases are scored"
    image = read_image(case.image, task.ndim, task.channels)
    label = read_label(case.label, label_map_of(domain, config), image)
    foreground = read_mask(case.foreground, image) if case.foreground is not None else None
    window: tuple[slice | int, ...]
    if task.ndim == 2:
        window = _box(foreground, 0) if foreground is not None else (slice(None), slice(None))
    else:
        index = int((label > 0).sum(axis=(0, 1)).argmax())
        inside = label[..., index] > 0 if foreground is None else foreground[..., index] | (label[..., index] > 0)
        window = (*_box(inside, MARGIN), index)
    return CaseView(image.array, label, foreground, image.spacing, window)


def require_counts(
    view: CaseView, prediction: NDArray[np.uint8], rows: Iterable[Mapping[str, str]], classes: int, where: str
) -> None:
    """Raise UsageError where a prediction and the label on disk do not give the counts that were stored.

    Args:
        view: the case.
        prediction: (*S) class indices.
        rows: of ``cases.csv``, those of the case.
        classes: of the task.
        where: the prediction's file, for the message.
    """
    fits = prediction.shape == view.label.shape
    if fits:
        found = count(prediction, view.label, classes, view.foreground)
        fits = all(
            int(row[name]) == getattr(found, name)[int(row["class_index"])] for row in rows for name in COUNTED
        )
    if not fits:
        raise UsageError(
            f"{where} and the label under the data root do not give the counts stored beside it: "
            "give the --data-root that was scored, or score the run again"
        )


def errors(
    prediction: NDArray[Any], label: NDArray[Any], inside: NDArray[np.bool_] | None, colours: Mapping[str, str]
) -> RGB:
    """Return found, false and missed pixels of one class in the colours of "tp", "fp", "fn"; "tn" elsewhere.

    Args:
        prediction: (H, W), 0 or the class.
        label: (H, W), likewise.
        inside: (H, W), what is scored; None: everything. What is outside is blank.
        colours: "#RRGGBB" of each outcome.
    """
    palette = np.array([_rgb(colours[name]) for name in ("tn", "fp", "fn", "tp")], dtype=np.uint8)
    outcome = (prediction > 0) + 2 * (label > 0)
    return np.asarray(palette[outcome if inside is None else np.where(inside, outcome, 0)])


def painted(labels: NDArray[Any], colours: Mapping[int, str]) -> RGB:
    """Return classes (H, W) in their colours, everything else white."""
    palette = np.full((256, 3), 255, dtype=np.uint8)
    for index, colour in colours.items():
        palette[index] = _rgb(colour)
    return np.asarray(palette[labels])


def shrunk(picture: RGB, width: int) -> RGB:
    """Return a picture at most so many pixels wide, each the mean of those it stands for: thin lines stay."""
    tall, wide = picture.shape[:2]
    if wide <= width:
        return picture
    size = (width, max(1, round(tall * width / wide)))
    return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).resize(size, Image.Resampling.BOX))


def _box(mask: NDArray[np.bool_], margin: int) -> tuple[slice, ...]:
    """Return the bounding box of a mask (H, W) with a margin, within the grid."""
    sides = []
    for axis, length in enumerate(mask.shape):
        there = np.flatnonzero(mask.any(axis=1 - axis))
        first, last = (int(there[0]), int(there[-1])) if len(there) else (0, length - 1)
        sides.append(slice(max(first - margin, 0), min(last + margin + 1, length)))
    return tuple(sides)


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
