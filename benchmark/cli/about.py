"""Verbs that inform: ``bench list``, ``info``, ``check`` and ``doctor``."""

import dataclasses
import itertools
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ssdg.datasets import TASKS
from ssdg.datasets.base import DataError, Task
from ssdg.methods import describe, registry
from ssdg.methods.networks import DEFAULT, network_registry

from .. import environment
from ..errors import UsageError
from ..launching.registry import SCHEDULERS
from ..launching.scheduler import Scheduler
from ..storage.files import free_bytes
from ..suites.suite_file import list_suites, load_suite
from . import options

Finding = tuple[str, bool, str]
"""Of ``bench doctor``: name, whether it is good, and text."""


@click.command("list")
@click.argument("what", type=click.Choice(["methods", "networks", "tasks", "targets", "suites"]))
@options.plugins
@options.as_json
def list_(what: str, as_json: bool, **_: Any) -> None:
    """List methods, networks, tasks, targets or suites."""
    listings = {"methods": _methods, "networks": _networks, "tasks": _tasks, "targets": _targets, "suites": _suites}
    rows = listings[what]()
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    lines = [[_cell(value) for value in row.values()] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    return ", ".join(value) or "-" if isinstance(value, list) else str(value)


def _methods() -> list[dict[str, Any]]:
    rows = []
    for name, entry in sorted(registry().items()):
        dimensions = " ".join(f"{n}D" for n in sorted(entry.ndims))
        of_method = {"id": name, "label": entry.label, "setting": entry.access, "dimensions": dimensions}
        place = f"{entry.module}:{entry.cls}"
        rows.append({**of_method, "sees or needs": list(entry.capabilities), "class": place})
    return rows


def _networks() -> list[dict[str, Any]]:
    return [
        {
            "id": name,
            "label": entry.label,
            "dimensions": " ".join(f"{n}D" for n in entry.ndims),
            "init_filters": f"init_filters: {entry.init_filters}",
            "class": f"{entry.module}:{entry.cls}",
        }
        for name, entry in network_registry().items()
    ]


def _tasks() -> list[dict[str, Any]]:
    rows = []
    for task in TASKS.values():
        grid = {"id": task.name, "dimension": f"{task.ndim}D", "shape": "x".join(map(str, task.shape))}
        names = {"classes": task.scored, "sources": task.sources, "targets": task.targets}
        rows.append({**grid, **{key: ", ".join(listed) for key, listed in names.items()}})
    return rows


def _targets() -> list[dict[str, Any]]:
    return [
        {"id": target, "task": task.name, "source": task.source_for(target)}
        for task in TASKS.values()
        for target in task.targets
    ]


def _suites() -> list[dict[str, Any]]:
    suites = [load_suite(name) for name in list_suites()]
    return [{"id": s.name, "rows": len(s.rows), "protocol": s.protocol, "title": s.title} for s in suites]


@click.command()
@click.argument("method", metavar="METHOD|TASK", shell_complete=options.completing(lambda: [*registry(), *TASKS]))
@options.plugins
@options.as_json
def info(method: str, as_json: bool, **_: Any) -> None:
    """Describe a method (its settings) or a task (its data).

    Of a method: each setting, its default and where that comes from. Of a task: files, terms, and what papers do.
    """
    if method in TASKS or options.task_file(method):
        _describe_task(method, as_json)
        return
    cls = options.method_class(method)
    fields = [
        {"setting": f"method.{f.name}", "default": f.default, **f.metadata} for f in dataclasses.fields(cls.Config)
    ]
    capabilities = list(describe(cls, cls.__module__).capabilities)
    if as_json:
        facts = {"method": method, "setting": cls.access, "sees or needs": capabilities, "settings": fields}
        click.echo(json.dumps(facts, indent=2, default=str))
        return
    click.echo(f"{method}: {(cls.__doc__ or '').strip()}\n")
    sees = "windows or whole images" if cls.windows else "whole images alone"
    able = " and ".join(f"{n}D" for n in sorted(cls.ndims))
    click.echo(f"setting {cls.access}, {able}, {sees}, version {cls.version}")
    click.echo(f"sees or needs beyond one labelled source image: {_cell(capabilities)}")
    for field in fields:
        click.echo(f"  {field['setting']} = {field['default']}")
        tuned = "; `bench tune` draws from {} to {}".format(*field["range"]) if "range" in field else ""
        click.echo(f"      {field.get('source', '')}{tuned}")
    if not fields:
        click.echo("  no settings")


def domain_facts(task: Task, name: str) -> dict[str, Any]:
    """Return what a task's file says of a domain: role, modality, where it is published, and its patterns."""
    loader = task.domain(name)
    facts, roles = loader.domain, {"source": task.sources, "target": task.targets}
    return {
        "domain": name,
        "role": " and ".join(role for role, names in roles.items() if name in names),
        "modality": facts.modality,
        "cases": facts.published,
        "published at": facts.source,
        "terms": facts.licence,
        "cite": facts.citation,
        **loader.patterns,
    }


def _describe_task(name: str, as_json: bool) -> None:
    task, file = options.find_task(name), options.task_file(name) or TASKS.path(name)
    domains = [domain_facts(task, name) for name in options.domain_loaders(task)]
    if as_json:
        click.echo(json.dumps({"task": task.name, "file": str(file), "domains": domains}, indent=2))
        return
    lines = file.read_text(encoding="utf-8").splitlines()
    comment = [line.lstrip("# ") for line in itertools.takewhile(lambda line: line.startswith("#"), lines)]
    click.echo("\n".join([f"{task.name}, {task.ndim}D: {', '.join(task.scored)}", *comment, f"file: {file}"]))
    for described in domains:
        click.echo(f"\n{described.pop('domain')} ({described.pop('role')})")
        for key, value in described.items():
            click.echo(f"  {key}: {value}")


@click.command()
@click.argument("method", metavar="METHOD|MODULE:CLASS", shell_complete=options.complete_method)
@click.option("--network", default=DEFAULT, show_default=True, help="Network to test on (`bench list networks`).")
@click.option("--device", default="cpu", show_default=True, help="cpu, or a GPU: auto, cuda, cuda:1.")
@options.plugins
@options.as_json
def check(method: str, network: str, device: str, as_json: bool, **_: Any) -> None:
    """Test a method against the contract, in 2D and 3D.

    Tiny drawn batches: finite losses and gradients, the same bits from the same seed (on a GPU the same numbers but
    for rounding), state that a checkpoint holds, windows, what it sees of labels. Exit code 1 if a check fails.
    """
    from ..training.build import find_device
    from ..training.contract import check_method

    results = check_method(options.method_class(method), network=network, device=find_device(device))
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(result) for result in results], indent=2))
    else:
        for result in results:
            click.echo(f"{'ok    ' if result.passed else 'FAILED'}  {result.name}  {result.message}".rstrip())
    failed = sum(not result.passed for result in results)
    click.echo(f"{len(results) - failed} of {len(results)} checks passed", err=as_json)
    sys.exit(1 if failed else 0)


