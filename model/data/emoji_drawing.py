"""Emoji as pictures from a colour font. Shapes: N emoji, S x S pixels."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, features

from model.errors import ConfigError

# The only size that the font's bitmaps have; each is 136 x 128 pixels.
FONT_SIZE = 109
CELL = (136, 128)
NOT_A_CHARACTER = "\U0010ffff"


def draw_emoji(font_file: Path, emoji: list[str], size: int) -> tuple[list[int], NDArray]:
    """Indices of the emoji that the font can draw, and their pictures (N, 4, S, S) uint8: red, green, blue times alpha,
    and alpha.

    Left out: those that give the picture of a missing one or fall apart into several, and all but the first of those
    drawn alike. Raises ConfigError where the file is no such font, or Pillow lacks the library that composes flags and
    families.
    """
    font = open_font(font_file)
    width = font.getlength(emoji[0])
    # Pictures are told apart as they are, before they are made small.
    seen = {draw_one(font, NOT_A_CHARACTER).tobytes()}
    kept, pictures = [], []
    for index, character in enumerate(emoji):
        drawn = draw_one(font, character)
        pixels = drawn.tobytes()
        if font.getlength(character) > 1.5 * width or pixels in seen or drawn.getbbox() is None:
            continue
        seen.add(pixels)
        kept.append(index)
        pictures.append(np.asarray(squared(drawn, size)))
    if not kept:
        raise ConfigError(
            f"data.root={font_file} draws no emoji; allowed: a colour-emoji font, such as NotoColorEmoji.ttf"
        )
    return kept, np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2))


def open_font(font_file: Path) -> ImageFont.FreeTypeFont:
    """The font at its bitmaps' size. Raises ConfigError where that does not work."""
    if not features.check("raqm"):
        raise ConfigError(
            "data=emoji is not drawable by this Pillow, which lacks Raqm; allowed: a Pillow wheel, and apt-get "
            "install libfribidi0"
        )
    try:
        # Its bytes, not its name: Pillow looks for a font of the same name elsewhere when it cannot read a file.
        return ImageFont.truetype(BytesIO(font_file.read_bytes()), FONT_SIZE, layout_engine=ImageFont.Layout.RAQM)
    except OSError as error:
        raise ConfigError(
            f"data.root={font_file} is no font with bitmaps of size {FONT_SIZE} ({error}); allowed: NotoColorEmoji.ttf"
        ) from error


def draw_one(font: ImageFont.FreeTypeFont, character: str) -> Image.Image:
    """The picture of one emoji, 136 x 128, transparent around it."""
    picture = Image.new("RGBA", CELL)
    ImageDraw.Draw(picture).text((0, 0), character, font=font, embedded_color=True)
    return picture


def squared(picture: Image.Image, size: int) -> Image.Image:
    """The picture in the middle of a square, `size` pixels wide, its colours multiplied by alpha ("RGBa")."""
    side = max(CELL)
    square = Image.new("RGBA", (side, side))
    square.paste(picture, ((side - CELL[0]) // 2, (side - CELL[1]) // 2))
    # Bilinear weights are never negative, so that no colour comes out above its alpha.
    return square.convert("RGBa").resize((size, size), Image.Resampling.BILINEAR)
