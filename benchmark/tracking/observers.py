"""Observers of runs: the protocol, the registry, and the guard that keeps their errors away from training.

Installed packages add observers through the entry-point group ``ssdg.observers`` (``wandb = "my_package:Wandb"``),
plugin files by classes derived from :class:`Observer`. Nothing is imported until a run is observed.
"""

import os
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Literal, Protocol, Self, TypeAlias

from ..digests import JSON
from ..errors import Diverged, Interrupted, LeaseLost, UsageError, unknown
from ..progress import Row

GROUP = "ssdg.observers"

BUILT_IN = {
    "tensorboard": "ssdg.benchmark.tracking.tensorboard_events:TensorBoard",
    "mlflow": "ssdg.benchmark.tracking.mlflow_runs:MLflow",
}
"""Place of the class by name, which is also that of the package it needs."""

End: TypeAlias = Literal["DONE", "FAILED", "DIVERGED", "INTERRUPTED"]
"""How a process left a run; one that is interrupted is continued by another process."""

_plugins: dict[str, Callable[[], "Observer"]] = {}


@dataclass(frozen=True, slots=True)
class ObservedRun:
    """A run as an observer sees it."""

    train_id: str  # the same in every process that continues the run
    task: str
    folder: Path
    tracking: Path  # folder of local trackers, below the results root
    settings: Mapping[str, JSON]  # resolved, such as "training.epochs" and "method.alpha"
    name: str = ""  # for people: row and seed


class Observer(Protocol):
    """Receives one run; called without arguments to make one. Its errors end the observation, never the run.

    Rows are those of ``history.csv``: mean loss terms, validation DSC (0..1), seconds; ``epoch`` counts from 0.
    """

    def begin(self, run: ObservedRun, history: Sequence[Row]) -> None:
        """Take a run, new or resumed, and all epochs so far; some may be known from an earlier process."""

    def epoch(self, row: Row) -> None:
        """Take the next epoch."""

    def scores(self, dsc: Mapping[str, float]) -> None:
        """Take the mean DSC (0..1) of each domain that is scored, the validation cases ("held-out") included."""

    def end(self, state: End) -> None:
        """Close what is open: this process does nothing more for the run."""


def observers() -> dict[str, str]:
    """Return where each observer comes from, by name."""
    installed = {point.name: point.value for point in entry_points(group=GROUP)}
    return {**installed, **dict.fromkeys(_plugins, "plugin"), **BUILT_IN}


def check_observers(names: Sequence[str]) -> tuple[str, ...]:
    """Return names without repetition; UsageError for an unknown one, or one whose package is not installed."""
    for name in names:
        if name not in observers():
            raise unknown("observer", name, observers())
        if name in BUILT_IN and find_spec(name) is None:
            remedy = "pip install 'ssdg-bench[tracking]'"
            raise UsageError(f"observer {name!r} needs a package that is not installed: {remedy}")
    return tuple(dict.fromkeys(names))


def register_observers(module: ModuleType) -> list[str]:
    """Register the observers that a plugin's module defines, and return their names.

    Raises:
        UsageError: the name of a built-in observer.
    """
    classes = [item for item in vars(module).values() if isinstance(item, type) and Observer in item.__mro__]
    defined = {
        str(vars(cls).get("id", cls.__name__.lower())): cls for cls in classes if cls.__module__ == module.__name__
    }
    if taken := sorted(defined.keys() & BUILT_IN.keys()):
        raise UsageError(f"plugin {module.__file__}: the name {taken[0]!r} is taken; give the class another `id`")
    _plugins.update(defined)
    return list(defined)


def load_observer(name: str) -> Observer:
    """Return a new observer; raises whatever its module or its class raises."""
    if name in _plugins:
        return _plugins[name]()
    if name in BUILT_IN:
        check_observers([name])
        # What is sent is what the user asked for, and no more; an unreachable server must not hold up training.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        built_in: Observer = pkgutil.resolve_name(BUILT_IN[name])()
        return built_in
    points = [point for point in entry_points(group=GROUP) if point.name == name]
    if not points:
        raise unknown("observer", name, observers())
    loaded: Observer = points[0].load()()
    return loaded


class Observers:
    """Observers of one run; one that raises is named once and left out from then on.

    A context: leaving it tells them how the run ended.
    """

    def __init__(self, names: Sequence[str], name: str, warn: Callable[[str], None]) -> None:
        self.name, self._warn = name, warn
        self._run: ObservedRun | None = None
        self._observers: dict[str, Observer] = {}
        self._epochs: int | None = None  # sent so far; None: not begun
        for each in names:
            self._guarded(each, partial(self._load, each))

    def open(self, run: ObservedRun) -> None:
        """Set the run; nothing is sent before its first epoch."""
        self._run = replace(run, name=self.name)

    def history(self, rows: Sequence[Row]) -> None:
        """Send the epochs of a history that were not sent yet."""
        if self._run is None or not rows:
            return
        run, sent = self._run, self._epochs
        self._epochs = len(rows)
        if sent is None:
            self._each(lambda observer: observer.begin(run, list(rows)))
            return
        for row in rows[sent:]:
            for name, observer in list(self._observers.items()):
                self._guarded(name, partial(observer.epoch, row))

    def scores(self, dsc: Mapping[str, float]) -> None:
        """Send scores by domain."""
        if self._epochs is not None:
            self._each(lambda observer: observer.scores(dsc))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        # After LeaseLost the run is another process's, which says how it ends.
        if self._epochs is not None and not isinstance(error, LeaseLost):
            self._each(lambda observer: observer.end(_end(error)))

    def _load(self, name: str) -> None:
        self._observers[name] = load_observer(name)

    def _each(self, call: Callable[..., None]) -> None:
        for name, observer in list(self._observers.items()):
            self._guarded(name, partial(call, observer))

    def _guarded(self, name: str, call: Callable[[], None]) -> None:
        try:
            call()
        except (Exception, SystemExit) as error:  # a third party's code may fail in any way
            self._observers.pop(name, None)
            reason = str(error).partition("\n")[0]
            told = reason if isinstance(error, UsageError) else f"{type(error).__name__}: {reason}"
            self._warn(f"no longer observed by {name} ({told}); the run goes on")


def _end(error: BaseException | None) -> End:
    if error is None:
        return "DONE"
    if isinstance(error, (Interrupted, KeyboardInterrupt)):
        return "INTERRUPTED"
    return "DIVERGED" if isinstance(error, Diverged) else "FAILED"
