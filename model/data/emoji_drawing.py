"""Draws emoji with a colour font. Shapes: N emoji, S x S pixels."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, features

from model.errors import ConfigError

# The only size of the font's bitmaps, each of which has 136 x 128 pixels.
FONT_SIZE = 109
CELL = (136, 128)
NOT_A_CHARACTER = "\U0010ffff"


def draw_emoji(font_file: Path, emoji: list[str], size: int) -> tuple[list[int], NDArray]:
    """Returns the indices of the emoji that the font can draw, and their pictures on white, (N, 3, S, S) uint8.

    Leaves out emoji for which the font draws its sign for a missing character or several characters, and all but the
    first of emoji whose pictures are equal. Raises ConfigError if the file is not such a font, or if Pillow lacks the
    library that composes flags and families.
    """
    font = open_font(font_file)
    width = font.getlength(emoji[0])
    # Pictures are compared at full size.
    seen = {draw_character(font, NOT_A_CHARACTER).tobytes()}
    indices, pictures = [], []
    for index, character in enumerate(emoji):
        picture = draw_character(font, character)
        pixels = picture.tobytes()
        if font.getlength(character) > 1.5 * width or pixels in seen or picture.getbbox() is None:
            continue
        seen.add(pixels)
        indices.append(index)
        pictures.append(over_white(np.asarray(centre_in_square(picture, size))))
    if not indices:
        raise ConfigError(
            f"data.root={font_file} draws no emoji; allowed: a colour-emoji font, such as NotoColorEmoji.ttf"
        )
    return indices, np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2))


def over_white(pixels: NDArray) -> NDArray:
    """Lays a picture over white. (S, S, 4) uint8, colours multiplied by alpha -> (S, S, 3) uint8."""
    return pixels[..., :3] + (255 - pixels[..., 3:])


def open_font(font_file: Path) -> ImageFont.FreeTypeFont:
    """Opens the font at the size of its bitmaps. Raises ConfigError if that is not possible."""
    if not features.check("raqm"):
        raise ConfigError(
            "data=emoji is not drawable by this Pillow, which lacks Raqm; allowed: a Pillow wheel, and apt-get "
            "install libfribidi0"
        )
    try:
        # Pillow gets the bytes, because it looks for a font of the same name elsewhere if it cannot read a file.
        return ImageFont.truetype(BytesIO(font_file.read_bytes()), FONT_SIZE, layout_engine=ImageFont.Layout.RAQM)
    except OSError as error:
        raise ConfigError(
            f"data.root={font_file} is no font with bitmaps of size {FONT_SIZE} ({error}); allowed: NotoColorEmoji.ttf"
        ) from error


def draw_character(font: ImageFont.FreeTypeFont, character: str) -> Image.Image:
    """Draws one emoji on a transparent picture of 136 x 128 pixels."""
    picture = Image.new("RGBA", CELL)
    ImageDraw.Draw(picture).text((0, 0), character, font=font, embedded_color=True)
    return picture


def centre_in_square(picture: Image.Image, size: int) -> Image.Image:
    """Returns the picture in the middle of a square, `size` pixels wide, in mode "RGBa" (colours times alpha)."""
    side = max(CELL)
    square = Image.new("RGBA", (side, side))
    square.paste(picture, ((side - CELL[0]) // 2, (side - CELL[1]) // 2))
    # Bilinear weights are never negative, so that no colour is larger than its alpha.
    return square.convert("RGBa").resize((size, size), Image.Resampling.BILINEAR)
