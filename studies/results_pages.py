"""Fill the outputs of commands into README and the pages of results: numbers there are what a command prints.

A page says ``<!-- bench … -->`` where an output belongs, and ``<!-- end -->`` behind it. Between the two this writes
the command, for readers, and what it prints: tables as Markdown, all else as text. ``<!-- bench … | rows -->`` is the
table alone. Commands run in the root of the repository and read committed exports.

    python studies/results_pages.py            # writes the pages
    python studies/results_pages.py --check    # says which are not up to date
"""

import argparse
import re
import shlex
import sys
from pathlib import Path

from click.testing import CliRunner

from ssdg.benchmark.cli import main as bench

ROOT = Path(__file__).parents[1]
ROWS = "| rows"
PLACE = re.compile(r"<!-- (bench [^>]+?) -->\n(.*?)<!-- end -->", re.DOTALL)
WIDTH = 110  # characters of a line of a command


def filled(page: str) -> str:
    """Return a page with the outputs of its commands; commands run in the working directory."""
    return PLACE.sub(lambda place: f"<!-- {place[1]} -->\n{block(place[1])}<!-- end -->", page)


def block(command: str) -> str:
    """Return a command and its output as Markdown, or the rows of the table that it prints.

    Raises:
        RuntimeError: the command fails.
    """
    result = CliRunner().invoke(bench, shlex.split(command.removesuffix(ROWS))[1:])
    # 3: complete but for what the output names.
    if result.exit_code not in (0, 3):
        raise RuntimeError(f"{command}: exit code {result.exit_code}\n{result.output}")
    # The version that prints is not that of the results, which their provenance has.
    kept = [line for line in result.stdout.splitlines() if not line.startswith("* ssdg-bench ")]
    output = "\n".join(kept).strip("\n")
    if command.endswith(ROWS):
        return "\n".join(["", *(line for line in output.splitlines() if line.startswith("|")), "\n"])
    shown = output if output.startswith("**") else f"```text\n{output}\n```"
    return f"```bash\n{_broken(command)}\n```\n\n{shown}\n\n"


def _broken(command: str) -> str:
    """Return a command in lines of readable length."""
    lines = [""]
    for word in command.split():
        if len(lines[-1]) + len(word) > WIDTH:
            lines.append("   ")
        lines[-1] += f" {word}"
    return " \\\n".join(line[1:] for line in lines)


def pages() -> list[Path]:
    """Return the pages with a command's output."""
    paths = [ROOT / "README.md", ROOT / "docs" / "results.md", *sorted((ROOT / "results").rglob("README.md"))]
    return [path for path in paths if PLACE.search(path.read_text(encoding="utf-8"))]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    old = []
    for page in pages():
        text = page.read_text(encoding="utf-8")
        if (new := filled(text)) != text:
            old.append(page)
            if not check:
                page.write_text(new, encoding="utf-8")
    names = ", ".join(str(page.relative_to(ROOT)) for page in old) or "none"
    print(f"not up to date: {names}" if check else f"written: {names}")
    sys.exit(bool(old) and check)
