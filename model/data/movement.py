"""Shifts, rotates and scales pictures. Shapes: B pictures, H x W pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def flip(pictures: Tensor, chosen: Tensor) -> Tensor:
    """Exchanges left and right of the pictures that the (B,) booleans choose. (B, 3, H, W) -> (B, 3, H, W)."""
    return torch.where(chosen[:, None, None, None], pictures.flip(-1), pictures)


def move(pictures: Tensor, shift: Tensor, angle: Tensor, zoom: Tensor, *, white: bool = False) -> Tensor:
    """Rotates each picture about its middle, scales it and shifts it. (B, 3, H, W) floating point from 0 to 255 ->
    (B, 3, H, W).

    shift: (B, 2), right and down, as shares of the width and the height; angle: (B,) in radians, clockwise; zoom: (B,)
    factors, above 1 for larger objects; white: whether white continues a picture beyond its sides, otherwise its mirror
    image does.
    """
    cos, sin = angle.cos() / zoom, angle.sin() / zoom
    # For a pixel of the result, the matrix gives its place on the original, on which a side has length 2. The inverse
    # of "rotate, scale, shift" shifts back first.
    right, down = (-2 * shift).unbind(1)
    rows = [torch.stack([cos, sin, cos * right + sin * down], 1), torch.stack([-sin, cos, cos * down - sin * right], 1)]
    grid = F.affine_grid(torch.stack(rows, 1).to(pictures), list(pictures.shape), align_corners=False)
    if white:  # grid_sample continues pictures with zeros
        return 255 - F.grid_sample(255 - pictures, grid, padding_mode="zeros", align_corners=False)
    return F.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)
