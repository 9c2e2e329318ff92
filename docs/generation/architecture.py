"""The picture of the packages and who imports whom, from the list that ``tests/test_layering.py`` enforces."""

import ast
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WIDTH, HEIGHT, LEFT, SIDE = 780, 40, 190, 12
BELOW = {
    "methods": "One file a method; networks, parts, transforms",
    "datasets": "Tasks, their files, splits and hashes; no torch",
}
LONGEST = 80
"""Characters of a summary that have room beside a package's name."""


def layers() -> list[str]:
    """Return the packages of ``benchmark/`` in the order of the layering test: each imports from those before it."""
    tree = ast.parse((ROOT / "tests" / "test_layering.py").read_text(encoding="utf-8"))
    [order] = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "ORDER"
    ]
    names: tuple[str, ...] = eval(compile(ast.Expression(order), "ORDER", "eval"), {"__builtins__": {}})
    return list(names)


def architecture_svg() -> str:
    """Return the picture: ``benchmark/`` as a pile of packages, on ``methods/`` and ``datasets/``."""
    rows = [(f"benchmark/{name}" if name else "benchmark/*.py", _summary(name)) for name in reversed(layers())]
    pile = len(rows) * HEIGHT
    shapes = [_row(index * HEIGHT, name, text) for index, (name, text) in enumerate(rows)]
    arrow = "M{x} {y} v24 m-5 -8 l5 8 l5 -8"
    half = (WIDTH - SIDE) // 2
    for x, name in zip((0, half + SIDE), BELOW, strict=True):
        shapes.append(f'<path class="arrow" d="{arrow.format(x=x + half // 2, y=pile + 2)}"/>')
        shapes.append(_box(x, pile + 30, half, 64, f"{name}/", BELOW[name]))
    view = f'viewBox="0 0 {WIDTH} {pile + 98}"'
    label = "Packages: each imports from those below it, and never from those above"
    # Raw HTML in Markdown ends at an empty line: there is none.
    return f'<svg class="architecture" role="img" aria-label="{label}" {view}>\n' + "\n".join(shapes) + "\n</svg>"


def _row(top: int, name: str, text: str) -> str:
    return (
        f'<rect x="1" y="{top + 2}" width="{WIDTH - 2}" height="{HEIGHT - 4}" rx="4"/>'
        f'<text class="name" x="{SIDE}" y="{top + 25}">{escape(name)}</text>'
        f'<text x="{LEFT}" y="{top + 25}">{escape(text)}</text>'
    )


def _box(x: int, top: int, width: int, height: int, name: str, text: str) -> str:
    return (
        f'<rect x="{x + 1}" y="{top}" width="{width - 2}" height="{height}" rx="4"/>'
        f'<text class="name" x="{x + SIDE}" y="{top + 26}">{escape(name)}</text>'
        f'<text x="{x + SIDE}" y="{top + 48}">{escape(text)}</text>'
    )


def _summary(package: str) -> str:
    if not package:
        return "What defines a run, settings, seeds, statistics, errors"
    return _first_line(ROOT / "benchmark" / package / "__init__.py")


def _first_line(file: Path) -> str:
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    line = text.partition("\n")[0].split(". ")[0].rstrip(".")
    return line if len(line) <= LONGEST else line.partition(":")[0]
