"""Lays pictures with transparency over backgrounds, and varies them in training. Shapes: B rows, H x W pixels."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

# The most that a picture is shifted (share of its width), rotated (radians), and made smaller or larger (share).
SHIFT, ROTATION, SCALE = 0.08, math.radians(12), 0.15
# Backgrounds in training range from this grey (share of white) to white. In evaluation they are white.
DARKEST = 0.75
# Number of random numbers that `vary` uses for a picture.
NUMBERS = 7


def over_white(pictures: Tensor) -> Tensor:
    """Lays pictures over white. (B, 4, H, W) uint8, colours multiplied by alpha -> (B, 3, H, W) uint8."""
    return pictures[:, :3] + (255 - pictures[:, 3:])


def vary(pictures: Tensor, numbers: Tensor) -> Tensor:
    """Shifts, rotates and scales each picture, and lays it over a light background. (B, 4, H, W) uint8, colours
    multiplied by alpha -> (B, 3, H, W) uint8.

    numbers: (B, 7) in [0, 1), which decide the shift (2), rotation, scale and colour of the background (3).
    """
    shift = SHIFT * (2 * numbers[:, :2] - 1) * 2  # a picture has width 2 in the units of a grid
    angle = ROTATION * (2 * numbers[:, 2] - 1)
    scale = 1 + SCALE * (2 * numbers[:, 3] - 1)
    cos, sin = angle.cos() / scale, angle.sin() / scale
    matrix = torch.stack([torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1)
    grid = F.affine_grid(matrix, list(pictures.shape), align_corners=False)
    # Alpha is 0 outside a picture, because grid_sample pads with zeros.
    sampled = F.grid_sample(pictures.float(), grid, align_corners=False)
    background = 255 * (DARKEST + (1 - DARKEST) * numbers[:, 4:, None, None])
    return (sampled[:, :3] + background * (1 - sampled[:, 3:] / 255)).round().clamp(0, 255).to(torch.uint8)
