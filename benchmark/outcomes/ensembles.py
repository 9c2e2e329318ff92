"""Ensembles of a suite, made by `bench ensemble`: rows of one prediction a case, beside the runs they average."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..digests import JSON
from ..errors import UsageError
from ..spec import RunSpec
from ..storage.ensembles import ensemble_folder, ensemble_id, has_weights_of, stored_ensembles
from ..storage.results_reader import StoredRun, read_evaluations
from ..storage.run_folder import folder_name
from ..suites.ensemble_row import EnsembleRow, make_ensemble_row
from ..suites.suite import Column, Filters, Plan, Suite
from .planned_run import PlannedRun, match_plan, require_one_version


@dataclass(frozen=True, slots=True)
class Members:
    """The runs that an ensemble averages, by the seed, and the columns that they score."""

    columns: tuple[Column, ...]
    runs: dict[int, PlannedRun]

    @property
    def train_id(self) -> str | None:
        """Identity of their ensemble; None while one is not trained."""
        stored = [run.stored for run in self.runs.values() if run.stored is not None and run.trained]
        return ensemble_id(run.train_id for run in stored) if len(stored) == len(self.runs) else None


def ensemble_rows(suite: Suite, results_root: Path) -> list[EnsembleRow]:
    """Return the ensembles of a suite's rows that were scored in one of its columns.

    Raises:
        UsageError: an ensemble and a row have one id, or a damaged ``row.json``.
    """
    rows, made = {row.id: row for row in suite.rows}, []
    for stored in stored_ensembles(results_root, suite.name):
        scored = (stored.folder.glob(f"evaluations/{folder_name(c.target)}-*/DONE") for c in suite.columns)
        if stored.base not in rows or not any(any(paths) for paths in scored):
            continue
        if stored.id in rows:
            raise UsageError(
                f"row {stored.id!r} of suite {suite.name!r} has the id of an ensemble: rename it, or move "
                f"{stored.folder} away"
            )
        made.append(make_ensemble_row(stored.id, rows[stored.base], stored.members, stored.protocols))
    return made


def members_of(plan: Plan, row: EnsembleRow, stored: Sequence[StoredRun]) -> Iterator[Members]:
    """Yield the runs behind an ensemble, for each group of columns that the same runs score.

    Raises:
        UsageError: runs that belong in one table were trained on different data.
    """
    base = replace(plan.suite, rows=(row.base,), seeds=row.members).plan(Filters(), plan.inventory)
    groups: dict[tuple[Column, ...], dict[int, PlannedRun]] = {}
    runs = match_plan(base.runs, stored)[0]
    require_one_version(runs)
    for run in runs:
        groups.setdefault(run.columns, {})[run.request.seed] = run
    yield from (Members(columns, runs) for columns, runs in groups.items())


def ensemble_runs(plan: Plan, stored: Sequence[StoredRun], results_root: Path) -> tuple[list[StoredRun], list[str]]:
    """Return what is scored of a plan's ensembles, as finished runs, and a message for what cannot be read.

    Only ensembles of the runs that now answer the base row count: those of runs that were replaced do not.
    """
    runs: list[StoredRun] = []
    problems: list[str] = []
    for row in (row for row in plan.suite.rows if isinstance(row, EnsembleRow)):
        folder = ensemble_folder(results_root, plan.suite.name, row.id)
        try:
            evaluations = read_evaluations(folder)
            groups = {members.columns: members for members in members_of(plan, row, stored)}
        except (OSError, UsageError) as error:
            problems.append(str(error))
            continue
        for planned in (planned for planned in plan.runs if planned.row is row):
            members = groups.get(planned.columns)
            if members is None or (train_id := members.train_id) is None:
                continue
            of_seeds = ((seed, run.stored) for seed, run in members.runs.items())
            ids: dict[str, JSON] = {str(seed): run.train_id for seed, run in of_seeds if run is not None}
            config: dict[str, JSON] = {**planned.request.method_settings, "members": ids}
            spec = RunSpec.of_record(planned.request, config, planned.task_definition)
            paths = [run.stored.path for run in members.runs.values() if run.stored is not None]
            current = (e for e in evaluations if e.done and e.data.get("train_id") == train_id)
            scored = tuple(e for e in current if has_weights_of(e.data, paths))
            runs += [StoredRun(folder, spec, "DONE", scored, train_id, trained=False)] if scored else []
    return runs, problems
