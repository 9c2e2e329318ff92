"""Verbs that inform: ``bench list``, ``info``, ``check``."""

import dataclasses
import json
import sys
from typing import Any

import click

from ssdg.datasets import TASKS
from ssdg.methods import registry

from ..suites.suite_file import list_suites, load_suite
from . import options


@click.command("list")
@click.argument("what", type=click.Choice(["methods", "tasks", "targets", "suites"]))
@options.plugins
@options.as_json
def list_(what: str, as_json: bool, **_: Any) -> None:
    """List methods, tasks, targets or suites."""
    rows = {"methods": _methods, "tasks": _tasks, "targets": _targets, "suites": _suites}[what]()
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    widths = [max(len(str(row[key])) for row in rows) for key in rows[0]]
    for row in rows:
        cells = [str(value).ljust(width) for value, width in zip(row.values(), widths, strict=True)]
        click.echo("  ".join(cells).rstrip())


def _methods() -> list[dict[str, Any]]:
    return [
        {
            "id": name,
            "label": entry.label,
            "setting": entry.access,
            "dimensions": " ".join(f"{n}D" for n in sorted(entry.ndims)),
            "class": f"{entry.module}:{entry.cls}",
        }
        for name, entry in sorted(registry().items())
    ]


def _tasks() -> list[dict[str, Any]]:
    return [
        {
            "id": task.name,
            "dimension": f"{task.ndim}D",
            "shape": "x".join(map(str, task.shape)),
            "classes": ", ".join(task.classes[1:]),
            "sources": ", ".join(task.sources),
            "targets": ", ".join(task.targets),
        }
        for task in TASKS.values()
    ]


def _targets() -> list[dict[str, Any]]:
    return [
        {"id": target, "task": task.name, "source": task.source} for task in TASKS.values() for target in task.targets
    ]


def _suites() -> list[dict[str, Any]]:
    suites = [load_suite(name) for name in list_suites()]
    return [{"id": s.name, "rows": len(s.rows), "protocol": s.protocol, "title": s.title} for s in suites]


@click.command()
@click.argument("method")
@options.plugins
@options.as_json
def info(method: str, as_json: bool, **_: Any) -> None:
    """Describe a method: its settings with defaults and their sources."""
    cls = options.method_class(method)
    fields = [
        {"setting": f"method.{f.name}", "default": f.default, "source": f.metadata.get("source", "")}
        for f in dataclasses.fields(cls.Config)
    ]
    if as_json:
        click.echo(json.dumps({"method": method, "setting": cls.access, "settings": fields}, indent=2, default=str))
        return
    click.echo(f"{method}: {(cls.__doc__ or '').strip()}\n")
    click.echo(f"setting {cls.access}, {' and '.join(f'{n}D' for n in sorted(cls.ndims))}, version {cls.version}")
    for field in fields:
        click.echo(f"  {field['setting']} = {field['default']}")
        click.echo(f"      {field['source']}")
    if not fields:
        click.echo("  no settings")


@click.command()
@click.argument("method", metavar="MODULE:CLASS")
@options.plugins
@options.as_json
def check(method: str, as_json: bool, **_: Any) -> None:
    """Run the contract suite on a method, registered or your own, in 2D and 3D."""
    from ..training.contract import check_method

    results = check_method(options.method_class(method))
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(result) for result in results], indent=2))
    else:
        for result in results:
            click.echo(f"{'ok    ' if result.passed else 'FAILED'}  {result.name}  {result.message}".rstrip())
    failed = sum(not result.passed for result in results)
    click.echo(f"{len(results) - failed} of {len(results)} checks passed", err=as_json)
    sys.exit(1 if failed else 0)
