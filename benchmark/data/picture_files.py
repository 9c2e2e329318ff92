"""Decode picture files into the samples that they store, all bits of them, whatever a viewer would make of them."""

import contextlib
import gzip
import io
import logging
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from ssdg.datasets.base import DataError

from .decode import reading

PICTURE = "a PNG, TIFF, GIF, JPEG, BMP or PPM image"

ORIENTATION = 274  # the tag's number, in EXIF and in TIFF
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
FAX = (2, 3, 4)  # TIFF compressions
CONVERTED = ("CMYK", "YCbCr", "LAB", "HSV")  # Pillow's modes
WIDE = r"(RGB[AXa]?|LA);16[BLN]"  # layouts of colours of 16 bits
PLAIN = (1, 8, 32946)  # none, and deflate by two numbers: what tifffile decodes by itself and fast
SWAPPED = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as stored."""

    samples: NDArray[Any]  # (H, W, C): C = 1 of grey or palette indices, 3 of colour
    top: int = 255  # the largest value of the samples' depth; 1 of floats
    alpha: NDArray[Any] | None = None  # (H, W, ...)
    palette: NDArray[np.uint8] | None = None  # (256, 3)
    white_is_zero: bool = False
    ambiguous: str = ""  # what makes its stored samples no safe values of a label

    @property
    def type(self) -> str:
        """Bit depth and kind."""
        return _type(self.top, str(self.samples.dtype), self.palette is not None, self.samples.shape[2] == 3)


def stored_picture(path: Path) -> Picture:
    """Return the samples of a picture; ``.gz`` is unpacked.

    Raises:
        DataError: unreadable, of several frames, turned, or of a kind that cannot be decoded in full.
    """
    with _opened(path) as (stream, is_tiff):
        return _tiff(stream, path) if is_tiff else _pillow(stream, path)


def picture_shape(path: Path) -> tuple[int, int]:
    """Return height and width of a picture by its header.

    Raises:
        DataError: unreadable.
    """
    with _opened(path) as (stream, is_tiff):
        if is_tiff:
            with _tiff_file(stream) as file:
                return file.pages.first.imagelength, file.pages.first.imagewidth
        width, height = Image.open(stream).size
        return height, width


def picture_type(path: Path) -> str:
    """Return bit depth and kind of a picture that can be read: of a TIFF by its samples, of others by their header.

    Raises:
        DataError: unreadable.
    """
    with _opened(path) as (stream, is_tiff):
        if is_tiff:
            return _tiff(stream, path).type
        file = Image.open(stream)
        colours = len(file.getbands()) > 2 and not _layout(file).startswith("LA;")  # which Pillow spreads to four
        return _type(_depth(file)[1], "float32" if file.mode == "F" else "uint8", file.mode in ("P", "PA"), colours)


def _type(top: int, dtype: str, palette: bool, colours: bool) -> str:
    kind = "palette" if palette else "RGB" if colours else "grey"
    return f"{dtype if top == 1 else f'{top.bit_length()}-bit'} {kind}"


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], bool]]:
    """Open a picture, unpacked, and tell whether it is a TIFF."""
    with reading(path, PICTURE), path.open("rb") as file:
        stream: IO[bytes] = io.BytesIO(gzip.decompress(file.read())) if path.suffix.lower() == ".gz" else file
        magic = stream.read(4)
        stream.seek(0)
        yield stream, magic in TIFF


def _tiff_file(stream: IO[bytes]) -> Any:
    import tifffile  # only for those who have TIFFs: its import takes a while

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what is odd in a file is told by exceptions
    return tifffile.TiffFile(stream)


def _tiff(stream: IO[bytes], path: Path) -> Picture:
    """Decode by tifffile, which alters nothing, or by Pillow where the compression asks for it."""
    with _tiff_file(stream) as file:
        page: Any = file.pages.first
        # ImageJ writes stacks whose directory has the first picture alone; SGI has a tag of depth.
        frames = max(len(file.pages), file.series[0].size // page.size, page.imagedepth)
        _require_frame(frames, path)
        _require_upright(page.tags.valueof(ORIENTATION), path)
        bits, kind = page.bitspersample, "" if page.dtype is None else page.dtype.kind
        plain = page.compression in PLAIN and page.predictor in (1, 2) and page.photometric in (0, 1, 2)
        if plain and kind in ("i", "u", "f") and bits % 8 == 0:
            samples = np.asarray(page.asarray())
            planes = page.planarconfig == 2 and samples.ndim == 3
            picture = _without_alpha(np.moveaxis(samples, 0, 2) if planes else np.atleast_3d(samples), page, path)
        else:
            picture = _tiff_by_pillow(stream, page, path)
    if kind in ("i", "u") and bits >= 8:  # of what Pillow hands over as int32, some is unsigned or has 12 bits
        picture = replace(picture, samples=picture.samples.astype(page.dtype), top=2 ** (bits - (kind == "i")) - 1)
    if 1 in page.extrasamples and picture.alpha is not None and (picture.alpha < picture.top).any():
        raise DataError(f"{path} has colours multiplied by its alpha: save it with plain alpha, or without")
    fax = page.photometric == 0 and page.compression in FAX
    ambiguous = "fax-compressed, where 1 is black to some programs and white to others" if fax else picture.ambiguous
    return replace(picture, white_is_zero=page.photometric == 0, ambiguous=ambiguous)


def _without_alpha(samples: NDArray[Any], page: Any, path: Path) -> Picture:
    colours = 3 if page.photometric == 2 else 1
    if colours == 1 and samples.shape[2] > 2:
        raise DataError(f"{path} has {samples.shape[2]} grey channels; a picture has one, or red, green and blue")
    return Picture(samples[..., :colours], 1, samples[..., colours:] if samples.shape[2] > colours else None)


def _tiff_by_pillow(stream: IO[bytes], page: Any, path: Path) -> Picture:
    stream.seek(0)
    with contextlib.suppress(UnidentifiedImageError):
        picture = _pillow(stream, path)
        # Of colours of more than 8 bits Pillow keeps 8, unless their low bytes could be had.
        if page.bitspersample <= 8 or picture.samples.shape[2] == 1 or picture.top > 255:
            return picture
    if page.dtype is not None and page.dtype.kind == "c":
        raise DataError(f"{path} holds complex numbers: save their magnitude")
    raise DataError(
        f"{path} cannot be decoded in full: a TIFF of {page.dtype} in {page.photometric.name}, "
        f"compressed by {page.compression.name}; save it without compression"
    )


def _pillow(stream: IO[bytes], path: Path) -> Picture:
    """Decode by Pillow, and undo what it does to samples: inversion, scaling to 8 bits, loss of low bytes."""
    file = Image.open(stream)
    mode, key = file.mode, file.info.get("transparency")
    if file.format != "MPO":  # a JPEG that holds the camera's preview too
        _require_frame(getattr(file, "n_frames", 1), path)
    layout, depth = _layout(file), _depth(file)
    file.load()
    _require_upright(file.getexif().get(ORIENTATION), path)
    wide = re.fullmatch(WIDE, layout)
    values = _all_bytes(stream, np.asarray(file), layout) if wide else _samples(file, layout, depth, path)
    colours, alpha = (values, None) if values.shape[2] in (1, 3) else (values[..., :-1], values[..., -1])
    if isinstance(key, bytes):  # alpha by palette index
        alpha = np.frombuffer(key.ljust(256, b"\xff"), dtype=np.uint8)[values[..., 0]]
    elif key is not None:
        alpha = (colours != np.array(key)).any(axis=2)
    ambiguous = f"a {mode} picture" if mode in CONVERTED else ""
    bitmap = file.format == "PPM" and mode == "1"
    if bitmap:
        ambiguous = "a PBM, where 1 is black to some programs and white to others"
    return Picture(colours, depth[1], alpha, _palette(file) if mode in ("P", "PA") else None, bitmap, ambiguous)


def _layout(file: ImageFile) -> str:
    """Return how the samples of an opened picture lie in its file, in Pillow's words."""
    args = file.tile[0].args if file.tile else ""
    return args if isinstance(args, str) else str(args[0]) if args else ""


