"""``bench new``: a method, suite or task file that works, and its test."""

import importlib.util
import keyword
import os
import re
import shlex
from importlib import resources
from pathlib import Path
from string import Template

import click

from ssdg.datasets import TASKS
from ssdg.methods import registry

from ..errors import UsageError
from ..storage.files import write_output
from ..suites.suite_file import base_lines, list_suites, load_suite
from . import options

LONGEST = 30
"""Characters of a name, with which no line of the files is too long."""

FORMATS = {
    "2": {"channels": 3, "shape": [256, 256], "suffix": "png", "value": 255, "modality": "colour photography"},
    "3": {"channels": 1, "shape": [96, 96, 48], "suffix": "nii.gz", "value": 1, "modality": "T1-weighted MRI"},
}
"""Dimensions -> what a new task says of its images."""

output = click.option(
    "--output",
    type=options.OUTPUT_FOLDER,
    default=Path(),
    show_default="this folder",
    help="Folder for the two files; made where it is missing.",
)


@click.group()
def new() -> None:
    """Write a method, suite or task file to start from, with its test."""


@new.command()
@click.argument("name")
@output
def method(name: str, output: Path) -> None:
    """Write NAME.py, a working method to change, and test_NAME.py.

    NAME becomes the method's id. The method draws random gamma curves until you change it; its test runs the checks
    of `bench check`.
    """
    template = (resources.files("ssdg.methods") / "template.py").read_text(encoding="utf-8")
    cls = "".join(part.capitalize() for part in name.split("_"))
    valid = re.fullmatch(r"[a-z][a-z0-9_]*", name) and not keyword.iskeyword(name)
    if not valid or re.search(rf"import .*\b{cls}\b", template):
        raise _bad_name(
            "method", name, "lower-case letters, digits and _, a letter first; no word of Python, not batch or method"
        )
    if name in registry():
        raise UsageError(f"{name!r} is a method of `bench list methods` already: choose another name")
    file = output / f"{name}.py"
    _require_free(file)
    if importlib.util.find_spec(name) is not None:
        raise UsageError(f"{name!r} is an installed Python module, which {file.name} would hide: choose another name")
    text = re.sub(r"\bTemplate(?=\b|Config\b)", cls, re.sub(r"\btemplate\b", name, template))
    _write("method", file, text, name=name, cls=cls)
    plugin = shlex.quote(str(file))
    click.echo(f"  bench check {name} --plugin {plugin}")
    click.echo("  bench data phantom")
    click.echo(f"  bench run --method {name} --plugin {plugin} --target phantom2d-b")


@new.command()
@click.argument("name")
@click.option(
    "--extends", default="demo", show_default=True, help="Suite to start from: see `bench list suites`; or a file."
)
@output
def suite(name: str, extends: str, output: Path) -> None:
    """Write NAME.toml, a suite that extends another, and test_NAME.py.

    The file has every frequent key as a comment; its test plans all runs and starts none.
    """
    load_suite(extends)  # it is there, and can be read
    _require_name("suite", name, list_suites())
    file = output / f"{name}.toml"
    _write("suite", file, _filled("suite.toml", name=name, extends=base_lines(extends, output)), name=name)
    for verb in ("sweep --dry-run", "sweep", "table"):
        click.echo(f"  bench {verb} {shlex.quote(str(file))}")


@new.command()
@click.argument("name")
@click.option("--ndim", type=click.Choice(list(FORMATS)), default="2", show_default=True, help="Pictures or volumes.")
@output
def task(name: str, ndim: str, output: Path) -> None:
    """Write NAME.toml, a task file to fill in by hand, and test_NAME.py.

    For data that are not here yet, or files that you want to describe yourself. Where the data are on disk,
    `bench data new` looks at the files and writes what they tell. The test draws a case and reads it.
    """
    _require_name("task", name, list(TASKS))
    file, facts = output / f"{name}.toml", {"ndim": ndim, **FORMATS[ndim]}
    _write("task", file, _filled("task.toml", name=name, **facts), name=name, **facts)
    click.echo(f"  bench data verify --task {shlex.quote(str(file))} --pictures {name}-pictures")
    click.echo(f"  bench run --method erm --task {shlex.quote(str(file))} --target {name}-b")


def _require_name(kind: str, name: str, taken: list[str]) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise _bad_name(kind, name, "letters, digits, - and _, no - or _ first")
    if name in taken:
        raise UsageError(f"{name!r} is a {kind} of `bench list {kind}s` already: choose another name")


def _bad_name(kind: str, name: str, rule: str) -> UsageError:
    return UsageError(f"{name!r} cannot name a {kind}: {rule}; at most {LONGEST} characters")


def _require_free(path: Path) -> None:
    if os.path.lexists(path):
        raise UsageError(f"{path} exists and is not replaced: choose another name or another --output")


def _filled(template: str, **values: object) -> str:
    text = (resources.files(__package__) / "templates" / f"{template}.txt").read_text(encoding="utf-8")
    return Template(text).substitute(values)


def _write(kind: str, file: Path, text: str, name: str, **values: object) -> None:
    """Write a file and its test, unless one of them exists, and print the first of the next commands."""
    if len(name) > LONGEST:
        raise UsageError(f"{name!r} is too long for a name: at most {LONGEST} characters")
    test = file.with_name(f"test_{name.replace('-', '_')}.py")
    for path in (file, test):
        _require_free(path)
    write_output(file, text)
    write_output(test, _filled(f"test_{kind}.py", name=name, file=file.name, **values))
    click.echo(f"{file} and {test} written. Next:\n  pytest {shlex.quote(str(test))}")
