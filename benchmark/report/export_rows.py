"""``cases.csv`` of an export: every count and score that a suite's tables are computed from."""

import csv
import io
from collections.abc import Iterator

from ..outcomes.planned_run import PlannedRun
from ..outcomes.results import SuiteResults
from ..outcomes.run_records import run_key, scored_evaluations
from ..outcomes.scores import evaluation_scores
from ..scoring.shape_file import REGIONS, SHAPES, current_values
from ..storage.results_reader import StoredEvaluation
from ..storage.run_folder import CASE_COLUMNS
from ..suites.suite import Column

_COLUMNS = ("row", "seed", "task", "source", "target", "fold", "train_id", *CASE_COLUMNS, "dsc")

_SHAPES = tuple(f"{name}_{region}" for name in SHAPES for region in REGIONS)


def cases_csv(results: SuiteResults) -> str:
    """Return a line for each run, target, case and class.

    Counts are those inside the foreground and outside of it. ``dsc`` (0..1) follows the suite's region and rule for
    empty classes. Metrics of masks are those of both regions, where `bench rescore` computed any; a value that is
    not defined is "nan", one that was not computed is empty.

    Raises:
        UsageError: a damaged results file.
    """
    evaluations = list(scored_evaluations(results))
    shapes = {
        str(evaluation.path): current_values(evaluation.path, results.counts.case_file(evaluation).lines)
        for _, _, evaluation in evaluations
    }
    there = {name for rows in shapes.values() for row in rows.values() for name, value in row.items() if value}
    columns = [name for name in _SHAPES if name in there]
    lines = [",".join((*_COLUMNS, *columns))]
    for run, column, evaluation in evaluations:
        values = shapes[str(evaluation.path)]
        for line, counts in _lines(results, run, column, evaluation):
            row = values.get(line, {})
            lines.append(",".join((counts, *(row.get(name, "") for name in columns))))
    return "\n".join(lines) + "\n"


def _lines(
    results: SuiteResults, run: PlannedRun, column: Column, evaluation: StoredEvaluation
) -> Iterator[tuple[str, str]]:
    """Yield each row of an evaluation's ``cases.csv``, and the same as a row of the export's, up to the score."""
    file = results.counts.case_file(evaluation)
    scores = evaluation_scores(file, results.scoring, results.inventory.task(column.task).ndim)
    dsc = dict(zip(file.layout.order.tolist(), scores.values.ravel().tolist(), strict=True))
    key = run_key(run)
    place = [key[name] for name in ("row", "seed", "task", "source")]
    prefix = _csv_line([*place, column.target, key["fold"], evaluation.data.get("train_id", "")])
    for position, line in enumerate(file.lines):
        yield line, f"{prefix},{line},{dsc[position]:.6g}"


def _csv_line(values: list[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()