def _depth(file: ImageFile) -> tuple[int, int]:
    """Return the largest value of the samples that Pillow makes of an opened picture, and of its own; of floats 1."""
    mode, layout = file.mode, _layout(file)
    top = 1 if mode in "1F" else 65535 if mode.startswith("I") else 255
    if re.fullmatch(WIDE, layout):
        return top, 65535
    if few := re.match(r"L;([24])", layout):
        return top, 2 ** int(few[1]) - 1
    return top, _ppm_largest(file) or top


def _ppm_largest(file: ImageFile) -> int:
    """Return the largest value that a PPM states where Pillow scales by it; 0: it does not."""
    args = file.tile[0].args if file.tile else ""
    return int(args[1]) if isinstance(args, tuple) and file.format == "PPM" and file.mode in ("L", "RGB", "I") else 0


def _samples(file: ImageFile, layout: str, depth: tuple[int, int], path: Path) -> NDArray[Any]:
    """Return a loaded picture's samples (H, W, C)."""
    values = np.atleast_3d(np.asarray(file.convert("RGB") if file.mode in CONVERTED else file))
    top, largest = depth
    if file.mode == "1":
        values = values.astype(np.uint8)
    if re.match(r"[1L];[24]?I", layout):
        values = top - values
    if re.match(r"L;[24]", layout):
        return values // (255 // largest)
    if largest > top:
        raise DataError(f"{path} is a PPM of more than 8 bits a colour: save it as PNG or TIFF")
    if file.format == "PPM" and largest != top:
        values = np.rint(values * (largest / top)).astype(np.uint8 if largest < 256 else np.uint16)
    return values


def _all_bytes(stream: IO[bytes], high: NDArray[Any], layout: str) -> NDArray[Any]:
    """Return 16-bit colours: Pillow keeps the high bytes only, and in the other byte order the low ones."""
    stream.seek(0)
    file = Image.open(stream)
    grey = layout.startswith("LA")
    other = "RGBA" if grey else layout[:-1] + SWAPPED[layout[-1]]
    file.tile = [
        tile._replace(args=other if isinstance(tile.args, str) else (other, *(tile.args or ())[1:]))
        for tile in file.tile
    ]
    low = np.asarray(file).astype(np.uint16)
    return low[..., ::2] * 256 + low[..., 1::2] if grey else high.astype(np.uint16) * 256 + low


def _palette(file: ImageFile) -> NDArray[np.uint8]:
    colours = np.zeros((256, 3), dtype=np.uint8)
    listed = np.array(file.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
    colours[: len(listed)] = listed
    return colours


def _require_frame(frames: int, path: Path) -> None:
    if frames > 1:
        raise DataError(f"{path} holds {frames} frames, a 2D task takes one picture a file: split it")


def _require_upright(orientation: Any, path: Path) -> None:
    if orientation in range(2, 9):  # others mean nothing
        raise DataError(
            f"{path} has EXIF orientation {orientation}: some programs turn it and others do not, so an image and "
            "its label may not fit. Turn the stored pixels of both as they fit, or delete the tag, for example with "
            "`mogrify -auto-orient FILE` or `exiftool -Orientation= FILE`"
        )
