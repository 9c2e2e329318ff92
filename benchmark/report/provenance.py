"""Where the numbers of an export come from: the suite resolved in full, data, commits, versions, devices, time."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from ..outcomes.collect import Collected
from ..outcomes.plan import Item
from ..scoring.case_file import read_cases
from ..scoring.metric_file import stored_commits
from ..scoring.metrics import metrics
from ..spec import to_json
from ..storage.files import read_mapping
from ..storage.results_reader import StoredEvaluation
from ..suites.suite import Column, Inventory, Row, Suite


def provenance(
    collected: Collected,
    inventory: Inventory,
    items: Sequence[Item],
    runs: Sequence[Mapping[str, Any]],
    scored: Sequence[tuple[Item, Column, StoredEvaluation]],
) -> dict[str, Any]:
    """Return what ``provenance.json`` holds, but for the files it lists; equal results give equal data.

    No time but those recorded with the results, no path and no host enters.

    Args:
        collected: a suite's scores, those on held-out source cases among them.
        inventory: the methods and tasks there are.
        items: the suite's planned runs.
        runs: the rows of ``runs.csv``.
        scored: the evaluations that the scores come from.
    """
    suite, evaluations = collected.suite, [evaluation for _, _, evaluation in scored]
    date = max((str(one.data.get("finished") or "") for one in evaluations), default="")
    started = min((str(run["started"]) for run in runs if run["started"]), default="")
    return {
        "date": date,
        "started": started,
        "wall_seconds": _between(started, date),
        "training_seconds": _seconds(runs),
        "commits": {
            "trained": _distinct(run["commit"] for run in runs),
            "scored": _distinct(one.data.get("commit") for one in evaluations),
            "rescored": _rescored_at(evaluations),
        },
        "devices": _devices(runs),
        "versions": _versions(items),
        "suite": _suite(suite, inventory),
        "sections": to_json(suite.sections()),
        "rows": [_row(suite, row, items) for row in suite.rows],
        "data": [one for column in collected.columns if (one := _data(column, collected))],
        "measures": [measure.token for measure in metrics().values()],
    }


def _between(start: str, end: str) -> float | None:
    """Return the seconds from the first start of a run to the last evaluation; None where one is not recorded."""
    try:
        return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
    except (ValueError, TypeError):
        return None


def _suite(suite: Suite, inventory: Inventory) -> dict[str, Any]:
    described = {name: getattr(suite, name) for name in ("name", "title", "protocol", "published")}
    lists = {"seeds": suite.seeds, "settings": suite.settings, "components": suite.components}
    columns = [{**_json(column), "ndim": inventory.task(column.task).ndim} for column in suite.columns]
    return {**described, **{name: to_json(value) for name, value in lists.items()}, "columns": columns}


def _row(suite: Suite, row: Row, items: Iterable[Item]) -> dict[str, Any]:
    """Return a row with every setting resolved: its sections, and what its runs took the method's settings to be."""
    resolved, given = suite.resolved(row)
    ran: list[dict[str, Any]] = []
    for item in items:
        if item.run is not None and item.planned.row.id == row.id:
            spec = item.run.spec
            one = {"version": spec.method_version, "settings": to_json(spec.method_config)}
            ran += [one] if one not in ran else []
    return {**_json(row), "sections": to_json(resolved), "method_settings": to_json(given), "ran_as": ran}


def _json(value: Row | Column) -> dict[str, Any]:
    described = to_json(value)
    assert isinstance(described, dict)
    return described


def _data(column: Column, collected: Collected) -> dict[str, Any]:
    """Return which files and cases a column scored; nothing where it is not scored yet."""
    found = next((scores for scores in collected.of_column(column) if scores.seeds), None)
    if found is None:
        return {}
    where = {"task": column.task, "source": column.source, "target": column.target}
    return {**where, "manifest": found.evaluations[0].data.get("manifest"), **found.seeds[0].counts}


def _devices(runs: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    kinds: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for run in runs:
        if run["device"]:
            kinds.setdefault((str(run["device"]), str(run["threads"])), []).append(run)
    return [
        {"device": device, "threads": threads, "runs": len(found), "training_seconds": _seconds(found)}
        for (device, threads), found in sorted(kinds.items())
    ]


def _seconds(runs: Iterable[Mapping[str, Any]]) -> float:
    return round(sum(float(run["training_seconds"] or 0) for run in runs), 1)


def _versions(items: Iterable[Item]) -> dict[str, list[str]]:
    """Return the versions of each package that the runs were made with; as a rule one."""
    found: dict[str, set[str]] = {}
    for item in items:
        record = {} if item.run is None else read_mapping(item.run.path / "environment.json")
        for name, version in (record.get("versions") or {}).items():
            found.setdefault(name, set()).add(str(version))
    return {name: sorted(versions) for name, versions in sorted(found.items())}


def _rescored_at(evaluations: Iterable[StoredEvaluation]) -> list[str]:
    commits = (stored_commits(one.path, read_cases(one, "image")) for one in evaluations)
    return _distinct(commit for found in commits for commit in found)


def _distinct(values: Iterable[Any]) -> list[str]:
    return sorted({str(value) for value in values if value})
