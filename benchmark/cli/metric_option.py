"""``--metric``: a metric by name, built in or of an installed package."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..scoring.metrics import METRICS, Metric, find_metric

F = TypeVar("F", bound=Callable[..., Any])


class MetricName(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic since click 8.4
    """A metric's name; packages are asked for theirs only where it is not built in."""

    name = "metric"

    def convert(self, value: Any, _parameter: click.Parameter | None, _context: click.Context | None) -> Metric:
        """Return the metric; raises UsageError for a name that does not exist."""
        return value if isinstance(value, Metric) else find_metric(value)


def metric_option(*names: str, text: str, **more: Any) -> Callable[[F], F]:
    """Return a decorator that adds ``--metric``; its value is a :class:`Metric`."""
    text = f"{text} One of {', '.join(METRICS)}, or one that an installed package adds."
    return click.option("--metric", *names, type=MetricName(), metavar="NAME", help=text, **more)
