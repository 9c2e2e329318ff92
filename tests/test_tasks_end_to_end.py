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


SLICED = """
name = "sliced"
ndim = 2
channels = 3
classes = ["background", "rim", "cup"]
shape = [32, 32]
regions = { disc = ["rim", "cup"], cup = ["cup"] }

[source.here]
images = "here/{group}/{case}_image.nii.gz"
labels = [
  { path = "here/{group}/{case}_rim.nii.gz", class = "rim", at_least = 128 },
  { path = "here/{group}/{case}_cup.nii.gz", class = "cup", values = [1] },
]
slices = { axis = 2, keep = "labelled", neighbours = 1 }

[target.there]
images = "there/{case}_image.nii.gz"
labels = "there/{case}_label.nii.gz"
intensity = { window = [-100, 300] }
orientation = "stored"
axes = "-1 +0 -2"
slices = { axis = 2, neighbours = 1 }
"""


@pytest.fixture
def sliced(tmp_path):
    """Volumes of five slices, two of them empty, for a 2D network; the target has other axes and units."""
    rng = np.random.default_rng(0)
    (tmp_path / "sliced.toml").write_text(SLICED)
    for domain, cases in (("here", 6), ("there", 2)):
        for index in range(cases):
            label = np.zeros((30, 26, 5), dtype=np.uint8)
            label[8:22, 6:20, 1:4], label[12:17, 9:15, 1:4] = 1, 2
            image = (10 + 60.0 * label + rng.normal(0, 3, label.shape)).clip(1).astype(np.float32)
            affine = np.array([[0.0, 1.5, 0, 4], [-1.5, 0, 0, 7], [0, 0, 8, 0], [0, 0, 0, 1]])
            if domain == "there":
                save(image - 50, tmp_path / "data/there" / f"t{index}_image.nii.gz", affine)
                save(label, tmp_path / "data/there" / f"t{index}_label.nii.gz", affine)
                continue
            folder = tmp_path / "data/here" / f"patient{index // 2}"
            save(image, folder / f"h{index}_image.nii.gz", affine)
            save(np.uint8(200) * (label > 0), folder / f"h{index}_rim.nii.gz", affine)
            save((label > 1).astype(np.uint8), folder / f"h{index}_cup.nii.gz", affine)
    return Bench(tmp_path / "data", tmp_path / "results")


def test_slices_are_scored_as_volumes_and_regions_as_classes(sliced, tmp_path):
    file = str(tmp_path / "sliced.toml")
    training = ("--set=training.epochs=30", "--set=optimizer.lr=0.005", "--set=network.init_filters=8")
    result = sliced("run", "--method", "erm", "--task", file, "--target", "there", *training)
    assert result.exit_code == 0, result.output
    scored = evaluation(sliced, "erm", "sliced", "there")
    assert "predicted slice by slice" in scored.data["counts"]["note"]
    assert "disc is rim + cup" in scored.data["counts"]["note"]
    held_out = case_rows(evaluation(sliced, "erm", "sliced", "held-out"))
    assert len(held_out) == 2 * 2, "a patient's two volumes stay together"
    rows = case_rows(scored)
    assert [(row["case"], row["class_name"]) for row in rows] == [
        (c, r) for c in ("t0", "t1") for r in ("disc", "cup")
    ]
    for row in rows:
        label = np.asarray(nib.load(sliced.data / "there" / f"{row['case']}_label.nii.gz").dataobj)
        prediction = nib.load(scored.path / "predictions" / f"{row['case']}.nii.gz")
        image = nib.load(sliced.data / "there" / f"{row['case']}_image.nii.gz")
        assert prediction.shape == label.shape
        assert np.allclose(prediction.affine, image.affine)
        ours, theirs = (
            np.isin(array, (1, 2) if row["class_name"] == "disc" else (2,)) for array in (prediction.dataobj, label)
        )
        assert int(row["tp"]) == np.count_nonzero(ours & theirs)
        assert int(row["fp"]) == np.count_nonzero(ours & ~theirs)
        assert int(row["fn"]) == np.count_nonzero(~ours & theirs)
        if row["class_name"] == "disc":
            ours, theirs = ours[..., 1:4], theirs[..., 1:4]  # training saw none of the empty slices
            assert 2 * np.count_nonzero(ours & theirs) / (ours.sum() + theirs.sum()) > 0.8, (
                "learned, on the right axes"
            )
    run = str(sliced.run_path("erm", "sliced"))
    images = str(sliced.data / "there" / "t0_image.nii.gz")
    place = ("--input", images, "--output", str(tmp_path / "mine"), "--task", file, "--like", "there")
    predicted = sliced("predict", run, *place, "--probabilities")
    assert predicted.exit_code == 0, predicted.output
    mine = nib.load(tmp_path / "mine" / "t0_image.nii.gz").dataobj
    assert np.array_equal(mine, nib.load(scored.path / "predictions" / "t0.nii.gz").dataobj)
    maps = np.asarray(nib.load(tmp_path / "mine" / "probabilities" / "t0_image.nii.gz").dataobj)
    assert np.array_equal(maps.argmax(axis=-1), mine)
    assert np.allclose(maps.sum(axis=-1), 1, atol=1e-5)


def test_cutting_a_target_by_its_label_is_a_switch_that_says_so(sliced, tmp_path):
    target = "slices = { axis = 2, neighbours = 1 }"
    assert target in SLICED
    (tmp_path / "sliced.toml").write_text(
        SLICED.replace(target, 'slices = { axis = 2, neighbours = 1, crop = "labelled" }')
    )
    training = ("--set=training.epochs=1", "--set=network.init_filters=8")
    file = str(tmp_path / "sliced.toml")
    result = sliced("run", "--method", "erm", "--task", file, "--target", "there", *training)
    assert result.exit_code == 0, result.output
    scored = evaluation(sliced, "erm", "sliced", "there")
    assert "an oracle: nothing is predicted beyond the labelled slices" in scored.data["counts"]["note"]
    for case in ("t0", "t1"):
        prediction = np.asarray(nib.load(scored.path / "predictions" / f"{case}.nii.gz").dataobj)
        assert prediction[..., 1:4].any(), "one epoch predicts something everywhere"
        assert not prediction[..., [0, 4]].any()
