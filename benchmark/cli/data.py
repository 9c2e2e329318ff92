"""``bench data``: what is on disk, in which version, and prepared for training."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ssdg.datasets import TASKS
from ssdg.datasets.base import DataError, Domain, DomainLoader, Task
from ssdg.datasets.manifest import Manifest, read_manifest

from ..errors import UsageError, unknown
from ..settings import resolve_sections
from ..spec import PROTOCOLS
from . import options


@click.group()
def data() -> None:
    """Verify and prepare data sets, and write the phantom."""


@data.command()
@click.argument("names", nargs=-1, metavar="[DOMAIN]...")
@click.option("--task", help="Task id, or a TOML file that describes your own data.")
@options.data_root
@options.results_root
@options.as_json
def verify(names: tuple[str, ...], task: str | None, data_root: Path, results_root: Path, as_json: bool) -> None:
    """Count, measure and hash the cases of some domains; without names, of all that are on disk."""
    rows = []
    for name, loader in _domains(names, task).items():
        try:
            domain = loader(data_root)
        except DataError as error:
            if names:
                raise
            click.echo(f"{name}: {str(error).splitlines()[0]}", err=True)
            continue
        rows.append(_describe(name, domain, read_manifest(domain, results_root / "prepared" / "hashes.json")))
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        for row in rows:
            missing = f", image missing for {', '.join(row['missing'])}" if row["missing"] else ""
            strata = ", ".join(f"{count} {stratum}" for stratum, count in row["strata"].items())
            size = f"{row['bytes'] / 2**20:.1f} MiB"
            click.echo(
                f"{row['domain']}: {row['cases']} of {row['published']} cases ({strata}), {size}, "
                f"version {row['digest']}{missing}"
            )
    if not rows and not names:
        raise UsageError(f"no data set found under {data_root}: give --data-root, or set BENCH_DATA (see the README)")


def _domains(names: tuple[str, ...], task: str | None) -> dict[str, DomainLoader]:
    """Return the loaders of the named domains, or of all of a task, or of every task."""
    loaders = options.domain_loaders(*([options.find_task(task)] if task else TASKS.values()))
    for name in names:
        if name not in loaders:
            raise unknown("domain", name, loaders)
    return {name: loaders[name] for name in names or loaders}


def _describe(name: str, domain: Domain, manifest: Manifest) -> dict[str, Any]:
    return {
        "domain": name,
        "cases": len(domain.cases),
        "published": domain.published or len(domain.cases) + len(domain.missing),
        "missing": list(domain.missing),
        "strata": dict(Counter(case.stratum for case in domain.cases)),
        "bytes": manifest.bytes,
        "digest": manifest.digest,
        "licence": domain.licence,
        "source": domain.source,
    }


@data.command()
@click.argument("names", nargs=-1, required=True, metavar="DOMAIN...")
@click.option("--task", help="Task id or TOML file, where a domain is in several or your own.")
@click.option("--protocol", type=click.Choice(list(PROTOCOLS)), default="clean", show_default=True)
@options.settings
@options.data_root
@options.results_root
def prepare(names: Sequence[str], task: str | None, protocol: str, overrides: dict[str, str], **roots: Path) -> None:
    """Preprocess domains into the cache, ahead of a sweep; `bench run` prepares what is missing by itself."""
    from ..data.prepared import prepare_domain
    from ..data.run_data import DataSource, find_domain
    from ..progress import observer

    config = resolve_sections(protocol, overrides)[0]["preprocess"]
    source = DataSource(roots["data_root"], roots["results_root"] / "prepared")
    for name in names:
        its_task = options.find_task(task) if task else _task_of(name)
        with observer(name) as watcher:
            located = find_domain(its_task, name, source, watcher.log)
            domain = prepare_domain(
                located.domain, its_task, config, located.manifest.digest, source.cache, watcher.preparing
            )
        click.echo(f"{name}: {len(domain.ids)} cases prepared, version {domain.digest}")


def _task_of(domain: str) -> Task:
    tasks = {name: task for task in TASKS.values() for name in options.domain_loaders(task)}
    if domain not in tasks:
        raise unknown("domain", domain, tasks)
    return tasks[domain]


@data.command()
@click.option("--ndim", "ndims", multiple=True, type=click.Choice(["2", "3"]), default=("2",), show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@options.data_root
def phantom(ndims: tuple[str, ...], seed: int, data_root: Path) -> None:
    """Write the phantom task as real PNG (2D) or NIfTI (3D) files under the data root."""
    from ssdg.datasets.phantom import write_phantom

    for ndim in ndims:
        folder = write_phantom(data_root, 3 if ndim == "3" else 2, seed=seed)
        click.echo(f"phantom{ndim}d in {folder}")
