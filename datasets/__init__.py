"""Where images come from: tasks, their domains, splits and hashes. Paths and plain data, no arrays on import.

Hashes, splits, a user's own task and the phantom's writer are in ``manifest``, ``partition``, ``folder`` and
``phantom``; they are not imported here, because every command pays for what is.
"""

from collections.abc import Mapping

from . import fetal, fundus, phantom
from .base import Case, DataError, Domain, DomainLoader, Task
from .discovery import unknown

__all__ = ["TASKS", "Case", "DataError", "Domain", "DomainLoader", "Task", "find_target"]

_TASKS = (
    Task(
        name="fundus",
        ndim=2,
        channels=3,
        classes=fundus.CLASSES,
        shape=(512, 512),
        sources={"drive": fundus.drive},
        targets={"lesav": fundus.lesav, "iostar": fundus.iostar, "drive-test": fundus.drive_test},
    ),
    Task(
        name="fetal",
        ndim=3,
        channels=1,
        classes=fetal.CLASSES,
        shape=(144, 144, 144),
        sources={"atlases": fetal.atlases},
        targets={"feta2021": fetal.feta2021},
    ),
    Task(
        name="fetal-atlases",
        ndim=3,
        channels=1,
        classes=fetal.CLASSES,
        shape=(144, 144, 144),
        sources={"gholipour": fetal.gholipour},
        targets={"wu": fetal.wu, "fidon": fetal.fidon},
    ),
    Task(
        name="phantom2d",
        ndim=2,
        channels=3,
        classes=phantom.CLASSES_2D,
        shape=(96, 96),
        sources={"phantom2d-a": phantom.loader(2, "a")},
        targets={"phantom2d-b": phantom.loader(2, "b"), "phantom2d-c": phantom.loader(2, "c")},
    ),
    Task(
        name="phantom3d",
        ndim=3,
        channels=1,
        classes=phantom.CLASSES_3D,
        shape=(32, 32, 32),
        sources={"phantom3d-a": phantom.loader(3, "a")},
        targets={"phantom3d-b": phantom.loader(3, "b")},
    ),
)

TASKS: dict[str, Task] = {task.name: task for task in _TASKS}
"""Name -> task, in the order of ``bench list tasks``."""


def find_target(name: str, tasks: Mapping[str, Task] = TASKS) -> Task:
    """Return the task that a target belongs to; a target's name alone implies its task and source.

    Raises:
        DataError: no task has it (the nearest name is offered), or more than one has.
    """
    owners = [task for task in tasks.values() if name in task.targets]
    if not owners:
        raise unknown("target", name, (target for task in tasks.values() for target in task.targets))
    if len(owners) > 1:
        names = " and ".join(task.name for task in owners)
        raise DataError(f"target {name!r} belongs to the tasks {names}; target names are unique over all tasks")
    return owners[0]
