"""What a picture may hold: an image's intensities and a label's values, or why it is refused, by kind of file."""

import gzip
import re
import struct

import numpy as np
import pytest
from PIL import Image

from ssdg.benchmark.data.images import NativeImage
from ssdg.benchmark.data.picture_files import stored_picture
from ssdg.benchmark.data.pictures import picture_intensities, picture_values
from ssdg.benchmark.data.stored import stored_type
from ssdg.datasets.base import DataError, Intensity

from .files import read_label, read_mask
from .picture_writers import GREY, GREY_ALPHA, PALETTE, RGB, RGBA, packed_tiff, pillow, png, portable, raw, tiff

RNG = np.random.default_rng(0)


def grey(bits, kind=None):
    """Return samples (6, 7) that use every bit, and start with 0, 1 and the largest."""
    array = RNG.integers(0, 2**bits, (6, 7), dtype=np.uint64)
    array[0, :3] = 0, 1, 2**bits - 1
    return array.astype(kind or (np.uint8 if bits <= 8 else np.uint16))


def colour(bits):
    return np.stack([grey(bits) for _ in range(3)], axis=2)


def with_alpha(colours, alpha):
    colours = np.atleast_3d(colours)
    return np.concatenate([colours, np.broadcast_to(alpha, colours.shape[:2])[..., None].astype(colours.dtype)], 2)


BILEVEL, G2, G4, G8, G16 = (grey(bits) for bits in (1, 2, 4, 8, 16))
C8, C16 = colour(8), colour(16)
EQUAL16 = np.repeat(G16[..., None], 3, axis=2)
ONES = np.ones((6, 7), np.uint16)  # a label that is drawn in alpha alone
FEW = G8 % 4
GREYS, REDS = (
    bytes([0, 0, 0, 85, 85, 85, 170, 170, 170, 255, 255, 255]),
    bytes([0, 0, 0, 9, 0, 0, 99, 0, 0, 255, 0, 0]),
)
SEE_THROUGH, IN_COLOUR, TURNED, STACK = "is transparent in places", "is in colour", "orientation", "frames"
UNKNOWN = r"bits in use.* intensity = { bits = "


def scaled(samples, top):
    return np.atleast_3d(samples).astype(np.float64) / top


def exif(orientation):
    return b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 274, 3, 1, orientation, 0) + bytes(4)


