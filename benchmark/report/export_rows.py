"""``cases.csv`` of an export: every count and score that a suite's tables are computed from."""

import csv
import io

from ..outcomes.planned_run import PlannedRun
from ..outcomes.results import SuiteResults
from ..outcomes.run_records import run_key, scored_evaluations
from ..scoring.case_file import CaseFile
from ..scoring.metric_file import stored_values
from ..scoring.metrics import DSC, REGIONS, mask_metrics
from ..storage.results_reader import StoredEvaluation
from ..storage.run_folder import CASE_COLUMNS
from ..suites.suite import Column

_COLUMNS = ("row", "seed", "task", "source", "target", "fold", "train_id", *CASE_COLUMNS, "dsc")


def cases_csv(results: SuiteResults) -> str:
    """Return a line for each run, target, case and class.

    Counts are those inside the foreground and outside of it. ``dsc`` (0..1) follows the suite's region and rule for
    empty classes. Metrics of masks are those of both regions, where `bench rescore` computed any; a value that is
    not defined is "nan", one that was not computed is empty.

    Raises:
        UsageError: a damaged results file.
    """
    evaluations = [(*scored, results.counts.case_file(scored[2])) for scored in scored_evaluations(results)]
    values = {
        (str(evaluation.path), f"{name}_{region}"): stored
        for _, _, evaluation, file in evaluations
        for region in REGIONS
        for name, stored in stored_values(evaluation.path, file, region).items()
    }
    names = {name for _, name in values}
    columns = [name for metric in mask_metrics() for region in REGIONS if (name := f"{metric}_{region}") in names]
    lines = [",".join((*_COLUMNS, *columns))]
    for run, column, evaluation, file in evaluations:
        prefix = _csv_line(_key(run, column, evaluation))
        dsc = _dsc(results, column, file)
        rescored = [values.get((str(evaluation.path), name), [None] * len(file.lines)) for name in columns]
        for line, score, *further in zip(file.lines, dsc, *rescored, strict=True):
            texts = "".join("," if value is None else f",{value:.6g}" for value in further)
            lines.append(f"{prefix},{line},{score:.6g}{texts}")
    return "\n".join(lines) + "\n"


def _key(run: PlannedRun, column: Column, evaluation: StoredEvaluation) -> list[object]:
    key = run_key(run)
    place = [key[name] for name in ("row", "seed", "task", "source")]
    return [*place, column.target, key["fold"], evaluation.data.get("train_id", "")]


def _dsc(results: SuiteResults, column: Column, file: CaseFile) -> list[float]:
    """Return the Dice coefficient of each row."""
    region = results.scoring.region_in(results.inventory.task(column.task).ndim)
    tp, fp, fn = file.in_region(region)
    values: list[float] = DSC.of_counts(tp, fp, fn, results.scoring.empty).tolist()
    return values


def _csv_line(values: list[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()
