"""One page for each method: from its class, the comments of its files, the committed timings, and a drawn image."""

import ast
import csv
import dataclasses
import importlib
import re
from pathlib import Path
from typing import Any

from prose import NONE, TIMES, escaped, listed, markdown_of, paragraphs, table

from ssdg.methods import METHODS, MethodEntry, load_method

ROOT = Path(__file__).resolve().parents[2]
SPEEDS = ROOT / "results" / "speed" / "methods"
SHARED = {"base", "losses", "networks", "transforms"}
"""Modules of ``methods/`` that belong to no method."""

ACCESS = {
    "ssdg": "the labelled source alone",
    "uda": "the labelled source and unlabelled images of the target (domain adaptation)",
}


def method_pages() -> dict[str, str]:
    """Return the path of each method's page -> its Markdown."""
    return {f"methods/{name}.md": _page(name, entry) for name, entry in METHODS.items()}


def method_list() -> str:
    """Return a table of all methods, for their first page."""
    rows = [
        (f"[{entry.label}]({name}.md)", f"`{name}`", ACCESS[entry.access], ", ".join(entry.capabilities) or NONE)
        for name, entry in METHODS.items()
    ]
    return table(("method", "id", "trains on", "sees or needs beyond one labelled source image"), rows)


def _page(name: str, entry: MethodEntry) -> str:
    cls = load_method(name)
    module = importlib.import_module(entry.module)
    sees = "windows or whole images" if cls.windows else "whole images alone"
    facts = [
        ("id", f"`{name}`"),
        ("trains on", ACCESS[entry.access]),
        ("needs beyond one labelled image", ", ".join(entry.capabilities) or "nothing"),
        ("dimensions", " and ".join(f"{n}D" for n in entry.ndims)),
        ("takes", sees),
        ("networks", ", ".join(sorted(cls.networks)) if cls.networks else "all"),
        ("version", str(entry.version)),
        ("file", f"`{_place(Path(str(module.__file__)))}`"),
    ]
    picture = "phantom2d" if entry.works_on(2, photographs=True) else "phantom3d"
    return paragraphs(
        f"# {entry.label}",
        markdown_of(module.__doc__),
        markdown_of(cls.__doc__),
        f"![A drawn image, and three training images that {entry.label} makes of it]({name}.png)",
        f"The first image of `{picture}`, and three draws of what the network is fed in training "
        "(`bench figure augmentations`; each image is stretched to its own range).",
        listed(facts),
        "## Settings",
        _settings(cls),
        "## Departures from the paper",
        _departures(Path(str(module.__file__))),
        "## Cost",
        _cost(name),
    )


def _settings(cls: Any) -> str:
    fields = dataclasses.fields(cls.Config)
    if not fields:
        return "None."
    rows = [
        (
            f"`method.{field.name}`",
            f"`{_default(field)}`",
            "{} to {}".format(*field.metadata["range"]) if "range" in field.metadata else NONE,
            escaped(str(field.metadata.get("source", ""))),
        )
        for field in fields
    ]
    return paragraphs(
        table(("setting", "default", "`bench tune` draws from", "source of the default"), rows),
        "Each is changed by `--set method.NAME=VALUE`, and is part of a run's identity.",
    ).rstrip()


def _default(field: "dataclasses.Field[Any]") -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _departures(file: Path) -> str:
    lines = [
        f"* {escaped(text)} (`{_place(path)}`)"
        for path in _files(file)
        for text in departures(path.read_text(encoding="utf-8"))
    ]
    return "\n".join(lines) or "None is recorded in its files."


def departures(source: str) -> list[str]:
    """Return what the comments ``# Departure: …`` of a source text say, in its order."""
    blocks = re.findall(r"^ *# Departure: (.*(?:\n *# (?!Departure:).*)*)", source, flags=re.MULTILINE)
    texts = [re.sub(r"\s*\n *# ", " ", block) for block in blocks]
    return [text[:1].upper() + text[1:] for text in texts]


def _files(file: Path) -> list[Path]:
    """Return a method's file, those of the methods it is built on, and those of the parts that these name."""
    files, waiting = [], [file.resolve()]
    while waiting:
        path = waiting.pop(0)
        if path in files:
            continue
        files.append(path)
        if path.parent.name == "parts":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level and node.module:
                names = node.module.split(".")
                folder = path.parents[node.level - 1]
                target = folder.joinpath(*names).with_suffix(".py")
                if target.is_file() and target.relative_to(ROOT / "methods").with_suffix("").parts[0] not in SHARED:
                    waiting.append(target)
    return files


def _place(path: Path) -> str:
    return str(path.resolve().relative_to(ROOT))


def _cost(name: str) -> str:
    if name == "erm":
        return "The reference: the costs of other methods are multiples of its own."
    parts = []
    for file in sorted(SPEEDS.glob("*.csv")):
        with file.open(encoding="utf-8", newline="") as stream:
            lines = [line for line in csv.DictReader(stream) if line["name"].startswith(f"{name} / erm ")]
        rows = [
            (
                line["name"].removeprefix(f"{name} / erm "),
                f"{float(line['measured']):.2f} {TIMES}",
                f"{float(line['low']):.2f} to {float(line['high']):.2f}" if line["low"] not in ("", "nan") else NONE,
            )
            for line in lines
        ]
        if rows:
            heading = ("of one training step", "times that of `erm`", "95 % interval")
            device = f"{lines[0]['device']}, {lines[0]['threads']} thread, {lines[0]['date'][:10]}."
            parts += [table(heading, rows), f"{device} `results/speed/` has the notes; `make speed` measures again."]
    return "\n\n".join(parts) or "Not measured yet (`make speed`, `results/speed/`)."
