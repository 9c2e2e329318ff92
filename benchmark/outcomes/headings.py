"""Printed columns: a target, a stratum of its cases, and which average."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, get_args

from ..scoring.metrics import DSC, Metric
from ..statistics import TargetScores
from ..suites.suite import Column, Row
from .scores import Average, common_scores

if TYPE_CHECKING:
    from .results import SuiteResults


@dataclass(frozen=True, slots=True)
class Heading:
    """One printed column."""

    column: Column
    stratum: str
    average: Average = "cases"
    headline: bool = True  # the average that the protocol names; the other one follows it
    unit: str = "%"

    @property
    def label(self) -> str:
        """Stratum in words; "" for all cases."""
        return {"all": "", "average": f"average of {self.average}"}.get(self.stratum, self.stratum)

    @property
    def second_line(self) -> str:
        """Line under the target's name: the stratum, with a unit other than percent; "" for neither."""
        return " ".join(filter(None, (self.label, "" if self.unit == "%" else f"({self.unit})")))

    @property
    def text(self) -> str:
        """Target and stratum in one line, with a unit other than percent."""
        return " ".join(filter(None, (self.column.label, self.second_line)))


def column_headings(results: "SuiteResults", column: Column, metric: Metric = DSC) -> list[Heading]:
    """Return the printed columns of a target; an "average" has two, the protocol's own first."""
    named, unit = results.scoring.average, results.unit(column, metric)
    averages: list[Average] = sorted(get_args(Average), key=lambda average: average != named)
    return [
        Heading(column, stratum, average, headline=stratum != "average" or average == named, unit=unit)
        for stratum in column.strata
        for average in (averages if stratum == "average" else get_args(Average)[:1])
    ]


def stratum_headings(results: "SuiteResults", column: Column, metric: Metric = DSC) -> list[Heading]:
    """Return the strata that a target prints, "average" only as the protocol means it."""
    return [heading for heading in column_headings(results, column, metric) if heading.headline]


def overall_headings(results: "SuiteResults", metric: Metric = DSC) -> list[Heading]:
    """Return one printed column a target: all its cases, by the protocol's average; else each stratum it prints."""
    overall = []
    for column in results.suite.columns:
        headings = stratum_headings(results, column, metric)
        overall += [heading for heading in headings if heading.stratum in ("all", "average")] or headings
    return overall


def target_scores(
    results: "SuiteResults", rows: Sequence[Row], heading: Heading, metric: Metric = DSC
) -> TargetScores:
    """Return the scores of rows on the cases of a printed column that all of them have."""
    scores = common_scores(
        [results.row_scores(row, heading.column, metric) for row in rows], heading.stratum, heading.average
    )
    column = heading.column
    runs = tuple(results.train_ids(row, column) for row in rows)
    return replace(scores, runs=runs, cases=(column.task, column.target, scores.cases))
