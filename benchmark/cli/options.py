"""Options that several commands share, and the tasks they name."""

import functools
import os
import re
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from ssdg.datasets import TASKS
from ssdg.datasets.base import DomainLoader, Task
from ssdg.methods import import_file, load_method, register_plugin, registry
from ssdg.methods.networks import network_entry

from ..environment import default_root, root_variable
from ..errors import UsageError, unknown
from ..scoring.metrics import METRICS, find_metric
from ..settings import parse_assignments
from ..spec import PROTOCOLS
from ..suites.suite_file import list_suites
from ..tracking.observers import register_observers

if TYPE_CHECKING:
    from ssdg.methods.base import Method


class Output(click.Path):
    """A file or folder to write; one that cannot be written is refused before anything is computed for it."""

    def __init__(self, folder: bool = False) -> None:
        super().__init__(path_type=Path, dir_okay=folder, file_okay=not folder, writable=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path; the folders that it still lacks are made when it is written."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if os.access(path, os.W_OK) and not path.is_file() and not path.is_dir():
            return path  # a pipe or a device is written to, never replaced
        real = Path(os.path.realpath(path))
        folder = next(parent for parent in (*([real] if self.dir_okay else []), *real.parents) if parent.exists())
        if not folder.is_dir():
            self.fail(f"{path} cannot be written: {folder} is a file, not a folder", param, ctx)
        try:
            with tempfile.TemporaryFile(dir=folder):  # permissions alone say nothing of /proc
                return path
        except OSError as error:
            why = f"no file can be made in {folder} ({error.strerror})"
            self.fail(f"{path} cannot be written: {why}; name another folder", param, ctx)


class WholeNumber(click.IntRange):
    """A whole number within limits."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number."""
        if isinstance(value, str) and not re.fullmatch(r"\s*[+-]?\d+\s*", value):
            seeds = "; `bench sweep` takes several, as --seeds 0,1,2" if param and param.name == "seed" else ""
            self.fail(f"takes one whole number, such as {self.min or 0}, not {value!r}{seeds}", param, ctx)
        return super().convert(value, param, ctx)


class NumberRange(click.FloatRange):
    """A number within limits; "nan" lies within none, which click does not see."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number."""
        number = super().convert(value, param, ctx)
        if number != number:
            self.fail(f"{value} is not a number", param, ctx)
        return number


def names(_context: object, _parameter: object, value: str | None) -> tuple[str, ...] | None:
    """Return the names of a comma-separated list."""
    if value is None:
        return None
    items = tuple(name.strip() for name in value.split(",") if name.strip())
    if not items:
        raise click.BadParameter(f"takes names separated by commas, not {value!r}")
    return items


def numbers(_context: object, _parameter: object, value: str | None) -> tuple[int, ...] | None:
    """Return the numbers of a list like 0,1,4 or a range like 0-2."""
    if value is None:
        return None
    items: list[int] = []
    for part in value.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        span = range(int(match[1]), int(match[2] or match[1]) + 1) if match else ()
        if not span:
            raise click.BadParameter(f"takes whole numbers separated by commas, such as 0,1,2 or 0-2, not {value!r}")
        items += span
    return tuple(dict.fromkeys(items))


def completing(names: Callable[[], Iterable[str]]) -> Any:
    """Return what a shell completes a value with: names that begin like it, or files where none does."""

    def complete(_context: object, _parameter: object, text: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in names() if name.startswith(text)] or [
            CompletionItem(text, type="file")
        ]

    return complete


complete_suite = completing(list_suites)
complete_method = completing(registry)
complete_task = completing(lambda: TASKS)
complete_domain = completing(lambda: domain_loaders(*TASKS.values()))
FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)
OUTPUT_FILE, OUTPUT_FOLDER = Output(), Output(folder=True)


def _root(name: str, text: str) -> Callable[..., Any]:
    shown, default = f"${root_variable(name)}, else {name}", functools.partial(default_root, name)
    return click.option(f"--{name}-root", type=FOLDER, default=default, show_default=shown, help=text)


