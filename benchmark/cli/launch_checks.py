"""What is checked before a sweep starts anything: its options, its requests, and the data on this machine."""

import functools
from collections.abc import Sequence
from typing import Any

import click
from click.core import ParameterSource

from ssdg.datasets.base import AbsentData, DataError, Task
from ssdg.methods import METHODS, MethodError, load_method

from ..errors import UsageError, listed
from ..launching.cluster import OPTIONS
from ..outcomes.answering import PresentData
from ..outcomes.planned_run import PlannedRun
from ..settings import fixed_grid
from ..spec import NetworkConfig, RunRequest
from ..suites.inventory import Inventory
from ..training.runtime import Runtime
from .selection import Selection

ROWS = 3
"""Rows that a message names."""

OF_SCHEDULERS = {"profile", *(option.name for option in OPTIONS)} - {"cpus"}
"""Options that a launcher of this machine does not take."""


def from_command_line(names: set[str]) -> dict[str, str]:
    """Return parameter -> flag of those options of the running command that its command line has."""
    context = click.get_current_context()
    return {
        parameter.name: parameter.opts[0]
        for parameter in context.command.params
        if parameter.name in names and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
    }


def check_options(launch: dict[str, Any]) -> None:
    """Refuse options that the launcher would not take."""
    if launch["scheduler"] is None and (flags := from_command_line(OF_SCHEDULERS)):
        raise UsageError(
            f"{', '.join(flags.values())}: for a cluster, and these runs would start on this machine: add "
            "--launcher slurm, or leave the options out"
        )
    if launch["scheduler"] is not None and from_command_line({"jobs"}):
        raise UsageError(
            "--jobs counts the runs of this machine: on a cluster, --max-parallel limits the allocations and --pack "
            "says how many runs share one"
        )


def present_data(selection: Selection, runtime: Runtime) -> PresentData:
    """Return the versions of the domains that are on this machine; files hashed before are not read again."""
    from ..data.run_data import DataSource, find_domain  # imports numpy

    source = DataSource(runtime.data_root, runtime.prepared)

    @functools.cache
    def manifest_of(task: str, domain: str) -> str | None:
        try:
            located = find_domain(selection.inventory.task(task), domain, source, lambda _gap: None)
        except (DataError, UsageError):  # a run of it would say more
            return None
        return located.manifest.digest

    return PresentData(manifest_of)


def outdated_lines(data: PresentData, runtime: Runtime, exports: Sequence[str] = ()) -> list[str]:
    """Return, for each changed domain, how many results do not count and how they are parted from the others."""
    lines, runs = [], runtime.results_root / "runs"
    for (domain, stored, present), folders in data.outdated.items():
        exported = {folder for folder in folders if any(folder.is_relative_to(export) for export in exports)}
        named = f"move them away; `grep -rlZ {stored} {runs} --include=*.json | xargs -0 dirname` names folders"
        taken_out = "an export of other files belongs in another table, take it out of `exports`"
        way_out = "; ".join([named] * (exported != folders) + [taken_out] * bool(exported))
        lines.append(
            f"{domain} has changed under {runtime.data_root} ({stored}, now {present}): {len(folders)} runs and "
            f"evaluations of its earlier files do not count. Tables refuse two versions of a domain: {way_out}"
        )
    return lines


def check_runs(pending: Sequence[PlannedRun], inventory: Inventory, runtime: Runtime, here: bool) -> None:
    """Refuse what would end runs before their first step, as `bench run` does, before anything is started.

    ``here``: the runs read their data on this machine, now; elsewhere a data set may be that is not on this one.
    """
    from ..data.run_data import DataSource, divide_cases, domain_names, load_domain  # imports numpy

    source = DataSource(runtime.data_root, runtime.prepared, runtime.strict)
    load = functools.cache(lambda task, name: load_domain(inventory.task(task), name, source, lambda _gap: None))
    faults: dict[str, list[str]] = {}
    kinds = {(r.row.id, r.request.task, r.request.source, r.targets, r.request.fold): r for r in pending}
    for run in kinds.values():  # runs that differ in the seed alone have the same faults
        request = run.request
        try:
            _check_request(request, inventory.task(request.task))
            domains = {name: load(request.task, name) for name in domain_names(request, run.targets)}
            divide_cases(request, domains, run.targets)
        except (UsageError, DataError, MethodError) as error:
            if here or not isinstance(error, AbsentData):
                faults.setdefault(str(error), []).append(run.row.id)
    if faults:
        texts = [f"row {listed(list(dict.fromkeys(rows)), ROWS)}: {text}" for text, rows in faults.items()]
        raise UsageError("\n".join(["nothing is started, because runs would fail:", *texts]))


def _check_request(request: RunRequest, task: Task) -> None:
    fixed_grid(task, request.preprocess)
    training, network = request.training, request.network
    default_network = network == NetworkConfig(init_filters=network.init_filters)
    whole = training.window is None and training.batch_size > 1
    if request.method in METHODS and whole and default_network and not request.method_settings:
        return  # every built-in method takes it: two seconds for torch are saved
    from ..training.build import check_request  # imports torch

    check_request(request, task, load_method(request.method))
