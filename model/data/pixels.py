"""Any kind of pixels that a picture file can hold -> 8-bit RGB: grey, palettes, transparency, CMYK, 16 bits, floating point, turned by EXIF."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ORIENTATION = 0x0112  # the EXIF and TIFF tag
BITS_PER_SAMPLE, PHOTOMETRIC = 258, 262  # TIFF tags
WHITE_IS_ZERO = 0  # a value of PHOTOMETRIC
BITS_OF_GREY = {"L;2": 2, "L;4": 4}  # Pillow's names for such pixels of a PNG
# EXIF orientation -> what turns the stored pixels upright. 1 is upright.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class NotReadable(Exception):
    """A picture cannot be used. The text is the reason, as the end of a sentence that begins with the file's name."""


def upright_rgb(image: Image.Image) -> Image.Image:
    """The first frame of an opened picture, decoded, turned as its EXIF tag says, as 8-bit RGB; transparent parts show white.

    Raises NotReadable where the pixels have no known range, and whatever Pillow raises for a damaged file.
    """
    key_in_eight_bits(image)
    image.load()
    rgb = flattened(eight_bits(uninverted(image)))
    turn = UPRIGHT.get(orientation(image))
    return rgb if turn is None else rgb.transpose(turn)


def key_in_eight_bits(image: Image.Image) -> None:
    """The colour that a PNG declares transparent, as the pixels will be: Pillow scales those of 2, 4 and 3 x 16 bits to 8 bits, not the colour."""
    key = image.info.get("transparency")
    if image.format != "PNG" or not image.tile:
        return
    stored = image.tile[0][3]
    if stored in BITS_OF_GREY and isinstance(key, int):
        image.info["transparency"] = key * 255 // (2 ** BITS_OF_GREY[stored] - 1)
    elif stored == "RGB;16B" and isinstance(key, tuple):
        # The lower 8 bits are lost: neighbours of the colour are transparent with it.
        image.info["transparency"] = tuple(value >> 8 for value in key)


def orientation(image: Image.Image) -> int:
    """The EXIF orientation that is still to be applied; 1 (upright) where there is none, or it cannot be read. For a picture that is loaded."""
    if image.format == "TIFF":
        # Pillow turns a TIFF as it loads it and then removes the tag.
        return image.tag_v2.get(ORIENTATION, 1)
    try:
        return image.getexif().get(ORIENTATION, 1)
    except Exception:  # EXIF is free text of a camera: a damaged one is no reason to lose the picture
        return 1


def uninverted(image: Image.Image) -> Image.Image:
    """CMYK where 0 is no ink. Adobe's programs store JPEGs the other way round and mark them. Pillow takes every CMYK JPEG for one of Adobe's."""
    if image.mode == "CMYK" and image.format in ("JPEG", "MPO") and "adobe" not in image.info:
        return image.point(lambda value: 255 - value)
    return image


def eight_bits(image: Image.Image) -> Image.Image:
    """Samples of 16 bits and of floating point, scaled to 8 bits; other pictures as they are."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        return grey(from_sixteen_bits(np.asarray(image), image), image)
    if image.mode == "I":
        raise NotReadable("has whole numbers of 32 or of signed 16 bits as pixels; allowed: 8 bits, 16 bits without a sign, floating point of 0 to 1")
    if image.mode == "F":
        return grey(from_fractions(np.asarray(image), image), image)
    return image


def grey(values: NDArray, image: Image.Image) -> Image.Image:
    """(H, W) of 0 to 255 -> an 8-bit picture, white where `image` says that its value is transparent."""
    rounded = np.rint(values).astype(np.uint8)
    key = image.info.get("transparency")
    if isinstance(key, int):
        rounded[np.asarray(image) == key] = 255
    return Image.fromarray(rounded)


def from_sixteen_bits(values: NDArray, image: Image.Image) -> NDArray:
    """Whole numbers up to the largest of the file's bits -> 0 to 255."""
    bits = np.ravel(tags_of(image).get(BITS_PER_SAMPLE, 16))[0]
    return black_is_zero(values.astype(np.float32) * (255 / (2 ** int(bits) - 1)), image)


def from_fractions(values: NDArray, image: Image.Image) -> NDArray:
    """Numbers of 0 to 1 -> 0 to 255. Raises NotReadable for any other range, as what is black and white in it is not known."""
    least, most = float(values.min()), float(values.max())
    if not (least >= 0 and most <= 1):  # also where one is NaN
        raise NotReadable(f"has floating-point pixels from {least:g} to {most:g}; allowed: 0 to 1")
    return black_is_zero(values * 255, image)


def black_is_zero(values: NDArray, image: Image.Image) -> NDArray:
    """0 to 255, turned round where a TIFF says that 0 is white. Pillow does so for 8 bits and fewer."""
    return 255 - values if tags_of(image).get(PHOTOMETRIC) == WHITE_IS_ZERO else values


def tags_of(image: Image.Image) -> Mapping[int, Any]:
    """The tags of a TIFF; none for other formats."""
    return image.tag_v2 if image.format == "TIFF" else {}


def flattened(image: Image.Image) -> Image.Image:
    """RGB, transparent parts laid over white."""
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("LA") if image.mode == "La" else image
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        return white
    return image.convert("RGB")
