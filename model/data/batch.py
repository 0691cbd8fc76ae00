"""What every data source hands to a model. Shapes: B rows, K captions per image, T tokens, H x W pixels."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """One batch of images and their captions, row i of every field belonging together."""

    images: Tensor
    """(B, 3, H, W) float32, no unit: pixel values minus the source's mean, divided by its deviation;
    -1 to 1 for drawn pictures, about -2 to 2 for photographs."""
    captions: Tensor
    """(B, K, T) int64 token ids, the K captions in a fixed order: begin … end, then padding."""
    labels: Tensor | None
    """(B,) int64, an index into the source's class names; None where the data has no classes,
    -1 where only this row has none."""
    indices: Tensor
    """(B,) int64, the row's position in its split, which names a sample."""
