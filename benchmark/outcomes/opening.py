"""Opening the results of a suite, from a results folder or from an export of one: the Python API."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ssdg.datasets.grammar import task_from_toml
from ssdg.methods import register_plugin

from ..environment import default_root
from ..suites.inventory import inventory_with
from ..suites.suite import Filters
from ..suites.suite_file import is_export, load_suite, require_own_columns
from .exported import Export
from .results import SuiteResults
from .stored_suite import open_suite, scan_plan


def open_results(  # noqa: PLR0913 - keyword arguments, each a filter of its own
    suite: str | Path,
    results_root: str | Path | None = None,
    *,
    methods: Sequence[str] | None = None,
    targets: Sequence[str] | None = None,
    sources: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    protocol: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    tasks: Sequence[str | Path] = (),
    plugins: Sequence[str | Path] = (),
) -> SuiteResults:
    """Return the results of a suite as data frames: ``.scores``, ``.table``, ``.runs`` and ``.history``.

    Args:
        suite: name of a suite, path of its TOML file, or the folder that `bench export` wrote.
        results_root: folder with the suite's runs, not needed for an export; None: ``$BENCH_RESULTS``, else
            ``results``.
        methods: rows, or methods for all their rows; None: all.
        targets: ids; None: all.
        sources: ids, or ``["all"]``: each against every other domain of its task; None: the suite's own columns.
        seeds: None: all.
        protocol: instead of the suite's own.
        overrides: settings on top of the suite's, as ``--set`` takes them: ``{"evaluation.region": "image"}``; an
            export takes no others than evaluation.region, .average and .empty, and neither protocol nor sources.
        tasks: TOML files of tasks of your own that the suite names; those in its file need no mention.
        plugins: Python files of methods of your own, likewise.

    Raises:
        UsageError: no such suite or name, runs on different data, or a damaged results file.
        MethodError: a plugin that cannot be imported.
    """
    listed = {"methods": methods, "targets": targets, "seeds": seeds}
    chosen: dict[str, Any] = {name: tuple(values) for name, values in listed.items() if values is not None}
    choice = Filters(protocol=protocol, overrides=overrides or {}, **chosen)
    loaded = None if is_export(suite) else load_suite(str(suite))
    for file in (*plugins, *(loaded.plugins if loaded else ())):
        register_plugin(Path(file), optional=True)
    files = (*tasks, *(loaded.tasks if loaded else ()))
    inventory = inventory_with(task_from_toml(Path(file)) for file in files)
    if loaded is None:
        require_own_columns(suite, sources)
        export = Export(Path(suite), inventory)
        return export.results(export.suite.plan(choice, export.inventory))
    root = Path(results_root or default_root("results"))
    plan = open_suite(loaded, sources, inventory, root).plan(choice, inventory)
    return SuiteResults(plan, *scan_plan(plan, root), root)
