"""Which cases of a suite a figure shows, and every row's stored prediction of each; nothing is predicted anew."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssdg.datasets.base import Domain, Task

from ..data.images import file_ndim
from ..errors import UsageError, unknown
from ..outcomes.planned_run import REASONS, PlannedRun, hole_reason
from ..outcomes.results import SuiteResults
from ..outcomes.scores import evaluation_scores
from ..storage.results_reader import StoredEvaluation
from ..storage.run_folder import prediction_path
from ..suites.suite import Column, Row
from ..tables.wording import row_label
from .case_view import ERRORS, class_colours, painted, pixel_errors, stored_prediction, view_case
from .predictions import Panel, Strip

OUTCOMES = {"true positive": "found (TP)", "false positive": "false (FP)", "false negative": "missed (FN)"}


def choose_case(results: SuiteResults, column: Column, wanted: Sequence[str]) -> tuple[str, str] | None:
    """Return the case to show of a target and why this one, None where no row has a result on it.

    Unless one of ``wanted`` is there: the case whose DSC is the median (the lower of two) of the source-only row, or
    of the first row with results where the suite has none, in the first seed that is there.
    """
    rows = sorted(results.suite.rows, key=lambda row: row.access != "source-only" or not row.contender)
    for row in rows:
        scored = list(scored_runs(results, row, column))
        if not scored:
            continue
        (first, evaluation), scores = scored[0], dict[str, float]()
        for run, other in scored:
            if run.request.seed == first.request.seed:
                scores |= _case_scores(results, column, other)
        for case in wanted:
            if case in scores:
                return case, f"{column.label}: case {case}, as asked for"
        ranked = sorted(scores, key=lambda case: (scores[case], case))
        case, count = ranked[(len(ranked) - 1) // 2], len(ranked)
        published = evaluation.data.get("counts", {}).get("published", count)
        counted = count if published == count else f"the {count} there are of {published}"
        by = f"whose DSC by {row.label} (seed {first.request.seed}) is the median of {counted} cases"
        return case, f"{column.label}: case {case}, {by}"
    return None


def _case_scores(results: SuiteResults, column: Column, evaluation: StoredEvaluation) -> dict[str, float]:
    """Return the DSC (0..1) of each case of an evaluation: the mean over its classes that are defined, else 0."""
    ndim = results.inventory.task(column.task).scored_ndim
    scores = evaluation_scores(results.counts.case_file(evaluation), results.scoring, ndim)
    return dict(zip(scores.cases, np.nan_to_num(scores.case_means()[0]).tolist(), strict=True))


def scored_runs(results: SuiteResults, row: Row, column: Column) -> Iterator[tuple[PlannedRun, StoredEvaluation]]:
    """Yield the runs of a row that are scored on a target, with their evaluations."""
    for run in results.counts.runs_of(row, column):
        if (evaluation := run.evaluation(column.target)) is not None:
            yield run, evaluation


def _reason(results: SuiteResults, row: Row, column: Column) -> str:
    without_runs = {"unavailable": "not in this version", "not-applicable": "does not apply"}
    reason = without_runs.get(results.counts.availability(row, column))
    return reason or hole_reason(results.counts.missing(row, column)) or REASONS["DONE"]


def make_strip(results: SuiteResults, column: Column, case: str, data_root: Path) -> tuple[Strip, Domain]:
    """Return the image, the label and every row's prediction of a case, and the domain it is of.

    Raises:
        DataError: the target is not under the data root, or a file of the case cannot be read.
        UsageError: the data there are not those that were scored.
    """
    task, sections = results.inventory.task(column.task), results.suite.sections()
    domain = task.domain(column.target)(data_root)
    cases = {labelled.id: labelled for labelled in domain.cases if labelled.label is not None}
    if case not in cases:
        raise unknown(f"labelled case of {column.target} under {data_root}", case, list(cases))
    view = view_case(cases[case], domain, task, sections["preprocess"])
    label, inside = view.plane(view.label), view.inside(sections["evaluation"].region)

    def panel(title: str, labels: NDArray[np.uint8], below: str) -> Panel:
        if len(task.classes) == 2:
            return Panel(title, painted(pixel_errors(label, labels, inside), ERRORS), below)
        return Panel(title, painted(labels, class_colours(task)), below, outline=label)

    def prediction(row: Row) -> Panel:
        for _, evaluation in scored_runs(results, row, column):
            scores = _case_scores(results, column, evaluation)
            if case not in scores:
                continue
            path = prediction_path(evaluation.path, case, file_ndim(task, domain))
            if not path.exists():
                return Panel(row_label(row), reason="prediction not kept")
            labels = stored_prediction(path, case, domain, view, results.counts.case_file(evaluation))
            return panel(row_label(row), view.plane(labels), f"{100 * scores[case]:.1f}")
        return Panel(row_label(row), reason=_reason(results, row, column))

    panels = [Panel("Image", view.picture()), panel("Label", label, "DSC (%)"), *map(prediction, results.suite.rows)]
    return Strip(f"{column.label}, case {case}", view.aspect, tuple(panels)), domain


def legend_of(tasks: Sequence[Task]) -> dict[str, str]:
    """Return what the colours of some tasks' panels mean."""
    of_errors = {name: ERRORS[key] for key, name in OUTCOMES.items()}
    legends = [of_errors if len(task.classes) == 2 else class_colours(task) for task in tasks]
    return {name: colour for legend in legends for name, colour in legend.items()}


def note_of(results: SuiteResults, tasks: Sequence[Task], cases: Sequence[str]) -> str:
    """Return what is written under the figure: the cases with their origin, what is shown, how it was scored."""
    scored = "inside the field of view" if results.suite.sections()["evaluation"].region == "foreground" else "whole"
    dimensions, rows = {task.scored_ndim for task in tasks}, results.suite.rows
    volumes = "Volumes: the axial slice with the most labelled voxels, lines: borders of the label."
    sentences = [*cases, *([volumes] if 3 in dimensions else [])]
    sentences += [f"Pictures are scored {scored}."] if 2 in dimensions else []
    sentences += ["‡ saw unlabelled target images."] if any(row.access == "uda" for row in rows) else []
    sentences += ["† checkpoint chosen on the target's labels."] if any(row.selection for row in rows) else []
    score = f"Under each prediction: DSC (%) of the case, first seed of the row, protocol {results.suite.protocol}."
    return " ".join([*sentences, score])


def require_cases(results: SuiteResults, wanted: Sequence[str]) -> None:
    """Raise UsageError for a case asked for that no target of the suite has scored."""
    scored = {
        case
        for column in results.suite.columns
        for row in results.suite.rows
        for _, evaluation in scored_runs(results, row, column)
        for case in results.counts.case_file(evaluation).layout.cases
    }
    for case in wanted:
        if scored and case not in scored:
            raise UsageError(str(unknown("scored case", case, scored)))
