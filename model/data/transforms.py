"""Random changes of training pictures. They are a function of the seed, the epoch and the row, so that they do not
depend on batches, workers, processes or the resumption of a run. Shapes: B rows, H x W pixels.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.config.schema import TransformsConfig
from model.data import colour
from model.data.crops import Crop
from model.data.movement import flip, move
from model.data.random_numbers import uniform

# The random stream of the changes.
TRANSFORMS = 21
# The columns of a row's random numbers. Each change has numbers of its own, so that switching on one change leaves the
# others as they are.
AREA, RATIO, LEFT, TOP, FLIP, RIGHT, DOWN, ANGLE, ZOOM, BRIGHTNESS, CONTRAST, SATURATION, HUE = range(13)
TINT, GREY, BLUR, SIGMA = slice(13, 16), 16, 17, 18
NUMBERS = 19


def changes_pictures(config: TransformsConfig) -> bool:
    """Whether a key asks for a change."""
    amounts = (config.flip, config.shift, config.rotate, config.zoom, config.brightness, config.contrast)
    return config.crop_scale is not None or any(
        (*amounts, config.saturation, config.hue, config.grey, config.tint, config.blur)
    )


class Transforms:
    """The changes that conf/data/transforms describes."""

    def __init__(self, config: TransformsConfig, seed: int) -> None:
        """seed: of the random numbers."""
        self.config, self.seed = config, seed

    def crops(self, epoch: int, rows: NDArray) -> list[Crop] | None:
        """Returns the parts of the pictures of (B,) rows that are used in an epoch. None: the middle square."""
        if self.config.crop_scale is None:
            return None
        (least, most), ratios = self.config.crop_scale, self.config.crop_ratio
        low, high = map(math.log, ratios)
        numbers = self.numbers(epoch, rows)
        areas = least + (most - least) * numbers[:, AREA]
        # The logarithm is uniform, so that wide and tall crops are equally frequent.
        shapes = np.exp(low + (high - low) * numbers[:, RATIO])
        places = zip(areas.tolist(), shapes.tolist(), *numbers[:, [LEFT, TOP]].T.tolist(), strict=True)
        return [Crop(area, ratio, ratios[0], ratios[1], x, y) for area, ratio, x, y in places]

    def change(self, pictures: Tensor, epoch: int, rows: NDArray) -> Tensor:
        """Moves the pictures of (B,) rows and changes their colours. (B, 3, H, W) uint8 -> (B, 3, H, W) float32 from 0
        to 255.
        """
        numbers = torch.from_numpy(self.numbers(epoch, rows))
        return self._coloured(self._moved(pictures.float(), numbers), numbers)

    def numbers(self, epoch: int, rows: NDArray) -> NDArray:
        """Returns the random numbers of the rows, (B, NUMBERS) in [0, 1)."""
        return uniform((TRANSFORMS, self.seed, epoch), rows, NUMBERS)

    def _moved(self, pictures: Tensor, numbers: Tensor) -> Tensor:
        """Flips, shifts, rotates and scales."""
        config, both = self.config, 2 * numbers - 1
        if config.flip:
            pictures = flip(pictures, numbers[:, FLIP] < config.flip)
        if config.shift or config.rotate or config.zoom:
            angles = math.radians(config.rotate) * both[:, ANGLE]
            shifts, zooms = config.shift * both[:, [RIGHT, DOWN]], 1 + config.zoom * both[:, ZOOM]
            pictures = move(pictures, shifts, angles, zooms, white=config.fill == "white")
        return pictures

    def _coloured(self, pictures: Tensor, numbers: Tensor) -> Tensor:
        """Changes the colours and blurs."""
        config, both, numbers = self.config, (2 * numbers - 1).float(), numbers.float()
        if config.brightness:
            pictures = colour.brightness(pictures, 1 + config.brightness * both[:, BRIGHTNESS])
        if config.contrast:
            pictures = colour.contrast(pictures, 1 + config.contrast * both[:, CONTRAST])
        if config.saturation:
            pictures = colour.saturation(pictures, 1 + config.saturation * both[:, SATURATION])
        if config.hue:
            pictures = colour.hue(pictures, config.hue * both[:, HUE])
        if config.grey:
            pictures = colour.grey(pictures, numbers[:, GREY] < config.grey)
        if config.tint:
            pictures = colour.tint(pictures, 1 - config.tint * numbers[:, TINT])
        return self._blurred(pictures, numbers) if config.blur else pictures

    def _blurred(self, pictures: Tensor, numbers: Tensor) -> Tensor:
        """Blurs the pictures that the numbers choose."""
        least, most = self.config.blur_sigma
        for row in torch.nonzero(numbers[:, BLUR] < self.config.blur).flatten().tolist():
            sigma = least + (most - least) * numbers[row : row + 1, SIGMA]
            pictures[row : row + 1] = colour.blur(pictures[row : row + 1], sigma)
        return pictures
