"""Squares of picture files, as the model reads them. Shapes: B pictures, H x W pixels of a square, H = W."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from model.data.crops import Crop, cropped
from model.data.pictures import NotReadable, Opener, decode_reduced, open_file
from model.data.pixels import MOST_ELONGATED, Extent
from model.data.source import UnreadablePictures
from model.data.text import escape

# Mean and deviation of the pixels on which the published CLIP models were trained.
CLIP_PIXELS = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


class PictureFile(NamedTuple):
    """A picture that can be read: a file, or a part of one."""

    name: str
    """What messages call it."""
    open: Opener


def file_at(path: str) -> PictureFile:
    """Returns the picture file at a path."""
    return PictureFile(path, partial(open_file, path))


def read_squares(files: Sequence[PictureFile], size: int, crops: Sequence[Crop] | None = None) -> Tensor:
    """Returns a part of each picture as (B, 3, size, size) uint8. crops: the part; None: the middle. Raises
    UnreadablePictures.
    """
    pictures: list[Tensor] = []
    reasons: dict[int, str] = {}
    for position, file in enumerate(files):
        try:
            crop = None if crops is None else crops[position]
            picture = decode_reduced(file.open, size, crop)
            square = square_of(picture.image, size, picture.extent, crop)
            pictures.append(torch.from_numpy(np.array(square)).permute(2, 0, 1))
        except NotReadable as reason:
            reasons[position] = f"{escape(file.name)} {reason}"
    if reasons:
        raise UnreadablePictures(reasons)
    return torch.stack(pictures)


def square_of(image: Image.Image, size: int, extent: Extent, crop: Crop | None) -> Image.Image:
    """Returns `crop` of the picture as a square; None: the result of `centre_square`."""
    if crop is None:
        return centre_square(image, size, extent)
    image, extent = crop_elongated(image, extent)
    return cropped(image, size, extent, crop)


def centre_square(image: Image.Image, size: int, extent: Extent | None = None) -> Image.Image:
    """Returns the middle of the picture: the shorter side is scaled to `size` pixels (bicubic), and the ends of the
    longer side are cropped. extent: where the picture lies on `image`; None: everywhere.
    """
    image, extent = crop_elongated(image, extent or Extent(0, 0, *image.size))
    scale = size / min(extent.sides)
    # The size of the whole scaled picture, and the part of it that is returned. Only that part is computed.
    scaled = [max(size, round(side * scale)) for side in extent.sides]
    starts = [(side - size) // 2 for side in scaled]
    units = [side / side_scaled for side, side_scaled in zip(extent.sides, scaled, strict=True)]
    left, top = (first + start * unit for first, start, unit in zip(extent[:2], starts, units, strict=True))
    right, bottom = (
        min(last, first + size * unit) for last, first, unit in zip(extent[2:], (left, top), units, strict=True)
    )
    return image.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, right, bottom))


def crop_elongated(image: Image.Image, extent: Extent) -> tuple[Image.Image, Extent]:
    """Returns the middle of a picture whose sides differ by more than MOST_ELONGATED to 1, and where it lies on the
    returned image. Returns other pictures unchanged.

    Without this limit, the part of such a picture that is scaled could be too small for Pillow's 32-bit coordinates.
    """
    longest = MOST_ELONGATED * min(extent.sides)
    if max(extent.sides) <= longest:
        return image, extent
    left, top = (first + max(0, side - longest) // 2 for first, side in zip(extent[:2], extent.sides, strict=True))
    width, height = (min(side, longest) for side in extent.sides)
    column, row = int(left), int(top)
    cropped = image.crop((column, row, math.ceil(left + width), math.ceil(top + height)))
    return cropped, Extent(left - column, top - row, left - column + width, top - row + height)
