"""Amplitude spectra by domain: numbers against the definition, and the figure through the command line."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from ssdg.benchmark.data.arrays import Ragged
from ssdg.benchmark.data.geometry import Geometry
from ssdg.benchmark.data.prepared import PreparedDomain
from ssdg.benchmark.errors import UsageError
from ssdg.benchmark.figures.amplitudes import Bands, fold_range, measure, spectra_csv


def prepared(images, name="d"):
    shape = images.shape[2:]
    ids = tuple(f"case-{index}" for index in range(len(images)))
    geometry = Geometry(shape, (0,) * len(shape), shape, shape)
    foreground = np.ones((len(images), *shape), bool)
    return PreparedDomain(name, ids, ("all",) * len(ids), images, None, foreground, (geometry,) * len(ids), "-")


def by_definition(image, inside):
    """Return the mean amplitude of an image (C, *S) over the frequencies whose radius is ``inside``, bin by bin."""
    shape = image.shape[1:]
    amplitude = np.mean([np.abs(np.fft.fftn(channel)) / channel.size for channel in image], axis=0)
    found = []
    for index in np.ndindex(shape):
        signed = [k if k <= n // 2 else k - n for k, n in zip(index, shape, strict=True)]
        distance = np.sqrt(sum(k**2 for k in signed)) / (0.5 * np.sqrt(sum(n**2 for n in shape)))
        if distance > 0 and inside(distance):
            found.append(amplitude[index])
    return np.mean(found)


@pytest.mark.parametrize("shape", [(3, 16, 24), (3, 15, 9), (1, 8, 6, 10)])
def test_bands_are_means_over_the_whole_spectrum(shape):
    image = np.random.default_rng(0).random(shape).astype(np.float16)
    found = measure(prepared(image[None]), Bands(low=0.3, high=0.6))
    exact = image.astype(np.float64)
    assert found.low[0] == pytest.approx(by_definition(exact, lambda r: r <= 0.3), rel=1e-4)
    assert found.high[0] == pytest.approx(by_definition(exact, lambda r: r >= 0.6), rel=1e-4)
    for low, high, value in zip(found.edges[:-1], found.edges[1:], found.profile[0], strict=True):
        if not np.isnan(value):
            assert value == pytest.approx(
                by_definition(exact, lambda r, low=low, high=high: low <= r < high), rel=1e-4
            )


def test_rows_of_different_grids_are_each_measured_on_their_own():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (3, *grid), dtype=np.uint8) for grid in ((24, 18), (16, 20), (24, 18))]
    grids = [image.shape[1:] for image in images]
    flat = Ragged(np.concatenate([image.ravel() for image in images]), (3,), grids)
    inside = Ragged(np.ones(sum(image[0].size for image in images), bool), (), grids)
    geometries = tuple(Geometry(grid, (0, 0), grid, grid) for grid in grids)
    ids = ("a", "b", "c")
    measured = measure(PreparedDomain("d", ids, ids, flat, None, inside, geometries, "-"), Bands())
    alone = [measure(prepared(image[None]), Bands()) for image in images]
    assert measured.low == pytest.approx([spectra.low[0] for spectra in alone])
    assert measured.high == pytest.approx([spectra.high[0] for spectra in alone])
    assert np.array_equal(measured.edges, alone[0].edges)  # of the finest frequency
    np.testing.assert_allclose(measured.profile[[0, 2]], [spectra.profile[0] for spectra in alone[::2]])


def test_the_slices_of_a_volume_are_one_case():
    images = np.random.default_rng(0).integers(0, 256, (5, 1, 16, 16), dtype=np.uint8)
    each = measure(prepared(images), Bands())
    sliced = replace(prepared(images), ids=("a", "b"), strata=("all",) * 2, depths=(2, 3), slice_axis=2)
    measured = measure(sliced, Bands())
    assert measured.low == pytest.approx([each.low[:2].mean(), each.low[2:].mean()])
    assert measured.profile[1] == pytest.approx(each.profile[2:].mean(axis=0), nan_ok=True)


def test_a_wave_lies_in_the_ring_of_its_frequency():
    x = np.arange(64)
    wave = 0.5 + 0.25 * np.cos(2 * np.pi * 8 * x / 64)
    image = np.broadcast_to(np.rint(255 * wave), (1, 3, 64, 64)).astype(np.uint8)
    found = measure(prepared(image), Bands())
    distance = 8 / (0.5 * np.hypot(64, 64))
    [ring] = np.flatnonzero((found.edges[:-1] <= distance) & (distance < found.edges[1:]))
    assert np.nanargmax(found.profile[0]) == ring
    assert found.high[0] < 1e-2 * found.low[0]  # not 0: values are rounded to 255ths


def test_brightness_is_in_no_band():
    image = np.random.default_rng(0).random((1, 3, 32, 32)).astype(np.float16) / 2
    one, other = (measure(prepared(values), Bands()) for values in (image, image + np.float16(0.25)))
    np.testing.assert_allclose(one.low, other.low, rtol=1e-2)
    np.testing.assert_allclose(one.high, other.high, rtol=1e-2)


def test_the_spread_is_of_the_medians():
    images = np.random.default_rng(0).random((3, 1, 16, 16)).astype(np.float32)
    one, other = measure(prepared(images), Bands()), measure(prepared(2 * images), Bands())
    assert fold_range([one, other], "low") == pytest.approx(2, rel=1e-3)
    assert fold_range([one], "high") == 1


def test_empty_rings_are_not_written():
    found = measure(prepared(np.random.default_rng(0).random((1, 1, 8, 8, 8)).astype(np.float16)), Bands())
    assert np.isnan(found.profile).any()
    lines = list(csv.DictReader(spectra_csv([found], Bands()).splitlines()))
    assert len(lines) == 2 + int((~np.isnan(found.profile)).sum())
    assert {line["band"] for line in lines} == {"low", "high", "ring"}


@pytest.mark.parametrize(("low", "high"), [(0, 0.5), (0.6, 0.5), (0.2, 1), (float("nan"), 0.5)])
def test_limits_that_make_no_bands_are_refused(low, high):
    with pytest.raises(UsageError, match="low"):
        Bands(low=low, high=high)


def test_a_band_without_frequencies_is_refused():
    with pytest.raises(UsageError, match="8x8 has no frequency in the low band"):
        measure(prepared(np.zeros((1, 1, 8, 8), np.uint8)), Bands(low=0.01))


@pytest.fixture
def spectra(bench):
    def run(*given, data=bench.data):
        return bench("figure", "spectra", *given, "--data-root", str(data), "--results-root", str(bench.results))

    return run


@pytest.mark.parametrize("task", ["phantom2d", "phantom3d"])
@pytest.mark.parametrize("width", ["3.5", "7.2"])
def test_spectra_of_all_domains(spectra, tmp_path, task, width):
    output, table = tmp_path / "figure.pdf", tmp_path / "numbers.csv"
    result = spectra("--task", task, "--output", str(output), "--csv", str(table), "--width", width)
    assert result.exit_code == 0, result.output
    assert "medians apart: low x" in result.output
    assert output.read_bytes().startswith(b"%PDF")
    lines = list(csv.DictReader(table.read_text().splitlines()))
    cases = {(line["domain"], line["case"]) for line in lines}
    assert len(cases) == {"phantom2d": 16, "phantom3d": 6}[task]
    assert len([line for line in lines if line["band"] == "low"]) == len(cases)


def test_domains_that_are_not_on_disk_are_named(spectra, tmp_path, bench):
    (tmp_path / "phantom2d").mkdir()
    (tmp_path / "phantom2d" / "a").symlink_to(bench.data / "phantom2d" / "a")
    found = spectra("--task", "phantom2d", "--output", str(tmp_path / "f.png"), data=tmp_path)
    assert found.exit_code == 0, found.output
    assert "phantom2d-b is left out" in found.output
    assert "1 domains in" in found.output
    named = spectra(
        "--task", "phantom2d", "--domains", "phantom2d-b", "--output", str(tmp_path / "g.png"), data=tmp_path
    )
    assert named.exit_code == 2
    assert not (tmp_path / "g.png").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--task", "phantom2d", "--domains", "phantom2d-z"), "did you mean 'phantom2d-"),
        (("--task", "phantom4d"), "unknown task 'phantom4d'"),
        (("--task", "fundus"), "no domain of task 'fundus'"),
        (("--task", "phantom2d", "--output", "f.svg"), "not .svg"),
        (("--task", "phantom2d", "--labels", "A,B"), "2 labels for 3 domains"),
        (("--task", "phantom2d", "--low", "0.9"), "bands need"),
        ((), "--task"),
    ],
)
def test_wrong_use(spectra, given, message):
    result = spectra(*given)
    assert result.exit_code == 2
    assert message in result.output