@click.command()
@options.data_root
@options.results_root
@options.as_json
def doctor(data_root: Path, results_root: Path, as_json: bool) -> None:
    """Show versions, device, data found, folders and Slurm."""
    versions = ", ".join(f"{name} {value}" for name, value in environment.package_versions().items())
    findings: list[Finding] = [
        ("versions", "not installed" not in versions, versions),
        ("commit", True, environment.commit() or "not a checkout"),
        *_devices(),
        _writable("results", results_root),
        *_data(data_root),
        *(_scheduler(name, scheduler) for name, scheduler in SCHEDULERS.items()),
    ]
    if as_json:
        data = [dict(zip(("name", "good", "text"), finding, strict=True)) for finding in findings]
        click.echo(json.dumps(data, indent=2))
        return
    for name, good, text in findings:
        click.echo(f"{'ok  ' if good else 'note'}  {name}: {text}")


def _devices() -> Iterator[Finding]:
    try:
        import torch
    except ImportError:
        yield "device", False, "PyTorch is not installed: pip install torch"
        return
    yield "threads", True, f"{torch.get_num_threads()} of {environment.cores()} cores"
    if not torch.cuda.is_available():
        yield "device", False, "no usable GPU: runs use the CPU (the suites *-quick are made for it)"
        return
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    memory = torch.cuda.get_device_properties(0).total_memory / 2**30
    yield "device", True, f"{len(names)}: {', '.join(names)}; {memory:.0f} GiB on the first"


def _writable(name: str, folder: Path) -> Finding:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        return name, False, f"{folder} cannot be written ({error.strerror}): choose another --results-root"
    return name, True, f"{folder} is writable, {free_bytes(existing) / 2**30:.0f} GiB free"


def _data(root: Path) -> Iterator[Finding]:
    for name, load in options.domain_loaders(*TASKS.values()).items():
        try:
            domain = load(root)
        except DataError as error:
            yield f"data {name}", False, str(error).splitlines()[0]
            continue
        total = domain.published or len(domain.cases) + len(domain.missing)
        yield f"data {name}", len(domain.cases) == total, f"{len(domain.cases)} of {total} cases"


def _scheduler(name: str, scheduler: Scheduler) -> Finding:
    try:
        limits = scheduler.limits()
    except UsageError as error:
        return name, False, str(error)
    user = os.environ.get("USER", "?")
    return name, True, f"{limits.version}, user {user}, arrays of up to {limits.array_length}"
