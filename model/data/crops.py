"""Random crops: parts of pictures that are described without the pictures' sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from model.data.pixels import Extent


class Crop(NamedTuple):
    """A rectangle on a picture of any size."""

    area: float
    """The share of the picture's area, above 0, at most 1. It is smaller on an elongated picture, on which no rectangle
    between `least_ratio` and `most_ratio` has this area.
    """
    ratio: float
    """Width / height in pixels. It is changed, within the two limits, if a rectangle of this area would not fit."""
    least_ratio: float
    most_ratio: float
    x: float
    """Where the rectangle lies, from 0 (left) to 1 (right)."""
    y: float
    """Where the rectangle lies, from 0 (top) to 1 (bottom)."""

    def box(self, extent: Extent) -> Extent:
        """Returns the rectangle on a picture that lies at `extent`."""
        width, height = extent.sides
        area = self.area * width * height
        fitting = min(max(self.ratio, area / height**2), width**2 / area)
        ratio = min(max(fitting, self.least_ratio), self.most_ratio)
        area = min(area, ratio * height**2, width**2 / ratio)
        wide, high = min(width, math.sqrt(area * ratio)), min(height, math.sqrt(area / ratio))
        left, top = extent.left + self.x * (width - wide), extent.top + self.y * (height - high)
        return Extent(left, top, min(left + wide, extent.right), min(top + high, extent.bottom))


def cropped(image: Image.Image, size: int, extent: Extent, crop: Crop) -> Image.Image:
    """Returns a part of a picture, scaled to `size` x `size` pixels (bicubic). extent: where the picture lies on
    `image`.
    """
    return image.resize((size, size), Image.Resampling.BICUBIC, box=crop.box(extent))


def crop_squares(pictures: Tensor, crops: Sequence[Crop] | None) -> Tensor:
    """Returns a part of each picture, scaled to the size of the pictures. (B, 3, H, W) uint8 with H = W -> the same
    shape and type. For sources that hold or draw squares. None returns the pictures unchanged.
    """
    if crops is None:
        return pictures
    size = pictures.shape[-1]
    parts = []
    for picture, crop in zip(pictures, crops, strict=True):
        image = Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy())
        parts.append(torch.from_numpy(np.array(cropped(image, size, Extent(0, 0, size, size), crop))))
    return torch.stack(parts).permute(0, 3, 1, 2)
