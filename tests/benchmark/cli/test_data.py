"""``bench data verify`` on drawn files."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from ssdg.benchmark.cli import main


def data(*arguments):
    return CliRunner().invoke(main, ["data", *map(str, arguments)])


@pytest.fixture
def verify(phantom_data, tmp_path):
    """`bench data verify` on a copy of the phantoms, whose root is an attribute."""
    root = tmp_path / "data"
    shutil.copytree(phantom_data, root)

    def run(*arguments):
        return data("verify", "--data-root", root, "--results-root", tmp_path / "results", *arguments)

    run.root = root
    return run


def rewrite_affine(path):
    volume = nib.load(path)
    nib.save(nib.Nifti1Image(np.asarray(volume.dataobj), np.diag([1, 1, 1, 1.0])), path)


def test_every_case_is_prepared_and_nothing_is_written(verify, tmp_path):
    result = verify("phantom2d-a", "phantom3d-b", "--json")
    assert result.exit_code == 0, result.output
    plane, volume = json.loads(result.stdout)
    assert (plane["domain"], plane["cases"], plane["failures"], plane["unlabelled"]) == ("phantom2d-a", 8, {}, 0)
    assert plane["summary"].startswith("  48×48, 8-bit RGB; the network sees 0.")  # noqa: RUF001
    assert "of the foreground: vessel " in plane["summary"]
    assert "voxels of 1.5×1.5×1.5 mm, int16" in volume["summary"]  # noqa: RUF001
    assert plane["seconds"] > 0
    assert sorted(path.name for path in (tmp_path / "results").rglob("*.*")) == ["hashes.json"]


def test_a_label_on_another_grid_is_found_as_training_would(verify):
    rewrite_affine(sorted((verify.root / "phantom3d/a/label").iterdir())[1])
    quick = verify("phantom3d-a", "--quick")
    assert quick.exit_code == 0, quick.output
    assert "the network sees" not in quick.stdout
    full = verify("phantom3d-a", "phantom3d-b")
    assert full.exit_code == 2
    assert "bench: phantom3d-a: 1 of 4 cases cannot be used:\n  case " in full.stderr
    assert "different affines" in full.stderr
    assert "\nphantom3d-b: " in full.stdout  # the next domain is reported all the same


def test_all_failing_cases_and_domains_are_reported(verify):
    images = sorted((verify.root / "phantom2d/a/image").iterdir())
    for path in images[1:3]:
        path.write_bytes(b"")
    shutil.rmtree(verify.root / "phantom2d/c")
    result = verify("phantom2d-c", "phantom2d-a", "phantom2d-b")
    assert result.exit_code == 2
    assert "phantom2d-c: catalogue/phantom2d.toml, [target.phantom2d-c]: there is no folder" in result.stderr
    assert result.stderr.count("is an empty file") == 2
    assert "phantom2d-a: 8 of 8 cases" in result.stdout
    assert "\nphantom2d-b: " in result.stdout
    rows = json.loads(verify("phantom2d-c", "phantom2d-a", "--json").stdout)
    assert "there is no folder" in rows[0]["error"]
    assert list(rows[1]["failures"]) == [path.stem for path in images[1:3]]


def test_without_names_only_what_is_on_disk_can_be_broken(verify):
    shutil.rmtree(verify.root / "phantom3d")
    absent = verify()
    assert absent.exit_code == 0, absent.output
    assert "drive: catalogue/fundus.toml" in absent.stderr
    assert "\nphantom2d-c: " in absent.stdout
    label = next((verify.root / "phantom2d/b/label").iterdir())
    label.unlink()
    broken = verify()
    assert broken.exit_code == 2
    assert f"case '{label.stem}' has no label" in broken.stderr
    assert "\nphantom2d-c: " in broken.stdout


def test_a_class_that_cases_lack_is_counted(verify):
    path = sorted((verify.root / "phantom2d/a/label").iterdir())[0]
    Image.fromarray(np.zeros((48, 48), np.uint8)).save(path)
    assert "% (not in 1 cases)" in verify("phantom2d-a").stdout


def test_pictures_of_the_first_and_the_extreme_cases(verify, tmp_path):
    path = sorted((verify.root / "phantom2d/a/label").iterdir())[3]
    Image.fromarray(np.zeros((48, 48), np.uint8)).save(path)
    result = verify("phantom2d-a", "phantom3d-a", "--pictures", tmp_path / "new/pictures")
    assert result.exit_code == 0, result.output
    names = sorted(path.name for path in (tmp_path / "new/pictures").iterdir())
    assert [name.split("-")[2] for name in names] == ["first", "largest", "smallest"] * 2
    assert f"phantom2d-a-smallest-{path.stem}.png" in names
    refused = verify("phantom2d-a", "--quick", "--pictures", tmp_path / "x")
    assert (refused.exit_code, "--quick decodes nothing" in refused.stderr) == (2, True)


def test_an_unknown_domain(verify):
    result = verify("phantom2d-d")
    assert (result.exit_code, "did you mean 'phantom2d-" in result.stderr) == (2, True)
