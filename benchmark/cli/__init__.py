"""The command line. Verbs import what they need when they are called, so that readers start without torch."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from ssdg.datasets.base import DataError
from ssdg.methods import MethodError

from ..errors import INTERRUPTED, BenchError, StorageError, memory_advice
from ..storage.files import storage_error
from . import about, compare, data, ensemble, figure, page, rescore, score, status, sweep, tune
from . import run as runs

FORMER = {"--held-out": "--validation"}
"""Words of version 0.1 that have another name now; they go with version 0.3."""


class Bench(click.Group):
    """The group of all verbs: known errors become one line and an exit code, unknown verbs get the nearest one."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb; Ctrl-C, where the verb does not answer it itself, becomes one line and its exit code."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("bench: stopped", err=True)
            sys.exit(INTERRUPTED)

    def main(self, args: Sequence[str] | None = None, *rest: Any, **kwargs: Any) -> Any:
        """Run a verb; expected errors end the process with their exit code and without a traceback."""
        # A notebook hands down a backend that this environment may lack, and matplotlib then fails to import.
        os.environ["MPLBACKEND"] = "agg"
        try:
            words = sys.argv[1:] if args is None else args
            with memory_advice("do less at once (fewer --jobs, smaller images), or use a machine with more memory"):
                return super().main([FORMER.get(word, word) for word in words], *rest, **kwargs)
        except (BenchError, DataError, MethodError) as error:
            _end(error)
        except Exception as error:
            disk = storage_error(error, Path(getattr(error, "filename", None) or "the results folder"))
            if isinstance(disk, StorageError):
                _end(disk)
            raise


def _end(error: BenchError | DataError | MethodError) -> NoReturn:
    click.echo(f"bench: {error}", err=True)
    sys.exit(error.exit_code)


@click.group(cls=Bench, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="ssdg-bench", prog_name="bench")
def main() -> None:
    """Compare single-source domain generalisation methods for medical image segmentation.

    Train once on the source, score every target, print the table: `bench run`, `bench sweep`, `bench table`.
    """


for commands in (
    (runs.run, runs.predict, sweep.sweep, sweep.retry, sweep.cancel, status.status, status.logs),
    (tune.tune, score.score, ensemble.ensemble, rescore.rescore),
    (page.table, page.report, page.export, compare.compare, compare.rank, figure.figure),
    (about.list_, about.info, about.check, about.doctor, data.data),
):
    for command in commands:
        main.add_command(command)
