"""Digests of what a task file can change under a task's name."""

from ssdg.datasets.base import Task

from .digests import digest, to_json


def task_digest(task: Task) -> str:
    """Return the digest of what a task's name does not say: dimensions, channels, classes and grid."""
    return digest([task.ndim, task.channels, task.classes, task.shape])


def regions_digest(task: Task) -> str:
    """Return the digest of how a task's classes are united for scoring; "" where they are scored as they are."""
    return digest(to_json(task.regions)) if task.regions else ""
