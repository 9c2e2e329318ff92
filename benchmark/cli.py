"""The command line. Verbs import what they need when they are called, so that readers start without torch."""

import sys
from pathlib import Path
from typing import Any

import click

from ssdg.datasets.base import DataError
from ssdg.methods import MethodError

from . import (
    cli_about,
    cli_compare,
    cli_data,
    cli_figure,
    cli_report,
    cli_rescore,
    cli_runs,
    cli_status,
    cli_sweep,
    cli_table,
)
from .attempts import NoProgress
from .exit_codes import FAILED, INCOMPLETE, INTERRUPTED, USAGE
from .files import StorageError, storage_error
from .lease import LeaseHeld, LeaseLost
from .settings import UsageError


class Bench(click.Group):
    """The group of all verbs: known errors become one line and an exit code, unknown verbs get the nearest one."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a verb; expected errors end the process with their exit code and without a traceback."""
        try:
            return super().main(*args, **kwargs)
        except (UsageError, DataError, MethodError, StorageError) as error:
            _end(error, USAGE)
        except LeaseHeld as error:
            _end(error, INCOMPLETE)
        except (LeaseLost, NoProgress) as error:
            _end(error, FAILED)
        except Exception as error:
            # Named and not imported: train imports torch.
            if type(error).__name__ == "Diverged":
                _end(error, FAILED)
            if type(error).__name__ == "Interrupted":
                _end(error, INTERRUPTED)
            disk = storage_error(error, Path(getattr(error, "filename", None) or "the results folder"))
            if isinstance(disk, StorageError):
                _end(disk, USAGE)
            raise


def _end(error: BaseException, code: int) -> None:
    click.echo(f"bench: {error}", err=True)
    sys.exit(code)


@click.group(cls=Bench, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="ssdg-bench", prog_name="bench")
def main() -> None:
    """Compare single-source domain generalisation methods for medical image segmentation.

    Train once on the source, score every target, print the table: `bench run`, `bench sweep`, `bench table`.
    """


for command in [
    *cli_runs.commands,
    *cli_sweep.commands,
    *cli_status.commands,
    *cli_table.commands,
    *cli_rescore.commands,
    *cli_compare.commands,
    *cli_report.commands,
    *cli_about.commands,
    cli_data.data,
    cli_figure.figure,
]:
    main.add_command(command)

if __name__ == "__main__":
    main()
