"""External rows of a suite, made by `bench score`: predictions of other programs, beside the runs."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast, get_args

from ..errors import UsageError
from ..spec import RunSpec
from ..storage.external import external_id, row_folder, scored_folder, stored_rows
from ..storage.files import read_object
from ..storage.results_reader import StoredEvaluation, StoredRun
from ..suites.suite import EXTERNAL, Access, Column, Plan, Planned, Row, Suite

UNSEEN = "external: predictions of another program, whose training was not seen by this harness"
"""Note under a table, at the mark of every external row."""


def external_rows(suite: Suite, results_root: Path) -> list[Row]:
    """Return the external rows of a suite that were scored in one of its columns and are not among its rows.

    Raises:
        UsageError: an external row and another have one id, or a damaged ``row.json``.
    """
    own, rows = {row.id: row for row in suite.rows}, []
    for folder, facts in stored_rows(results_root, suite.name):
        if not _is_scored(folder, suite.columns):
            continue
        row = external_row(**facts)
        if row.id not in own:
            rows.append(row)
        elif own[row.id].trained_here:
            raise UsageError(
                f"row {row.id!r} of suite {suite.name!r} has the id of an external row: rename one of them, or move "
                f"{folder} away"
            )
    return rows


def external_row(id: str, label: str, access: str, note: str) -> Row:
    """Return the row of another program's predictions; UsageError for an unknown access."""
    if access not in get_args(Access):
        raise UsageError(f"external row {id!r} has access {access!r}, not one of {', '.join(get_args(Access))}")
    return marked(Row(id=id, method=EXTERNAL, label=label, access=cast("Access", access), note=note))


def marked(row: Row) -> Row:
    """Return a row with the note that all external ones have."""
    if row.method != EXTERNAL or row.note.startswith(UNSEEN):
        return row
    return replace(row, note=f"{UNSEEN}; {row.note}" if row.note else UNSEEN)


def _is_scored(folder: Path, columns: Iterable[Column]) -> bool:
    seeds = [path for path in folder.iterdir() if path.is_dir()]
    places = {scored_folder(folder, 0, c.task, c.source, c.target).relative_to(folder / "s0") for c in columns}
    return any((seed / place / "DONE").exists() for seed in seeds for place in places)


def external_runs(plan: Plan, results_root: Path) -> tuple[list[StoredRun], list[str]]:
    """Return what is scored of a plan's external rows, as finished runs, and a message for what cannot be read."""
    runs: list[StoredRun] = []
    problems: list[str] = []
    for planned in plan.runs:
        if planned.row.method != EXTERNAL:
            continue
        folder = row_folder(results_root, plan.suite.name, planned.row.id)
        evaluations = []
        for column in planned.columns:
            place = (column.task, column.source, column.target)
            path = scored_folder(folder, planned.request.seed, *place)
            try:
                evaluation = _evaluation(path, plan.suite.name, planned, column) if (path / "DONE").exists() else None
            except (OSError, ValueError, KeyError, TypeError, UsageError) as error:
                problems.append(f"{path} cannot be read: {error}; score it again with --replace")
                continue
            evaluations += [evaluation] if evaluation is not None else []
        if evaluations:
            runs.append(_run(planned, folder / f"s{planned.request.seed}", evaluations))
    return runs, problems


def _evaluation(path: Path, suite: str, planned: Planned, column: Column) -> StoredEvaluation | None:
    """Return an evaluation; None where its labels were read by another variant than this protocol's."""
    data = read_object(path / "evaluation.json")
    if data["task_definition"] != planned.task_definition:
        raise UsageError("it was scored on another task of this name (dimensions, channels, classes or grid)")
    if data.get("regions", "") != planned.regions:
        raise UsageError("it was scored in other regions of the task")
    request = planned.request
    if data["corpus_callosum"] not in (None, request.preprocess.corpus_callosum):
        return None
    place: tuple[Any, ...] = (request.seed, request.task, request.source, request.target)
    data["train_id"] = external_id(suite, planned.row.id, *place)
    return StoredEvaluation(path=path, domain=column.target, data=data, **as_planned(planned))


def as_planned(planned: Planned) -> dict[str, Any]:
    """Return what a finished evaluation that was not made here is: what the plan asks for."""
    training, evaluation = planned.request.training, planned.request.evaluation
    return {
        **{"selection": training.selection, "resample": evaluation.resample, "done": True},
        **{"overlap": planned.request.overlap, "regions": planned.regions},
    }


def _run(planned: Planned, folder: Path, evaluations: Sequence[StoredEvaluation]) -> StoredRun:
    request = planned.request
    files = "; ".join(f"{evaluation.domain} {evaluation.data['eval_id']}" for evaluation in evaluations)
    config = {**request.method_settings, "predictions": files}
    spec = RunSpec.of_record(request, config, planned.task_definition)
    return StoredRun(folder, spec, "DONE", tuple(evaluations), str(evaluations[0].data["train_id"]), trained=False)
