"""A report: all there is to say about a suite's results, gathered from disk; how it looks is said elsewhere."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from .. import environment
from ..comparisons.contrasts import find_baseline
from ..errors import UsageError
from ..outcomes.results import SuiteResults
from ..scoring.metric_file import has_any
from ..scoring.metrics import DSC, metrics
from ..storage.results_reader import StoredEvaluation
from ..suites.suite import Column, Row
from ..tables.build import Heading, Table, TableOptions, build_table
from ..tables.significance import best_first
from ..tables.wording import row_label
from .cells import Breakdown, Distribution, breakdowns, distributions, overall
from .charts import Cost
from .comparisons import Comparisons, Ranks, differences, ranks
from .run_facts import Learning, Runs, flat, learning, survey_runs

if TYPE_CHECKING:
    from .worst import WorstOfTarget


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
        results: of the suite.
        published: whether the paper's numbers stand with ours.
        data_root: folder of the data sets, for pictures of cases; None: none are wanted.
        baseline: row or method that others are compared with; None: the suite's source-only row.
        public: without what says on whose machine the page was made.

    Raises:
        UsageError: a name that is not in the suite, runs on different data, or a damaged results file.
    """

    def __init__(
        self,
        results: SuiteResults,
        *,
        published: bool = True,
        data_root: Path | None = None,
        baseline: str | None = None,
        public: bool = False,
    ) -> None:
        self.results, self.suite = results, results.suite
        self.options = TableOptions(published=published)
        self.data_root, self.public = data_root, public
        self.table = build_table(results, self.options)
        self.version = environment.version()
        self.commit = "" if public else environment.commit()
        self.baseline, self.no_baseline = self._find_baseline(baseline)

    def _find_baseline(self, name: str | None) -> tuple[Row | None, str]:
        """Return the row that others are compared with, or why there is none."""
        try:
            return find_baseline(self.suite, name), ""
        except UsageError as error:
            if name is not None:
                raise
            return None, str(error)

    @property
    def _baseline_id(self) -> str | None:
        return None if self.baseline is None else self.baseline.id

    @property
    def evaluations(self) -> list[StoredEvaluation]:
        """Evaluations that the table's numbers come from; none: there is no number at all."""
        return self.results.evaluations

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
        scores = [scores for column in self.suite.columns for scores in self.results.of_column(column)]
        planned = [there for there in scores if there.availability == "planned"]
        return sum(len(there.seeds) == len(self.suite.seeds) for there in planned), len(planned)

    @property
    def leaders(self) -> list[Leader]:
        """The best contender of each printed column where at least two can be compared."""
        leaders = []
        for position, heading in enumerate(self.table.headings):
            cells = [row.entries[position].cell for row in self.table.rows]
            means = {row.id: 100 * (cell.mean or 0.0) for row, cell in zip(self.suite.rows, cells, strict=True)}
            ranked = best_first(self.suite.rows, cells)
            if heading.headline and ranked:
                base = means[self.baseline.id] if self.baseline in ranked else None
                leaders.append(Leader(heading, ranked[0], means[ranked[0].id], base))
        return leaders

    @cached_property
    def differences(self) -> Comparisons | None:
        """Each row against the baseline; None where nothing can be compared."""
        return None if self.baseline is None else differences(self.results, self.baseline)

    @cached_property
    def ranks(self) -> list[Ranks]:
        """How firm the ranking is."""
        return ranks(self.results)

    @cached_property
    def distributions(self) -> list[Distribution]:
        """Scores of single cases."""
        return distributions(self.results, self._baseline_id)

    @cached_property
    def breakdowns(self) -> list[Breakdown]:
        """Scores of single classes."""
        return breakdowns(self.results)

    @cached_property
    def learning(self) -> Learning:
        """How the runs learned, and what they cost."""
        return learning(self.results.planned_runs)

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
        return survey_runs(self.results.planned_runs, self.results.root, self.public)

    @property
    def settings(self) -> list[tuple[str, str]]:
        """Every resolved setting that the rows share."""
        return flat(self.suite.sections())

    @cached_property
    def worst(self) -> "list[WorstOfTarget]":
        """The cases that went worst; none where no pictures of cases are wanted."""
        if self.data_root is None:
            return []
        from .worst import worst_of_targets  # opens images, and nothing else here does

        return list(worst_of_targets(self.table, self.results, self._baseline_id, self.data_root))

    @cached_property
    def further(self) -> list[Table]:
        """The same table of every other metric that there are values of."""
        made = []
        for metric in metrics().values():
            # A table of shapes opens every file again: not before one is known to be there.
            if metric is DSC or (metric.source == "masks" and not self._rescored):
                continue
            table = build_table(self.results, replace(self.options, metric=metric))
            if any(entry.cell.values for row in table.rows for entry in row.entries):
                made.append(table)
        return made

    @property
    def _rescored(self) -> bool:
        return any(has_any(one.path) for one in self.evaluations)

    @property
    def missing(self) -> list[tuple[str, list[str]]]:
        """Everything that is not there: a title and its lines."""
        failed = [f"{run.name} ({run.state}): {run.error or 'no message was left'}" for run in self.runs.failed]
        parts = [
            ("Cells without all their seeds", list(self.table.missing)),
            ("Runs that failed", failed),
            ("Data sets of which not every published case was scored", list(self._incomplete_data())),
            ("Folders that cannot be read", self._problems),
        ]
        return [(title, lines) for title, lines in parts if lines]

    @property
    def _problems(self) -> list[str]:
        count = len(self.results.problems)
        if not self.public:
            return list(self.results.problems)
        return [f"{count} folder{'' if count == 1 else 's'} of the results"] if count else []

    def _incomplete_data(self) -> list[str]:
        lines = {}
        for column in self.suite.columns:
            for counts in (counts for scores in self.results.of_column(column) for counts in scores.counts):
                published, scored = counts.get("published"), counts["scored"]
                if published is not None and scored < published:
                    names = ", ".join(map(str, counts.get("missing") or ()))
                    lines[column] = f"{column.label}: {scored} of {published} cases" + (
                        f"; image missing for {names}" if names else ""
                    )
        return list(lines.values())
