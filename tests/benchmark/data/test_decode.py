"""Files of every accepted form become the same plain arrays; files that cannot be used are named."""

import re

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from ssdg.datasets.base import DataError

from .files import AFFINE, read_image, save_picture, save_volume


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("suffix", ["png", "tif", "gif"])
def test_grey_pictures_fill_the_channels(tmp_path, rng, suffix):
    array = rng.integers(0, 256, (7, 9), dtype=np.uint8)
    image = read_image(save_picture(tmp_path / f"a.{suffix}", array), 2, 3)
    assert image.array.shape == (3, 7, 9)
    assert image.array.dtype == np.float32
    assert image.shape == (7, 9)
    assert image.affine is None
    assert image.spacing == (1.0, 1.0)
    for channel in image.array:
        assert np.allclose(channel, array / 255)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bits_are_scaled_by_their_depth(tmp_path, rng, suffix):
    array = rng.integers(0, 65536, (5, 6), dtype=np.uint16)
    image = read_image(save_picture(tmp_path / f"a.{suffix}", array), 2, 1)
    assert np.allclose(image.array[0], array / 65535)


def test_colour_alpha_palette_and_jpeg(tmp_path, rng):
    array = rng.integers(0, 256, (6, 5, 4), dtype=np.uint8)
    image = read_image(save_picture(tmp_path / "a.png", array), 2, 3)
    assert np.allclose(image.array, np.moveaxis(array[..., :3], 2, 0) / 255)
    few = np.repeat(np.repeat(array[:2, :2, :3], 3, 0), 3, 1)
    image = read_image(save_picture(tmp_path / "b.gif", few, "P"), 2, 3)
    assert np.abs(image.array - np.moveaxis(few, 2, 0) / 255).max() < 0.2
    smooth = np.tile(np.arange(0, 160, 10, dtype=np.uint8), (16, 1))
    image = read_image(save_picture(tmp_path / "c.jpg", smooth), 2, 3)
    assert np.abs(image.array[0] - smooth / 255).max() < 0.05


def test_a_colour_picture_of_a_grey_task_is_refused_unless_its_channels_agree(tmp_path, rng):
    grey = rng.integers(0, 256, (6, 5, 1), dtype=np.uint8)
    path = save_picture(tmp_path / "grey.png", np.repeat(grey, 3, axis=2))
    assert np.allclose(read_image(path, 2, 1).array[0], grey[..., 0] / 255)
    path = save_picture(tmp_path / "colour.png", rng.integers(0, 256, (6, 5, 3), dtype=np.uint8))
    with pytest.raises(DataError, match=r"colour\.png is in colour .*channels = 1"):
        read_image(path, 2, 1)


@pytest.mark.parametrize("kind", [">i2", "<f8", ">f4", "u1"])
@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
def test_volumes_of_any_type_and_byte_order(tmp_path, rng, kind, suffix):
    array = rng.integers(0, 200, (4, 5, 6)).astype(kind)
    path = tmp_path / f"a.{suffix}"
    nib.Nifti1Image(array, AFFINE, nib.Nifti1Header(endianness=">" if kind.startswith(">") else "<")).to_filename(
        path
    )
    image = read_image(path, 3, 1)
    assert image.array.shape == (1, 4, 5, 6)
    assert image.array.dtype == np.float32
    assert image.array.dtype.isnative
    assert np.allclose(image.array[0], array.astype(float))
    assert np.allclose(image.affine, AFFINE, atol=1e-6)
    assert np.allclose(image.spacing, np.linalg.norm(AFFINE[:3, :3], axis=0), atol=1e-6)


def test_a_volumes_scaling_is_applied(tmp_path):
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    image = nib.Nifti1Image(array, AFFINE)
    image.header.set_slope_inter(0.5, 10)
    nib.save(image, tmp_path / "a.nii.gz")
    assert np.allclose(read_image(tmp_path / "a.nii.gz", 3, 1).array[0], nib.load(tmp_path / "a.nii.gz").get_fdata())


def test_channels_of_a_volume_come_last_on_disk(tmp_path, rng):
    array = rng.random((4, 5, 6, 2)).astype(np.float32)
    path = save_volume(tmp_path / "a.nii", array)
    assert np.array_equal(read_image(path, 3, 2).array, np.moveaxis(array, 3, 0))
    with pytest.raises(
        DataError, match=r"shape \(4, 5, 6, 2\), expected is \(X, Y, Z\): .*2 volumes are channels: choose with"
    ):
        read_image(path, 3, 1)
    single = save_volume(tmp_path / "b.nii", array[..., :1])
    assert np.array_equal(read_image(path, 3, 1, file_channels=(1,)).array[0], array[..., 1])
    assert np.array_equal(read_image(path, 3, 2, file_channels=(1, 0)).array, np.moveaxis(array[..., ::-1], 3, 0))
    assert np.array_equal(read_image(single, 3, 1, file_channels=(0,)).array[0], array[..., 0])
    with pytest.raises(DataError, match=r"a\.nii has 2 channels, 0 the first, and its domain asks for \[2\]"):
        read_image(path, 3, 1, file_channels=(2,))
    assert np.array_equal(read_image(single, 3, 1).array[0], array[..., 0])


