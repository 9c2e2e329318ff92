"""What is measured of a segmentation, as plain data: names, units, which way is better, what is undefined when.

A measure is derived from the counts in ``cases.csv``, or is one of shapes, which need the segmentations themselves:
`bench rescore` computes it from the stored predictions into ``shapes.csv``. Nothing heavy is imported here.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Region: TypeAlias = Literal["foreground", "image"]

NSD_TOLERANCE = 1.0
"""Distance (mm in 3D, pixels in 2D) up to which a surface voxel counts as found.

Fixed rather than a multiple of the voxel, so that one number means the same on every target; 1 mm is about the larger
voxel side of fetal MRI after super-resolution, and one pixel is the width of a vessel's drawn border.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One number a case and class.

    Attributes:
        name: as ``--metric`` takes it.
        short: what a table calls it.
        label: in full, for captions.
        definition: for captions: what it is, and what a missed class and an undefined value are.
        unit: "%", or "length": mm in 3D, pixels in 2D.
        better: which values win.
        source: "counts" of ``cases.csv``, or "shapes", from the predictions by `bench rescore`.
        follows_empty: whether ``evaluation.empty`` decides for a class that a case's label lacks; else undefined.
        skips_misses: whether a class that only the prediction lacks is left out, and not 0: then misses are printed.
        tolerance: in mm or pixels, where the measure has one.
        version: of a measure of shapes; raised when other numbers come out.
    """

    name: str
    short: str
    label: str
    definition: str
    unit: Literal["%", "length"] = "%"
    better: Literal["higher", "lower"] = "higher"
    source: Literal["counts", "shapes"] = "counts"
    follows_empty: bool = True
    skips_misses: bool = False
    tolerance: float | None = None
    version: int = 1

    @property
    def scale(self) -> float:
        """What a stored value is multiplied with to be printed."""
        return 100.0 if self.unit == "%" else 1.0

    @property
    def token(self) -> str:
        """What ``shapes.csv`` says of how its values were computed."""
        tolerance = "" if self.tolerance is None else f"@{self.tolerance:g}"
        return f"{self.name}:{self.version}{tolerance}"

    def unit_in(self, ndim: int) -> str:
        """Return the unit of printed values in a task of so many dimensions."""
        return self.unit if self.unit == "%" else {2: "px", 3: "mm"}[ndim]


DSC = Measure(name="dsc", short="DSC", label="Dice similarity coefficient", definition="2 tp / (2 tp + fp + fn)")

MEASURES = {
    measure.name: measure
    for measure in (
        DSC,
        Measure(
            name="sensitivity",
            short="Sensitivity",
            label="sensitivity (recall)",
            definition="tp / (tp + fn), not defined for a class that the label lacks",
            follows_empty=False,
        ),
        Measure(
            name="precision",
            short="Precision",
            label="precision (positive predictive value)",
            definition="tp / (tp + fp), 0 for a class that only the prediction lacks",
        ),
        Measure(
            name="volume-similarity",
            short="VS",
            label="volume similarity",
            definition="1 - |fp - fn| / (2 tp + fp + fn), which compares sizes and not places",
        ),
        Measure(
            name="cldice",
            short="clDice",
            label="centre-line Dice",
            definition=(
                "harmonic mean of the share of the prediction's skeleton inside the label and of the label's inside "
                "the prediction, 0 for a class that only the prediction lacks"
            ),
            source="shapes",
            version=2,
        ),
        Measure(
            name="nsd",
            short="NSD",
            label="normalised surface distance",
            definition=(
                f"share of both surfaces' voxels within {NSD_TOLERANCE:g} mm (2D: {NSD_TOLERANCE:g} pixel) of the "
                "other surface, 0 for a class that only the prediction lacks"
            ),
            source="shapes",
            tolerance=NSD_TOLERANCE,
        ),
        Measure(
            name="hd95",
            short="HD95",
            label="Hausdorff distance, 95th percentile",
            definition=(
                "the larger of the two 95th percentiles of distances from each surface's voxels to the other "
                "surface, not defined for a class that label or prediction lacks, and then left out of the mean"
            ),
            unit="length",
            better="lower",
            source="shapes",
            follows_empty=False,
            skips_misses=True,
        ),
    )
}
"""Every measure by name; the first is the default."""
