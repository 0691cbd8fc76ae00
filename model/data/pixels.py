"""Any kind of pixels that a picture file can hold -> 8-bit RGB: grey, palettes, transparency, CMYK, 16 bits, floating point, turned by EXIF."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WHITE = (255, 255, 255, 255)
ORIENTATION = 0x0112  # the EXIF and TIFF tag
BITS_PER_SAMPLE, PHOTOMETRIC = 258, 262  # TIFF tags
WHITE_IS_ZERO = 0  # a value of PHOTOMETRIC
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
    image.load()
    rgb = flattened(eight_bits(uninverted(image)))
    turn = UPRIGHT.get(orientation(image))
    return rgb if turn is None else rgb.transpose(turn)


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
        return grey(from_fractions(np.asarray(image)), image)
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
    tags = image.tag_v2 if image.format == "TIFF" else {}
    bits = np.ravel(tags.get(BITS_PER_SAMPLE, 16))[0]
    scaled = values.astype(np.float64) * (255 / (2 ** int(bits) - 1))
    return 255 - scaled if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO else scaled


def from_fractions(values: NDArray) -> NDArray:
    """Numbers of 0 to 1 -> 0 to 255. Raises NotReadable for any other range, as what is black and white in it is not known."""
    least, most = float(values.min()), float(values.max())
    if not (least >= 0 and most <= 1):  # also where one is NaN
        raise NotReadable(f"has floating-point pixels from {least:g} to {most:g}; allowed: 0 to 1")
    return values.astype(np.float64) * 255


def flattened(image: Image.Image) -> Image.Image:
    """RGB, transparent parts laid over white."""
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, WHITE), image).convert("RGB")
    return image.convert("RGB")
