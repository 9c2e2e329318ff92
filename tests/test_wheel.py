"""The built distributions; the wheel in an environment that has only it: what a user gets from a package index."""

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGED = ("benchmark", "methods", "datasets")


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """The folder with the wheel and the source distribution: that of `make release`, or one built here."""
    if built := os.environ.get("BENCH_DIST"):
        return ROOT / built
    folder = tmp_path_factory.mktemp("dist")
    # Without --wheel, the wheel is built from the source distribution.
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(distributions):
    [path] = distributions.glob("*.whl")
    return path


def packages(root):
    """Every folder with an ``__init__`` below the packaged ones, as a dotted name."""
    folders = (path.parent.relative_to(root) for name in PACKAGED for path in (root / name).rglob("__init__.py"))
    return {".".join(["ssdg", *folder.parts]) for folder in folders}


def test_every_folder_with_an_init_is_packaged():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert set(listed) == packages(ROOT)
    assert len(listed) == len(set(listed))


def test_the_wheel_holds_every_file_of_the_packages(wheel):
    files = (path for name in PACKAGED for path in (ROOT / name).rglob("*") if path.is_file())
    expected = {f"ssdg/{path.relative_to(ROOT)}" for path in files if "__pycache__" not in path.parts}
    assert {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("ssdg/")} == expected


def test_the_source_distribution_builds_and_tests_the_package_and_holds_no_results(distributions):
    [path] = distributions.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for expected in ("LICENSE", "CITATION.cff", "Makefile", "constraints.txt", "tests/test_wheel.py", "docs/data.md"):
        assert expected in names
    assert {"benchmark/cli/__init__.py", "datasets/splits/drive.txt", "containers/bench.def"} <= names
    top = {name.partition("/")[0] for name in names}
    assert not top & {"results", "data", "shared", ".git", ".ci", ".github", ".venv", "build", "dist"}
    suffixes = (".nii", ".nii.gz", ".npy", ".npz", ".pt", ".pyc", ".mha", ".h5")
    assert not [name for name in names if name.endswith(suffixes)]
    assert path.stat().st_size < 4e6


def test_contents(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for expected in (
        "ssdg/benchmark/suites/table1.toml",
        "ssdg/benchmark/suites/published/table1.csv",
        "ssdg/benchmark/suites/published/sources.toml",
        "ssdg/datasets/splits/drive.txt",
        "ssdg/benchmark/training/contract.py",
        "ssdg/benchmark/report/templates/report.html",
        "ssdg/benchmark/cli/templates/test_task.py.txt",
        "ssdg/methods/py.typed",
        "ssdg/methods/parts/spectrum.py",
        "ssdg/methods/transforms/blur.py",
    ):
        assert expected in names
    top = {name.split("/")[0] for name in names}
    assert "datasets" not in top, "a top-level `datasets` would overwrite another package of that name"
    assert not [name for name in names if "tests" in name]


def test_an_installed_wheel_lists_tables_and_checks(wheel, tmp_path):
    environment = tmp_path / "fresh"
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    # The wheel alone is installed; its dependencies are those of the running environment.
    install = ["install", "--quiet", "--no-deps", "--no-index", "--no-warn-script-location", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), *install], check=True, capture_output=True)
    # A folder added by a .pth has none of its own read: an editable install there does not answer for the wheel.
    site = next(environment.glob("lib/python*/site-packages"))
    own = [path for path in sys.path if path.endswith("site-packages")]
    (site / "dependencies.pth").write_text("\n".join(own) + "\n")

    def execute(program, *arguments):
        return subprocess.run(
            [str(environment / "bin" / program), *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            env={k: v for k, v in os.environ.items() if not k.startswith("PYTHON")},
        )

    imported = execute("python", "-P", "-c", "import ssdg.benchmark.cli as cli; print(cli.__file__)")
    assert imported.stdout.startswith(str(site)), "the installed files must be the ones that run"
    version = execute("bench", "--version")
    assert version.stdout == f"bench, version {wheel.name.split('-')[1]}\n", version.stderr
    assert re.search(r"version \d+\.\d+\.\d+(\.dev\d+)?$", version.stdout)
    listed = execute("bench", "list", "methods")
    assert listed.returncode == 0, listed.stderr
    assert "ras4dg" in listed.stdout
    table = execute("bench", "table", "table1", "--format", "csv")
    assert table.returncode == 0, table.stderr
    assert "72.88" in table.stdout
    checked = execute("bench", "check", "erm")
    assert checked.returncode == 0, checked.stdout + checked.stderr
