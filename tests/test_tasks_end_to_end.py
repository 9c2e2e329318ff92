"""Every published layout from files to scores: real data where they are, files of the same layout elsewhere."""

import csv
import json

import nibabel as nib
import numpy as np
import pytest

from ssdg.benchmark.storage.results_reader import read_run

from . import suites
from .conftest import TINY, TINY_3D, Bench
from .suites import suite_file


@pytest.fixture
def real(real_data, tmp_path):
    return Bench(real_data, tmp_path / "results")


def evaluation(bench, method, task, domain):
    [found] = [e for e in read_run(bench.run_path(method, task)).evaluations if e.domain == domain]
    return found


def case_rows(evaluation):
    with (evaluation.path / "cases.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.real_data
@pytest.mark.parametrize("protocol", ["clean", "paper"])
def test_drive_to_lesav_and_iostar(real, protocol):
    targets = ("--target", "lesav", "--target", "iostar")
    result = real(
        "run", "--method", "ras4dg", *targets, "--protocol", protocol, "--set=preprocess.shape=64,64", *TINY[1:]
    )
    assert result.exit_code == 0, result.output
    lesav = evaluation(real, "ras4dg", "fundus", "lesav")
    assert lesav.data["counts"]["scored"] == 22
    assert evaluation(real, "ras4dg", "fundus", "iostar").data["counts"]["published"] == 30
    for row in case_rows(lesav):
        inside, outside = (int(row[name]) for name in ("fn", "fn_outside"))
        assert inside + outside + int(row["tp"]) > 1000, "labels are counted on their native grid"


@pytest.mark.real_data
def test_gholipour_to_fidon_and_wu(real):
    targets = ("--target", "fidon", "--target", "wu", "--source", "gholipour")
    result = real("run", "--method", "erm", *targets, *TINY_3D, "--set=training.epochs=1")
    assert result.exit_code == 0, result.output
    counts = evaluation(real, "erm", "fetal-atlases", "wu").data["counts"]
    assert (counts["scored"], counts["published"], counts["missing"]) == (13, 14, ["Chinese35"])
    assert "Chinese35" in result.output
    rows = case_rows(evaluation(real, "erm", "fetal-atlases", "fidon"))
    assert len(rows) == 15 * 7


def save(array, path, affine):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)


def brain(rng, labels, surround):
    """Return an image and a label of nested boxes; ``surround`` is the intensity of what is around the brain."""
    label = np.zeros((26, 30, 24), dtype=np.uint8)
    for depth, value in enumerate(labels):
        label[3 + depth : -3 - depth, 3 + depth : -3 - depth, 3 + depth : -3 - depth] = value
    image = np.where(label > 0, 100 + 40.0 * label, surround) + rng.normal(0, 4, label.shape) * (label > 0)
    return image.astype(np.float32), label


@pytest.fixture
def feta(tmp_path):
    """Atlases and FeTA 2021 in their published layouts, drawn."""
    rng = np.random.default_rng(0)
    affine = np.diag([0.8, 0.8, 0.8, 1.0])
    families = {
        "Neurotypical_Gholipour2017": [f"HarvardSTA{age}_Study1" for age in range(21, 39)],
        "Neurotypical_Wu2021": [f"Chinese{age}_Study1" for age in (22, 23)],
        "SpinaBifida_Fidon2021": ["fetal_SB_atlas_GA25_operated"],
    }
    for family, ages in families.items():
        for age in ages:
            image, label = brain(rng, range(1, 9), 0.0)
            folder = tmp_path / "data" / "atlases" / family / age
            save(image, folder / "srr.nii.gz", affine)
            save(label, folder / "parcellation.nii.gz", affine)
    root = tmp_path / "data" / "feta2021"
    lines = ["participant_id\tPathology\tGestational age"]
    turned = np.diag([-0.5, -0.5, 0.5, 1.0])  # stored in another order of axes than the atlases
    for index in range(1, 5):
        image, label = brain(rng, (4, 1, 2, 3, 5, 6, 7), 30.0)
        anatomy = root / f"sub-{index:03d}" / "anat"
        save(image, anatomy / f"sub-{index:03d}_rec-mial_T2w.nii.gz", turned)
        save(label, anatomy / f"sub-{index:03d}_rec-mial_dseg.nii.gz", turned)
        lines.append(f"sub-{index:03d}\t{'Pathological' if index % 2 else 'Neurotypical'}\t25")
    (root / "participants.tsv").write_text("\n".join(lines) + "\n")
    return Bench(tmp_path / "data", tmp_path / "results")


@pytest.mark.parametrize("protocol", ["clean", "paper"])
def test_feta(feta, protocol):
    result = feta("run", "--method", "ras4dg", "--target", "feta2021", "--protocol", protocol, *TINY_3D)
    assert result.exit_code == 0, result.output
    scored = evaluation(feta, "ras4dg", "fetal", "feta2021")
    assert {row["stratum"] for row in case_rows(scored)} == {"normal", "abnormal"}
    assert len(case_rows(scored)) == 4 * 7
    for name in ("abnormal", "normal"):
        assert name in result.output
    [prediction, *_] = sorted((scored.path / "predictions").iterdir())
    assert np.allclose(nib.load(prediction).affine, np.diag([-0.5, -0.5, 0.5, 1.0]))


def test_the_oracle_brain_mask_is_said_to_be_one(feta):
    result = feta("table", "table1", "--targets", "feta2021")
    assert "oracle" in result.output


def test_intra_domain_scores_every_case_by_a_fold_that_did_not_see_it(feta, tmp_path):
    column = {"task": "fetal", "source": "atlases", "target": "feta2021"}
    settings = {**suites.TINY_3D, "training.epochs": 1}
    suite = suite_file(tmp_path / "intra.toml", [{"id": "intra", "method": "erm", "folds": 2}], [column], settings)
    result = feta("sweep", str(suite), "--jobs", "2")
    assert result.exit_code == 0, result.output
    runs = sorted((feta.results / "runs" / "fetal" / "intra").iterdir())
    assert len(runs) == 2
    scored = []
    for run in runs:
        [one] = [e for e in read_run(run).evaluations if e.domain == "feta2021"]
        scored.append({row["case"] for row in case_rows(one)})
        spec = json.loads((run / "spec.json").read_text())
        assert spec["request"]["source"] == "feta2021"
    assert scored[0].isdisjoint(scored[1])
    assert scored[0] | scored[1] == {f"sub-{index:03d}" for index in range(1, 5)}
    table = feta("table", str(suite), "--final", "--format", "csv")
    assert table.exit_code == 0, table.output
