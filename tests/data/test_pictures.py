"""The pixels of picture files of every kind that is read, compared with values computed by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.data.pictures import examine, read_picture
from model.data.squares import centre_square
from tests.data.odd_pictures import FILES, GREEN, RED, WHITE, pixels
from tests.data.picture_files import ORIENTATION, RGB, chunk, exif, jpeg, png, saved, tiff, with_exif, without_segment

pytestmark = pytest.mark.usefixtures("pillow_warnings_ignored")
# Orientation -> the sides of the upright picture on which the first row and the first column of the stored pixels are,
# as the EXIF standard says.
SIDES = {
    1: ("top", "left"), 2: ("top", "right"), 3: ("bottom", "right"), 4: ("bottom", "left"),
    5: ("left", "top"), 6: ("right", "top"), 7: ("right", "bottom"), 8: ("left", "bottom"),
}  # fmt: skip
COLOURS = np.array([[[250, 0, 0], [0, 250, 0], [0, 0, 250]], [[250, 250, 0], [0, 0, 0], [250, 250, 250]]], np.uint8)


def read(folder: Path, content: bytes) -> np.ndarray:
    """Returns the pixels of a file with this content. Its extension may be wrong."""
    file = folder / "picture.jpg"
    file.write_bytes(content)
    image = read_picture(file)
    assert image.mode == "RGB"
    facts = examine(file)
    assert sorted((facts.width, facts.height)) == sorted(image.size)
    return np.asarray(image).astype(int)


@pytest.mark.parametrize("name", FILES)
def test_one_row_has_the_pixels_that_were_written(tmp_path, name):
    content, expected = FILES[name]
    assert read(tmp_path, content).tolist() == [[list(pixel) for pixel in expected]]


def upright_colours(orientation: int) -> np.ndarray:
    """Returns COLOURS as a viewer shows them."""
    first_row, first_column = SIDES[orientation]
    across = first_row in ("left", "right")  # rows become columns
    seen = np.zeros((3, 2, 3) if across else (2, 3, 3), int)
    for row in range(2):
        for column in range(3):
            from_first_row, from_first_column = (row, 1 - row), (column, 2 - column)
            y, x = (from_first_column, from_first_row) if across else (from_first_row, from_first_column)
            vertical, horizontal = (first_column, first_row) if across else (first_row, first_column)
            seen[y[vertical == "bottom"], x[horizontal == "right"]] = COLOURS[row, column]
    return seen


@pytest.mark.parametrize("orientation", SIDES)
def test_a_picture_is_upright_in_every_format(tmp_path, orientation):
    image, content, expected = Image.fromarray(COLOURS), exif(orientation), upright_colours(orientation)
    for file in (
        png(RGB, 8, COLOURS.reshape(2, 9).tolist(), chunk(b"eXIf", content)),
        saved(image, "WEBP", lossless=True, exif=content),
        tiff(2, COLOURS, t274=[orientation]),
        saved(image, "TIFF", compression="tiff_lzw", tiffinfo={ORIENTATION: orientation}),
    ):
        assert np.array_equal(read(tmp_path, file), expected)
    middles = read(tmp_path, with_exif(jpeg(COLOURS), content))[8::16, 8::16]
    assert np.abs(middles - expected).max() <= 4
    assert (
        read(tmp_path, tiff(1, COLOURS[:, :, 0] * np.uint16(257), t274=[orientation])).tolist()
        == expected[:, :, [0, 0, 0]].tolist()
    )


@pytest.mark.parametrize(
    "content",
    [
        b"", b"MM\0*", b"no EXIF data at all", exif(0), exif(9), exif(65535), exif(6)[:-8],
        exif(6)[:-17] + b"\xff" * 17,
        exif(6).replace(b"\x12\0\3\0\0\0\1", b"\x12\0\5\0\0\0\1"),  # a fraction far after the end
        exif(6).replace(b"\x12\0\3\0\0\0\1\0\6", b"\x12\0\2\0\0\0\4ab"),  # a text
    ],
)  # fmt: skip
def test_damaged_exif_data_are_ignored(tmp_path, content):
    middles = read(tmp_path, with_exif(jpeg(COLOURS), content))[8::16, 8::16]
    assert np.abs(middles - COLOURS).max() <= 4
    lossless = png(RGB, 8, COLOURS.reshape(2, 9).tolist(), chunk(b"eXIf", content))
    for file in (lossless, saved(Image.fromarray(COLOURS), "WEBP", lossless=True, exif=content)):
        assert np.array_equal(read(tmp_path, file), COLOURS)


@pytest.mark.parametrize(
    "content", [exif(3).replace(b"\0\1\1\x12", b"\x03\x84\1\x12"), exif(3) + b"more"]
)  # the first claims 900 entries
def test_an_orientation_in_damaged_exif_data_is_used(tmp_path, content):
    assert np.array_equal(
        read(tmp_path, png(RGB, 8, COLOURS.reshape(2, 9).tolist(), chunk(b"eXIf", content))), COLOURS[::-1, ::-1]
    )


def ink(*values: int) -> bytes:
    """Returns a JPEG with four samples, stored as Adobe's programs store them: 255 is no ink."""
    return jpeg(np.array([[[255 - value for value in values]]], np.uint8), "CMYK")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (ink(0, 255, 255, 255), (0, 255, 255)),  # all the cyan, no black
        (ink(255, 255, 255, 55), (55, 55, 55)),
        (without_segment(ink(255, 0, 0, 0), 0xEE), (0, 255, 255)),  # Adobe's mark is gone: 0 is no ink
        (without_segment(ink(0, 0, 0, 200), 0xEE), (55, 55, 55)),
        (
            ink(0, 128, 128, 255).replace(b"Adobe\0d\0\0\0\0\0", b"Adobe\0d\0\0\0\0\2"),
            WHITE,
        ),  # Y, Cb, Cr of 255 - the colour: YCCK
        (ink(155, 128, 128, 255).replace(b"Adobe\0d\0\0\0\0\0", b"Adobe\0d\0\0\0\0\2"), (100, 100, 100)),
        (ink(76, 85, 255, 255).replace(b"Adobe\0d\0\0\0\0\0", b"Adobe\0d\0\0\0\0\2"), (0, 255, 255)),  # those of red
        (pixels(8, "u1", (255, 0, 0)), WHITE),  # a TIFF in CIELAB
        (pixels(8, "u1", (137, 0, 0)), (128, 128, 128)),  # L* = 53.7 is the grey of 128 in sRGB
    ],
)
def test_other_colour_spaces(tmp_path, content, expected):
    assert np.abs(read(tmp_path, content) - expected).max() <= 3