TABLE = {  # name: (writer, image (H, W, C) or a reason, label (H, W) or a reason)
    "bilevel.png": (png(BILEVEL, GREY, 1), scaled(BILEVEL, 1), BILEVEL),
    "2-bits.png": (png(G2, GREY, 2), scaled(G2, 3), G2),
    "4-bits.png": (png(G4, GREY, 4), scaled(G4, 15), G4),
    "8-bits.png": (png(G8, GREY, 8), scaled(G8, 255), G8),
    "16-bits.png": (png(G16, GREY, 16), scaled(G16, 65535), G16),
    "16-bits.tif": (tiff(G16), scaled(G16, 65535), G16),
    "colour-8.png": (png(C8, RGB, 8), scaled(C8, 255), IN_COLOUR),
    "colour-16.png": (png(C16, RGB, 16), scaled(C16, 65535), IN_COLOUR),
    "equal-16.png": (png(EQUAL16, RGB, 16), scaled(EQUAL16, 65535), G16),
    "grey-alpha-8.png": (png(with_alpha(G8, 255), GREY_ALPHA, 8), scaled(G8, 255), G8),
    "grey-alpha-16.png": (png(with_alpha(G16, 65535), GREY_ALPHA, 16), scaled(G16, 65535), G16),
    "rgba-16.png": (png(with_alpha(EQUAL16, 77), RGBA, 16), scaled(EQUAL16, 65535), G16),
    "see-through-8.png": (png(with_alpha(G8, BILEVEL * 255), GREY_ALPHA, 8), scaled(G8, 255), SEE_THROUGH),
    "see-through-16.png": (png(with_alpha(C16, G16), RGBA, 16), scaled(C16, 65535), SEE_THROUGH),
    "drawn-in-alpha.png": (png(with_alpha(ONES, G16), GREY_ALPHA, 16), "is constant", SEE_THROUGH),
    "drawn-in-low-alpha.png": (png(with_alpha(G16, BILEVEL), GREY_ALPHA, 16), scaled(G16, 65535), SEE_THROUGH),
    "palette-greys.png": (png(FEW, PALETTE, 8, PLTE=GREYS), scaled(FEW, 3), FEW * 85),
    "palette-colours.png": (png(FEW, PALETTE, 2, PLTE=REDS), None, FEW),
    "palette-opaque.png": (png(FEW, PALETTE, 2, PLTE=GREYS, tRNS=b"\xff"), scaled(FEW, 3), FEW * 85),
    "palette-clear.png": (png(FEW, PALETTE, 2, PLTE=GREYS, tRNS=b"\0"), scaled(FEW, 3), SEE_THROUGH),
    "grey-key.png": (png(G4, GREY, 4, tRNS=b"\0\1"), scaled(G4, 15), SEE_THROUGH),
    "colour-key.png": (png(EQUAL16, RGB, 16, tRNS=b"\0\1" * 3), scaled(EQUAL16, 65535), SEE_THROUGH),
    "upright.png": (png(G8, GREY, 8, eXIf=exif(1)), scaled(G8, 255), G8),
    "turned.png": (png(G8, GREY, 8, eXIf=exif(6)), TURNED, TURNED),
    "turned.jpg": (pillow(G8, exif=b"Exif\0\0" + exif(8)), TURNED, TURNED),
    "turned.tif": (tiff(G8, extratags=[(274, 3, 1, 3, True)]), TURNED, TURNED),
    "turned-lzw.tif": (packed_tiff(G8, 5, 1, t274=6), TURNED, TURNED),
    "white-is-zero-8.tif": (tiff(G8, photometric="miniswhite"), scaled(255 - G8, 255), G8),
    "white-is-zero-lzw.tif": (packed_tiff(G8, 5, 0), scaled(255 - G8, 255), G8),
    "white-is-zero-16.tif": (tiff(G16, photometric="miniswhite"), scaled(65535 - G16, 65535), G16),
    "white-is-zero-float.tif": (
        tiff((G8 / 255).astype("f4"), photometric="miniswhite"),
        scaled(255 - G8, 255),
        (G8 / 255).astype("f4"),
    ),
    "bool.tif": (tiff(BILEVEL.astype(bool), photometric="miniswhite"), scaled(1 - BILEVEL, 1), BILEVEL),
    "bool-shown.tif": (tiff(BILEVEL.astype(bool)), scaled(BILEVEL, 1), BILEVEL),
    "fax.tif": (
        pillow(BILEVEL.astype(bool), compression="group4", tiffinfo={262: 0}),
        scaled(BILEVEL, 1),
        "fax-compressed",
    ),
    "bitmap.pbm": (raw(portable("P4", BILEVEL)), scaled(1 - BILEVEL, 1), "PBM"),
    "signed.tif": (tiff(G4.astype(np.int8)), scaled(G4, 127), G4),
    "negative.tif": (tiff(G8.astype(np.int16) - 100), r"from -100 to 155.*window", G8.astype(int) - 100),
    "float.tif": (tiff((G8 / 255).astype("f4")), scaled(G8, 255), (G8 / 255).astype("f4")),
    "double.tif": (tiff(G8 / 255), scaled(G8, 255), G8 / 255),
    "double-lzw.tif": (packed_tiff(G8 / 255, 5, 1), "float64.*LZW.*without compression", "float64.*LZW"),
    "half.tif": (tiff((G8 / 255).astype("f2")), (G8 / 255).astype("f2")[..., None], (G8 / 255).astype("f2")),
    "beyond.tif": (tiff(G8.astype("f4")), r"from 0 to 255, beyond 0 to 1: .*window", G8),
    "uint32.tif": (tiff(grey(32, "u4")), UNKNOWN + "32", None),
    "uint32-lzw.tif": (packed_tiff(G16.astype("u4") << 16, 5, 1), UNKNOWN, G16.astype("u4") << 16),
    "int32.tif": (tiff(G16.astype("i4")), UNKNOWN + "16", G16),
    "int64.tif": (tiff(G16.astype("i8"), byteorder=">"), UNKNOWN + "16", G16),
    "uint64.tif": (tiff(FEW.astype("u8")), UNKNOWN + "2 ", FEW),
    "colour-16.tif": (tiff(C16, byteorder=">"), scaled(C16, 65535), IN_COLOUR),
    "colour-16-zlib.tif": (tiff(C16, compression="zlib", predictor=True), scaled(C16, 65535), IN_COLOUR),
    "colour-16-lzw.tif": (packed_tiff(C16, 5, 2), scaled(C16, 65535), IN_COLOUR),
    "equal-16-lzw.tif": (packed_tiff(EQUAL16, 5, 2, ">"), scaled(EQUAL16, 65535), G16),
    "planes-16.tif": (
        tiff(np.moveaxis(EQUAL16, 2, 0).copy(), photometric="rgb", planarconfig="separate"),
        scaled(EQUAL16, 65535),
        G16,
    ),
    "grey-alpha-16.tif": (
        tiff(with_alpha(G16, 9), photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"]),
        scaled(G16, 65535),
        G16,
    ),
    "grey-alpha-lzw.tif": (
        packed_tiff(with_alpha(G16, 9), 5, 1, t338=2),
        "uint16.*LZW",
        "uint16.*LZW",
    ),
    "rgba-16-lzw.tif": (
        packed_tiff(with_alpha(C16, G16), 5, 2, t338=2),
        scaled(C16, 65535),
        SEE_THROUGH,
    ),
    "multiplied.tif": (tiff(with_alpha(C8, G8), extrasamples=["assocalpha"]), "multiplied", "multiplied"),
    "multiplied-opaque.tif": (tiff(with_alpha(C8, 255), extrasamples=["assocalpha"]), scaled(C8, 255), IN_COLOUR),
    "three-greys.tif": (tiff(C8, photometric="minisblack", planarconfig="contig"), "3 grey channels", "3 grey"),
    "palette.tif": (pillow(FEW, "P", compression="raw"), scaled(FEW, 255), FEW),
    "cmyk.tif": (pillow(C8, "CMYK"), scaled(C8, 255), "a CMYK picture"),
    "cmyk-16.tif": (tiff(with_alpha(C16, G16), photometric="separated"), "SEPARATED", "SEPARATED"),
    "ycbcr.tif": (pillow(C8, "YCbCr", compression="raw"), None, "a YCbCr picture"),
    "cmyk.jpg": (pillow(C8, "CMYK"), None, "a CMYK picture"),
    "stack.tif": (tiff(np.stack([G8, G8]), photometric="minisblack"), STACK, STACK),
    "imagej.tif": (
        tiff(np.stack([G8, G8]), photometric="minisblack", imagej=True, metadata={"axes": "ZYX"}, truncate=True),
        STACK,
        STACK,
    ),
    "deep.tif": (
        tiff(np.stack([G8, G8]), photometric="minisblack", volumetric=True, tile=(2, 16, 16)),
        STACK,
        STACK,
    ),
    "clear.gif": (pillow(FEW * 85, transparency=0), scaled(FEW, 3), SEE_THROUGH),
    "grey.pgm": (raw(portable("P5", G8, 255)), scaled(G8, 255), G8),
    "few.pgm": (raw(portable("P5", FEW, 3)), scaled(FEW, 3), FEW),
    "12-bits.pgm": (raw(portable("P5", grey(12) % 4095, 4095)), None, None),
    "16-bits.pgm.gz": (raw(portable("P5", G16, 65535)), scaled(G16, 65535), G16),
    "colour.ppm.gz": (raw(portable("P6", C8, 255)), scaled(C8, 255), IN_COLOUR),
    "colour-16.ppm": (raw(portable("P6", C16, 65535)), "PPM of more than 8 bits", "PPM of more than 8 bits"),
}


@pytest.mark.parametrize("name", ["drawn-in-alpha.png", "see-through-8.png", "turned.tif", "fax.tif", "cmyk.jpg"])
def test_labels_and_masks_are_refused_alike(tmp_path, name):
    write, _, reason = TABLE[name]
    write(tmp_path / name)
    like = NativeImage(np.zeros((1, 6, 7), np.float32), None)
    for read in (lambda path: read_mask(path, like), lambda path: read_label(path, {0: 0, 1: 1, 255: 1}, like)):
        with pytest.raises(DataError, match=rf"{re.escape(name)}.*{reason}"):
            read(tmp_path / name)


def test_a_white_is_zero_mask_keeps_its_stored_samples(tmp_path):
    like = NativeImage(np.zeros((1, 6, 7), np.float32), None)
    TABLE["bool.tif"][0](tmp_path / "a.tif")
    assert np.array_equal(read_mask(tmp_path / "a.tif", like), BILEVEL > 0)
    assert np.array_equal(read_label(tmp_path / "a.tif", {0: 0, 255: 1}, like), BILEVEL)


def read_or_refuse(read, path, expected):
    if isinstance(expected, str):
        with pytest.raises(DataError, match=rf"{re.escape(str(path))}.*{expected}"):
            read(path)
        return None
    return read(path)


@pytest.mark.parametrize("name", TABLE)
def test_what_a_picture_may_hold(tmp_path, name):
    write, image, label = TABLE[name]
    path = tmp_path / name
    write(path)
    array = read_or_refuse(lambda path: picture_intensities(path, 3), path, image)
    if array is not None and image is not None:
        assert array.dtype == np.float32
        assert np.allclose(array, np.moveaxis(np.broadcast_to(image, (6, 7, 3)), 2, 0), atol=1e-6)
    values = read_or_refuse(picture_values, path, label)
    if values is not None and label is not None:
        assert np.array_equal(values[0], label)
    if array is not None or values is not None:
        assert stored_type(path) == stored_picture(path).type


@pytest.mark.parametrize(
    ("name", "type"), [("a.png", "8-bit RGB"), ("a.jpg", "8-bit RGB"), ("a.gif", "8-bit palette")]
)
def test_the_type_of_a_picture_is_in_its_header(tmp_path, name, type):
    path = tmp_path / name
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(DataError):
        stored_picture(path)
    assert stored_type(path) == type


@pytest.mark.parametrize("name", ["grey.png", "grey.tif", "grey-16.png", "few.pgm"])
def test_a_packed_picture_is_read_as_it_is(tmp_path, name):
    TABLE["few.pgm"][0](tmp_path / name) if name.endswith("pgm") else Image.fromarray(G8).save(tmp_path / name)
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress((tmp_path / name).read_bytes()))
    assert np.array_equal(picture_intensities(packed, 1), picture_intensities(tmp_path / name, 1))
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"gz cannot be read as .*copy or download it again"):
        picture_values(packed)


