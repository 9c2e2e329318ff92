"""Grids by the size of a voxel, and by the angle of a camera."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ssdg.benchmark.data.geometry import labels_to_native
from ssdg.benchmark.data.preprocess import prepare_case
from ssdg.benchmark.data.survey import summary, survey_domain
from ssdg.benchmark.errors import UsageError
from ssdg.benchmark.settings import fixed_grid
from ssdg.benchmark.spec import PreprocessConfig
from ssdg.datasets.base import Case, DataError, Domain, Slices, Task

PICTURES = Task("eyes", 2, 3, ("background", "vessel"), (48, 48), {}, {})
VOLUMES = replace(PICTURES, ndim=3, channels=1, shape=(16, 16, 16))
SLICED = replace(PICTURES, channels=1, sliced=True)
FOV = PreprocessConfig(scale="fov")


def spaced(*steps, **options):
    return PreprocessConfig(spacing=steps, **options)


def domain(*cases, **options):
    return Domain("eyes", "test", cases, {0: 0, 255: 1}, "", "", **options)


def write_eye(folder, shape=(40, 60), centre=(20, 30), radius=12, mask=True):
    """Write a bright noisy disc, its upper half labelled, and the disc as the field of view."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    view = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2
    noise = np.random.default_rng(0).integers(100, 200, (*shape, 3), dtype=np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in (
        ("image", noise * view[..., None]),
        ("label", 255 * (view & (y < centre[0]))),
        ("mask", view),
    ):
        Image.fromarray(array.astype(np.uint8)).save(folder / f"{name}.png")
    return Case(folder.name, folder / "image.png", folder / "label.png", folder / "mask.png" if mask else None)


def write_volume(folder, spacing=(0.5, 1.0, 2.0)):
    """Write a bright box of 12 x 9 x 5 voxels at (2, 3, 1) of a volume of 20 x 16 x 8."""
    image = np.zeros((20, 16, 8), np.float32)
    image[2:14, 3:12, 1:6] = np.random.default_rng(0).uniform(1, 2, (12, 9, 5))
    nib.save(nib.Nifti1Image(image, np.diag([*spacing, 1.0])), folder / "image.nii")
    nib.save(nib.Nifti1Image((255 * (image > 1.5)).astype(np.uint8), np.diag([*spacing, 1.0])), folder / "label.nii")
    return Case("a", folder / "image.nii", folder / "label.nii")


def test_a_spacing_of_one_pixel_is_the_picture_itself(tmp_path):
    case = write_eye(tmp_path / "a")
    prepared = prepare_case(case, domain(case), PICTURES, spaced(1, 1))
    assert np.array_equal(prepared.image, np.moveaxis(np.asarray(Image.open(case.image)), 2, 0))
    assert np.array_equal(prepared.label * 255, np.asarray(Image.open(case.label)))
    assert np.array_equal(labels_to_native(prepared.label, prepared.geometry), prepared.label)


@pytest.mark.parametrize("grid", ["stretch", "isotropic"])
@pytest.mark.parametrize(
    ("steps", "shape"),
    [((0.5, 1.0, 2.0), (12, 9, 5)), ((1.0, 1.0, 1.0), (6, 9, 10)), ((4.1, 2.0, 50.0), (1, 4, 1))],
)
def test_a_volumes_grid_is_the_box_of_its_foreground_in_voxels_of_the_spacing(tmp_path, grid, steps, shape):
    case = write_volume(tmp_path)
    prepared = prepare_case(case, domain(case), VOLUMES, spaced(*steps, grid=grid))
    assert (prepared.geometry.start, prepared.geometry.extent) == ((2, 3, 1), (12, 9, 5))
    assert prepared.image.shape[1:] == prepared.label.shape == prepared.foreground.shape == shape
    assert fixed_grid(VOLUMES, spaced(*steps)) is None


def test_a_slices_grid_has_the_spacing_in_the_plane(tmp_path):
    case = write_volume(tmp_path)
    sliced = domain(case, slices=Slices(axis=1))
    prepared = prepare_case(case, sliced, SLICED, spaced(1.0, 2.0))
    assert prepared.image.shape == (16, 1, 6, 5)
    assert (prepared.label.shape, prepared.slices, prepared.geometry.extent) == ((16, 6, 5), 16, (12, 5))


def test_settings_that_do_not_fit_are_refused_before_a_file_is_read(tmp_path):
    absent = Case("a", tmp_path / "absent.png")
    for config, task, message in (
        (spaced(1, 1, 1), PICTURES, "preprocess.spacing=1,1,1 is not for 2 axes, which task 'eyes' has"),
        (replace(FOV, grid="stretch"), PICTURES, "preprocess.scale=fov goes with preprocess.grid=isotropic and"),
        (spaced(1, 1, scale="fov"), PICTURES, "scale=fov goes with .* without preprocess.spacing"),
        (FOV, VOLUMES, "preprocess.scale=fov is for pictures; task 'eyes' has volumes"),
        (FOV, SLICED, "preprocess.scale=fov is for pictures; task 'eyes' has volumes"),
    ):
        with pytest.raises(UsageError, match=message):
            prepare_case(absent, domain(absent), task, config)


@pytest.mark.parametrize(
    ("degrees", "start", "side"), [(None, (8, 18), 25), (45, (8, 18), 25), (30, (2, 12), 38), (90, (15, 25), 12)]
)
def test_the_grid_spans_45_degrees_about_the_field_of_view(tmp_path, degrees, start, side):
    case = write_eye(tmp_path / "a")
    prepared = prepare_case(case, domain(case, degrees=degrees), PICTURES, FOV)
    assert (prepared.geometry.start, prepared.geometry.extent) == (start, (side, side))
    assert prepared.image.shape == (3, 48, 48)
    across = prepared.foreground.any(axis=0).sum()
    assert abs(across - min(48, 48 * (degrees or 45) / 45)) <= 2


@given(st.integers(20, 40), st.integers(20, 40), st.integers(4, 30), st.sampled_from([20, 30, 45, 60, None]))
@settings(max_examples=25, deadline=None)
def test_beyond_the_picture_is_zero_and_labels_return(tmp_path_factory, height, width, radius, degrees):
    """The disc may be cut by the picture's edge, as the field of view of many cameras is."""
    case = write_eye(tmp_path_factory.mktemp("eye") / "a", (height, width), (height // 2, width // 3), radius)
    prepared = prepare_case(case, domain(case, degrees=degrees), replace(PICTURES, shape=(96, 96)), FOV)
    geometry = prepared.geometry
    rows, columns = (
        start + (2 * np.arange(96) + 1) * extent / 192 - 0.5
        for start, extent in zip(geometry.start, geometry.extent, strict=True)
    )
    outside = ((rows < -0.5) | (rows > height - 0.5))[:, None] | ((columns < -0.5) | (columns > width - 0.5))
    assert not prepared.foreground[outside].any()
    assert not prepared.label[outside].any()
    native = np.asarray(Image.open(case.label)) > 0
    kept = np.zeros((height, width), bool)
    kept[geometry.inside[0]] = True
    if max(geometry.extent) <= 96:  # no finer than the picture
        assert np.array_equal(labels_to_native(prepared.label, geometry) > 0, native & kept)


def test_an_oblong_grid_spans_the_angle_along_its_shorter_side(tmp_path):
    case = write_eye(tmp_path / "a")
    geometry = prepare_case(case, domain(case), replace(PICTURES, shape=(48, 96)), FOV).geometry
    assert (geometry.start, geometry.extent) == ((8, 6), (25, 50))


def test_pictures_without_a_field_of_view_name_the_key(tmp_path):
    case = write_eye(tmp_path / "a", mask=False)
    with pytest.raises(DataError, match=r"a/image\.png has no mask: give its domain foregrounds, .*scale=fov"):
        prepare_case(case, domain(case), PICTURES, FOV)
    with pytest.raises(
        DataError, match=r"no part of .*brighter than foregrounds = \{ threshold = 0\.9 \}.*scale=fov"
    ):
        prepare_case(case, domain(case, field_of_view=0.9), PICTURES, FOV)
    geometry = prepare_case(case, domain(case, field_of_view=0.1), PICTURES, FOV).geometry
    assert abs(geometry.extent[0] - 25) <= 2


def test_verify_names_scale_and_grids(tmp_path):
    cases = [write_eye(tmp_path / "a"), write_eye(tmp_path / "b", (50, 61)), write_eye(tmp_path / "c", (40, 61))]
    scaled = summary(survey_domain(domain(*cases, degrees=30), PICTURES, FOV), PICTURES)
    assert "\n  scale=fov: the grid spans 45 degrees, the camera 30\n" in scaled
    unknown = summary(survey_domain(domain(*cases), PICTURES, FOV), PICTURES)
    assert "the camera 45, as none are stated\n" in unknown
    ragged = summary(survey_domain(domain(*cases), PICTURES, spaced(2, 2)), PICTURES)
    assert "\n  grids of 20×30 to 25×30\n" in ragged  # noqa: RUF001
    assert len(summary(survey_domain(domain(*cases), PICTURES, PreprocessConfig()), PICTURES).splitlines()) == 2
