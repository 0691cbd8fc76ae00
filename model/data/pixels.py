"""Converts pixels of every kind to upright 8-bit RGB: grey, palette, transparent, CMYK, 16 bits, floating point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, TiffImagePlugin

# The largest ratio of a picture's longer side to its shorter side for which the whole picture is scaled.
MOST_ELONGATED = 16
ORIENTATION = 0x0112  # the EXIF and TIFF tag
BITS_PER_SAMPLE, PHOTOMETRIC = 258, 262  # TIFF tags
WHITE_IS_ZERO = 0  # a value of PHOTOMETRIC
BITS_OF_GREY = {"L;2": 2, "L;4": 4}  # Pillow's names for such pixels of a PNG
# EXIF orientation -> the operation that makes the stored pixels upright. Pixels of orientation 1 are upright.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
FIRST_TURNED = 5  # from this EXIF orientation on, columns of the stored pixels become rows
# EXIF orientation -> the sides of the stored pixels that become the left, top, right and bottom sides. The numbers are
# positions in an Extent.
UPRIGHT_SIDES = {
    1: (0, 1, 2, 3),
    2: (2, 1, 0, 3),
    3: (2, 3, 0, 1),
    4: (0, 3, 2, 1),
    5: (1, 0, 3, 2),
    6: (3, 0, 1, 2),
    7: (3, 2, 1, 0),
    8: (1, 2, 3, 0),
}


class NotReadable(Exception):
    """Raised for a picture that cannot be used. The text is the reason: the rest of a sentence whose subject is the
    file.
    """


class Extent(NamedTuple):
    """The sides of a rectangle on an image, in pixels from the left and from the top."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def sides(self) -> tuple[float, float]:
        """Width and height."""
        return self.right - self.left, self.bottom - self.top


def reduce_jpeg(image: Image.Image, least_side: int) -> tuple[float, float]:
    """Makes Pillow decode an opened JPEG at the smallest of 1, 1/2, 1/4 and 1/8 of its size at which no side is shorter
    than `least_side` pixels. The decoder then computes fewer pixels, from the lower frequencies.

    Returns how much of the last decoded column and row lies beyond the picture, in decoded pixels. 0 and 0 for other
    formats and for JPEGs that are decoded whole.
    """
    reduced = image.draft(None, (least_side, least_side))
    if reduced is None:
        return 0, 0
    _, (_, _, width, height) = reduced
    return image.width - width, image.height - height


def upright_extent(upright: Image.Image, turn: int, beyond: tuple[float, float]) -> Extent:
    """Returns where the picture lies on the result of `to_upright_rgb`.

    turn: the EXIF orientation; beyond: the result of `reduce_jpeg`, which refers to the stored columns and rows.
    """
    stored = (0.0, 0.0, *beyond)
    left, top, right, bottom = (stored[side] for side in UPRIGHT_SIDES.get(turn, UPRIGHT_SIDES[1]))
    return Extent(left, top, upright.width - right, upright.height - bottom)


def to_upright_rgb(image: Image.Image) -> Image.Image:
    """Returns the first frame of an opened picture as 8-bit RGB, turned as its EXIF tag says, on white if it is
    transparent.

    Raises NotReadable if the range of the pixels is not known, and whatever Pillow raises for a damaged file.
    """
    scale_transparent_colour(image)
    image.load()
    rgb = on_white(to_eight_bits(undo_cmyk_inversion(image)))
    turn = UPRIGHT.get(orientation(image))
    return rgb if turn is None else rgb.transpose(turn)


def scale_transparent_colour(image: Image.Image) -> None:
    """Scales the colour that a PNG declares transparent to 8 bits, in place. Pillow scales pixels of 2, 4 and 3 x 16
    bits, but not that colour.
    """
    key = image.info.get("transparency")
    if image.format != "PNG" or not isinstance(image, ImageFile.ImageFile) or not image.tile:
        return
    stored = image.tile[0][3]
    if stored in BITS_OF_GREY and isinstance(key, int):
        image.info["transparency"] = key * 255 // (2 ** BITS_OF_GREY[stored] - 1)
    elif stored == "RGB;16B" and isinstance(key, tuple):
        # The lower 8 bits are lost, so that neighbouring colours become transparent too.
        image.info["transparency"] = tuple(value >> 8 for value in key)


