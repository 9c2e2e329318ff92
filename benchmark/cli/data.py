"""``bench data``: what is on disk, in which version, and prepared for training."""

import json
import re
import shlex
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ssdg.datasets import TASKS
from ssdg.datasets.base import AbsentData, DataError, Domain, Task
from ssdg.datasets.manifest import Manifest, read_manifest, require_apart
from ssdg.datasets.partition import held_out

from ..errors import USAGE, UsageError, unknown
from ..settings import resolve_sections
from ..spec import PreprocessConfig
from ..storage.run_folder import VALIDATION
from . import options
from .selection import echo_lines


@click.group()
def data() -> None:
    """Data sets: new, download, verify, prepare, phantom."""


@data.command()
@click.argument("names", nargs=-1, metavar="[DOMAIN]...", shell_complete=options.complete_domain)
@click.option("--task", help="Only this task: its id, or the TOML file of your own.")
@click.option("--quick", is_flag=True, help="Count and hash, and decode no file.")
@click.option(
    "--pictures", type=options.OUTPUT_FOLDER, help="Folder for PNGs of three cases a domain, label over image."
)
@options.protocol
@options.settings
@options.data_root
@options.results_root
@options.as_json
def verify(
    names: tuple[str, ...], task: str | None, quick: bool, pictures: Path | None, as_json: bool, **values: Any
) -> None:
    """Count, hash and read every case of domains.

    Every case is prepared as for training, and nothing is kept. Without names: all domains that are on disk. Ends
    with exit code 2 if a domain is broken, or if one that is named, or is of a task FILE, is not on disk.
    """
    if quick and pictures is not None:
        raise UsageError("--quick decodes nothing, so that there is nothing for --pictures: leave one of them out")
    config = resolve_sections(values.pop("protocol"), values.pop("overrides"))[0]["preprocess"]
    needed = bool(names) or options.task_file(task) is not None
    rows, broken = [], False
    for name, its_task in _tasks_of(names, task).items():
        try:
            row = _verified(name, its_task, quick, pictures, config, values)
        except DataError as error:
            if isinstance(error, AbsentData) and not needed:
                click.echo(f"{name}: {str(error).splitlines()[0]}", err=True)
                continue
            row = {"domain": name, "error": str(error)}
        rows.append(row)
        broken |= "error" in row or bool(row.get("failures"))
        if not as_json:
            _print_row(row)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    if pictures is not None and pictures.is_dir():
        click.echo(f"pictures, label over image, are in {pictures.resolve()}", err=as_json)
    if not rows:
        root = values["data_root"]
        raise UsageError(f"no data set found under {root}: give --data-root, or set BENCH_DATA (see the README)")
    if broken:
        sys.exit(USAGE)


def _tasks_of(names: Sequence[str], task: str | None) -> dict[str, Task]:
    """Return the task of each named domain, or of all domains of a task, or of every task."""
    tasks = {
        name: owner
        for owner in ([options.find_task(task)] if task else TASKS.values())
        for name in options.domain_loaders(owner)
    }
    for name in names:
        if name not in tasks:
            raise unknown("domain", name, tasks)
    return {name: tasks[name] for name in names or tasks}


