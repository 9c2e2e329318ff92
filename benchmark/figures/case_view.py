"""One case as pictures, in figures and reports alike: image, label, prediction and errors on the plane shown.

2D cases are shown whole, cut to the field of view; of 3D cases the axial slice with the most labelled voxels, cut to
the brain, anterior up and the patient's left on the left.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ssdg.datasets.base import Case, Domain, Task

from ..data.images import read_image, read_prediction
from ..data.labels import read_label, read_mask
from ..errors import UsageError
from ..scoring.case_file import CaseFile
from ..scoring.overlap import count
from ..spec import PreprocessConfig
from .style import AREAS, BLACK, PURPLE, SKY, VERMILLION

MARGIN = 4  # shown voxels around the brain

OTHER_CLASS = "another class"

ERRORS = {"true positive": BLACK, "false positive": VERMILLION, "false negative": SKY, OTHER_CLASS: PURPLE}

RGB = NDArray[np.uint8]  # (H, W, 3)


@dataclass(frozen=True, slots=True)
class CaseView:
    """A labelled case on its native grid, and its shown part."""

    image: NDArray[np.float32]  # (C, *S)
    label: NDArray[np.uint8]  # (*S) class indices
    foreground: NDArray[np.bool_] | None  # (*S), where the case ships one
    spacing: tuple[float, ...]  # mm per voxel
    window: tuple[slice | int, ...]  # of the native grid; a volume's last entry is the slice
    regions: tuple[tuple[int, ...], ...]  # classes of each region that is scored
    classes: int  # of the task, background included

    @property
    def aspect(self) -> float:
        """Height over width of the shown part, in mm."""
        height, width = self.plane(self.label).shape
        rows, columns = (0, 1) if self.label.ndim == 2 else (1, 0)  # a slice is turned upright
        return float(height * self.spacing[rows] / (width * self.spacing[columns]))

    def plane(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the shown part (H, W) of an array (*S)."""
        shown = values[self.window]
        return shown if self.label.ndim == 2 else np.rot90(shown)

    def inside(self, region: str) -> NDArray[np.bool_] | None:
        """Return the pixels (H, W) scored in a region, "image" or "foreground"; None: all, as in every volume."""
        whole = self.label.ndim == 3 or region == "image" or self.foreground is None
        return None if whole else self.plane(np.asarray(self.foreground))

    def picture(self) -> RGB:
        """Return the image: 2D as it is, 3D grey from the 1st to the 99.5th percentile of the slice."""
        planes = np.stack([self.plane(channel) for channel in self.image], axis=-1)
        if self.label.ndim == 3:
            low, high = np.percentile(planes, [1, 99.5])
            planes = (planes - low) / max(float(high - low), 1e-6)
        pixels = np.rint(255 * np.clip(planes, 0, 1)).astype(np.uint8)
        return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def view_case(case: Case, domain: Domain, task: Task, config: PreprocessConfig) -> CaseView:
    """Read a case and choose its shown part.

    Raises:
        DataError: a file that cannot be used.
    """
    image = read_image(case, domain, task)
    label = read_label(case, domain, image, config)
    foreground = read_mask(case, domain, image)
    window: tuple[slice | int, ...]
    if label.ndim == 2:
        window = (slice(None), slice(None)) if foreground is None else _box(foreground, 0)
    else:
        index = int((label > 0).sum(axis=(0, 1)).argmax())
        inside = (label > 0) if foreground is None else foreground | (label > 0)
        window = (*_box(inside[..., index], MARGIN), index)
    regions = tuple(task.scored.values())
    return CaseView(image.array, label, foreground, image.spacing, window, regions, len(task.classes))


def stored_prediction(path: Path, case: str, domain: Domain, view: CaseView, scored: CaseFile) -> NDArray[np.uint8]:
    """Return a prediction (*S) from its file.

    Raises:
        DataError: a file that cannot be read.
        UsageError: prediction and label do not give the counts that were stored.
    """
    prediction = np.asarray(read_prediction(path, domain).array[0])
    counts = scored.layout.arranged(scored.counts)[:, scored.layout.cases.index(case)]
    require_counts(view, prediction, counts, str(path))
    return prediction


def require_counts(view: CaseView, prediction: NDArray[np.uint8], stored: NDArray[np.int64], where: str) -> None:
    """Raise UsageError where a prediction (*S) and the label on disk do not give the counts that were stored.

    ``stored`` is (6, regions), in the order of ``cases.csv``; ``where`` names the prediction's file.
    """
    fits = prediction.shape == view.label.shape and max(prediction.max(), view.label.max()) < view.classes
    if fits:
        fits = np.array_equal(count(prediction, view.label, view.classes, view.foreground, view.regions), stored)
    if not fits:
        raise UsageError(
            f"{where} and the label under the data root do not give the counts stored beside it: "
            "give the --data-root that was scored, or score the run again"
        )


def class_colours(task: Task) -> dict[str, str]:
    """Return the colour of each foreground class; a single class is black, more than seven repeat."""
    names = task.classes[1:]
    return {names[0]: BLACK} if len(names) == 1 else dict(zip(names, cycle(AREAS), strict=False))


def error_colours(task: Task) -> dict[str, str]:
    """Return the colour of each outcome that a task's pixels can have."""
    return {name: colour for name, colour in ERRORS.items() if len(task.classes) > 2 or name != OTHER_CLASS}


def pixel_errors(
    label: NDArray[Any], prediction: NDArray[Any], inside: NDArray[np.bool_] | None
) -> NDArray[np.uint8]:
    """Return each pixel's place in ``ERRORS``, from 1; 0 is agreed background, or not scored.

    Label and prediction (H, W) are class indices; ``inside`` (H, W) are the scored pixels, None: all.
    """
    wrong = np.where(label == 0, 2, np.where(prediction == 0, 3, 4))
    places = np.where(label == prediction, label > 0, wrong)
    return (places if inside is None else places * inside).astype(np.uint8)


def painted(places: NDArray[np.uint8], colours: Mapping[str, str]) -> RGB:
    """Return classes or outcomes (H, W) in their colours, counted from 1; 0 is white."""
    palette = [tuple(bytes.fromhex(colour[1:])) for colour in ("#FFFFFF", *colours.values())]
    return np.array(palette, dtype=np.uint8)[places]


def shrunk(picture: RGB, width: int) -> RGB:
    """Return a picture no wider than a number of pixels, each the mean of those it stands for: thin lines stay."""
    tall, wide = picture.shape[:2]
    if wide <= width:
        return picture
    size = (width, max(1, round(tall * width / wide)))
    return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).resize(size, Image.Resampling.BOX))


def _box(mask: NDArray[np.bool_], margin: int) -> tuple[slice, ...]:
    sides = []
    for axis, length in enumerate(mask.shape):
        inside = np.flatnonzero(mask.any(axis=1 - axis))
        first, last = (int(inside[0]), int(inside[-1])) if len(inside) else (0, length - 1)
        sides.append(slice(max(first - margin, 0), min(last + margin + 1, length)))
    return tuple(sides)
