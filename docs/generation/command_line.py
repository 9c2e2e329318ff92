"""The command-line reference: the help of every command, as ``--help`` prints it at 100 columns."""

import click
from prose import paragraphs

from ssdg.benchmark.cli import main


def command_line_page() -> str:
    """Return the Markdown of the reference."""
    return paragraphs(
        "# Commands",
        "`bench COMMAND --help` prints the same. [Command line](command-line.md) has completion and exit codes.",
        *_command("bench", main, None, 2),
    )


def _command(name: str, command: click.Command, parent: click.Context | None, level: int) -> list[str]:
    with click.Context(command, parent=parent, info_name=name, terminal_width=100, max_content_width=100) as context:
        context.help_option_names = ["-h", "--help"]
        parts = [f"{'#' * level} {context.command_path}", f"```text\n{command.get_help(context)}\n```"]
        if isinstance(command, click.Group):
            for word in command.list_commands(context):
                inner = command.get_command(context, word)
                if inner is not None:
                    parts += _command(word, inner, context, min(level + (parent is not None), 3))
    return parts
