"""The batch that every data source gives to a model. Shapes: B rows, K captions per image, T tokens, H x W pixels."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """A batch of images and their captions. Row i of every field belongs to the same sample."""

    images: Tensor
    """(B, 3, H, W) float32, no unit: pixel values minus the source's mean, divided by its deviation. -1 to 1 for drawn
    pictures, about -2 to 2 for photographs.
    """
    captions: Tensor
    """(B, K, T) int64 token ids, the K captions in a fixed order: begin, the text, end, then padding."""
    labels: Tensor | None
    """(B,) int64, index into the source's class names, -1 for a row without a class. None if the data have no
    classes.
    """
    indices: Tensor
    """(B,) int64, the position of the row in its split, which identifies the sample."""
