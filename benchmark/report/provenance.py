"""Where the numbers of an export come from: the suite resolved in full, data, commits, versions, devices, time."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from ssdg.datasets.base import Task

from ..digests import canonical_json, to_json
from ..outcomes.counts import commits_of
from ..outcomes.frames import fold_text, scored_evaluations
from ..outcomes.planned_run import PlannedRun
from ..outcomes.results import SuiteResults
from ..scoring.metrics import mask_metrics, metrics
from ..suites.suite import Column, Row, Suite
from ..task_digests import regions_digest, task_digest

TRAINED_ON = ("source_manifest", "split", "target_manifest", "degrees")
"""Fields of a run that say which data it was trained on."""

SUITE = ("name", "title", "protocol", "published", "seeds", "settings", "components")


def provenance(results: SuiteResults, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what ``provenance.json`` holds, but for the files it lists; equal results give equal data.

    No time but those recorded with the results, no path and no host enters. ``runs`` are the rows of ``runs.csv``.
    """
    suite = results.suite
    evaluations = [evaluation for _, _, evaluation in scored_evaluations(results)]
    date = max((str(evaluation.data.get("finished") or "") for evaluation in evaluations), default="")
    started = min((str(run["started"]) for run in runs if run["started"]), default="")
    return {
        "date": date,
        "started": started,
        "wall_seconds": _between(started, date),
        "training_seconds": _seconds(runs),
        "commits": {
            "trained": _distinct(run["commit"] for run in runs),
            "scored": _distinct(commit for evaluation in evaluations for commit in commits_of(evaluation)),
            "rescored": _distinct(
                commit
                for evaluation in evaluations
                if evaluation.path in results.rescored
                for metric in mask_metrics().values()
                for commit in results.counts.masks(evaluation, metric).commits
            ),
        },
        "devices": _devices(runs),
        "versions": _versions(results.planned_runs),
        "suite": {
            **{name: getattr(suite, name) for name in SUITE},
            **({"note": suite.note} if suite.note else {}),
            "columns": [_column(column, results.inventory.task(column.task)) for column in suite.columns],
        },
        "sections": suite.sections(),
        "rows": [_row(suite, row, results.planned_runs) for row in suite.rows],
        "training": _training_data(results.planned_runs),
        "data": list(_data(results)),
        "measures": [metric.token for metric in metrics().values()],
    }


def _between(start: str, end: str) -> float | None:
    try:
        return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
    except (ValueError, TypeError):
        return None


def _column(column: Column, task: Task) -> dict[str, Any]:
    return {
        **{**asdict(column), "ndim": task.ndim, **({"sliced": True} if task.sliced else {})},
        **{"definition": task_digest(task), "regions": regions_digest(task)},
    }


def _row(suite: Suite, row: Row, runs: Iterable[PlannedRun]) -> dict[str, Any]:
    sections, overrides = suite.resolved(row)
    ran: list[dict[str, Any]] = []
    for stored in (run.stored for run in runs if run.stored is not None and run.row.id == row.id):
        spec, plugins = stored.spec, stored.environment.get("plugins")
        config = {"version": spec.method_version, "settings": spec.method_config, "changed": spec.method_changed}
        config |= {"pipeline": spec.pipeline, **({"weights": w} if (w := spec.network_weights) else {})}
        config |= {"plugins": plugins} if plugins else {}
        ran += [config] if config not in ran else []
    return {**asdict(row), "sections": sections, "method_settings": overrides, "ran_as": ran}


def _training_data(runs: Iterable[PlannedRun]) -> list[dict[str, Any]]:
    """Return which versions of which data were trained on, an entry for each source, fold and adapted target."""
    entries: dict[str, dict[str, Any]] = {}
    for run in runs:
        if run.stored is not None and run.row.trained_here:
            spec, request = run.stored.spec, run.request
            place = {"task": request.task, "source": request.source, "target": request.target or ""}
            entry = {**place, "fold": fold_text(request), **{name: getattr(spec, name) for name in TRAINED_ON}}
            entries[canonical_json(to_json(entry))] = entry
    return list(entries.values())


def _data(results: SuiteResults) -> Iterator[dict[str, Any]]:
    for column in results.columns(validation=True):
        place = {"task": column.task, "source": column.source, "target": column.target}
        for scores in [scores for scores in results.of_column(column) if scores.seeds][:1]:
            yield {**place, "manifest": scores.evaluations[0].data.get("manifest"), **scores.counts[0]}


def _devices(runs: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    kinds: defaultdict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for run in runs:
        if run["device"]:
            kinds[str(run["device"]), str(run["threads"])].append(run)
    return [
        {"device": device, "threads": threads, "runs": len(of_kind), "training_seconds": _seconds(of_kind)}
        for (device, threads), of_kind in sorted(kinds.items())
    ]


def _seconds(runs: Iterable[Mapping[str, Any]]) -> float:
    return round(sum(float(run["training_seconds"] or 0) for run in runs), 1)


def _versions(runs: Iterable[PlannedRun]) -> dict[str, list[str]]:
    versions: defaultdict[str, set[str]] = defaultdict(set)
    for run in runs:
        record = {} if run.stored is None else run.stored.environment
        for name, version in (record.get("versions") or {}).items():
            versions[name].add(str(version))
    return {name: sorted(of_name) for name, of_name in sorted(versions.items())}


def _distinct(values: Iterable[Any]) -> list[str]:
    return sorted({str(value) for value in values if value})