data_root = _root("data", "Folder that holds the data sets; `bench data phantom` alone writes there.")
results_root = _root("results", "Folder for runs and prepared data.")
checkpoint_interval = click.option(
    "--checkpoint-interval",
    type=NumberRange(0),
    default=60.0,
    show_default=True,
    help="Seconds between two checkpoints: what a killed run loses at most.",
)
observe = click.option(
    "--observe",
    "observers",
    multiple=True,
    envvar="BENCH_OBSERVE",
    show_envvar=True,
    metavar="NAME",
    help="Send history and scores to tensorboard, mlflow or an observer of your own; repeatable.",
)
plugins = click.option(
    "--plugin",
    "plugins",
    multiple=True,
    type=FILE,
    callback=lambda _context, _parameter, files: register(files),
    is_eager=True,  # registered before the other options are read
    help="Python file that defines methods, or observers, of your own; repeatable.",
)
device = click.option(
    "--device", default="auto", show_default=True, help="auto (a GPU where there is one), cpu, cuda, cuda:1."
)
strict = click.option(
    "--strict", is_flag=True, help="Refuse an incomplete data set instead of counting what is missing."
)
protocol = click.option(
    "--protocol",
    type=click.Choice(list(PROTOCOLS)),
    default="clean",
    show_default=True,
    help="Defaults of all settings: clean for claims, paper as published.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
baseline = click.option(
    "--baseline", help="Row that every other one is compared with.  [default: the source-only row]"
)
no_published = click.option(
    "--no-published", is_flag=True, help="Leave out the paper's numbers and the differences to them."
)
settings = click.option(
    "--set",
    "overrides",
    multiple=True,
    callback=lambda _context, _parameter, texts: _assigned(texts),
    metavar="SECTION.KEY=VALUE",
    help="Change a setting of training, optimizer, network, preprocess, method or evaluation; repeatable.",
)


def combined(*decorators: Callable[..., Any]) -> Callable[..., Any]:
    """Return one decorator for several options, which keep their order in ``--help``."""
    return lambda function: functools.reduce(lambda inner, decorate: decorate(inner), reversed(decorators), function)


def metric(*names: str, text: str, multiple: bool = False, default: str | None = None) -> Callable[..., Any]:
    """Return the option ``--metric``, whose values are metrics, built in or of an installed package."""

    def find(_context: object, _parameter: object, value: Any) -> Any:
        return tuple(map(find_metric, value)) if multiple else find_metric(value)

    return click.option(
        "--metric",
        *names,
        metavar="NAME",
        multiple=multiple,
        default=default,
        show_default=default is not None,
        callback=find,
        help=f"{text} One of {', '.join(METRICS)}, or one that an installed package adds.",
    )


def method_class(name: str) -> "type[Method]":
    """Return the class of a method by its id or module:Class."""
    if ":" not in name and name not in registry():
        raise unknown("method", name, registry())
    return load_method(name)


def register(files: tuple[Path, ...]) -> tuple[Path, ...]:
    """Register the methods and observers that plugin files define."""
    for file in files:
        observers = register_observers(import_file(file))
        register_plugin(file.resolve(), optional=bool(observers))
    return files


def _assigned(texts: tuple[str, ...]) -> dict[str, str]:
    assigned = parse_assignments(texts)
    if "network.name" in assigned:
        network_entry(assigned["network.name"])
    return assigned


def domain_loaders(*tasks: Task) -> dict[str, DomainLoader]:
    """Return the loaders of the domains of some tasks, by name."""
    return {name: loader for task in tasks for name, loader in {**task.sources, **task.targets}.items()}


def find_task(name: str) -> Task:
    """Return a task by name, or from a user's TOML file."""
    if file := task_file(name):
        from ssdg.datasets.grammar import task_from_toml

        return task_from_toml(file)
    if name not in TASKS:
        raise UsageError(f"{unknown('task', name, TASKS)}; or give the TOML file of your own with --task")
    return TASKS[name]


def task_file(name: str | None) -> Path | None:
    """Return the file of a user's own task, None for the name of a task."""
    return Path(name).resolve() if name is not None and name.endswith(".toml") else None
