"""Where the numbers of an export come from: the suite resolved in full, data, commits, versions, devices, time."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from ..outcomes.frames import scored_evaluations
from ..outcomes.planned_run import PlannedRun
from ..outcomes.results import SuiteResults
from ..scoring.metrics import mask_metrics, metrics
from ..spec import to_json
from ..suites.suite import Column, Inventory, Row, Suite


def provenance(results: SuiteResults, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what ``provenance.json`` holds, but for the files it lists; equal results give equal data.

    No time but those recorded with the results, no path and no host enters.

    Args:
        results: of the suite.
        runs: the rows of ``runs.csv``.
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
            "scored": _distinct(evaluation.data.get("commit") for evaluation in evaluations),
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
        "suite": _suite(suite, results.inventory),
        "sections": to_json(suite.sections()),
        "rows": [_row(suite, row, results.planned_runs) for row in suite.rows],
        "data": [data for column in results.columns(validation=True) if (data := _data(column, results))],
        "measures": [metric.token for metric in metrics().values()],
    }


def _between(start: str, end: str) -> float | None:
    try:
        return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
    except (ValueError, TypeError):
        return None


def _suite(suite: Suite, inventory: Inventory) -> dict[str, Any]:
    names = ("name", "title", "protocol", "published", "seeds", "settings", "components")
    columns = [{**_json(column), "ndim": inventory.task(column.task).ndim} for column in suite.columns]
    return {**{name: to_json(getattr(suite, name)) for name in names}, "columns": columns}


def _row(suite: Suite, row: Row, runs: Iterable[PlannedRun]) -> dict[str, Any]:
    """Return a row with every setting resolved: its sections, and what its runs took the method's settings to be."""
    sections, overrides = suite.resolved(row)
    ran: list[dict[str, Any]] = []
    for spec in (run.stored.spec for run in runs if run.stored is not None and run.row.id == row.id):
        config = {"version": spec.method_version, "settings": to_json(spec.method_config)}
        ran += [config] if config not in ran else []
    return {**_json(row), "sections": to_json(sections), "method_settings": to_json(overrides), "ran_as": ran}


def _json(value: Row | Column) -> dict[str, Any]:
    described = to_json(value)
    assert isinstance(described, dict)
    return described


def _data(column: Column, results: SuiteResults) -> dict[str, Any]:
    """Return which files and cases a column scored; nothing where it is not scored yet."""
    scores = next((scores for scores in results.of_column(column) if scores.seeds), None)
    if scores is None:
        return {}
    place = {"task": column.task, "source": column.source, "target": column.target}
    return {**place, "manifest": scores.evaluations[0].data.get("manifest"), **scores.counts[0]}


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
