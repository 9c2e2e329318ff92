"""Picture files of every kind, written by hand where the usual writers cannot."""

import gzip
import struct
import zlib

import numpy as np
import tifffile
from PIL import Image

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
"""Colour types of PNG."""


def png(samples, kind, bits, **chunks):
    """Return a function that writes samples (H, W) or (H, W, C) as a PNG, with further chunks before its data."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    def write(path):
        height, width = samples.shape[:2]
        rows = samples.reshape(height, -1)
        if bits < 8:
            digits = np.unpackbits(rows.astype(np.uint8)[..., None], axis=2)[..., 8 - bits :].reshape(height, -1)
            lines = [line.tobytes() for line in np.packbits(digits, axis=1)]
        else:
            lines = [line.tobytes() for line in rows.astype(f">u{bits // 8}")]
        path.write_bytes(
            b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
            + b"".join(chunk(name.encode(), content) for name, content in chunks.items())
            + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + line for line in lines)))
            + chunk(b"IEND", b"")
        )

    return write


def lzw(content):
    """Return TIFF's LZW of bytes: literals only, the table cleared before codes grow to 10 bits."""
    parts = [content[i : i + 200] for i in range(0, len(content), 200)]
    codes = [code for part in parts for code in (256, *part)] + [257]
    digits = "".join(f"{code:09b}" for code in codes)
    return int(digits.ljust(-(-len(digits) // 8) * 8, "0"), 2).to_bytes(-(-len(digits) // 8), "big")


def packed_tiff(samples, compression, photometric, order="<", **tags):
    """Return a function that writes a TIFF of one LZW (5) or PackBits strip; further tags by number: ``t274``."""
    samples = np.atleast_3d(samples)
    height, width, channels = samples.shape
    content = samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    if compression == 5:
        content = lzw(content)
    else:
        parts = [content[i : i + 128] for i in range(0, len(content), 128)]
        content = b"".join(bytes([len(part) - 1]) + part for part in parts)
    entries = {256: [width], 257: [height], 258: [samples.itemsize * 8] * channels, 259: [compression]}
    entries |= {262: [photometric], 273: [0], 277: [channels], 278: [height], 279: [len(content)]}
    entries |= {339: [{"u": 1, "i": 2, "f": 3}[samples.dtype.kind]] * channels}
    entries |= {int(name[1:]): [value] for name, value in tags.items()}
    start = 8 + 2 + 12 * len(entries) + 4
    entries[273] = [start + 16 * len(entries)]  # behind 16 bytes for each tag's values

    def write(path):
        directory, values = struct.pack(f"{order}H", len(entries)), b""
        for tag, numbers in sorted(entries.items()):
            packed = struct.pack(f"{order}{len(numbers)}L", *numbers)
            if len(numbers) > 1:
                packed, values = struct.pack(f"{order}L", start + len(values)), values + packed
            directory += struct.pack(f"{order}HHL", tag, 4, len(numbers)) + packed
        head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}L", 8)
        path.write_bytes(head + directory + bytes(4) + values.ljust(16 * len(entries), b"\0") + content)

    return write


def tiff(samples, **options):
    """Return a function that writes a TIFF by tifffile."""

    def write(path):
        options.setdefault("photometric", "rgb" if samples.ndim == 3 else "minisblack")
        options.setdefault("metadata", None)
        tifffile.imwrite(path, samples, **options)

    return write


def pillow(samples, mode=None, **options):
    """Return a function that writes a picture by Pillow."""

    def write(path):
        image = Image.fromarray(samples)
        (image.convert(mode) if mode else image).save(path, **options)

    return write


def raw(content):
    """Return a function that writes bytes, compressed if the file's name ends in ``.gz``."""

    def write(path):
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)

    return write


def portable(magic, samples, largest=None):
    """Return the bytes of a PGM, PPM or PBM."""
    height, width = samples.shape[:2]
    head = f"{magic} # by hand\n{width} {height}\n" + (f"{largest}\n" if largest else "")
    if magic == "P4":
        return head.encode() + np.packbits(samples.astype(bool), axis=1).tobytes()
    return head.encode() + samples.astype(">u2" if largest > 255 else np.uint8).tobytes()
