"""Finding the stored runs and evaluations that a suite's cells need, without importing any method.

A stored run answers a request when everything that the request says is what the run did. Where the results folder
holds more than one answer (an older version of a method, other data under the same name) the newest version wins, and
different data are an error: a mean over them would mean nothing.
"""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import UsageError
from ..settings import convert
from ..spec import IDENTIFYING, JSON, RunRequest, RunSpec, to_json
from ..storage.results_reader import StoredEvaluation, StoredRun
from ..suites.suite import Planned

COMPARED = tuple(
    f.name for f in dataclasses.fields(RunRequest) if f.name not in ("protocol", "evaluation", "method_settings")
)
"""Fields of a request that must be equal; ``protocol`` is a name, the others are compared in their own way."""

EVALUATED_ON = ("manifest", "cases", "preprocess")
"""Fields of an evaluation that say which data it scored."""


def match_runs(plan: Sequence[Planned], runs: Iterable[StoredRun]) -> tuple[list[StoredRun | None], list[str]]:
    """Return the run that answers each planned request (None: there is none), and notes about what was left out.

    Raises:
        UsageError: runs that belong in one table were trained on different data; names the field and both folders.
    """
    index: defaultdict[tuple[Any, ...], list[StoredRun]] = defaultdict(list)
    for run in runs:
        index[_key(run.spec.request)].append(run)
    candidates = [
        [run for run in index[_key(p.request)] if settings_fit(p.request.method_settings, run.spec)] for p in plan
    ]
    candidates, foreign = _of_their_task(plan, candidates)
    newest, notes = _newest_versions(plan, candidates)
    matched = [
        _answer([run for run in runs_of if run.spec.method_version >= newest.get(planned.row.id, 0)])
        for planned, runs_of in zip(plan, candidates, strict=True)
    ]
    _require_same_data(matched)
    return matched, [*foreign, *notes]


def find_evaluation(run: StoredRun, domain: str, request: RunRequest) -> StoredEvaluation | None:
    """Return the finished evaluation of a run on a domain that the request's scoring half asks for.

    Raises:
        UsageError: two of them scored different data.
    """
    fields = (True, domain, request.training.selection, request.evaluation.resample)
    matching = [e for e in run.evaluations if (e.done, e.domain, e.selection, e.resample) == fields]
    require_same_evaluations(matching)
    return matching[0] if matching else None


def require_same_evaluations(evaluations: Sequence[StoredEvaluation], fields: Sequence[str] = EVALUATED_ON) -> None:
    """Raise UsageError where evaluations differ in a field that says which data were scored."""
    for other in evaluations[1:]:
        for name in fields:
            if other.data.get(name) != evaluations[0].data.get(name):
                raise _conflict(f"evaluations on {other.domain!r}", name, evaluations[0].path, other.path)


def settings_fit(settings: Mapping[str, JSON], spec: RunSpec) -> bool:
    """Return whether a run used these settings and the method's defaults elsewhere."""
    config = spec.method_config
    return set(spec.method_changed) <= set(settings) and all(
        key in config and _same_value(value, config[key]) for key, value in settings.items()
    )


def _same_value(value: Any, resolved: JSON) -> bool:
    """Compare a setting, perhaps the text of ``--set``, with its resolved value."""
    if isinstance(value, str) and not isinstance(resolved, str):
        if resolved is None:
            return value.lower() in ("none", "null")
        try:
            if isinstance(resolved, list):
                kind = type(resolved[0]) if resolved else str
                value = [convert(item, kind) for item in value.split(",")]
            else:
                value = convert(value, type(resolved))
        except (ValueError, TypeError):
            return False
    return bool(to_json(value) == resolved)


def _key(request: RunRequest) -> tuple[Any, ...]:
    return tuple(getattr(request, name) for name in COMPARED)


def _has_results(run: StoredRun) -> bool:
    return any(evaluation.done for evaluation in run.evaluations)


def _of_their_task(
    plan: Sequence[Planned], candidates: Sequence[Sequence[StoredRun]]
) -> tuple[list[list[StoredRun]], list[str]]:
    """Return the candidates trained on the planned task, and a note for each task of whose name there was another."""
    own = [
        [run for run in runs if run.spec.is_of(planned.task_definition)]
        for planned, runs in zip(plan, candidates, strict=True)
    ]
    foreign: Counter[str] = Counter()
    for planned, runs, kept in zip(plan, candidates, own, strict=True):
        foreign[planned.request.task] += len(runs) - len(kept)
    notes = [
        f"task {task!r}: {count} run{'' if count == 1 else 's'} left out, trained on another task of this name "
        "(dimensions, channels, classes or grid); give its file with --task FILE"
        for task, count in foreign.items()
        if count
    ]
    return own, notes


def _newest_versions(
    plan: Sequence[Planned], candidates: Sequence[Sequence[StoredRun]]
) -> tuple[dict[str, int], list[str]]:
    """Return the newest method version with results of each row, and a note for each row that has older ones.

    Per row, not per run: a mean over seeds never mixes versions.
    """
    versions: defaultdict[str, list[int]] = defaultdict(list)
    labels = {planned.row.id: planned.row.label for planned in plan}
    for planned, runs in zip(plan, candidates, strict=True):
        versions[planned.row.id] += [run.spec.method_version for run in runs if _has_results(run)]
    newest = {row: max(numbers) for row, numbers in versions.items() if numbers}
    notes = []
    for row, version in newest.items():
        older = [v for v in versions[row] if v < version]
        if older:
            notes.append(
                f"{labels[row]}: {len(older)} runs of version {min(older)} left out, version {version} is newer"
            )
    return newest, notes


def _answer(runs: Sequence[StoredRun]) -> StoredRun | None:
    scored = [run for run in runs if _has_results(run)]
    for other in scored[1:]:
        _require_equal(f"runs of {other.spec.request.method!r}", scored[0], other, IDENTIFYING)
    return next(iter(scored or runs), None)


def _require_same_data(runs: Iterable[StoredRun | None]) -> None:
    first: dict[tuple[Any, ...], StoredRun] = {}
    for run in runs:
        if run is None or not _has_results(run):
            continue
        request = run.spec.request
        reference = first.setdefault((request.task, request.source, request.fold), run)
        _require_equal(f"runs on source {request.source!r}", reference, run, ("source_manifest", "split"))


def _require_equal(what: str, first: StoredRun, second: StoredRun, fields: Sequence[str]) -> None:
    for name in fields:
        if getattr(first.spec, name) != getattr(second.spec, name):
            raise _conflict(what, name, first.path, second.path)


def _conflict(what: str, name: str, first: Any, second: Any) -> UsageError:
    return UsageError(
        f"{what} differ in {name} and cannot share a table: {first} and {second}; "
        "move the folder that is out of date elsewhere, or run the suite with another --results-root"
    )
