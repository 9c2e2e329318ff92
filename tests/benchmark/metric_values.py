"""Metric files made by hand, and packages that add a metric."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from ssdg.benchmark.scoring import metrics as registry
from ssdg.benchmark.scoring.case_file import read_cases
from ssdg.benchmark.scoring.metric_file import Stored, write_entries
from ssdg.benchmark.scoring.metrics import REGIONS, Metric
from ssdg.benchmark.storage.results_reader import StoredEvaluation


def write_values(
    evaluation: StoredEvaluation,
    metric: Metric,
    values: Sequence[float | tuple[float, ...]],
    commit: str = "def5678",
    regions: Sequence[str] = REGIONS,
) -> None:
    """Write a metric for the first rows of an evaluation's ``cases.csv``: one value a row, or one for each region."""
    rows = read_cases(evaluation).row_keys()
    entries = {}
    for row, value in zip(rows, values, strict=False):
        each = value if isinstance(value, tuple) else (value,) * len(regions)
        entries |= {(row, region): Stored(one, commit) for region, one in zip(regions, each, strict=True)}
    write_entries(evaluation.path, metric, rows, entries)


EXAMPLE = """\
import numpy as np
from ssdg.benchmark.scoring.metrics import Metric
from ssdg.benchmark.scoring.shapes import surface_distances


def assd(prediction, label, spacing):
    return np.concatenate(surface_distances(prediction, label, spacing)).mean()


ASSD = Metric(
    name="assd",
    short="ASSD",
    label="average symmetric surface distance",
    unit="length",
    better="lower",
    definition="mean distance of both surfaces' voxels to the other",
    from_masks=assd,
    follows_empty=False,
    skips_misses=True,
)
"""
"""The module of docs/metrics.md; its entry point is ``assd = "acme_metrics:ASSD"``."""


@contextmanager
def installing(site: Path, patch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str, Mapping[str, str]], None]]:
    """Yield a function that installs a package of one module with entry points, until the block ends."""
    names = []

    def install(name: str, module: str, entries: Mapping[str, str]) -> None:
        info = site / name / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (site / name / f"{name}.py").write_text(module)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        points = "".join(f"{metric} = {name}:{value}\n" for metric, value in entries.items())
        (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{points}")
        patch.syspath_prepend(site / name)
        names.append(name)
        registry._installed.cache_clear()

    yield install
    registry._installed.cache_clear()
    for name in names:
        sys.modules.pop(name, None)
