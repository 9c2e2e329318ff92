"""Who imports whom, how long files are, and which verbs start without torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("benchmark", "methods", "datasets")
ALLOWED = {"benchmark": {"benchmark", "methods", "datasets"}, "methods": {"methods"}, "datasets": {"datasets"}}
ORDER = (
    "",  # the modules of benchmark/ itself
    *(
        "storage",
        "tracking",
        "data",
        "scoring",
        "training",
        "suites",
        "launching",
        "outcomes",
        "tables",
        "comparisons",
        "figures",
        "report",
    ),
    "cli",
)
"""Packages of ``benchmark/``: each imports from those before it, and from itself."""

METHOD_PACKAGES = {
    "transforms": {"base", "transforms"},
    "networks": {"MethodError", "unknown", "networks"},
    "parts": {"base", "losses", "networks", "transforms", "parts"},
}
"""Packages of ``methods/``, and what each imports: no method."""

FORBIDDEN_NAMES = {"utils", "helpers", "misc", "common", "core"}
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def identifier(path):
    return str(path.relative_to(ROOT))


def imported(path, root=ROOT):
    """Return the dotted names a file imports; relative ones are resolved to ``ssdg.<folder>``."""
    package = ["ssdg", *path.relative_to(root).parent.parts]
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            prefix = package[: len(package) - node.level + 1] if node.level else []
            module = [*prefix, *([node.module] if node.module else [])]
            # `from . import name`: the name may be a module.
            names += [".".join([*module, alias.name] if node.level else module) for alias in node.names]
    return names


def violations(path, root=ROOT):
    folder = path.relative_to(root).parts[0]
    names = imported(path, root)
    ours = [name.split(".")[1] for name in names if name.startswith("ssdg.")]
    found = [f"{path.name} imports ssdg.{other}" for other in ours if other not in ALLOWED[folder]]
    if folder == "datasets":
        found += [f"{path.name} imports {n}" for n in names if n.split(".")[0] in ("torch", "monai", "pandas")]
    if folder == "methods":
        found += [f"{path.name} imports {n}" for n in names if n.startswith("monai") and n != "monai.networks.nets"]
        package = path.relative_to(root).parts[1]
        if package in METHOD_PACKAGES:
            others = [n for n in names if n.startswith("ssdg.methods.")]
            found += [f"{path.name} imports {n}" for n in others if n.split(".")[2] not in METHOD_PACKAGES[package]]
    if folder == "benchmark":
        place = path.relative_to(root)
        # The front of benchmark/ offers, imported on use, what its packages define.
        front = place == Path("benchmark", "__init__.py")
        own = len(ORDER) if front else ORDER.index(package_of(f"ssdg.{'.'.join(place.parent.parts)}"))
        others = [n for n in names if n.startswith("ssdg.benchmark")]
        found += [f"{path.name} imports {n}" for n in others if ORDER.index(package_of(n)) > own]
    return found


def package_of(name):
    """Return the package of ``benchmark/`` that a dotted name is in; "" for one of its own modules."""
    part = [*name.split("."), "", ""][2]
    return part if part in ORDER else ""


@pytest.mark.parametrize("path", SOURCES, ids=identifier)
def test_imports_go_one_way(path):
    assert violations(path) == []


@pytest.mark.parametrize(
    ("file", "text", "found"),
    [
        ("datasets/bad.py", "import torch\n", ["bad.py imports torch"]),
        ("datasets/bad.py", "from ssdg.methods.base import Method\n", ["bad.py imports ssdg.methods"]),
        (
            "benchmark/data/bad.py",
            "from ..tables import build\n",
            ["bad.py imports ssdg.benchmark.tables.build"],
        ),
        (
            "benchmark/bad.py",
            "from .storage.files import Guard\n",
            ["bad.py imports ssdg.benchmark.storage.files.Guard"],
        ),
        ("methods/parts/bad.py", "from ..erm import Erm\n", ["bad.py imports ssdg.methods.erm.Erm"]),
        ("methods/transforms/bad.py", "from ..parts import host\n", ["bad.py imports ssdg.methods.parts.host"]),
        ("benchmark/tables/bad.py", "from ..data.images import read_image\nfrom .wording import DASH\n", []),
    ],
)
def test_a_planted_violation_is_found(tmp_path, file, text, found):
    planted = tmp_path / file
    planted.parent.mkdir(parents=True)
    planted.write_text(text)
    assert violations(planted, tmp_path) == found


@pytest.mark.parametrize("path", SOURCES, ids=identifier)
def test_files_are_small_and_named_for_what_they_hold(path):
    assert len(path.read_text().splitlines()) <= 300
    assert path.stem not in FORBIDDEN_NAMES


def test_results_hold_no_code():
    folders = (ROOT / "results" / "reproduced", ROOT / "results" / "speed")
    assert [p for folder in folders for p in folder.rglob("*.py")] == []


READERS = {
    "help": ["--help"],
    "list": ["list", "methods"],
    "networks": ["list", "networks"],
    "targets": ["list", "targets"],
    "suites": ["list", "suites"],
    "status": ["status", "demo"],
    "table": ["table", "demo"],
    "distances": ["table", "demo", "--metric", "hd95"],
    "table1": ["table", "table1", "--format", "csv"],
    "conventions": ["table", "demo", "--conventions"],
    "compare": ["compare", "erm", "freesdg", "--suite", "demo"],
    "rank": ["rank", "demo"],
    "report": ["report", "demo", "--no-images"],
    "export": ["export", "demo", "--output", "exported"],
}


@pytest.mark.parametrize("arguments", READERS.values(), ids=READERS)
def test_readers_import_neither_torch_nor_monai(arguments, tmp_path):
    code = (
        "import sys\n"
        "from ssdg.benchmark.cli import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit: pass\n"
        "loaded = [n for n in ('torch', 'monai', 'nibabel', 'skimage') if n in sys.modules]\n"
        "assert not loaded, loaded\n"
    )
    command = [sys.executable, "-P", "-c", code]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
