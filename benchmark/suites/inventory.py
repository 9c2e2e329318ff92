"""What can be run here: methods and tasks, those of the package and one's own."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ssdg.datasets import TASKS
from ssdg.datasets.base import Task
from ssdg.methods import MethodEntry, registry

from ..errors import UsageError, unknown


@dataclass(frozen=True, slots=True)
class Inventory:
    """What can be run here: methods by id (installed and plugged in), tasks by name."""

    methods: Mapping[str, MethodEntry]
    tasks: Mapping[str, Task]

    def task(self, name: str) -> Task:
        """Return a task by name."""
        if name not in self.tasks:
            own = "one of your own needs --task FILE, or tasks = [FILE] in the suite"
            raise UsageError(f"{unknown('task', name, self.tasks)}; {own}")
        return self.tasks[name]


def inventory_with(tasks: Iterable[Task]) -> Inventory:
    """Return the methods that are installed or plugged in, and the tasks of the package with a user's own."""
    return Inventory(registry(), {**TASKS, **{task.name: task for task in tasks}})
