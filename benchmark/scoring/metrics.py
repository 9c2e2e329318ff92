"""Metrics as plain data: name, unit, direction, treatment of missing classes, and the code that computes it.

Installed packages add metrics through the entry-point group ``ssdg.metrics`` (``assd = "my_package.metrics:ASSD"``, a
:class:`Metric`). Nothing heavy is imported until a metric is computed.
"""

import pkgutil
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from ssdg.methods import require

from ..errors import UsageError, unknown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from .overlap import Empty

GROUP = "ssdg.metrics"

Region: TypeAlias = Literal["foreground", "image"]

REGIONS: tuple[Region, ...] = get_args(Region)
"""Inside the field of view, or everywhere; 3D has the image only."""

NSD_TOLERANCE = 1.0
"""Distance (mm in 3D, pixels in 2D) up to which surfaces agree.

Not a multiple of the voxel, so that one number means the same on every target: about the larger voxel side of fetal
MRI after super-resolution, and the width of a vessel's drawn border.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One number for each case and class.

    The code is a function or its place, "module:function". Masks are bool (*S), one class of one case, cropped to the
    box that holds both; neither is empty. Spacing is in mm; 1 in 2D. ValueError: an invalid name, no single source,
    or misses would win.
    """

    name: str  # as ``--metric`` takes it: small letters, digits and hyphens
    short: str  # heading in tables
    label: str  # name in full, for captions
    definition: str  # for captions: formula or convention, and the value of a class that is missed
    from_counts: "Callable[[Any, Any, Any], Any] | str | None" = None  # (tp, fp, fn), float64 of one shape -> values
    from_masks: "Callable[[Any, Any, tuple[float, ...]], float] | str | None" = None  # prediction, label, spacing
    unit: Literal["%", "length"] = "%"  # "%" of values in 0..1; "length": mm in 3D, pixels in 2D
    better: Literal["higher", "lower"] = "higher"
    follows_empty: bool = True  # ``evaluation.empty`` applies to a class that the label lacks; else undefined
    skips_misses: bool = False  # a class that only the prediction lacks is undefined, not 0; misses are then printed
    version: int = 1  # raised when results change; stored values belong to one version
    default_ndims: tuple[int, ...] = (2, 3)  # tasks in which `bench rescore` computes it by default

    def __post_init__(self) -> None:
        name = self.name
        valid = re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) is not None
        require(valid, f"{name!r} is no name of a metric: use small letters, digits and hyphens")
        single = (self.from_counts is None) != (self.from_masks is None)
        require(single, f"metric {name!r} needs from_counts or from_masks, and not both")
        misses_win = self.source == "masks" and self.better == "lower" and not self.skips_misses
        require(not misses_win, f"metric {name!r}: a missed class would score 0, the best; set skips_misses")

    @property
    def source(self) -> Literal["counts", "masks"]:
        """Source of the values: counts of ``cases.csv``, or masks by `bench rescore`."""
        return "masks" if self.from_counts is None else "counts"

    @property
    def sign(self) -> float:
        """1 where higher values are better, else -1."""
        return 1.0 if self.better == "higher" else -1.0

    @property
    def scale(self) -> float:
        """Factor from a stored to a printed value."""
        return 100.0 if self.unit == "%" else 1.0

    @property
    def token(self) -> str:
        """Name and version, as in provenance."""
        return f"{self.name}:{self.version}"

    def unit_in(self, ndim: int) -> str:
        """Return the unit of printed values in 2D or 3D."""
        return self.unit if self.unit == "%" else {2: "px", 3: "mm"}[ndim]

    def of_counts(
        self, tp: "ArrayLike", fp: "ArrayLike", fn: "ArrayLike", empty: "Empty" = "zero-fp"
    ) -> "NDArray[np.float64]":
        """Return values from counts under a rule for empty classes; arrays broadcast, NaN is undefined."""
        import numpy as np

        tp, fp, fn = np.broadcast_arrays(*(np.asarray(count, dtype=np.float64) for count in (tp, fp, fn)))
        return self.with_empty_rule(_resolved(self.from_counts)(tp, fp, fn), tp, fp, fn, empty)

    def of_masks(self, prediction: Any, label: Any, spacing: tuple[float, ...]) -> float:
        """Return the value of one class of one case from bool masks (*S); NaN is undefined."""
        if not label.any() or (self.skips_misses and not prediction.any()):
            return float("nan")
        return float(_resolved(self.from_masks)(prediction, label, spacing)) if prediction.any() else 0.0

    def with_empty_rule(
        self, values: Any, tp: "ArrayLike", fp: "ArrayLike", fn: "ArrayLike", empty: "Empty"
    ) -> "NDArray[np.float64]":
        """Apply a rule for classes that the label lacks, if the metric follows one."""
        from .overlap import apply_empty_rule

        return apply_empty_rule(values, tp, fp, fn, empty) if self.follows_empty else values


