"""README and pages: commands that the command line takes, code that compiles, links that lead somewhere."""

import ast
import importlib
import re
import shlex
import sys
import tomllib
from pathlib import Path

import click
import pytest
import torch

from ssdg.benchmark.cli import main
from ssdg.benchmark.suites.suite_file import is_export, list_suites
from ssdg.benchmark.training.contract import run_check
from ssdg.benchmark.training.contract_fixture import MethodUnderTest
from ssdg.datasets import TASKS
from ssdg.methods import METHODS, load_method

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
GENERATED = {"commands.md", "index.md", "contributing.md", "changelog.md"}
GENERATED |= {f"methods/{name}.md" for name in METHODS} | {f"tasks/{name}.md" for name in TASKS}
DRAWN = "look/"
"""Pictures that the hook of the site makes by the tutorial's commands."""


def identifier(path):
    return str(path.relative_to(ROOT))


def blocks(text, *languages):
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [code for language, code in found if language in languages]


def commands(text):
    """Return the words of each ``bench …`` of a page's code blocks, comments and what joins commands left out."""
    lines = [line for block in blocks(text, "bash", "") for line in block.replace("\\\n", " ").splitlines()]
    parts = [part for line in lines for part in re.split(r"&&|;|\|\s| do ", re.sub(r"(^|\s)#.*", "", line))]
    parts = [re.sub(r"^\s*\$?\s*(do )?(\w+=\S+ )*", "", part) for part in parts]
    return [shlex.split(part)[1:] for part in parts if part.startswith("bench ")]


def require_taken(words):
    """Raise click.UsageError where the command line refuses these words; placeholders (``SUITE``, ``…``) pass."""
    command, name = main, "bench"
    with click.Context(command, info_name=name):
        while isinstance(command, click.Group):
            context = click.Context(command, info_name=name)
            name, command, words = command.resolve_command(context, words)
    context = click.Context(command, info_name=name)
    words = [word for word in words if word != "…"]
    if {"--help", "-h"} & {*words}:
        return
    values, _, _ = command.make_parser(context).parse_args(list(words))
    for parameter in command.params:
        value = values.get(parameter.name)
        if isinstance(parameter.type, (click.Choice, click.IntRange)) and isinstance(value, str):
            if not re.fullmatch(r"[A-Z|]+|[a-z|]*\|[a-z|]*", value):
                parameter.type.convert(value, parameter, context)
        elif parameter.name in ("suite", "method") and isinstance(value, str):
            require_known(parameter, value)


def require_known(parameter, value):
    names = {"suite": {*list_suites()}, "method": {*METHODS, "dimming", "my-method"}}[parameter.name]
    if parameter.name == "suite" and is_export(ROOT / value):
        return
    if not (value.endswith(".toml") or re.fullmatch(r"[A-Z0-9|:]+", value) or value in names or value in TASKS):
        raise click.BadParameter(f"no {parameter.name} {value!r}")


@pytest.mark.parametrize("page", PAGES, ids=identifier)
def test_the_command_line_takes_every_command(page):
    refused = []
    for words in commands(page.read_text()):
        try:
            require_taken(words)
        except click.ClickException as error:
            refused.append(f"bench {shlex.join(words)}: {error.format_message()}")
    assert refused == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("bench swep table1", "swep"),
        ("bench sweep table1 --job-count 2", "--job-count"),
        ("bench sweep tabel1", "tabel1"),
        ("BENCH_DATA=x bench run --method rasdg --target b", "rasdg"),
        ("make demo && bench run --method erm --protocol fast", "fast"),
    ],
)
def test_a_planted_fault_in_a_command_is_refused(line, message):
    [words] = commands(f"```bash\n{line}   # a comment\n```\n")
    with pytest.raises(click.ClickException, match=message):
        require_taken(words)


def test_commands_are_found():
    assert sum(len(commands(page.read_text())) for page in PAGES) > 60
    loop = "for row in erm; do bench tune demo --row $row \\\n --trials 8; done && bench table demo | less"
    assert commands(f"```bash\n{loop}\n```\n") == [
        ["tune", "demo", "--row", "$row", "--trials", "8"],
        ["table", "demo"],
    ]


@pytest.mark.parametrize("page", PAGES, ids=identifier)
def test_code_compiles_and_its_imports_resolve(page):
    for code in blocks(page.read_text(), "python"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("ssdg"):
                module = importlib.import_module(str(node.module))
                assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


@pytest.mark.parametrize("page", PAGES, ids=identifier)
def test_toml_parses(page):
    for code in blocks(page.read_text(), "toml"):
        tomllib.loads(code)


def slug(heading):
    """Return the anchor of a heading, as GitHub and the site make it."""
    text = re.sub(r"[^\w\s-]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower())
    return re.sub(r"[\s-]+", "-", text.strip()).strip("-")


def anchors(text):
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return {slug(heading) for heading in re.findall(r"^#+ (.*)$", prose, flags=re.MULTILINE)}


def links(text):
    prose = re.sub(r"^```.*?^```$|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"\]\(([^)\s]+)\)", prose)


def broken_links(page):
    broken = []
    for link in links(page.read_text()):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        made = DOCS in page.parents and (path in GENERATED or path.startswith(DRAWN))
        if "://" in link or made or link.startswith("mailto:"):
            continue
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=identifier)
def test_links_and_anchors_resolve(page):
    assert broken_links(page) == []


