"""Pictures with transparency laid over backgrounds, moved a little in training. Shapes: B rows, S x S pixels of a
picture, H x W of the result.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

# The most that a picture is moved (share of its width), turned (radians), and made smaller or larger.
SHIFT, TURN, SCALE = 0.08, math.radians(12), 0.15
# Backgrounds in training go from this grey to white; at evaluation they are white.
DARKEST = 0.75
NUMBERS = 7


def over_white(pictures: Tensor) -> Tensor:
    """(B, 4, H, W) uint8, colours multiplied by alpha -> (B, 3, H, W) uint8 on white."""
    return pictures[:, :3] + (255 - pictures[:, 3:])


def moved(pictures: Tensor, numbers: Tensor) -> Tensor:
    """(B, 4, H, W) uint8, colours multiplied by alpha -> (B, 3, H, W) uint8, each shifted, turned and scaled, on a
    light background.

    numbers: (B, 7) in [0, 1), which decide shift (2), turn, scale and the background's colour (3).
    """
    shift = SHIFT * (2 * numbers[:, :2] - 1) * 2  # a picture is 2 wide in the units of a grid
    turn = TURN * (2 * numbers[:, 2] - 1)
    scale = 1 + SCALE * (2 * numbers[:, 3] - 1)
    cos, sin = turn.cos() / scale, turn.sin() / scale
    matrix = torch.stack([torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1)
    grid = F.affine_grid(matrix, list(pictures.shape), align_corners=False)
    # Outside a picture is nothing, alpha 0: the padding of grid_sample.
    sampled = F.grid_sample(pictures.float(), grid, align_corners=False)
    background = 255 * (DARKEST + (1 - DARKEST) * numbers[:, 4:, None, None])
    return (sampled[:, :3] + background * (1 - sampled[:, 3:] / 255)).round().clamp(0, 255).to(torch.uint8)
