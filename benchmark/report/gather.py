"""A report: all there is to say about a suite's results, gathered from disk; how it looks is said elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from .. import environment
from ..comparisons.contrasts import find_baseline
from ..errors import UsageError
from ..outcomes.collect import Collected, collect
from ..outcomes.plan import Work
from ..scoring.metrics import DSC, MEASURES
from ..scoring.shape_file import NAME as SHAPES
from ..storage.results_reader import StoredEvaluation, StoredRun
from ..suites.suite import Column, Inventory, Row, Suite
from ..tables.build import Heading, Table, TableOptions, TableRow, build_table, tabulate
from ..tables.wording import row_label
from .cells import Breakdown, Distribution, breakdowns, distributions, overall
from .charts import Cost
from .comparisons import Comparisons, Ranks, differences, ranks
from .run_facts import Learning, Runs, flat, learning, survey_runs

if TYPE_CHECKING:
    from .worst import WorstOfTarget


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a report's facts come from."""

    options: TableOptions
    inventory: Inventory
    runs: Sequence[StoredRun]
    works: Sequence[Work]
    problems: Sequence[str]  # folders that cannot be read
    results_root: Path
    data_root: Path | None  # for pictures of cases; None: none are wanted
    baseline: str | None = None  # row or method; None: the suite's source-only row
    public: bool = False  # without what says on whose machine the page was made


@dataclass(frozen=True, slots=True)
class CostOfTarget:
    """Training time against score on one target."""

    name: str  # of the chart
    column: Column
    points: tuple[Cost, ...]


@dataclass(frozen=True, slots=True)
class Leader:
    """The best row of a printed column among those that saw the source alone."""

    heading: Heading
    row: Row
    mean: float  # percent
    baseline: float | None  # percent