@pytest.mark.parametrize("name", ["bilevel.png", "2-bits.png", "4-bits.png", "few.pgm"])
def test_few_bits_may_stand_for_eight(tmp_path, name):
    write, image, label = TABLE[name]
    write(tmp_path / name)
    stored, stretched = picture_values(tmp_path / name)
    assert np.array_equal(stored, label)
    assert np.array_equal(stretched, np.rint(image[..., 0] * 255))


@pytest.mark.parametrize("compression", [None, "zlib", 5, 32773])
def test_a_tiff_cut_short_is_refused(tmp_path, compression):
    samples = RNG.integers(0, 65536, (40, 40, 3), dtype=np.uint16)
    by_hand = compression in (5, 32773)
    write = (
        packed_tiff(samples, compression, 2) if by_hand else tiff(samples, compression=compression, rowsperstrip=8)
    )
    write(tmp_path / "a.tif")
    content = (tmp_path / "a.tif").read_bytes()
    assert np.array_equal(np.moveaxis(picture_intensities(tmp_path / "a.tif", 3), 0, 2), np.float32(samples / 65535))
    (tmp_path / "a.tif").write_bytes(content[: len(content) * 3 // 4])
    with pytest.raises(DataError, match=r"a\.tif cannot be read as .*copy or download it again"):
        picture_values(tmp_path / "a.tif")


@pytest.mark.parametrize("bits", [7, 8, 10, 12, 14])
@pytest.mark.parametrize("save", [lambda samples: png(samples, GREY, 16), tiff])
def test_few_bits_in_use_are_refused_with_the_line_to_write(tmp_path, bits, save):
    samples = grey(bits, np.uint16)
    save(samples)(path := tmp_path / "a.img")
    with pytest.raises(DataError, match=rf"{bits} bits in use.*bits = {bits} }}, or bits = 16"):
        picture_intensities(path, 1)
    assert np.allclose(picture_intensities(path, 1, Intensity(bits=bits))[0], samples / (2**bits - 1))
    with pytest.raises(DataError, match=rf"from 0 to {2**bits - 1}, beyond 0 to {2 ** (bits - 2) - 1}"):
        picture_intensities(path, 1, Intensity(bits=bits - 2))
    if bits > 8:
        assert np.allclose(picture_intensities(path, 1, Intensity(bits=16))[0], samples / 65535)


def test_a_dark_picture_of_all_bits_is_accepted(tmp_path):
    samples = grey(15, np.uint16)
    png(samples, GREY, 16)(tmp_path / "a.png")
    assert np.allclose(picture_intensities(tmp_path / "a.png", 1)[0], samples / 65535)


def test_hot_pixels_are_no_bits_in_use(tmp_path):
    samples = np.add.outer(np.arange(60, dtype=np.uint16), np.arange(60, dtype=np.uint16)) * 8
    samples[20, 30] = 65535
    png(samples, GREY, 16)(tmp_path / "a.png")
    with pytest.raises(
        DataError, match=r"a\.png has uint16 values up to 65535, and 99\.9 % .* at most 928, .* 4 grey"
    ):
        picture_intensities(tmp_path / "a.png", 1)
    for rule in (Intensity(bits=16), Intensity(percentiles=(0.5, 99.5))):
        assert picture_intensities(tmp_path / "a.png", 1, rule).max() == 1


def test_window_and_percentiles_are_of_stored_values(tmp_path):
    samples = G8.astype(np.int16) * 10 - 1000
    tiff(samples)(tmp_path / "a.tif")
    array = picture_intensities(tmp_path / "a.tif", 1, Intensity(window=(-160, 240)))[0]
    assert np.allclose(array, ((samples + 160.0) / 400).clip(0, 1), atol=1e-6)
    low, high = np.percentile(samples, (10, 90))
    array = picture_intensities(tmp_path / "a.tif", 1, Intensity(percentiles=(10, 90)))[0]
    assert np.allclose(array, ((samples - low) / (high - low)).clip(0, 1), atol=1e-6)
    tiff(G8, photometric="miniswhite")(tmp_path / "b.tif")
    array = picture_intensities(tmp_path / "b.tif", 1, Intensity(window=(50, 100)))[0]
    assert np.allclose(array, ((100.0 - G8) / 50).clip(0, 1), atol=1e-6)


def test_percentiles_of_one_value_are_refused(tmp_path):
    samples = np.zeros((20, 20), np.uint8)
    samples[0, 0] = 255
    png(samples, GREY, 8)(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: percentiles \[1, 99\] of its values are all 0: widen"):
        picture_intensities(tmp_path / "a.png", 1, Intensity(percentiles=(1, 99)))


@pytest.mark.parametrize(
    "flat", [np.full((6, 7), 40000, np.uint16), np.zeros((6, 7), np.uint16), 30000 + FEW.astype("u2")]
)
def test_a_picture_that_is_constant_at_8_bits_is_refused(tmp_path, flat):
    png(flat, GREY, 16)(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png is constant at the 8 bits of a prepared image.*percentiles"):
        picture_intensities(tmp_path / "a.png", 1)
    if np.ptp(flat):
        assert picture_intensities(tmp_path / "a.png", 1, Intensity(percentiles=(0, 100))).max() == 1
    plain = np.broadcast_to(np.array([10, 200, 30], np.uint8), (6, 7, 3)).copy()
    pillow(plain)(tmp_path / "b.png")
    with pytest.raises(DataError, match=r"b\.png is constant"):
        picture_intensities(tmp_path / "b.png", 3)


def test_one_bright_pixel_in_a_large_picture_is_no_constant(tmp_path):
    samples = np.zeros((50, 50), np.uint8)
    samples[33, 17] = 200
    png(samples, GREY, 8)(tmp_path / "a.png")
    assert picture_intensities(tmp_path / "a.png", 1).max() == np.float32(200 / 255)
