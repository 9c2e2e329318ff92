"""`bench predict --probabilities`: softmax probabilities on the grid of the image."""

import nibabel as nib
import numpy as np
import pytest
import torch
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from PIL import Image

from ssdg.benchmark.data.geometry import Geometry, isotropic, probabilities_to_native, probability_to_native

from ...conftest import TINY, TINY_3D


def predict(bench, images, output, *flags, task="phantom2d"):
    place = ("--input", str(images), "--output", str(output))
    result = bench("predict", str(bench.run_path(task=task)), *place, *flags)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("resample", ["probabilities", "nearest"])
def test_pictures_have_an_npz_with_the_classes_first(bench, tmp_path, resample):
    bench("run", "--method", "erm", "--target", "phantom2d-b", *TINY, f"--set=evaluation.resample={resample}")
    rng = np.random.default_rng(0)
    images = tmp_path / "images"
    images.mkdir()
    Image.fromarray(rng.integers(0, 255, (61, 47, 3), dtype=np.uint8)).save(images / "one.png")
    predict(bench, images, tmp_path / "plain")
    predict(bench, images, tmp_path / "both", "--probabilities")
    labels = np.asarray(Image.open(tmp_path / "both" / "one.png"))
    assert np.array_equal(labels, np.asarray(Image.open(tmp_path / "plain" / "one.png")))
    assert not (tmp_path / "plain" / "probabilities").exists()
    with np.load(tmp_path / "both" / "probabilities" / "one.npz") as stored:
        maps = stored["probabilities"]
    assert (maps.shape, maps.dtype) == ((2, 61, 47), np.float32)
    assert np.allclose(maps.sum(axis=0), 1, atol=1e-6)
    agreeing = (maps.argmax(axis=0) == labels).mean()
    assert agreeing == 1 if resample == "probabilities" else agreeing > 0.8


def test_with_masks_of_the_field_of_view_predictions_are_those_of_the_run(bench, tmp_path):
    bench("run", "--method", "erm", "--target", "phantom2d-b", *TINY)
    data = bench.data / "phantom2d" / "b"
    run = ("predict", str(bench.run_path()), "--input", str(data / "image"))
    masked = bench(*run, "--output", str(tmp_path / "masked"), "--foregrounds", str(data / "mask"))
    assert (masked.exit_code, "--foregrounds" in masked.output) == (0, False), masked.output
    [scored] = bench.run_path().glob("evaluations/phantom2d-b-*/predictions")
    written = sorted((tmp_path / "masked").iterdir())
    assert [path.name for path in written] == sorted(path.name for path in scored.iterdir())
    assert all(np.array_equal(*map(np.asarray, map(Image.open, (p, scored / p.name)))) for p in written)
    plain = bench(*run, "--output", str(tmp_path / "plain"))
    assert "normalised over the whole picture" in plain.output
    one = bench(
        *run, "--output", str(tmp_path / "none"), "--foregrounds", str(bench.data / "phantom2d" / "a" / "mask")
    )
    assert one.exit_code == 2
    assert "has no mask that is called b-00" in one.output


def test_volumes_have_a_nifti_with_the_classes_last(bench, tmp_path):
    bench("run", "--method", "erm", "--target", "phantom3d-b", *TINY_3D, "--set=training.epochs=1")
    stored = nib.load(min((bench.data / "phantom3d" / "b" / "image").iterdir()))
    # Other axes on disk than those that the network sees.
    turn = ornt_transform(io_orientation(stored.affine), axcodes2ornt(("S", "L", "A")))
    nib.save(stored.as_reoriented(turn), tmp_path / "mine.nii.gz")
    predict(bench, tmp_path / "mine.nii.gz", tmp_path / "plain", task="phantom3d")
    predict(bench, tmp_path / "mine.nii.gz", tmp_path / "both", "--probabilities", task="phantom3d")
    image, labels = nib.load(tmp_path / "mine.nii.gz"), nib.load(tmp_path / "both" / "mine.nii.gz")
    assert np.array_equal(labels.dataobj, nib.load(tmp_path / "plain" / "mine.nii.gz").dataobj)
    maps = nib.load(tmp_path / "both" / "probabilities" / "mine.nii.gz")
    values = np.asarray(maps.dataobj)
    assert values.dtype == np.float32
    assert values.shape[:3] == image.shape
    assert np.allclose(maps.affine, image.affine)
    assert maps.header.get_zooms()[:3] == pytest.approx(image.header.get_zooms())
    assert np.allclose(values.sum(axis=-1), 1, atol=1e-6)
    assert np.array_equal(values.argmax(axis=-1), np.asarray(labels.dataobj))
    assert len(np.unique(labels.dataobj)) > 1


def test_maps_are_those_that_labels_come_from_and_background_outside_the_box():
    geometry: Geometry = isotropic((9, 14), (slice(2, 7), slice(3, 13)), (8, 8), (1.0, 1.0))
    logits = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(0))
    probabilities = logits.softmax(dim=0)
    maps = np.stack([probability_to_native(p, geometry, float(k == 0)) for k, p in enumerate(probabilities)])
    assert np.array_equal(maps.argmax(axis=0), probabilities_to_native(probabilities, geometry))
    assert np.allclose(maps.sum(axis=0), 1, atol=1e-6)
    assert (maps[:, :, 0] == np.array([1, 0, 0])[:, None]).all()