class Report:
    """Everything a page shows; each part is gathered when it is first asked for.

    Args:
        suite: to be narrowed by the options' choice.
        source: where the facts come from.

    Raises:
        UsageError: a name that is not in the suite, runs on different data, or a damaged results file.
    """

    def __init__(self, suite: Suite, source: Source) -> None:
        self.source = source
        self.whole = suite
        self.suite = suite.narrowed(source.options.choice)
        self.collected: Collected = collect(self.suite, source.runs, source.inventory)
        self.table = tabulate(self.collected, source.runs, source.options, source.inventory)
        self.version = environment.version()
        self.commit = "" if source.public else environment.commit()
        self.baseline, self.no_baseline = self._find_baseline()

    def _find_baseline(self) -> tuple[Row | None, str]:
        """Return the row that others are held against, or why there is none."""
        try:
            return find_baseline(self.suite, self.source.baseline), ""
        except UsageError as error:
            if self.source.baseline is not None:
                raise
            return None, str(error)

    @property
    def _baseline_id(self) -> str | None:
        return None if self.baseline is None else self.baseline.id

    @cached_property
    def evaluations(self) -> list[StoredEvaluation]:
        """All that the table's numbers come from; none: there is no number at all."""
        return [one for scores in self.collected.scores.values() for one in scores.evaluations]

    @property
    def date(self) -> str:
        """When the newest of the results were scored: the page's date, so that equal results make equal pages."""
        return max((str(one.data.get("finished") or "") for one in self.evaluations), default="")

    @property
    def commits(self) -> list[str]:
        """Commits that the results were scored at."""
        return sorted({str(one.data.get("commit") or "not recorded") for one in self.evaluations})

    @property
    def cells(self) -> tuple[int, int]:
        """Cells (row and target) that are complete, and those that the suite asks for."""
        planned = [scores for scores in self.collected.scores.values() if scores.standing == "planned"]
        return sum(len(scores.seeds) == len(self.suite.seeds) for scores in planned), len(planned)

    @property
    def leaders(self) -> list[Leader]:
        """The best row of each printed column where at least two can be compared."""
        found = []
        for position, heading in enumerate(self.table.headings):
            means = {
                row.row.id: (row, 100 * mean)
                for row in self.table.rows
                if row.row.saw_source_alone
                and row.entries[position].cell.state == "complete"
                and (mean := row.entries[position].cell.mean) is not None
            }
            if heading.headline and len(means) > 1:
                best, mean = max(means.values(), key=lambda pair: pair[1])
                held: tuple[TableRow | None, float | None] = means.get(self._baseline_id or "", (None, None))
                found.append(Leader(heading, best.row, mean, held[1]))
        return found

    @cached_property
    def differences(self) -> Comparisons | None:
        """Each row against the baseline; None where nothing can be compared."""
        return None if self.baseline is None else differences(self.collected, self.baseline)

    @cached_property
    def ranks(self) -> list[Ranks]:
        """How firm the ranking is."""
        return ranks(self.collected)

    @cached_property
    def distributions(self) -> list[Distribution]:
        """Scores of single cases."""
        return distributions(self.collected, self._baseline_id)

    @cached_property
    def breakdowns(self) -> list[Breakdown]:
        """Scores of single classes."""
        return breakdowns(self.collected)

    @cached_property
    def learning(self) -> Learning:
        """How the runs learned, and what they cost."""
        return learning([work.item for work in self.source.works])

    @property
    def costs(self) -> list[CostOfTarget]:
        """Training time against score."""
        made = []
        for number, column in enumerate(self.suite.columns):
            points = []
            for row in self.table.rows:
                cost, mean = self.learning.costs.get(row.row.id), overall(row, column).cell.mean
                if cost is not None and mean is not None:
                    points.append(Cost(row_label(row.row), cost.seconds, 100 * mean, cost.device))
            if points:
                made.append(CostOfTarget(f"cost-{number}", column, tuple(points)))
        return made

    @cached_property
    def runs(self) -> Runs:
        """What is recorded about the suite's runs."""
        return survey_runs(self.source.works, self.source.results_root, self.source.public)

    @property
    def settings(self) -> list[tuple[str, str]]:
        """Every resolved setting that the rows share."""
        return flat(self.suite.sections())

    @cached_property
    def worst(self) -> "list[WorstOfTarget]":
        """The cases that went worst; none where no pictures of cases are wanted."""
        root = self.source.data_root
        if root is None:
            return []
        from .worst import worst_of_targets  # opens images, and nothing else here does

        items = [work.item for work in self.source.works]
        inventory, baseline = self.source.inventory, self._baseline_id
        return list(worst_of_targets(self.table, self.collected, items, inventory, baseline, root))

    @cached_property
    def further(self) -> list[Table]:
        """The same table of every other measure that there are values of."""
        made = []
        for measure in MEASURES.values():
            # A table of shapes opens every file again: not before one is known to be there.
            if measure is DSC or (measure.source == "shapes" and not self._rescored):
                continue
            options = replace(self.source.options, measure=measure)
            table = build_table(self.whole, self.source.runs, options, self.source.inventory)
            if any(entry.cell.values for row in table.rows for entry in row.entries):
                made.append(table)
        return made

    @property
    def _rescored(self) -> bool:
        return any((one.path / SHAPES).exists() for one in self.evaluations)

    @property
    def missing(self) -> list[tuple[str, list[str]]]:
        """Everything that is not there: a title and its lines."""
        failed = [f"{run.name} ({run.state}): {run.error or 'no message was left'}" for run in self.runs.failed]
        parts = [
            ("Cells without all their seeds", list(self.table.missing)),
            ("Runs that failed", failed),
            ("Data sets of which not every published case was scored", list(self._incomplete_data())),
            ("Folders that cannot be read", list(self.source.problems)),
        ]
        return [(title, lines) for title, lines in parts if lines]

    def _incomplete_data(self) -> list[str]:
        found = {}
        for column in self.suite.columns:
            for counts in (seed.counts for scores in self.collected.of_column(column) for seed in scores.seeds):
                published, scored = counts.get("published"), counts["scored"]
                if published is not None and scored < published:
                    names = ", ".join(map(str, counts.get("missing") or ()))
                    found[column] = f"{column.label}: {scored} of {published} cases" + (
                        f"; image missing for {names}" if names else ""
                    )
        return list(found.values())
