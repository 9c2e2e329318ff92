"""Whether the order of methods depends on the protocol: a suite under several regimes, and tau between them.

Descriptive, not a test; runs and cases are drawn by :func:`ssdg.benchmark.resampling.drawn_means`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..agreement import Agreement, agreements
from ..errors import UsageError
from ..outcomes.headings import Heading, overall_headings
from ..outcomes.results import SuiteResults
from ..outcomes.scores import common_scores
from ..resampling import DRAWS, SEED
from ..scoring.metrics import DSC, Metric
from ..statistics import Floats, TargetScores, defined
from ..suites.suite import Filters, Plan, Row
from ..tables.blocks import agreement_text
from ..tables.document import Document, Part
from ..tables.printed import Printed, PrintedColumn
from .ranking import competition_ranks

AUGMENTATION = "training.augmentation"


@dataclass(frozen=True, slots=True)
class Regime:
    """A protocol, and settings on top of it for every row."""

    name: str
    protocol: str
    overrides: Mapping[str, str] = field(default_factory=dict)

    def plan(self, plan: Plan) -> Plan:
        """Return a plan's suite under this regime; rows that set the shared augmentation themselves are left out."""
        rows = (row for row in plan.suite.rows if AUGMENTATION not in row.settings)
        suite = replace(plan.suite, rows=tuple(row for row in rows if row.contender and row.trained_here))
        return suite.plan(Filters(protocol=self.protocol, overrides=self.overrides), plan.inventory)

    @property
    def options(self) -> str:
        """What ``bench sweep`` takes to run it."""
        return " ".join([f"--protocol {self.protocol}", *(f"--set {k}={v}" for k, v in self.overrides.items())])


REGIMES = (
    Regime("paper", "paper"),
    Regime("clean", "clean"),
    Regime("clean + nnU-Net DA5", "clean", {AUGMENTATION: "nnunet-da5"}),
)


@dataclass(frozen=True, slots=True)
class RegimeStudy:
    """Rows that every regime has complete on every target of a suite."""

    name: str
    title: str
    regimes: tuple[str, ...]
    rows: tuple[Row, ...]
    headings: tuple[Heading, ...]
    seeds: tuple[int, ...]
    means: Floats  # (regimes, rows): over targets, in the metric's own unit (DSC 0..1)
    ranks: NDArray[np.int64]  # (regimes, rows): 1 is best; equal means share the better rank
    pairs: tuple[Agreement, ...]
    missing: tuple[str, ...]  # rows left out, with the reason
    metric: Metric


def study_regimes(results: Mapping[str, SuiteResults], metric: Metric = DSC) -> RegimeStudy:
    """Compare the orders of rows under several regimes, by their means over the suite's targets.

    A draw takes the same cases of a target under every regime and for all rows, and each row's seeds for itself.

    Args:
        results: of one suite under each regime, by name.
        metric: a better mean is a better rank.

    Raises:
        UsageError: fewer than two rows that every regime has complete on every target, or a metric that leaves
            misses out.
    """
    if metric.skips_misses:
        raise UsageError(f"{metric.short} leaves misses out, and an order by it would reward them: take dsc or nsd")
    first = next(iter(results.values()))
    headings = overall_headings(first, metric)
    rows, missing, asked_for = [], [], {planned.row.id for planned in first.plan.runs}
    for row in first.suite.rows:
        if row.id not in asked_for:  # it works on none of the targets
            continue
        holes = [
            f"{name} on {heading.text}"
            for name, of_regime in results.items()
            for heading in headings
            if not of_regime.is_complete(row, heading.column, metric)
        ]
        rows += [] if holes else [row]
        missing += (
            [f"{row.label}: not complete under {'; '.join(holes[:3])}{', …' * (len(holes) > 3)}"] if holes else []
        )
    if len(rows) < 2:
        raise UsageError("\n  ".join(["a study needs two rows that every regime has complete:", *missing]))
    targets = [_common(list(results.values()), rows, heading, metric) for heading in headings]
    means, pairs = agreements(tuple(results), targets)
    return RegimeStudy(
        name=first.suite.name,
        title=first.suite.title,
        regimes=tuple(results),
        rows=tuple(rows),
        headings=tuple(headings),
        seeds=first.suite.seeds,
        means=means,
        ranks=competition_ranks(metric.sign * means),
        pairs=tuple(pairs),
        missing=tuple(missing),
        metric=metric,
    )


def _common(results: Sequence[SuiteResults], rows: Sequence[Row], heading: Heading, metric: Metric) -> TargetScores:
    """Return the scores of the rows of the first regime on a target, then of the next one."""
    scores = [of_regime.row_scores(row, heading.column, metric) for of_regime in results for row in rows]
    common = common_scores(scores, heading.stratum, heading.average)
    if not defined(common).strata:
        raise UsageError(f"no case of {heading.text} has a {metric.short} of every row")
    column = heading.column
    return replace(common, runs=f"{column.task} {column.source}", cases=(column.task, column.target, common.cases))


def regimes_document(study: RegimeStudy) -> Document:
    """Return a study to print, with a line a row and regime for programs."""
    records = [
        {
            **{"row": row.id, "label": row.label, "regime": name},
            "mean": round(float(study.metric.scale * study.means[regime, position]), 4),
            "rank": int(study.ranks[regime, position]),
        }
        for position, row in enumerate(study.rows)
        for regime, name in enumerate(study.regimes)
    ]
    data = {
        **{"suite": study.name, "metric": study.metric.name, "seeds": study.seeds},
        "targets": [heading.text for heading in study.headings],
        "rows": records,
        "agreement": study.pairs,
        "missing": study.missing,
    }
    return Document(
        title=f"{study.title}: does the order depend on the protocol?",
        label=f"{study.name}-regimes",
        parts=[Part(_printed(study))],
        records=lambda: records,
        data=lambda: data,
        sentences=sentences(study),
    )


def sentences(study: RegimeStudy) -> list[str]:
    """Return what a reader needs under a study."""
    seeds = len(study.seeds)
    drawn = ", and each row's seeds for itself" if seeds > 1 else "; the one seed is not resampled"
    targets = ", ".join(heading.text for heading in study.headings)
    pairs = "; ".join(agreement_text(pair) for pair in study.pairs)
    return [
        f"{study.metric.short} ({study.headings[0].unit}): mean over {targets}, n = {seeds} "
        f"seed{'s' * (seeds > 1)}; in brackets the rank, 1 is best.",
        f"Order of the rows, Kendall's tau between {pairs}; in brackets 95 % of {DRAWS:,} draws of each target's "
        f"cases, the same for all rows and regimes{drawn} (generator seed {SEED}).",
    ]


def _printed(study: RegimeStudy) -> Printed[int]:
    def column(regime: int) -> PrintedColumn[int]:
        means, ranks = study.metric.scale * study.means[regime], study.ranks[regime]
        return PrintedColumn(
            study.regimes[regime],
            lambda position: f"{means[position]:.2f} [{ranks[position]}]",
            bold=lambda position: bool(ranks[position] == 1),
        )

    method: PrintedColumn[int] = PrintedColumn("Method", lambda position: study.rows[position].label, align="l")
    return Printed([method, *map(column, range(len(study.regimes)))], range(len(study.rows)))
