"""Every source of a task against every other domain: the columns of a source × target matrix."""

from collections.abc import Sequence
from dataclasses import replace

from ssdg.datasets.base import Task

from ..errors import UsageError, unknown
from .inventory import Inventory
from .suite import Column, Suite

ALL = "all"

ARROW = " \N{RIGHTWARDS ARROW} "
"""Between source and target in the label of a column."""


def suite_across(suite: Suite, names: Sequence[str] | None, inventory: Inventory) -> Suite:
    """Return a suite with a column for each of these sources and every other domain of its task; None: as it is.

    ``("all",)`` is every domain. Labels and strata of a domain are those of the suite's column that has it as target.
    A domain whose files may lack labels is left out unless it is named here, or by a column. Published numbers are
    left out too: they belong to the suite's own columns.

    Raises:
        UsageError: a name that is no domain of the suite's tasks, or no task has a second domain to score.
    """
    if names is None:
        return suite
    by_task: dict[str, list[Column]] = {}
    for column in suite.columns:
        by_task.setdefault(column.task, []).append(column)
    tasks = [inventory.task(name) for name in by_task]
    every = {name for task in tasks for name in (*task.sources, *task.targets)}
    for name in names:
        if name != ALL and name not in every:
            raise unknown("source", name, every | {ALL})
    rows = [
        row for row in suite.rows if not suite.published or not row.trained_here or row.method in inventory.methods
    ]
    columns = [column for task in tasks for column in _of_task(by_task[task.name], names, task)]
    if not columns:
        raise UsageError(
            f"--sources scores each source on the other labelled domains of its task, and {', '.join(by_task)} has "
            "none: add a [domain.NAME] or [target.NAME] table to the task file, or leave --sources out"
        )
    return replace(suite, rows=tuple(rows), columns=tuple(columns), published=None)


def _of_task(columns: Sequence[Column], names: Sequence[str], task: Task) -> list[Column]:
    by_target = {column.target: column for column in columns}
    named = dict.fromkeys([*(column.source for column in columns), *by_target])
    others = (name for name in (*task.sources, *task.targets) if name in names or not _may_lack_labels(task, name))
    domains = [*dict.fromkeys((*named, *others))]
    labels: dict[str, str] = {name: name for name in domains}
    for column in columns:
        source, labels[column.target] = ends(column)
        labels[column.source] = source if labels[column.source] == column.source else labels[column.source]
    return [
        replace(
            by_target.get(target, replace(columns[0], strata=("all",))),
            source=source,
            target=target,
            label=f"{labels[source]}{ARROW}{labels[target]}",
        )
        for source in domains
        if ALL in names or source in names
        for target in domains
        if target != source
    ]


def _may_lack_labels(task: Task, domain: str) -> bool:
    loader = task.domain(domain)
    labelled = "images" not in loader.patterns or "labels" in loader.patterns  # a list of cases names labels too
    return not labelled or "labels" in getattr(loader, "optional", ())


def ends(column: Column) -> tuple[str, str]:
    """Return the printed names of a column's source and target."""
    source, arrow, target = column.label.partition(ARROW)
    return (source, target) if arrow else (column.source, column.label)
