"""The command line. Verbs import what they need when they are called, so that readers start without torch."""

import itertools
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
from . import about, compare, data, download, ensemble, figure, new, page, rescore, score, status, sweep, tune
from . import run as runs
from .examples import add_examples

FORMER = {"--held-out": "--validation"}
"""Words of version 0.1 that have another name now; they go with version 0.3."""


class Bench(click.Group):
    """The group of all verbs: known errors become one line and an exit code, unknown verbs get the nearest one."""

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands under the headings of ``GROUPS``."""
        width = max(map(len, self.commands))
        for heading, commands in GROUPS.items():
            rows = [
                (str(command.name).ljust(width), command.get_short_help_str(formatter.width - 6 - width))
                for command in commands
            ]
            with formatter.section(heading):
                formatter.write_dl(rows)

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

    Train once on the source, score every target, print the table. `bench COMMAND --help` has options and examples.
    """


GROUPS: dict[str, tuple[click.Command, ...]] = {
    "Run and score": (
        *(runs.run, sweep.sweep, tune.tune, runs.predict),
        *(score.score, ensemble.ensemble, rescore.rescore),
    ),
    "Look at results": (page.table, page.report, compare.compare, compare.rank, figure.figure, page.export),
    "Data": (data.data,),
    "Methods, tasks and suites": (about.list_, about.info, new.new, about.check),
    "Follow runs, here or on a cluster": (status.status, status.logs, sweep.retry, sweep.cancel, about.doctor),
}
"""Heading of ``bench --help`` -> its commands; every command is in one."""

data.data.add_command(download.download)
for command in itertools.chain.from_iterable(GROUPS.values()):
    main.add_command(command)
add_examples(main)
