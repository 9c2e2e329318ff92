"""Where images come from: tasks, their domains, splits and hashes. Paths and plain data, no arrays on import.

A task is a file, ``catalogue/NAME.toml`` or a user's own; ``grammar`` reads both. Hashes, splits and the phantom's
writer are in ``manifest``, ``partition`` and ``phantom``.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from .base import Case, DataError, Domain, DomainLoader, Task
from .discovery import unknown

__all__ = ["TASKS", "Case", "Catalogue", "DataError", "Domain", "DomainLoader", "Task", "find_target"]


class Catalogue(Mapping[str, Task]):
    """Task by name, each read from its file when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._files = {file.stem: file for file in sorted(folder.glob("*.toml"))}
        self._tasks: dict[str, Task] = {}

    def __getitem__(self, name: str) -> Task:
        if name not in self._tasks:
            from .grammar import task_from_toml

            file = self._files[name]
            self._tasks[name] = task_from_toml(file, f"{file.parent.name}/{file.name}")
        return self._tasks[name]

    def path(self, name: str) -> Path:
        """Return the file of a task; KeyError for an unknown one."""
        return self._files[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


TASKS = Catalogue(Path(__file__).with_name("catalogue"))
"""The packaged tasks, in the order of ``bench list tasks``."""


def find_target(name: str, tasks: Mapping[str, Task] = TASKS) -> Task:
    """Return the task that a target belongs to; a target's name alone implies its task and source.

    Raises:
        DataError: no task has it (the nearest name is offered), or more than one has.
    """
    owners = [task for task in tasks.values() if name in task.targets]
    if not owners:
        raise unknown("target", name, {target for task in tasks.values() for target in task.targets})
    if len(owners) > 1:
        names = " and ".join(task.name for task in owners)
        raise DataError(f"target {name!r} belongs to the tasks {names}: say which with --task")
    return owners[0]