TURNED = {"quatern_b": 0, "quatern_c": 0, "quatern_d": 1}  # by 180 degrees: both axes of the plane are mirrored


@pytest.mark.parametrize(
    ("header", "words", "of_ras_alone"),
    [
        ({"sform_code": 0}, 'where the axes point .*orientation = "stored"', True),
        ({"qform_code": 1, "pixdim": [1, 0.5, 0.5, 3, 0, 0, 0, 0]}, r"voxels of 0\.5x0\.5x3 and of 1x1x2 mm", False),
        ({"qform_code": 1, **TURNED}, "qform and the sform .*axes that point elsewhere", True),
        ({"qform_code": 1, "quatern_b": np.nan}, "qform and the sform .*axes that point elsewhere", True),
        ({"xyzt_units": 3}, "sizes in micrometres", False),
        ({"xyzt_units": 8 | 1}, "sizes in metres", False),
        ({"qform_code": 1, "pixdim": [-1, 1.004, 1, 2, 0, 0, 0, 0]}, "axes that point elsewhere", True),
        ({"qform_code": 1, "pixdim": [1, 1.004, 1, 2, 0, 0, 0, 0], "quatern_b": 1e-3}, None, False),
        ({"qform_code": 0, "pixdim": [1, 3, 3, 3, 0, 0, 0, 0], **TURNED}, None, False),
        ({"qform_code": 1, "sform_code": 0, "srow_x": [0, 0, 0, 0]}, None, False),
        ({"xyzt_units": 7}, None, False),
    ],
)
def test_a_header_that_programs_read_differently_is_refused(tmp_path, header, words, of_ras_alone):
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    as_mm = {"pixdim": [1, 1, 1, 2, 0, 0, 0, 0], **header}
    path = save_volume(tmp_path / "a.nii", array, np.diag([1, 1, 2, 1.0]), **as_mm)
    for orientation in ("ras", "stored"):
        if words and not (of_ras_alone and orientation == "stored"):
            with pytest.raises(DataError, match=rf"a\.nii: .*{words}"):
                read_image(path, 3, 1, orientation=orientation)
        else:
            assert np.array_equal(read_image(path, 3, 1, orientation=orientation).array[0], array)


def test_a_flat_nifti_is_not_a_volume(tmp_path):
    path = save_volume(tmp_path / "a.nii", np.eye(5, dtype=np.float32))
    with pytest.raises(DataError, match=r"a\.nii has shape \(5, 5\)"):
        read_image(path, 3, 1)


@pytest.mark.parametrize(("name", "ndim"), [("a.png", 2), ("a.tif", 2), ("a.jpg", 2), ("a.nii", 3), ("a.nii.gz", 3)])
def test_a_file_cut_short_is_named(tmp_path, rng, name, ndim):
    path = tmp_path / name
    if ndim == 2:
        save_picture(path, rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    else:
        save_volume(path, rng.random((12, 12, 12)).astype(np.float32))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=rf"{re.escape(str(path))} cannot be read as .*copy or download it again"):
        read_image(path, ndim, 1 if ndim == 3 else 3)


@pytest.mark.parametrize(("name", "ndim"), [("a.png", 2), ("a.nii.gz", 3)])
def test_files_that_are_none(tmp_path, name, ndim):
    path = tmp_path / name
    with pytest.raises(DataError, match=r"a\.\S+ does not exist"):
        read_image(path, ndim, 1)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="is an empty file"):
        read_image(path, ndim, 1)
    path.write_bytes(b"certainly no image")
    with pytest.raises(DataError, match="cannot be read as"):
        read_image(path, ndim, 1)
    path.unlink()
    path.mkdir()
    with pytest.raises(DataError, match="is a folder"):
        read_image(path, ndim, 1)


def test_stacks_of_pictures_are_refused(tmp_path, rng):
    frames = [Image.fromarray(rng.integers(0, 256, (6, 6), dtype=np.uint8)) for _ in range(3)]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match="3 frames"):
        read_image(tmp_path / "a.tif", 2, 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_nan_infinite_and_constant_images_are_named(tmp_path, bad):
    array = np.zeros((4, 4, 4))
    path = save_volume(tmp_path / "a.nii.gz", array)
    with pytest.raises(DataError, match=r"a\.nii\.gz is constant"):
        read_image(path, 3, 1)
    array[1, 2, 3] = bad
    save_volume(path, array)
    with pytest.raises(DataError, match=r"a\.nii\.gz has 1 NaN or infinite values of 64"):
        read_image(path, 3, 1)
    with pytest.raises(DataError, match="is constant"):
        read_image(save_picture(tmp_path / "a.png", np.full((5, 5, 3), 7, np.uint8)), 2, 3)
