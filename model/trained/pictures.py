"""From pictures of any kind to the pixels that a model reads. Shapes: B pictures, H x W pixels of a square, H = W."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from model.data.pictures import NotReadable, errors_as_not_readable
from model.data.pixels import to_upright_rgb
from model.data.source import UnreadablePictures
from model.data.squares import centre_square, file_at, read_squares
from model.errors import ConfigError

Picture = str | os.PathLike[str] | Image.Image
"""The path of a picture file, or an opened picture."""
Pictures = Sequence[Picture] | Tensor
"""Pictures, or squares as `Source.images` returns them: (N, 3, H, W) uint8, of the size that the model reads."""


class PicturesNotReadable(ConfigError):
    """Some of the given pictures cannot be read. The text names the first of them and says what is wrong with it."""

    def __init__(self, reasons: Mapping[int, str]) -> None:
        """reasons: position in the given pictures -> the picture and what is wrong with it."""
        self.reasons = dict(reasons)
        further = f", and {len(reasons) - 1} more of this batch cannot be read" if len(reasons) > 1 else ""
        super().__init__(f"{next(iter(self.reasons.values()))}{further}")


def squares_of(pictures: Pictures, size: int, first: int = 0) -> Tensor:
    """Returns the middle of each picture as (B, 3, size, size) uint8: upright, transparent parts on white, the shorter
    side scaled to `size` pixels. first: the number of the first picture, for messages.

    Raises PicturesNotReadable, ValueError for a tensor of another shape or dtype, and TypeError for anything else than
    a path or an opened picture.
    """
    if isinstance(pictures, Tensor):
        if pictures.shape[1:] != (3, size, size) or pictures.dtype != torch.uint8:
            raise ValueError(
                f"images: shape {tuple(pictures.shape)} of {pictures.dtype} given; accepted: (N, 3, {size}, {size}) of "
                f"torch.uint8, paths, or PIL images"
            )
        return pictures
    squares: list[Tensor] = []
    reasons: dict[int, str] = {}
    for position, picture in enumerate(pictures, first):
        try:
            squares.append(square_of(picture, size))
        except UnreadablePictures as unreadable:
            reasons[position] = unreadable.reasons[0]
        except NotReadable as reason:
            reasons[position] = f"picture {position} {reason}"
    if reasons:
        raise PicturesNotReadable(reasons)
    return torch.stack(squares)


def square_of(picture: Picture, size: int) -> Tensor:
    """Returns the middle of one picture as (3, size, size) uint8."""
    if isinstance(picture, (str, os.PathLike)):
        return read_squares([file_at(os.fspath(picture))], size)[0]
    if not isinstance(picture, Image.Image):
        raise TypeError(f"a picture of type {type(picture).__name__} was given; accepted: a path, or a PIL image")
    with errors_as_not_readable():
        square = centre_square(to_upright_rgb(picture), size)
        return torch.from_numpy(np.array(square)).permute(2, 0, 1)