def _verified(
    name: str, task: Task, quick: bool, pictures: Path | None, config: PreprocessConfig, roots: dict[str, Path]
) -> dict[str, Any]:
    """Return what is said of a domain."""
    start = time.perf_counter()
    domain = task.domain(name)(roots["data_root"])
    manifest = read_manifest(domain, roots["results_root"] / "prepared" / "hashes.json")
    row = _describe(name, domain, manifest)
    row["failures"] = {}
    if name in task.sources and len(domain.cases) > 1:  # a single case may be there to try the file out
        try:
            unseen = held_out(domain)
            require_apart(manifest, {case.id for case in domain.cases}.difference(unseen), unseen)
        except DataError as error:
            row["failures"] = {"": f"{name} cannot be a source: {error}"}
    if quick:
        return row
    from ..data.survey import summary, survey_domain
    from ..progress import BarDisplay, open_display

    with open_display(name) as display:
        on_case = [display.preparing] if isinstance(display, BarDisplay) else []
        survey = survey_domain(domain, task, config, *on_case)
    if pictures is not None:
        from PIL import Image

        from ..figures.case_sheet import case_sheet

        pictures.mkdir(parents=True, exist_ok=True)
        for kind, (case, prepared) in survey.shown.items():
            Image.fromarray(case_sheet(prepared, task)).save(pictures / f"{name}-{kind}-{case}.png")
    seconds = round(time.perf_counter() - start, 2)
    whole = [reasons[""] for reasons in (row["failures"], survey.failures) if "" in reasons]
    failures = {**survey.failures, "": "\n".join(whole)} if whole else survey.failures
    return {**row, "failures": failures, "summary": summary(survey, task), "seconds": seconds}


def _print_row(row: dict[str, Any]) -> None:
    if "error" in row:
        click.echo(f"{row['domain']}: {row['error']}", err=True)
        return
    gaps = f", image or label missing for {', '.join(row['missing'])}" if row["missing"] else ""
    gaps += f", {row['unlabelled']} without label" if row["unlabelled"] else ""
    strata = ", ".join(f"{count} {stratum}" for stratum, count in row["strata"].items())
    duration = f", {row['seconds']:.1f} s" if "seconds" in row else ""
    click.echo(
        f"{row['domain']}: {row['cases']} of {row['published']} cases ({strata}), {row['bytes'] / 2**20:.1f} MiB, "
        f"version {row['digest']}{gaps}{duration}"
    )
    if row.get("summary"):
        click.echo(row["summary"])
    if failures := row.get("failures"):
        lines = [f"case {case}: {reason}" for case, reason in failures.items() if case]
        if lines:
            echo_lines(f"{row['domain']}: {len(lines)} of {row['cases']} cases cannot be used", lines)
        if whole := failures.get(""):
            click.echo(f"bench: {whole}", err=True)


def _describe(name: str, domain: Domain, manifest: Manifest) -> dict[str, Any]:
    return {
        "domain": name,
        "cases": len(domain.cases),
        "published": domain.published or len(domain.cases) + len(domain.missing),
        "missing": list(domain.missing),
        "unlabelled": sum(case.label is None for case in domain.cases),
        "strata": dict(Counter(case.stratum for case in domain.cases)),
        "bytes": manifest.bytes,
        "digest": manifest.digest,
        "licence": domain.licence,
        "source": domain.source,
    }


@data.command()
@click.argument("names", nargs=-1, required=True, metavar="DOMAIN...", shell_complete=options.complete_domain)
@click.option("--task", help="Task of the domains: its id, where several have them, or the TOML file of your own.")
@options.protocol
@options.settings
@options.strict
@options.data_root
@options.results_root
def prepare(
    names: Sequence[str], task: str | None, protocol: str, overrides: dict[str, str], strict: bool, **roots: Path
) -> None:
    """Preprocess domains into the cache, ahead of a sweep.

    `bench run` and `bench sweep` prepare what is missing by themselves.
    """
    from ..data.prepared import prepare_domain
    from ..data.run_data import DataSource, find_domain
    from ..progress import open_display

    config = resolve_sections(protocol, overrides)[0]["preprocess"]
    source = DataSource(roots["data_root"], roots["results_root"] / "prepared", strict)
    for name, its_task in _tasks_of(names, task).items():
        with open_display(name) as display:
            located = find_domain(its_task, name, source, display.log)
            domain = prepare_domain(
                located.domain, its_task, config, located.manifest.digest, source.cache, display.preparing
            )
        click.echo(f"{name}: {len(domain.ids)} cases prepared, version {domain.digest}")


