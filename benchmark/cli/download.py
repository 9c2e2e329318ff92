"""``bench data download``: where each data set of the catalogue is published, and what is on disk."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from ssdg.datasets import TASKS
from ssdg.datasets.base import AbsentData, DataError, DomainLoader

from ..errors import unknown
from . import options
from .about import domain_facts

ORIGIN = ("published at", "terms", "cite")
FACTS = ("domain", "role", "modality", "cases", *ORIGIN)


@click.command()
@click.argument("names", nargs=-1, metavar="[DOMAIN|TASK]...", shell_complete=options.complete_domain)
@options.data_root
@options.as_json
def download(names: tuple[str, ...], data_root: Path, as_json: bool) -> None:
    """Print where data sets are published and under which terms.

    Nothing is downloaded and no connection is opened: each data set has an owner and terms to agree to. Unpack it
    below the data root as published; nothing has to be renamed. Without names, all data sets of the catalogue.
    """
    rows = list(_rows(names, data_root))
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    by_origin: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        by_origin.setdefault(tuple(row[key] for key in ORIGIN), []).append(row)
    click.echo("\n\n".join("\n".join(_lines(origin, each)) for origin, each in by_origin.items()))
    click.echo(f"\ndata root: {data_root} (--data-root or $BENCH_DATA); `bench data verify` reads every case")


def _rows(names: Iterable[str], root: Path) -> Iterator[dict[str, Any]]:
    domains = {name: task for task in TASKS.values() for name in options.domain_loaders(task)}
    for name in names:
        if name not in domains and name not in TASKS:
            raise unknown("domain or task", name, [*domains, *TASKS])
    for name, task in domains.items():
        if not names or name in names or task.name in names:
            facts = domain_facts(task, name)
            files = {key: facts.pop(key) for key in list(facts) if key not in FACTS}
            yield {"task": task.name, **facts, "files": files, **_presence(task.domain(name), root)}


def _presence(load: DomainLoader, root: Path) -> dict[str, Any]:
    """Return how many cases are on disk, and what is wrong with them."""
    try:
        return {"present": len(load(root).cases), "problem": None}
    except AbsentData:
        return {"present": 0, "problem": None}
    except DataError as error:
        return {"present": None, "problem": str(error).splitlines()[0]}


def _lines(origin: tuple[Any, ...], rows: list[dict[str, Any]]) -> Iterator[str]:
    yield ", ".join(row["domain"] for row in rows)
    for key, value in zip(ORIGIN, origin, strict=True):
        if value:
            yield f"  {key}: {value}"
    for row in rows:
        total = f" of {row['cases']}" if row["cases"] else ""
        state = row["problem"] or (f"{row['present']}{total} cases here" if row["present"] else "not here")
        yield f"  {row['domain']} (task {row['task']}): {state}"
        for key, pattern in row["files"].items():
            yield f"    {key}: {pattern}"