def _resolved(function: Callable[..., Any] | str | None) -> Callable[..., Any]:
    if isinstance(function, str):
        function = pkgutil.resolve_name(function)
    assert callable(function)
    return function


DSC = Metric(
    name="dsc",
    short="DSC",
    label="Dice similarity coefficient",
    definition="2 tp / (2 tp + fp + fn)",
    from_counts="ssdg.benchmark.scoring.overlap:dice",
)

METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        DSC,
        Metric(
            name="sensitivity",
            short="Sensitivity",
            label="sensitivity (recall)",
            definition="tp / (tp + fn), not defined for a class that the label lacks",
            from_counts="ssdg.benchmark.scoring.overlap:sensitivity",
            follows_empty=False,
        ),
        Metric(
            name="precision",
            short="Precision",
            label="precision (positive predictive value)",
            definition="tp / (tp + fp), 0 for a class that only the prediction lacks",
            from_counts="ssdg.benchmark.scoring.overlap:precision",
        ),
        Metric(
            name="volume-similarity",
            short="VS",
            label="volume similarity",
            definition="1 - |fp - fn| / (2 tp + fp + fn), which compares sizes and not places",
            from_counts="ssdg.benchmark.scoring.overlap:volume_similarity",
        ),
        Metric(
            name="cldice",
            short="clDice",
            label="centre-line Dice",
            definition=(
                "harmonic mean of the share of the prediction's skeleton inside the label and of the label's inside "
                "the prediction, 0 for a class that only the prediction lacks"
            ),
            from_masks="ssdg.benchmark.scoring.shapes:cldice",
            version=2,
            default_ndims=(2,),  # centre lines say little of tissues, and thinning volumes takes the longest
        ),
        Metric(
            name="nsd",
            short="NSD",
            label="normalised surface distance",
            definition=(
                f"share of both surfaces within {NSD_TOLERANCE:g} mm (2D: {NSD_TOLERANCE:g} pixel) of the other, "
                "surface elements weighted by area (2D: length) as in Nikolov et al. 2021, 0 for a class that only "
                "the prediction lacks"
            ),
            from_masks="ssdg.benchmark.scoring.shapes:nsd",
            version=2,  # 1 counted surface voxels
        ),
        Metric(
            name="hd95",
            short="HD95",
            label="Hausdorff distance, 95th percentile",
            definition=(
                "the larger of the two 95th percentiles of distances from each surface's voxels, unweighted, to the "
                "other surface, not defined for a class that label or prediction lacks, and then left out of the mean"
            ),
            from_masks="ssdg.benchmark.scoring.shapes:hd95",
            unit="length",
            better="lower",
            follows_empty=False,
            skips_misses=True,
        ),
    )
}
"""The built-in metrics by name; the first is the default."""


def metrics() -> dict[str, Metric]:
    """Return the built-in metrics and those of installed packages; UsageError for an invalid one."""
    return {**METRICS, **_installed()}


def find_metric(name: str) -> Metric:
    """Return a metric by name; raises UsageError without one, and as :func:`metrics`."""
    available = METRICS if name in METRICS else metrics()
    if name not in available:
        raise unknown("metric", name, available)
    return available[name]


def mask_metrics() -> dict[str, Metric]:
    """Return the metrics that `bench rescore` computes, by name; raises as :func:`metrics`."""
    return {name: metric for name, metric in metrics().items() if metric.source == "masks"}


@cache
def _installed() -> dict[str, Metric]:
    loaded: dict[str, Metric] = {}
    for point in entry_points(group=GROUP):
        if point.name in METRICS or point.name in loaded:
            owner = "built in" if point.name in METRICS else "another package's"
            raise _refused(point, f"that name is taken, by a metric that is {owner}")
        try:
            metric = point.load()
        except Exception as error:  # a third party's module may fail in any way
            raise _refused(point, f"it cannot be loaded ({type(error).__name__}: {error})") from error
        if not isinstance(metric, Metric):
            raise _refused(point, f"{point.value} is of type {type(metric).__name__}, not a Metric")
        if metric.name != point.name:
            raise _refused(point, f"{point.value} calls itself {metric.name!r}")
        loaded[point.name] = metric
    return loaded


def _refused(point: EntryPoint, why: str) -> UsageError:
    package = "an installed package" if point.dist is None else f"package {point.dist.name} {point.dist.version}"
    return UsageError(f"metric {point.name!r} of {package}: {why}; mend or uninstall that package")