def test_only_the_first_picture_of_a_file_is_used(tmp_path):
    first, *others = (Image.fromarray(np.roll(COLOURS, shift, axis=1)) for shift in range(3))
    lossless = [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {})]
    for kind, options in lossless:
        assert np.array_equal(
            read(tmp_path, saved(first, kind, save_all=True, append_images=others, **options)), COLOURS
        )
    large = [Image.fromarray(np.kron(np.asarray(image), np.ones((16, 16, 1), np.uint8))) for image in (first, *others)]
    middles = read(tmp_path, saved(large[0], "MPO", save_all=True, append_images=large[1:], quality=98, subsampling=0))[
        8::16, 8::16
    ]
    assert np.abs(middles - COLOURS).max() <= 4
    assert examine(tmp_path / "picture.jpg").format == "MPO"


def test_the_transparent_part_of_a_gif_is_white(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    image.putpalette((*RED, *GREEN))
    assert read(tmp_path, saved(image, "GIF")).tolist() == [[list(RED), list(GREEN)]]
    assert read(tmp_path, saved(image, "GIF", transparency=0)).tolist() == [[list(WHITE), list(GREEN)]]


def test_progressive_and_grey_jpegs(tmp_path):
    assert np.abs(read(tmp_path, jpeg(COLOURS, progressive=True))[8::16, 8::16] - COLOURS).max() <= 4
    assert (
        np.abs(read(tmp_path, jpeg(np.array([[[9], [200]]], np.uint8), "L"))[8::16, 8::16, 1] - [[9, 200]]).max() <= 1
    )


@pytest.mark.parametrize("side", [1, 2, 30000])
@pytest.mark.parametrize("size", [32, 224])
def test_the_middle_of_a_very_long_or_small_picture(tmp_path, side, size):
    """The picture has black ends and a red middle. Only the middle of a long picture is used."""
    row = np.zeros((side, 3), int)
    row[side // 3 : -(side // 3) or None] = RED
    (tmp_path / "long").write_bytes(png(RGB, 8, [row.ravel().tolist()]))
    (tmp_path / "high").write_bytes(png(RGB, 8, row.tolist()))
    for name in ("long", "high"):
        square = centre_square(read_picture(tmp_path / name), size)
        assert np.asarray(square).tolist() == np.full((size, size, 3), RED).tolist()
