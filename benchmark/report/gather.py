"""Content of a report: a suite's results, gathered from disk."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path

from .. import environment
from ..comparisons.contrasts import find_baseline
from ..errors import UsageError
from ..outcomes.results import SuiteResults
from ..scoring.metrics import DSC, metrics
from ..suites.suite import Row
from ..tables.build import Table, TableOptions, build_table

KEPT = "its message is kept with the run"
"""Stands for the message of an error, which may hold paths, in a page that is published."""


class Report:
    """Content of a page.

    Args:
        results: of the suite.
        published: whether the paper's numbers stand with ours.
        data_root: folder of the data sets, for pictures of cases; None: none are wanted.
        baseline: row or method that others are compared with; None: the suite's source-only row.
        public: without hosts, their systems, and messages of errors.

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
        self.evaluations = results.evaluations
        self.baseline: Row | None = None
        self.no_baseline = ""
        try:
            self.baseline = find_baseline(self.suite, baseline)
        except UsageError as error:
            if baseline is not None:
                raise
            self.no_baseline = str(error)

    @cached_property
    def further(self) -> list[Table]:
        """The same table of every other metric that has values."""
        rescored = any(evaluation.path in self.results.rescored for evaluation in self.evaluations)
        tables = []
        for metric in metrics().values():
            # A table of shapes opens every file again: not before one is known to be there.
            if metric is not DSC and (metric.source != "masks" or rescored):
                table = build_table(self.results, replace(self.options, metric=metric))
                tables += [table] if any(e.cell.values for row in table.rows for e in row.entries) else []
        return tables

    @cached_property
    def missing(self) -> list[tuple[str, list[str]]]:
        """Cells, runs, cases and folders that are missing: a title and its lines."""
        failed = [run for run in self.results.planned_runs if run.state in ("FAILED", "DIVERGED")]
        errors = [KEPT if self.public else run.error or "no message was left" for run in failed]
        failures = [f"{run.name} ({run.state}): {error}" for run, error in zip(failed, errors, strict=True)]
        problems = list(self.results.problems)
        if self.public and problems:
            problems = [f"{len(problems)} folder{'' if len(problems) == 1 else 's'} of the results"]
        parts = [
            ("Cells without all their seeds", list(self.table.missing)),
            ("Runs that failed", failures),
            ("Data sets of which not every published case was scored", self._incomplete_data()),
            ("Folders that cannot be read", problems),
        ]
        return [(title, lines) for title, lines in parts if lines]

    def _incomplete_data(self) -> list[str]:
        lines = {}
        for column in self.suite.columns:
            for counts in (counts for scores in self.results.of_column(column) for counts in scores.counts):
                published, scored = counts.get("published"), counts["scored"]
                if published is not None and scored < published:
                    names = ", ".join(map(str, counts.get("missing") or ()))
                    absent = f"; image missing for {names}" if names else ""
                    lines[column] = f"{column.label}: {scored} of {published} cases{absent}"
        return list(lines.values())
