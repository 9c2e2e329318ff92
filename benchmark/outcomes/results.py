"""Results of a suite: each planned run with what is stored of it, and every score; each file is read once."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError, listed
from ..launching.job_file import JobFile
from ..scoring.metrics import DSC, Metric, Region
from ..scoring.overlap import Empty
from ..spec import PROTOCOLS, EvaluationConfig
from ..storage.results_reader import StoredEvaluation, StoredRun, training_seconds
from ..storage.run_folder import VALIDATION
from ..suites.suite import Column, Filters, Plan, Planned, Row
from .code_notes import code_notes
from .convergence import Convergence, judge
from .counts import SeedCases, StoredCounts
from .frames import history_frame, runs_frame, scores_frame, table_frame
from .headings import column_headings
from .planned_run import NOT_RESCORED, hole_reason, match_plan, require_one_version
from .scores import Average, Cell, RowScores, make_cell, metric_of

NOT_A_GPU = "cpu in fp32, or not recorded"
"""Device of evaluations that do not name one."""

Scoring: TypeAlias = tuple[Region, Empty]
"""Region that is scored, and the rule for a class that a case lacks."""


class SuiteResults:
    """What a suite asks for, and what is stored of it.

    Args:
        plan: the suite, narrowed, and its runs.
        stored: runs of a results folder; those of other suites are ignored.
        problems: folders that cannot be read, a message each.
        root: the results folder.
        job_of: job file of a planned run, where jobs are kept.

    Raises:
        UsageError: runs that belong in one table were trained on different data.
    """

    def __init__(
        self,
        plan: Plan,
        stored: Sequence[StoredRun],
        problems: Sequence[str] = (),
        root: Path = Path(),
        job_of: Callable[[Planned], JobFile] | None = None,
    ) -> None:
        self.plan = plan
        self.suite, self.inventory = plan.suite, plan.inventory
        self.stored = stored
        self.problems = problems
        self.root = root
        self.planned_runs, self._notes = match_plan(plan.runs, stored, job_of)
        require_one_version(self.planned_runs)
        self.scoring: EvaluationConfig = self.suite.sections()["evaluation"]
        self.counts = StoredCounts(plan, self.planned_runs)
        self._scores: dict[tuple[str, Column, str, Scoring], RowScores] = {}

    # The Python API: data frames.
    scores, table, runs, history = scores_frame, table_frame, runs_frame, history_frame

    def columns(self, validation: bool = False) -> tuple[Column, ...]:
        """Return the suite's columns; where asked for, before them one of each source's validation cases."""
        sources = dict.fromkeys((c.task, c.source) for c in self.suite.columns if validation)
        labels = {source: f"{source} (source, held out)" for _, source in sources}
        of_sources = [Column(task=t, source=s, target=VALIDATION, label=labels[s]) for t, s in sources]
        return (*of_sources, *self.suite.columns)

    def unit(self, column: Column, metric: Metric = DSC) -> str:
        """Return the unit in which a metric is printed in a column."""
        return metric.unit_in(self.inventory.task(column.task).scored_ndim)

    def row_scores(self, row: Row, column: Column, metric: Metric = DSC, scoring: Scoring | None = None) -> RowScores:
        """Return the scores of a row on a target.

        ``scoring`` is instead of the suite's own region and rule for empty classes.

        Raises:
            UsageError: rows of the column were scored on different data, or a damaged results file.
        """
        region, empty = scoring or (self.scoring.region, self.scoring.empty)
        key = (row.id, column, metric.name, (region, empty))
        if key not in self._scores:
            ndim = self.inventory.task(column.task).scored_ndim
            region = replace(self.scoring, region=region).region_in(ndim)
            self._scores[key] = self._row_scores(row, column, metric, region, empty)
        return self._scores[key]

    def of_column(self, column: Column, metric: Metric = DSC) -> list[RowScores]:
        """Return the scores of all rows on a target."""
        return [self.row_scores(row, column, metric) for row in self.suite.rows]

    def cell(
        self,
        row: Row,
        column: Column,
        stratum: str = "all",
        average: Average = "cases",
        metric: Metric = DSC,
        scoring: Scoring | None = None,
    ) -> Cell:
        """Return the mean over seeds of a row on a target's stratum, with SD, n, misses and why it is empty."""
        scores = self.row_scores(row, column, metric, scoring)
        return make_cell(scores, len(self.suite.seeds_of(row)), stratum, average, metric)

    def is_complete(self, row: Row, column: Column, metric: Metric = DSC) -> bool:
        """Tell whether a row has a score of all the suite's seeds in each printed column of a target."""
        return all(cell.state == "complete" for cell in self._cells(row, column, metric))

    def _cells(self, row: Row, column: Column, metric: Metric) -> list[Cell]:
        headings = column_headings(self, column, metric)
        return [self.cell(row, column, heading.stratum, heading.average, metric) for heading in headings]

    def of_rows(self, rows: tuple[Row, ...]) -> "SuiteResults":
        """Return the results of other rows on the same columns and seeds, from the same runs."""
        plan = replace(self.suite, rows=rows).plan(Filters(), self.inventory)
        return SuiteResults(plan, self.stored, root=self.root)

    def train_ids(self, row: Row, column: Column) -> tuple[str, ...]:
        """Return the identities of a row's runs that are scored on a target."""
        return tuple(r.stored.train_id for r in self.counts.runs_of(row, column) if r.stored is not None)

    def trained_in(self, row: Row, column: Column) -> set[str]:
        """Return the names of the exports that have a row's runs; "" for the results folder."""
        return {run.stored.export for run in self.counts.runs_of(row, column) if run.stored is not None}

    def training_seconds(self, row: Row, column: Column) -> float | None:
        """Return the time of one training of a row that is scored on a target; None if not recorded."""
        runs = self.counts.runs_of(row, column)
        return training_seconds(run.stored for run in runs if run.stored is not None)

    @cached_property
    def convergence(self) -> Convergence:
        """Which rows have learned their source; UsageError as for scores."""
        return judge(self)

    @cached_property
    def evaluations(self) -> list[StoredEvaluation]:
        """Evaluations that the scores on the suite's targets come from."""
        return [e for column in self.suite.columns for scores in self.of_column(column) for e in scores.evaluations]

    @cached_property
    def rescored(self) -> frozenset[Path]:
        """Folders of evaluations that have values of metrics from masks."""
        scored = (scores for column in self.columns(validation=True) for scores in self.of_column(column))
        return frozenset(e.path for scores in scored for e in scores.evaluations if self.counts.rescored(e))

    def notes(self, metric: Metric = DSC, columns: Iterable[Column] | None = None) -> list[str]:
        """Return what a reader has to know: runs left out, devices that differ, evaluations without a metric."""
        columns = self.suite.columns if columns is None else tuple(columns)
        notes = [
            *self._notes,
            *code_notes(self.planned_runs),
            *self._from_exports(),
            *self._mixed_devices(columns),
        ]
        lacking, any_seed, exported = list[str](), False, set[str]()
        for column in columns:
            for row, scores in zip(self.suite.rows, self.of_column(column, metric), strict=True):
                any_seed |= bool(scores.seeds)
                if scores.not_rescored:
                    exported |= {evaluation.export for evaluation in scores.evaluations}
                    seeds = ", ".join(map(str, scores.not_rescored))
                    lacking.append(f"{row.label} on {column.label} (seed {seeds})")
        if not lacking:
            return notes
        where = "; ".join(lacking) if any_seed else "any evaluation"
        way_out = (
            f"`bench rescore --metrics {metric.name}` of this suite, same options, does so from stored predictions"
        )
        elsewhere = "of an export, rescore where its runs are and export again"
        ways_out = [way_out] * ("" in exported or not exported) + [elsewhere] * bool(exported - {""})
        return [*notes, f"{metric.short} is not computed yet for {where}: {'; '.join(ways_out)}"]

    def _from_exports(self) -> list[str]:
        """Return a note for each export that the suite names and rows come from."""
        rows: defaultdict[str, list[str]] = defaultdict(list)
        for run in self.planned_runs if self.suite.exports else ():
            for name in {e.export for domain in run.domains if (e := run.evaluation(domain)) is not None} - {""}:
                rows[name].append(run.row.label)
        return [
            f"from the export {name}, trained and timed there: {listed(list(dict.fromkeys(labels)), 4)}"
            for name, labels in rows.items()
        ]

    def _mixed_devices(self, columns: Iterable[Column]) -> list[str]:
        """Return a note for each row whose seeds were trained on different kinds of device."""
        notes = []
        for column in columns:
            for row in self.suite.rows:
                seeds: defaultdict[str, list[str]] = defaultdict(list)
                for number, seed in self.counts.seeds(row, column).items():
                    for kind in sorted({e.data.get("trained_on", NOT_A_GPU) for e in seed.evaluations}):
                        seeds[kind].append(str(number))
                if len(seeds) > 1:
                    kinds = "; ".join(f"seed {', '.join(numbers)} on {kind}" for kind, numbers in seeds.items())
                    notes.append(f"{row.label} was trained on different kinds of device: {kinds}")
        return list(dict.fromkeys(notes))

    def holes(
        self, metric: Metric = DSC, columns: Iterable[Column] | None = None, rows: Iterable[Row] | None = None
    ) -> Iterator[str]:
        """Yield a line for each row and target that lacks the score of a seed, or a method."""
        columns = self.suite.columns if columns is None else tuple(columns)
        for row in self.suite.rows if rows is None else rows:
            for column in columns:
                cell = min(self._cells(row, column, metric), key=lambda cell: cell.n_seeds)
                if cell.state == "unavailable":
                    yield f"{row.label} on {column.label}: method {row.method!r} is not in this version"
                elif cell.state not in ("complete", "not-applicable"):
                    seeds = f"{cell.n_seeds} of {cell.expected_seeds} seeds"
                    yield f"{row.label} on {column.label}: {seeds} ({cell.reason})"

    def other_protocols(self, metric: Metric = DSC) -> list[str]:
        """Return a note for each other protocol that has results where cells of this one are empty."""
        empty = {
            (row.id, column)
            for column in self.suite.columns
            for row, scores in zip(self.suite.rows, self.of_column(column, metric), strict=True)
            if scores.availability == "planned" and not scores.seeds
        }
        notes = []
        for name in PROTOCOLS if empty else ():
            if name == self.suite.protocol:
                continue
            plan = replace(self.suite, protocol=name).plan(Filters(), self.inventory)
            try:
                runs = match_plan(plan.runs, self.stored)[0]
                require_one_version(runs)
                scored = {(run.row.id, c) for run in runs for c in run.columns if run.evaluation(c.target)}
            except UsageError:
                continue  # that protocol's own table will say what is wrong
            if filled := scored & empty:
                notes.append(
                    f"{len(filled)} of the {len(empty)} empty cells (row and target) have results under the {name} "
                    f"protocol: show them with --protocol {name}"
                )
        return notes

    def _row_scores(self, row: Row, column: Column, metric: Metric, region: str, empty: Empty) -> RowScores:
        seeds = self.counts.seeds(row, column)
        availability = self.counts.availability(row, column)
        if availability != "planned":
            return RowScores(availability=availability)
        masks = None
        if metric.source == "masks":
            masks = {n: parts for n, seed in seeds.items() if (parts := self._mask_values(seed, metric, region))}
        scored = {n: seed for n, seed in seeds.items() if masks is None or n in masks}
        lacking = tuple(n for n in seeds if n not in scored)
        evaluations = tuple(evaluation for seed in seeds.values() for evaluation in seed.evaluations)
        reasons = self.counts.missing(row, column) if len(seeds) < len(self.suite.seeds_of(row)) else set()
        reason = hole_reason({*reasons, *([NOT_RESCORED] if lacking else [])})
        if not scored:
            return RowScores(evaluations=evaluations, reason=reason, not_rescored=lacking)
        first = next(iter(seeds.values()))
        counts = np.stack([s.arranged([file.counts for file in s.files], first.cases) for s in scored.values()])
        stacked = None if masks is None else np.stack([scored[n].arranged(m, first.cases) for n, m in masks.items()])
        values, missed = metric_of(counts, metric, region, empty, stacked)
        published = [seed.evaluations[0].data.get("counts", {}) for seed in scored.values()]
        return RowScores(
            seeds=tuple(scored),
            cases=first.cases,
            strata=tuple(stratum for file in first.files for stratum in file.layout.strata),
            classes=first.classes,
            values=values,
            missed=missed,
            evaluations=evaluations,
            counts=tuple({**of_seed, "scored": len(first.cases)} for of_seed in published),
            reason=reason,
            not_rescored=lacking,
        )

    def _mask_values(self, seed: SeedCases, metric: Metric, region: str) -> list[NDArray[np.float64]]:
        """Return the values of each evaluation of a seed; none where one was not computed."""
        values = [self.counts.masks(evaluation, metric).by_region[region] for evaluation in seed.evaluations]
        return [] if any(None in texts for texts in values) else [np.array(v, dtype=np.float64) for v in values]