def orientation(image: Image.Image) -> int:
    """Returns the EXIF orientation of a loaded picture that has not been applied yet. 1 (upright) if there is none, or
    if it cannot be read.
    """
    if image.format == "TIFF":
        # Pillow turns a TIFF when it loads it, and then removes the tag.
        return tiff_tags(image).get(ORIENTATION, 1)
    try:
        return image.getexif().get(ORIENTATION, 1)
    except Exception:  # damaged EXIF data are no reason to leave out the picture
        return 1


def upright_sides(image: Image.Image) -> tuple[int, int]:
    """Returns width and height of an opened picture after its EXIF orientation is applied."""
    turned = orientation(image) >= FIRST_TURNED
    return (image.height, image.width) if turned else image.size


def undo_cmyk_inversion(image: Image.Image) -> Image.Image:
    """Returns a CMYK picture in which 0 means no ink. Adobe's programs store inverted values in JPEGs and mark these
    files. Pillow inverts the values of every CMYK JPEG, also of those without the mark, so this function inverts the
    latter again. Returns other pictures unchanged.
    """
    if image.mode == "CMYK" and image.format in ("JPEG", "MPO") and "adobe" not in image.info:
        return image.point(lambda value: 255 - value)
    return image


def to_eight_bits(image: Image.Image) -> Image.Image:
    """Scales samples of 16 bits and of floating point to 8 bits. Returns other pictures unchanged. Raises NotReadable
    if the range of the samples is not known.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        return to_grey_picture(from_sixteen_bits(np.asarray(image), image), image)
    if image.mode == "I":
        raise NotReadable(
            "has pixels of 32-bit or signed 16-bit integers; allowed: 8 bits, unsigned 16 bits, floating point from "
            "0 to 1"
        )
    if image.mode == "F":
        return to_grey_picture(from_fractions(np.asarray(image), image), image)
    return image


def to_grey_picture(values: NDArray, image: Image.Image) -> Image.Image:
    """Returns (H, W) values from 0 to 255 as an 8-bit picture. It is white where the pixel of `image` has the value
    that `image` declares transparent.
    """
    rounded = np.rint(values).astype(np.uint8)
    key = image.info.get("transparency")
    if isinstance(key, int):
        rounded[np.asarray(image) == key] = 255
    return Image.fromarray(rounded)


def from_sixteen_bits(values: NDArray, image: Image.Image) -> NDArray:
    """Scales integers with the file's number of bits to 0 to 255."""
    bits = np.ravel(tiff_tags(image).get(BITS_PER_SAMPLE, 16))[0]
    return invert_if_white_is_zero(values.astype(np.float32) * (255 / (2 ** int(bits) - 1)), image)


def from_fractions(values: NDArray, image: Image.Image) -> NDArray:
    """Scales numbers from 0 to 1 to 0 to 255. Raises NotReadable for other numbers, because it is not known which of
    them are black and white.
    """
    least, most = float(values.min()), float(values.max())
    if not (least >= 0 and most <= 1):  # also if one is NaN
        raise NotReadable(f"has floating-point pixels from {least:g} to {most:g}; allowed: 0 to 1")
    return invert_if_white_is_zero(values * 255, image)


def invert_if_white_is_zero(values: NDArray, image: Image.Image) -> NDArray:
    """Returns values from 0 to 255, inverted if a TIFF declares that 0 is white. Pillow itself inverts samples of at
    most 8 bits.
    """
    return 255 - values if tiff_tags(image).get(PHOTOMETRIC) == WHITE_IS_ZERO else values


def tiff_tags(image: Image.Image) -> Mapping[int, Any]:
    """Returns the tags of a TIFF. Empty for other formats."""
    return image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}


def on_white(image: Image.Image) -> Image.Image:
    """Returns the picture as RGB, with transparent parts on white."""
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("LA") if image.mode == "La" else image
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        return white
    return image.convert("RGB")