def test_a_planted_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A page\n[a](other.md) [b](#a-page) [c](#none) `[d](code.md)` [e](https://example.org/x.md)\n")
    assert broken_links(page) == ["other.md", "#none"]


def test_readme_is_short():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 150
    assert [line for line in lines if len(line) > 110] == []
    first = "\n".join(lines[:20])
    assert "bench run" in first
    assert "bench table" in first


def test_the_readmes_method_is_the_pages():
    readme, page = ((path).read_text() for path in (ROOT / "README.md", DOCS / "add-a-method.md"))
    [code] = [code for code in blocks(readme, "python") if "my_method.py" in code]
    assert code in blocks(page, "python")


def test_the_further_methods_of_the_page_keep_the_contract(tmp_path):
    pages = blocks((DOCS / "add-a-method.md").read_text(), "python")
    [code] = [code for code in pages if "class MeanTeacher" in code]
    plugin = tmp_path / "three_methods.py"
    plugin.write_text(code)
    for cls in ("MeanTeacher", "Reconstructing", "Mirrored"):
        for check in ("every network weight moves", "predict", "resume", "augment", "effect"):
            result = run_check(check, MethodUnderTest(load_method(f"{plugin}:{cls}"), 2))
            assert result.passed, (cls, check, result.message)
        result = run_check("prediction", MethodUnderTest(load_method(f"{plugin}:{cls}"), 2, windowed=True))
        assert result.passed, (cls, result.message)


def test_the_network_of_the_page_runs():
    [code] = [code for code in blocks((DOCS / "add-a-network.md").read_text(), "python") if "class Plain" in code]
    names = {"__name__": "acme_networks"}
    exec(code, names)
    network = names["Plain"](3, 1, 2, 4)
    outputs = network(torch.zeros(1, 1, 16, 24, 16))
    assert outputs.logits.shape == (1, 2, 16, 24, 16)
    assert outputs.bottleneck.shape == (1, network.widths[-1], 4, 6, 4)
    maps = network.new_decoder(3)(*network.encode(torch.zeros(1, 1, 16, 24, 16)))
    assert [map.shape[1] for map in maps] == [level.output for level in network.levels]


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    listed = set(re.findall(r"^ +- ([\w/-]+\.md)$", navigation, flags=re.MULTILINE))
    pages = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}
    assert listed == pages | {name for name in GENERATED if "/" not in name}


@pytest.fixture(scope="module")
def generation():
    sys.path.insert(0, str(DOCS / "generation"))
    yield lambda name: importlib.import_module(name)
    sys.path.remove(str(DOCS / "generation"))


def test_pages_of_methods_say_what_the_code_says(generation):
    pages = generation("method_pages").method_pages()
    assert pages.keys() == {f"methods/{name}.md" for name in METHODS}
    page = pages["methods/ras4dg.md"]
    for said in (
        "Qiao",
        "| `method.",
        "## Departures from the paper\n\n* ",
        "| step, 256², cpu",
        "`methods/ras4dg.py`",
    ):
        assert said in page
    assert "target images" in pages["methods/dsa.md"]


def test_departures_are_whole_comments(generation):
    source = (
        "x = 1\n    # Departure: the first\n    # goes on.\n    # Departure: a second.\n    y = 2  # no\n# other\n"
    )
    assert generation("method_pages").departures(source) == ["The first goes on.", "A second."]


def test_pages_of_tasks_have_trees_terms_and_published_numbers(generation):
    pages = generation("task_pages").task_pages()
    assert pages.keys() == {f"tasks/{name}.md" for name in TASKS}
    assert "IOSTAR/image/{case}.*" in pages["tasks/fundus.md"]
    assert "research use, after registration" in pages["tasks/fundus.md"]
    assert "77.29 ± 0.31" in pages["tasks/fundus.md"]
    assert "88.55 (S2S2); 88.63 (SLAug README)" in pages["tasks/abdomen.md"]


def test_the_reference_has_every_command(generation):
    page = generation("command_line").command_line_page()
    assert all(f"\n## bench {name}\n" in page or f"\n### bench {name}\n" in page for name in main.commands)
    assert "--pictures" in page


def test_the_picture_has_the_packages_in_order(generation):
    order = importlib.import_module("tests.test_layering").ORDER
    architecture = generation("architecture")
    assert tuple(architecture.layers()) == order
    svg = architecture.architecture_svg()
    heights = [svg.index(f">benchmark/{name}<") for name in reversed(order) if name]
    assert heights == sorted(heights)
    assert "\n\n" not in svg


def test_text_is_no_markup(generation):
    prose = generation("prose")
    assert prose.markdown_of("Take ``(B, *S)`` of :class:`~a.B` and a*b_c.\n\nArgs:\n    x: y") == (
        "Take `(B, *S)` of `a.B` and a\\*b\\_c."
    )
    assert prose.markdown_of("* one\n* two") == "* one\n* two"
