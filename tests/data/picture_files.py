"""Writes picture files byte by byte, so that the tests know their content."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6  # the colour types of PNG
SAMPLES = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
SHORT, LONG = 3, 4  # types of TIFF tags
ORIENTATION = 274


def chunk(name: bytes, content: bytes) -> bytes:
    """Returns a chunk of a PNG file, with its checksum."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(
    kind: int, bits: int, rows: Sequence[Sequence[int]], extra: bytes = b"", size: tuple[int, int] | None = None
) -> bytes:
    """Returns a PNG file of `rows` of samples. extra: further chunks before the pixels; size: the size in the header,
    if it is to be wrong.
    """
    width, height = size or (len(rows[0]) // SAMPLES[kind], len(rows))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    pixels = b"".join(b"\0" + packed(row, bits) for row in rows)
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def packed(row: Sequence[int], bits: int) -> bytes:
    """Returns samples one after the other, the highest bit first, padded to whole bytes."""
    digits = "".join(format(sample, f"0{bits}b") for sample in row)
    digits += "0" * (-len(digits) % 8)
    return int(digits, 2).to_bytes(len(digits) // 8, "big")


def tiff(
    photometric: int, rows: np.ndarray, *, order: str = "<", bits: int = 0, content: bytes = b"", **extra: Sequence[int]
) -> bytes:
    """Returns an uncompressed TIFF file of one strip. rows: (H, W) or (H, W, samples), whose type decides the bits and
    the sample format; content: the pixels, if no such type exists; extra: further tags, as in `t338=[2]`.
    """
    samples = 1 if rows.ndim == 2 else rows.shape[2]
    sample_format = {"u": 1, "i": 2, "f": 3}[rows.dtype.kind]
    content = content or rows.astype(rows.dtype.newbyteorder(order)).tobytes()
    tags = {
        256: [rows.shape[1]],
        257: [rows.shape[0]],
        258: [bits or rows.itemsize * 8] * samples,
        259: [1],
        262: [photometric],
        277: [samples],
    }
    tags |= {278: [rows.shape[0]], 279: [len(content)], 339: [sample_format] * samples}
    tags |= {int(name[1:]): list(values) for name, values in extra.items()}
    return (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8) + directory(tags, order, content)


def directory(tags: dict[int, list[int]], order: str, content: bytes) -> bytes:
    """Returns the directory of a TIFF file, which begins at byte 8, the values of the tags and the pixels."""
    free = 8 + 2 + 12 * (len(tags) + 1) + 4
    entries, values = [], b""
    for tag, numbers in tags.items():
        data = (
            struct.pack(order + f"{len(numbers)}H", *numbers)
            if max(numbers) < 65536
            else struct.pack(order + f"{len(numbers)}I", *numbers)
        )
        kind = SHORT if max(numbers) < 65536 else LONG
        if len(data) > 4:
            entries.append((tag, struct.pack(order + "HHII", tag, kind, len(numbers), free + len(values))))
            values += data + b"\0" * (len(data) % 2)
        else:
            entries.append((tag, struct.pack(order + "HHI", tag, kind, len(numbers)) + data.ljust(4, b"\0")))
    entries.append((273, struct.pack(order + "HHII", 273, LONG, 1, free + len(values))))
    return (
        struct.pack(order + "H", len(entries))
        + b"".join(entry for _, entry in sorted(entries))
        + bytes(4)
        + values
        + content
    )


def bmp(bits: int, rows: Sequence[bytes], width: int, palette: Sequence[tuple[int, int, int]] = ()) -> bytes:
    """Returns an uncompressed BMP file. rows: from top to bottom, as bytes."""
    colours = b"".join(bytes((blue, green, red, 0)) for red, green, blue in palette)
    pixels = b"".join(row + bytes(-len(row) % 4) for row in reversed(rows))
    start = 14 + 40 + len(colours)
    header = struct.pack("<IiiHHIIiiII", 40, width, len(rows), 1, bits, 0, len(pixels), 0, 0, len(palette), 0)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + header + colours + pixels


def exif(orientation: int) -> bytes:
    """Returns EXIF data with this orientation and nothing else."""
    return b"MM\0*\0\0\0\x08" + struct.pack(">HHHIHHI", 1, ORIENTATION, SHORT, 1, orientation, 0, 0)


def segment(marker: int, content: bytes) -> bytes:
    """Returns a segment of a JPEG file."""
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def with_exif(jpeg: bytes, content: bytes) -> bytes:
    """Returns a JPEG file with EXIF data after its first two bytes."""
    return jpeg[:2] + segment(0xE1, b"Exif\0\0" + content) + jpeg[2:]


def without_segment(jpeg: bytes, marker: int) -> bytes:
    """Returns a JPEG file without its first segment of this kind."""
    start = jpeg.index(bytes((0xFF, marker)))
    (length,) = struct.unpack(">H", jpeg[start + 2 : start + 4])
    return jpeg[:start] + jpeg[start + 2 + length :]


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    """Returns a file that Pillow writes. It writes copies, because it stores options of one format in the picture."""
    file = io.BytesIO()
    if "append_images" in options:
        options["append_images"] = [picture.copy() for picture in options["append_images"]]
    image.copy().save(file, kind, **options)
    return file.getvalue()


def jpeg(pixels: np.ndarray, mode: str = "RGB", **options: object) -> bytes:
    """Returns a JPEG file with 16 x 16 equal pixels for each of the (H, W, samples) pixels."""
    large = np.kron(pixels, np.ones((16, 16, 1), np.uint8))
    return saved(
        Image.fromarray(large[:, :, 0] if mode == "L" else large, mode), "JPEG", quality=98, subsampling=0, **options
    )