@data.command()
@click.argument("name", metavar="NAME")
@click.option(
    "--images", required=True, metavar="PATTERN", help='Images below the data root, in quotes: "site/*/*.png".'
)
@click.option(
    "--labels",
    multiple=True,
    required=True,
    metavar="PATTERN",
    help="Their labels; repeatable: one file for each class.",
)
@click.option("--foregrounds", metavar="PATTERN", help="Their fields of view or brain masks.")
@click.option(
    "--target",
    "targets",
    nargs=3,
    multiple=True,
    metavar="NAME IMAGES LABELS",
    help="A domain to score on; repeatable.",
)
@click.option("--output", type=options.OUTPUT_FILE, help="File to write.  [default: NAME.toml]")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@options.data_root
def new(name: str, output: Path | None, force: bool, data_root: Path, **values: Any) -> None:
    """Propose a task file from images and labels on disk.

    Pairs files by their names, decodes a sample, and asks in comments (# ?) what the files do not tell. NAME becomes
    the task and its source. Without files to look at, `bench new task` writes a file to fill in by hand.
    """
    from ssdg.datasets.grammar import task_from_toml

    from ..data.draft import SAMPLED, draft_domain, draft_task
    from ..storage.files import write_output

    output = output or Path(f"{name}.toml")
    if output.suffix != ".toml":
        raise UsageError(f"--output {output}: a task file ends in .toml")
    if output.exists() and not force:
        raise UsageError(f"{output} exists: give another --output, or --force to replace it")
    labels = {f"labels {number}": pattern for number, pattern in enumerate(values["labels"], 1)}
    masks = {"foregrounds": values["foregrounds"]} if values["foregrounds"] else {}
    patterns = {name: {"images": values["images"], **labels, **masks}}
    patterns |= {target: {"images": images, "labels 1": label} for target, images, label in values["targets"]}
    for domain in patterns:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", domain) or domain == VALIDATION:
            raise UsageError(f"{domain!r} cannot name a domain: letters, digits, - and _, and not {VALIDATION!r}")
    if len(patterns) != 1 + len(values["targets"]):
        raise UsageError("source and targets need different names")
    drafts = {domain: draft_domain(each, data_root) for domain, each in patterns.items()}
    text = draft_task(name, drafts, f"bench data new {name}")
    with tempfile.TemporaryDirectory() as folder:  # a file that does not load is not written
        (draft_file := Path(folder) / "task.toml").write_text(text, encoding="utf-8")
        task = task_from_toml(draft_file, str(output))
    counts = {domain: len(task.domain(domain)(data_root).cases) for domain in drafts}
    write_output(output, text)
    for domain, draft in drafts.items():
        looked = f"; {SAMPLED} of them were decoded, `verify` decodes all" if counts[domain] > SAMPLED else ""
        click.echo(f"{domain}: {counts[domain]} cases{looked}")
        for pattern in draft.pairs.patterns.values():
            click.echo(f"  {pattern}")
    scored = "".join(f" --target {target}" for target in task.targets if target != name)
    root = shlex.quote(str(data_root))
    click.echo(f"{output} asks {text.count('# ?')} questions (# ?). When they are answered:")
    click.echo(f"  bench data verify --task {output} --data-root {root} --pictures {name}-pictures")
    click.echo(f"  bench run --method erm --task {output} --data-root {root}{scored}")


@data.command()
@click.option(
    "--ndim",
    "ndims",
    multiple=True,
    type=click.Choice(["2", "3"]),
    default=("2",),
    show_default=True,
    help="2D or 3D; repeatable.",
)
@click.option("--seed", type=options.WholeNumber(0), default=0, show_default=True, help="Seed of shapes and noise.")
@options.data_root
def phantom(ndims: tuple[str, ...], seed: int, data_root: Path) -> None:
    """Write drawn data sets as PNG (2D) or NIfTI (3D) files."""
    from ssdg.datasets.phantom import write_phantom

    for ndim in ndims:
        folder = write_phantom(data_root, 3 if ndim == "3" else 2, seed=seed)
        click.echo(f"phantom{ndim}d in {folder}")
