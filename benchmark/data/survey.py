"""Every case of a domain prepared and thrown away: what cannot be used, and what the network would see."""

import math
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ssdg.datasets.base import Case, DataError, Domain, Task

from ..spec import PreprocessConfig
from .each_case import OnCase, each_case, no_report
from .grids import scale_note
from .labels import require_plausible_labels
from .preprocess import PreparedCase, full_scale, prepare_case
from .stored import stored_type

TIMES = "\N{MULTIPLICATION SIGN}"

ENDS = (1, 99)
"""Percentiles of a foreground's intensities that a summary gives."""


WHOLE = ""
"""Key of the failure of a domain as a whole; no case has this id."""


@dataclass(frozen=True, slots=True)
class CaseFacts:
    """Numbers of one prepared case."""

    id: str
    size: tuple[int, ...]  # native voxels
    grid: tuple[int, ...]  # voxels of the network's grid
    spacing: tuple[float, ...]  # mm per voxel; 1 in 2D
    type: str  # of the image file: "8-bit RGB"
    shares: NDArray[np.float64] | None  # (K,) of each class in the foreground, on the network's grid; no label: None
    intensity: tuple[float, float]  # percentiles ``ENDS`` of the foreground, in [0, 1]


@dataclass(slots=True)
class Survey:
    """Facts of the cases that can be used, and the reason for each of the others."""

    facts: list[CaseFacts] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)  # case id -> reason
    inverted: int = 0  # cases with a labelled border
    empty: int = 0  # cases whose label marks nothing
    note: str = ""  # on the scale of the grids
    labelled: tuple[float, float] = (math.inf, -math.inf)  # the smallest and the largest labelled share
    shown: dict[str, tuple[str, PreparedCase]] = field(default_factory=dict)
    """The first case and those with the smallest and largest labelled share, with their ids."""


def survey_domain(domain: Domain, task: Task, config: PreprocessConfig, on_case: OnCase = no_report) -> Survey:
    """Prepare every case of a domain as training would, without writing the cache.

    Raises:
        UsageError: a grid of the wrong dimension.
    """
    survey = Survey(note=scale_note(domain, config))
    for case, result in each_case(domain, partial(_facts, domain=domain, task=task, config=config), on_case):
        if isinstance(result, DataError):
            survey.failures[case.id] = str(result)
        else:
            _add(survey, *result)
    try:
        require_plausible_labels(domain, survey.inverted, survey.empty)
    except DataError as error:
        survey.failures[WHOLE] = str(error)
    return survey


def _facts(case: Case, domain: Domain, task: Task, config: PreprocessConfig) -> tuple[CaseFacts, PreparedCase]:
    prepared = prepare_case(case, domain, task, config)
    inside, shares = prepared.foreground, None
    image = np.moveaxis(prepared.image, 1, 0) if prepared.slices else prepared.image
    if prepared.label is not None:
        counts = np.bincount(prepared.label[inside], minlength=len(task.classes))
        shares = counts / max(1, counts.sum())
    values = image[:, inside] if inside.any() else image
    low, high = np.percentile(values.astype(np.float32), ENDS) / full_scale(values.dtype)
    size, type = prepared.geometry.native_shape, stored_type(case.image)
    if domain.slices is not None and prepared.slices:
        size = (*size[: domain.slices.axis], prepared.slices, *size[domain.slices.axis :])
    ends = (float(low), float(high))
    return CaseFacts(case.id, size, prepared.geometry.shape, prepared.spacing, type, shares, ends), prepared


def _add(survey: Survey, facts: CaseFacts, prepared: PreparedCase) -> None:
    survey.shown.setdefault("first", (facts.id, prepared))
    if facts.shares is not None:
        share, (smallest, largest) = 1 - facts.shares[0], survey.labelled
        if share < smallest:
            survey.shown["smallest"] = (facts.id, prepared)
        if share > largest:
            survey.shown["largest"] = (facts.id, prepared)
        survey.labelled = min(smallest, share), max(largest, share)
    survey.facts.append(facts)
    survey.inverted += prepared.inverted
    survey.empty += prepared.empty


def summary(survey: Survey, task: Task) -> str:
    """Return sizes, types, intensities and class shares of a survey, one line each."""
    facts = survey.facts
    if not facts:
        return ""
    text = _range({each.size for each in facts})
    if len(facts[0].size) == 3:
        spacings = sorted({tuple(round(side, 2) for side in each.spacing) for each in facts})
        mm = dict.fromkeys((TIMES.join(f"{side:g}" for side in spacing)) for spacing in (spacings[0], spacings[-1]))
        text += f" voxels of {' to '.join(mm)} mm"
    low, high = np.mean([each.intensity for each in facts], axis=0)
    types = ", ".join(sorted({each.type for each in facts}))
    lines = [
        f"{text}, {types}; the network sees {low:.2f} to {high:.2f} of 0 to 1 ({ENDS[0]}st, {ENDS[1]}th percentile)"
    ]
    grids = {each.grid for each in facts}
    notes = [survey.note] if survey.note else []
    notes += [f"grids of {_range(grids)}"] if len(grids) > 1 else []
    lines += ["; ".join(notes)] if notes else []
    shares = np.array([each.shares for each in facts if each.shares is not None])
    if len(shares):
        each_class = [
            f"{name} {_percent(column.mean())} %"
            + (f" (not in {(column == 0).sum()} cases)" if not column.all() else "")
            if column.any()
            else f"{name} IN NO CASE"
            for name, column in zip(task.classes[1:], shares.T[1:], strict=True)
        ]
        lines.append(f"of the foreground: {', '.join(each_class)}")
    return "\n".join(f"  {line}" for line in lines)


def _range(sizes: set[tuple[int, ...]]) -> str:
    ends = sorted(sizes, key=lambda size: (np.prod(size), size))
    text = " to ".join(dict.fromkeys(TIMES.join(map(str, size)) for size in (ends[0], ends[-1])))
    return text + (f" ({len(sizes)} sizes)" if len(sizes) > 2 else "")


def _percent(share: float) -> str:
    return f"{100 * share:.0f}" if share >= 0.0995 else f"{100 * share:.2g}"
