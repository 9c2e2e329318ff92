"""``--help``: groups, summaries of 80 columns, a text for every option, examples that can be typed; completion."""

import functools
import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ssdg.benchmark.cli import GROUPS, main
from ssdg.benchmark.cli.examples import EXAMPLES
from ssdg.benchmark.errors import FAILED, INCOMPLETE, INTERRUPTED, USAGE
from ssdg.benchmark.suites.suite_file import is_export, list_suites, load_suite
from ssdg.datasets import TASKS
from ssdg.methods import registry

DOCS = Path(__file__).parents[3] / "docs" / "command-line.md"
EXPORTS = {
    str(folder.relative_to(DOCS.parents[1]))
    for folder in (DOCS.parents[1] / "results" / "reproduced").iterdir()
    if is_export(folder)
}
DOMAINS = {name for task in TASKS.values() for name in (*task.sources, *task.targets)}


def commands(group=main, words=()):
    """Every command and group by its words; "" is ``bench`` itself."""
    yield " ".join(words), group
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*words, name))


COMMANDS = dict(commands())


@functools.cache
def help_of(words):
    result = CliRunner().invoke(main, [*words.split(), "--help"], prog_name="bench", terminal_width=80)
    assert result.exit_code == 0, result.output
    return result.output


def test_every_command_is_in_one_group():
    grouped = [command for group in GROUPS.values() for command in group]
    assert sorted(command.name for command in grouped) == sorted(main.commands)
    text = help_of("")
    for heading, group in GROUPS.items():
        section = text.partition(f"\n{heading}:\n")[2].partition("\n\n")[0]
        assert [line.split()[0] for line in section.splitlines()] == [command.name for command in group]


@pytest.mark.parametrize("words", COMMANDS)
def test_nothing_is_cut_off_at_80_columns(words):
    usage, _, text = help_of(words).partition("\n\n")
    assert usage.startswith("Usage: bench")
    assert [line for line in text.splitlines() if line.endswith("...") or len(line) > 80] == []


@pytest.mark.parametrize("words", COMMANDS)
def test_every_option_says_what_it_does(words):
    options = [parameter for parameter in COMMANDS[words].params if isinstance(parameter, click.Option)]
    assert [option.name for option in options if not (option.help or option.hidden)] == []


@pytest.mark.parametrize(
    "words", [words for words, command in COMMANDS.items() if words and hasattr(command, "commands")]
)
def test_the_summary_of_a_group_names_its_commands(words):
    group = COMMANDS[words]
    assert [name for name in group.commands if name not in group.help.partition("\n")[0]] == []


def test_every_command_has_examples():
    assert set(EXAMPLES) == set(COMMANDS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the files that examples name."""
    root = tmp_path_factory.mktemp("examples")
    for task in ("phantom2d", "fundus"):
        run = root / "results" / "runs" / task / "erm" / "s0-1f2e3d"
        run.mkdir(parents=True)
        (run / "spec.json").touch()
    (root / "out" / "lesav").mkdir(parents=True)
    (root / "eye.png").touch()
    assert CliRunner().invoke(main, ["new", "method", "my_method", "--output", str(root)]).exit_code == 0
    return root


@pytest.mark.parametrize("words", EXAMPLES)
def test_every_example_can_be_typed(words, folder, monkeypatch):
    monkeypatch.chdir(folder)
    lines = EXAMPLES[words].replace("\\\n", " ").strip().splitlines()
    assert lines
    for line in lines:
        assert " ".join(line.split()) in " ".join(help_of(words).replace("\\\n", " ").split())
        arguments = [path for part in shlex.split(line) for path in sorted(map(str, Path().glob(part))) or [part]]
        assert " ".join(arguments).startswith(f"bench {words}".strip())
        command = main
        for name in arguments[1:]:
            if not isinstance(command, click.Group):
                break
            command, arguments = command.commands[name], arguments[1:]
        context = command.make_context(line, arguments[1:])
        assert wrong_names(context.params) == []


def wrong_names(values):
    """Return the names among a command's values that do not exist; files are another matter."""
    suites = [*values.get("suites", ()), *([values["suite"]] if "suite" in values else ())]
    loaded = [load_suite(name) for name in suites if name in list_suites()]
    rows = {name for suite in loaded for row in suite.rows for name in (row.id, row.method)} or set(registry())
    targets = {column.target for suite in loaded for column in suite.columns} or DOMAINS
    valid = {
        **{key: {*list_suites(), *EXPORTS} for key in ("suite", "suites", "extends")},
        **dict.fromkeys(("methods", "row_id", "one", "other", "baseline"), rows),
        **dict.fromkeys(("targets", "target"), targets),
        **dict.fromkeys(("source", "sources", "domains"), DOMAINS),
        "method": {*registry(), *TASKS},
        "task": set(TASKS),
        "names": {*DOMAINS, *TASKS},
    }
    given = {
        key: (value,) if isinstance(value, str) else value
        for key, value in values.items()
        if key in valid and value is not None
    }
    named = [(key, name) for key, names in given.items() for name in names if isinstance(name, str)]
    return [name for key, name in named if name not in valid[key] and not name.endswith(".toml")]


def test_the_page_has_every_exit_code():
    codes = re.findall(r"^\| (\d+) \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert list(map(int, codes)) == [0, FAILED, USAGE, INCOMPLETE, INTERRUPTED]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_as_the_page_says(shell):
    page = DOCS.read_text(encoding="utf-8")
    [variable] = {name for name, kind in re.findall(r"(_\w+)=(\w+)_source bench", page) if kind == shell}
    script = CliRunner().invoke(main, [], env={variable: f"{shell}_source"}, prog_name="bench")
    assert script.exit_code == 0, script.output
    assert f"{variable}={shell}_complete" in script.output
    for typed, expected in (
        ("bench resc", "rescore"),
        ("bench sweep dem", "demo"),
        ("bench run --target lesa", "lesav"),
    ):
        last = typed.split()[-1]
        position = last if shell == "fish" else str(len(typed.split()) - 1)
        answer = {variable: f"{shell}_complete", "COMP_WORDS": typed, "COMP_CWORD": position}
        result = CliRunner().invoke(main, [], env=answer, prog_name="bench")
        assert expected in re.split(r"[\s,]", result.output), result.output
