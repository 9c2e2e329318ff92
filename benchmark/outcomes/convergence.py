"""Rows that have not learned their source, by held-out DSC against the baseline's and by their best epochs."""

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..storage.run_folder import VALIDATION
from ..suites.suite import Column, Row, Suite
from .planned_run import PlannedRun
from .scores import evaluation_scores

if TYPE_CHECKING:
    from .results import SuiteResults

LEAST = 0.95
"""Share of the baseline's held-out source DSC from which on a row counts as converged."""

ROUNDING = 1e-9  # means that differ by a rounding error alone are equal


@dataclass(frozen=True, slots=True)
class Convergence:
    """Rows that have learned their source, and rows that have not, as far as held-out scores tell."""

    verdicts: Mapping[tuple[str, Column], bool]  # by row id and column; False: not converged
    text: str  # the rule and the rows that fail it, or that nothing is judged; "" where none fails


def judge(results: "SuiteResults") -> Convergence:
    """Judge rows by their held-out source DSC, and runs by where in the schedule their best epoch lies.

    A row whose runs of a column have a best epoch in the first tenth of theirs is not converged, whatever it scores.

    Raises:
        UsageError: runs on different data, or a damaged results file.
    """
    verdicts, texts = _by_baseline(results)
    early = []
    for run in results.planned_runs:
        if run.early_best:
            early.append(
                f"{_name(results.suite, run.row, run.columns[0])}, seed {run.request.seed}: {run.early_best}"
            )
            columns = (c for c in results.columns(validation=True) if run.contributes(c) and _is_judged(run.row, c))
            verdicts |= {(run.row.id, column): False for column in columns}
    if early:
        runs = "; ".join(dict.fromkeys(early))
        texts.append(f"not converged: source-val selection kept an epoch of the first tenth of the schedule ({runs})")
    return Convergence(verdicts, ". Also ".join(texts))


def _by_baseline(results: "SuiteResults") -> tuple[dict[tuple[str, Column], bool], list[str]]:
    """Compare each row's mean held-out source DSC with the baseline's, over the seeds that both have.

    A row that trains for each target anew is judged in each column by its own runs. Rows trained inside the target
    are not judged, nor is anything without held-out scores.
    """
    suite, columns = results.suite, results.columns(validation=True)
    baseline = judging_row(suite)
    if baseline is None:
        return {}, ["not judged: the suite has no row of erm that saw the source alone, without settings of its own"]
    judging = results if baseline in suite.rows else results.of_rows((baseline,))
    references = {column: held_out_scores(judging, baseline, column) for column in columns}
    verdicts: dict[tuple[str, Column], bool] = {}
    failures = []
    for row, (column, reference) in itertools.product(suite.rows, references.items()):
        scores = held_out_scores(results, row, column)
        if seeds := sorted(scores.keys() & reference.keys()):
            mean, wanted = (sum(by_seed[seed] for seed in seeds) / len(seeds) for by_seed in (scores, reference))
            verdicts[row.id, column] = mean >= LEAST * wanted - ROUNDING
            if not verdicts[row.id, column]:
                failures.append(f"{_name(suite, row, column)} {100 * mean:.2f} of {100 * wanted:.2f}")
    if not failures:
        return verdicts, []
    of_both = ", over the seeds that both have" if len(suite.seeds) > 1 else ""
    rule = f"held-out source DSC below {100 * LEAST:g} % of {baseline.label}'s{of_both}"
    return verdicts, [f"not converged: {rule} ({', '.join(dict.fromkeys(failures))})"]


def judging_row(suite: Suite) -> Row | None:
    """Return the row that others are judged by, also where it is not among the chosen ones.

    It is the first row of ``erm`` on the source alone without settings of its own, or tuned as others are.
    """
    rows = [row for row in suite.all_rows or suite.rows if row.method == "erm" and row.access == "source-only"]
    plain = (row for row in rows if row.contender and (not row.settings or row.tuned is not None))
    judging = next(plain, None)
    return next((row for row in suite.rows if judging is not None and row.id == judging.id), judging)


def _is_judged(row: Row, column: Column) -> bool:
    """Return whether a column is of a row's own runs alone: those trained for each target share validation cases."""
    return column.target != VALIDATION or not row.per_target


def held_out_scores(results: "SuiteResults", row: Row, column: Column) -> dict[int, float]:
    """Return each seed's DSC (0..1) on the held-out cases of a column's source; seeds without one are left out."""
    if row.folds is not None or not _is_judged(row, column):
        return {}
    average, place = results.scoring.average, (column.task, column.source)
    means: Iterable[tuple[int, float]]
    if row.per_target:
        means = ((run.request.seed, held_out_mean(results, run)) for run in results.counts.runs_of(row, column))
    else:
        source = next(c for c in results.columns(validation=True) if (c.task, c.source) == place)
        scores = results.row_scores(row, source)
        means = zip(scores.seeds, scores.means("average", average).tolist(), strict=True) if scores.seeds else ()
    return {seed: mean for seed, mean in means if not math.isnan(mean)}


def held_out_mean(results: "SuiteResults", run: PlannedRun) -> float:
    """Return a run's DSC (0..1) on the held-out cases of its source; NaN where it has none."""
    evaluation = run.evaluation(VALIDATION)
    if evaluation is None:
        return math.nan
    ndim = results.inventory.task(run.request.task).scored_ndim
    scores = evaluation_scores(results.counts.case_file(evaluation), results.scoring, ndim)
    return float(scores.means("average", results.scoring.average)[0])


def _name(suite: Suite, row: Row, column: Column) -> str:
    """Return a row's label, with the source and the target where the suite has several that its runs differ by."""
    sources = {(other.task, other.source) for other in suite.columns}
    targets = [other for other in suite.columns if (other.task, other.source) == (column.task, column.source)]
    of_source = f" from {column.source}" if len(sources) > 1 else ""
    return row.label + of_source + (f" for {column.label}" if row.per_target and len(targets) > 1 else "")
