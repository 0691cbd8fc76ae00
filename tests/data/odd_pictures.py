"""Picture files of every kind that is read, each with one row of pixels, and these pixels, computed by hand."""

from __future__ import annotations

import struct

import numpy as np

from tests.data.picture_files import GREY, GREY_ALPHA, PALETTE, RGB, RGBA, bmp, chunk, packed, png, tiff

RED_GREEN_BLUE = chunk(b"PLTE", bytes((255, 0, 0, 0, 255, 0, 0, 0, 255)))
RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


def greys(*values: int) -> list[tuple[int, int, int]]:
    """Returns grey pixels."""
    return [(value,) * 3 for value in values]


def transparent(*values: int) -> bytes:
    """Returns the chunk of a PNG that declares a grey or a colour transparent."""
    return chunk(b"tRNS", struct.pack(f">{len(values)}H", *values))


def pixels(photometric: int, kind: str, *row: object, **options: object) -> bytes:
    """Returns a TIFF file with one row."""
    return tiff(photometric, np.array([row], kind), **options)


def colour_map(*colours: tuple[int, int, int]) -> list[int]:
    """Returns the palette of a TIFF: 256 reds, greens and blues of 16 bits."""
    return [257 * colour[channel] for channel in range(3) for colour in (*colours, *[BLACK] * (256 - len(colours)))]


FILES = {
    "PNG grey 1 bit": (png(GREY, 1, [[0, 1]]), [BLACK, WHITE]),
    "PNG grey 2 bits": (png(GREY, 2, [[0, 1, 2, 3]]), greys(0, 85, 170, 255)),
    "PNG grey 16 bits": (png(GREY, 16, [[0, 257, 32768, 65535]]), greys(0, 1, 128, 255)),
    "PNG grey 1 bit, one value transparent": (png(GREY, 1, [[0, 1]], transparent(0)), [WHITE, WHITE]),
    "PNG grey 2 bits, one value transparent": (png(GREY, 2, [[0, 1, 2, 3]], transparent(1)), greys(0, 255, 170, 255)),
    "PNG grey 4 bits, one value transparent": (png(GREY, 4, [[0, 7, 8]], transparent(7)), greys(0, 255, 136)),
    "PNG grey 8 bits, one value transparent": (png(GREY, 8, [[6, 7, 8]], transparent(7)), greys(6, 255, 8)),
    "PNG grey 16 bits, one value transparent": (png(GREY, 16, [[0, 512, 2570]], transparent(512)), greys(0, 255, 10)),
    "PNG grey with alpha": (png(GREY_ALPHA, 8, [[0, 51, 9, 0, 100, 255]]), greys(204, 255, 100)),
    "PNG grey with alpha, 16 bits": (png(GREY_ALPHA, 16, [[0, 51 * 257]]), greys(204)),
    "PNG colour 16 bits": (png(RGB, 16, [[0, 257, 65535]]), [(0, 1, 255)]),
    "PNG colour, one transparent": (png(RGB, 8, [[1, 2, 3, 1, 2, 4]], transparent(1, 2, 3)), [WHITE, (1, 2, 4)]),
    "PNG colour 16 bits, one transparent": (png(RGB, 16, [[258, 772, 1286, 513, 0, 0]], transparent(258, 772, 1286)),
    [WHITE, (2, 0, 0)]),
    "PNG with alpha": (png(RGBA, 8, [[200, 100, 0, 51, 200, 100, 0, 0, 200, 100, 0, 255]]), [(244, 224, 204), WHITE,
    (200, 100, 0)]),
    "PNG with alpha, 16 bits": (png(RGBA, 16, [[51400, 25700, 0, 51 * 257]]), [(244, 224, 204)]),
    "PNG palette": (png(PALETTE, 2, [[0, 1, 2]], RED_GREEN_BLUE), [RED, GREEN, BLUE]),
    "PNG palette, one colour transparent": (png(PALETTE, 8, [[0, 1, 2]], RED_GREEN_BLUE + chunk(b"tRNS", b"\xff\0")),
    [RED, WHITE, BLUE]),
    "PNG palette, several alphas": (png(PALETTE, 8, [[0, 1, 2]], RED_GREEN_BLUE + chunk(b"tRNS", b"\x33\0")), [(255,
    204, 204), WHITE, BLUE]),
    "BMP 1 bit": (bmp(1, [b"\x40"], 2, [(1, 2, 3), RED]), [(1, 2, 3), RED]),
    "BMP 4 bits": (bmp(4, [b"\x01"], 2, [(1, 2, 3), RED]), [(1, 2, 3), RED]),
    "BMP 16 bits": (bmp(16, [struct.pack("<HH", 0x7C00, 0x001F)], 2), [RED, BLUE]),
    "BMP 24 bits": (bmp(24, [bytes((1, 2, 3, 4, 5, 6))], 2), [(3, 2, 1), (6, 5, 4)]),
    "BMP 32 bits": (bmp(32, [bytes((1, 2, 3, 0))], 1), [(3, 2, 1)]),
    "TIFF 12 bits": (pixels(1, "u2", 0, 0, 0, bits=12, content=packed([0, 2048, 4095], 12)), greys(0, 128, 255)),
    "TIFF white is 0": (pixels(0, "u1", 0, 100, 255), greys(255, 155, 0)),
    "TIFF 16 bits, white is 0": (pixels(0, "u2", 0, 2570, 65535), greys(255, 245, 0)),
    "TIFF palette": (pixels(3, "u1", 1, 0, t320=colour_map(RED, (1, 2, 3))), [(1, 2, 3), RED]),
    "TIFF palette with alpha": (pixels(3, "u1", (0, 51), (0, 255), t320=colour_map(RED), t338=[2]), [(255, 204, 204),
    RED]),
}  # fmt: skip
FILES |= {
    f"TIFF {name}, byte order {order}": (pixels(photometric, kind, *row, order=order, **tags), expected)
    for order in "<>"
    for name, photometric, kind, row, tags, expected in (
        ("16 bits", 1, "u2", (0, 257, 32768, 65535), {}, greys(0, 1, 128, 255)),
        ("floating point", 1, "f4", (0, 0.2, 0.5, 1), {}, greys(0, 51, 128, 255)),
        ("floating point, white is 0", 0, "f4", (0, 0.2, 1), {}, greys(255, 204, 0)),
        ("colour 16 bits", 2, "u2", ((0, 257, 65535),), {}, [(0, 1, 255)]),
        ("grey with alpha", 1, "u1", ((0, 51), (9, 0)), {"t338": [2]}, greys(204, 255)),
        ("grey with premultiplied alpha", 1, "u1", ((0, 51), (102, 102)), {"t338": [1]}, greys(204, 255)),
        ("colour with premultiplied alpha", 2, "u1", ((51, 0, 0, 51),), {"t338": [1]}, [(255, 204, 204)]),
        ("grey with a channel of another meaning", 1, "u1", ((7, 51),), {"t338": [0]}, greys(7)),
        ("CMYK", 5, "u1", ((255, 0, 0, 0), (0, 0, 0, 55), (0, 0, 0, 0)), {}, [(0, 255, 255), (200, 200, 200), WHITE]),
        ("CMYK 16 bits", 5, "u2", ((65535, 0, 0, 0),), {}, [(0, 255, 255)]),
        ("YCbCr", 6, "u1", ((100, 128, 128), (255, 128, 128)), {"t530": [1, 1]}, greys(100, 255)),
    )
}
