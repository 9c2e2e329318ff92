"""Who imports whom, how long files are, and which verbs start without torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("benchmark", "methods", "datasets")
ALLOWED = {"benchmark": {"benchmark", "methods", "datasets"}, "methods": {"methods"}, "datasets": {"datasets"}}
FORBIDDEN_NAMES = {"utils", "helpers", "misc", "common", "core"}
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("*.py"))


def imported(path, top_level_only=False):
    """Return the dotted names a file imports; relative ones are resolved to ``ssdg.<folder>``."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    names = []
    for node in nodes:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            prefix = f"ssdg.{path.parent.name}." if node.level else ""
            names.append(prefix + (node.module or ""))
    return names


def violations(path, folder):
    ours = [name.split(".")[1] for name in imported(path) if name.startswith("ssdg.")]
    found = [f"{path.name} imports ssdg.{other}" for other in ours if other not in ALLOWED[folder]]
    names = imported(path)
    if folder == "datasets":
        found += [f"{path.name} imports {n}" for n in names if n.split(".")[0] in ("torch", "monai", "pandas")]
    if folder == "methods":
        found += [f"{path.name} imports {n}" for n in names if n.startswith("monai") and n != "monai.networks.nets"]
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_imports_go_one_way(path):
    assert violations(path, path.parent.name) == []


def test_a_planted_violation_is_found(tmp_path):
    planted = tmp_path / "datasets" / "bad.py"
    planted.parent.mkdir()
    planted.write_text("import torch\nfrom ssdg.methods.base import Method\n")
    assert violations(planted, "datasets") == ["bad.py imports ssdg.methods", "bad.py imports torch"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_files_are_small_and_named_for_what_they_hold(path):
    assert len(path.read_text().splitlines()) <= 300
    assert path.stem not in FORBIDDEN_NAMES


def test_results_hold_no_code():
    folders = (ROOT / "results" / "reproduced", ROOT / "results" / "speed")
    assert [p for folder in folders for p in folder.rglob("*.py")] == []


READERS = {
    "help": ["--help"],
    "list": ["list", "methods"],
    "targets": ["list", "targets"],
    "suites": ["list", "suites"],
    "status": ["status", "demo"],
    "table": ["table", "demo"],
    "distances": ["table", "demo", "--metric", "hd95"],
    "table1": ["table", "table1", "--format", "csv"],
    "conventions": ["table", "demo", "--conventions"],
    "compare": ["compare", "erm", "randconv", "--suite", "demo"],
    "rank": ["rank", "demo"],
    "report": ["report", "demo", "--no-images"],
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
