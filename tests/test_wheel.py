"""The built wheel, in an environment that has only it: what a user gets from a package index."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)],
        check=True,
        capture_output=True,
    )
    [path] = folder.glob("*.whl")
    return path


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
    site = next(environment.glob("lib/python*/site-packages"))
    zipfile.ZipFile(wheel).extractall(site)
    own = [p for p in sys.path if p.endswith("site-packages")]
    (site / "dependencies.pth").write_text("\n".join(own) + "\n")
    # An editable install of the running environment must not answer for the wheel.
    code = (
        "import sys\n"
        "sys.meta_path = [f for f in sys.meta_path if '__editable__' not in getattr(f, '__module__', '')]\n"
        "import ssdg.benchmark.cli as c; print(c.__file__); c.main()"
    )

    def bench(*arguments):
        return subprocess.run(
            [str(python), "-P", "-c", code, *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            env={k: v for k, v in os.environ.items() if not k.startswith("PYTHON")},
        )

    listed = bench("list", "methods")
    assert listed.returncode == 0, listed.stderr
    assert str(site) in listed.stdout, "the installed files must be the ones that run"
    assert "ras4dg" in listed.stdout
    table = bench("table", "table1", "--format", "csv")
    assert table.returncode == 0, table.stderr
    assert "72.88" in table.stdout
    checked = bench("check", "erm")
    assert checked.returncode == 0, checked.stdout + checked.stderr
