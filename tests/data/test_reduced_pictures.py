"""JPEGs that are decoded at a part of their size, and the squares that are scaled from them, compared with pixels that
are known in closed form.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from model.data.pictures import read_reduced
from model.data.squares import centre_square
from tests.data.picture_files import exif, jpeg, saved, tiff, with_exif, without_segment
from tests.data.test_pictures import SIDES, ink

pytestmark = pytest.mark.usefixtures("pillow_warnings_ignored")
# The value of the first pixel of a ramp.
START = 10


def ramps(width: int, height: int, skipped: int = 0) -> np.ndarray:
    """Returns an upright picture whose red rises by one from column to column, and whose green rises by one from row to
    row. skipped: the number of columns before red begins to rise.
    """
    red = np.clip(START + np.arange(width) - skipped, 0, 255)
    columns, rows = np.meshgrid(red, START + np.arange(height))
    return np.stack([columns, rows, np.full_like(rows, 128)], axis=2).astype(np.uint8)


def square_of_ramps(width: int, height: int, size: int, skipped: int = 0) -> np.ndarray:
    """Returns red and green of the middle square of `ramps`: a ramp's value is its value at 0 plus the position."""
    values = []
    for side, first in ((width, START - skipped), (height, START)):
        scaled = max(size, round(side * size / min(width, height)))
        centres = ((scaled - size) // 2 + np.arange(size) + 0.5) * side / scaled
        values.append(first + centres - 0.5)
    return np.stack(np.meshgrid(*values), axis=2)


def large(pixels: np.ndarray) -> Image.Image:
    """Returns a picture with 16 x 16 equal pixels for each of the (H, W, 3) pixels."""
    return Image.fromarray(np.kron(pixels, np.ones((16, 16, 1), np.uint8)))


def stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """Returns the pixels that a file with this EXIF orientation stores."""
    first_row, first_column = SIDES[orientation]
    pixels = upright.swapaxes(0, 1) if first_row in ("left", "right") else upright
    pixels = pixels[::-1] if first_row in ("bottom", "right") else pixels
    return pixels[:, ::-1] if first_column in ("bottom", "right") else pixels


@pytest.mark.parametrize("orientation", SIDES)
@pytest.mark.parametrize(
    ("width", "height", "size", "divisor"),
    [(203, 117, 14, 8), (117, 203, 29, 4), (231, 229, 100, 2), (210, 150, 80, 1)],
)
def test_a_reduced_picture_lies_where_the_whole_picture_lies(tmp_path, orientation, width, height, size, divisor):
    """Most sides are no multiples of 8: the last decoded column and row then lie partly beyond the picture."""
    content = saved(Image.fromarray(stored(ramps(width, height), orientation)), "JPEG", quality=100, subsampling=0)
    (tmp_path / "picture.jpg").write_bytes(with_exif(content, exif(orientation)))
    picture = read_reduced(tmp_path / "picture.jpg", size)
    assert picture.image.size == (math.ceil(width / divisor), math.ceil(height / divisor))
    assert picture.extent.sides == (width / divisor, height / divisor)
    square = np.asarray(centre_square(picture.image, size, picture.extent)).astype(float)
    # Without the edges, beyond which the bicubic filter reaches.
    error = (square[..., :2] - square_of_ramps(width, height, size))[2:-2, 2:-2]
    assert np.abs(error).max() < 3  # a JPEG rounds colours
    assert np.abs(error.mean(axis=(0, 1))).max() < 0.3  # half a column beside the place would be at least 0.5


@pytest.mark.parametrize("wide", [True, False])
def test_the_middle_of_a_very_long_reduced_picture(tmp_path, wide):
    """2,003 x 105 pixels, of which 1,680 x 105 are used."""
    pixels = ramps(2003, 105, skipped=900)
    (tmp_path / "picture.jpg").write_bytes(
        saved(Image.fromarray(pixels if wide else pixels.swapaxes(0, 1)), "JPEG", quality=100, subsampling=0)
    )
    picture = read_reduced(tmp_path / "picture.jpg", 26)
    assert min(picture.image.size) == 27
    square = np.asarray(centre_square(picture.image, 26, picture.extent)).astype(float)
    square = square if wide else square.swapaxes(0, 1)
    error = (square[..., :2] - square_of_ramps(2003, 105, 26, skipped=900))[2:-2, 2:-2]
    across, down = np.abs(error.mean(axis=(0, 1)))
    assert across < 4  # the middle is exact to one of the decoded columns, which are 4 columns of the file
    assert down < 0.3


RED_BLUE = np.array([[[250, 0, 0], [0, 0, 250]]], np.uint8)
# A file whose pixels have 16 x 16 equal colours, and these colours.
KINDS = {
    "grey": (jpeg(np.array([[[9], [200]]], np.uint8), "L"), [(9, 9, 9), (200, 200, 200)]),
    "progressive": (jpeg(RED_BLUE, progressive=True), RED_BLUE[0]),
    "CMYK": (without_segment(ink(255, 0, 0, 0), 0xEE), [(0, 255, 255)]),
    "CMYK of Adobe's programs": (ink(0, 255, 255, 255), [(0, 255, 255)]),
    "YCCK": (ink(76, 85, 255, 255).replace(b"Adobe\0d\0\0\0\0\0", b"Adobe\0d\0\0\0\0\2"), [(0, 255, 255)]),
    "MPO": (
        saved(large(RED_BLUE), "MPO", save_all=True, append_images=[large(RED_BLUE[:, ::-1])], quality=98),
        RED_BLUE[0],
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_colours_of_a_reduced_picture(tmp_path, kind):
    content, colours = KINDS[kind]
    (tmp_path / "picture.jpg").write_bytes(content)
    picture = read_reduced(tmp_path / "picture.jpg", 2)
    assert picture.image.mode == "RGB"
    assert picture.image.size == (2 * len(colours), 2)
    expected = np.kron(np.array([colours]), np.ones((2, 2, 1), int))
    assert np.abs(np.asarray(picture.image).astype(int) - expected).max() <= 4


def test_other_formats_are_decoded_whole(tmp_path):
    pixels = np.random.default_rng(3).integers(0, 256, (40, 60, 3), np.uint8)
    for content in (
        saved(Image.fromarray(pixels), "PNG"),
        saved(Image.fromarray(pixels), "WEBP", lossless=True),
        tiff(2, stored(pixels, 6), t274=[6]),
    ):
        (tmp_path / "picture").write_bytes(content)
        picture = read_reduced(tmp_path / "picture", 5)
        assert np.array_equal(np.asarray(picture.image), pixels)
        assert picture.extent == (0, 0, 60, 40)


@pytest.mark.parametrize("sides", [(64, 48), (63, 200), (31, 45), (50, 50), (3, 2)])
@pytest.mark.parametrize("size", [7, 32])
def test_a_square_has_the_pixels_of_the_whole_scaled_picture(sides, size):
    """Pillow scales the whole picture, and the result is cropped. Coordinates of 32 bits may change a pixel by 1."""
    image = Image.fromarray(np.random.default_rng(5).integers(0, 256, (*sides, 3), np.uint8))
    width, height = (max(size, round(side * size / min(sides))) for side in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    whole = image.resize((width, height), Image.Resampling.BICUBIC).crop((left, top, left + size, top + size))
    difference = np.asarray(centre_square(image, size)).astype(int) - np.asarray(whole)
    assert np.abs(difference).max() <= 1
    assert np.count_nonzero(difference) <= 0.01 * difference.size
