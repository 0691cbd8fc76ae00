"""Draws scenes as pictures. Shapes: N scenes, H = W pixels, P x P pixels of a window that holds one object.

Every object is a stencil, which is computed once for each shape, size, place and shift, and painted over the background
in the colour of the object.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from model.data.random_numbers import uniform
from model.data.scenes_layout import GRID, MOST_OBJECTS, SHAPES, SIZES, Layout

# Red, green, blue of COLOURS, 0 to 255.
PALETTE = np.array(
    [
        [225, 40, 40],
        [240, 130, 20],
        [245, 225, 50],
        [40, 165, 60],
        [70, 215, 225],
        [45, 75, 235],
        [165, 60, 200],
        [240, 240, 240],
    ],
    dtype=np.float32,
)
# Half an object's width over the width of a grid cell.
RADII = {"small": 0.28, "large": 0.44}
# The centre of an object is one of 3 x 3 points, which are this share of a cell apart.
SHIFTS, SHIFT = 3, 0.05
# Number of points per pixel and axis at which the coverage of a stencil is sampled. `coverage` needs 8.
SUPERSAMPLING = 8
# A product with it has the sum of all bytes of the other factor in its highest byte.
EACH_BYTE = np.uint64(0x0101010101010101)
COLOUR_NOISE, BACKGROUND, BACKGROUND_TINT = 24.0, (15.0, 50.0), 16.0

INSIDE = {
    "circle": lambda x, y: x**2 + y**2 <= 1,
    "square": lambda x, y: (abs(x) <= 0.85) & (abs(y) <= 0.85),
    "triangle": lambda x, y: (y <= 0.85) & (abs(x) <= 0.55 * (y + 0.95)),
    "cross": lambda x, y: ((abs(x) <= 0.3) & (abs(y) <= 1)) | ((abs(x) <= 1) & (abs(y) <= 0.3)),
    "ring": lambda x, y: (x**2 + y**2 <= 1) & (x**2 + y**2 >= 0.3),
    "diamond": lambda x, y: abs(x) + abs(y) <= 1,
    "bar": lambda x, y: (abs(x) <= 1) & (abs(y) <= 0.3),
    "pole": lambda x, y: (abs(x) <= 0.3) & (abs(y) <= 1),
}
"""Shape -> whether a point is inside, in units of the shape's radius around its centre, y downwards. No coordinate of a
point inside exceeds 1.
"""


@lru_cache(maxsize=1)
def scene_drawing(image_size: int) -> Drawing:
    """Returns the Drawing for this size. The last Drawing is cached for the next job of a sweep, because its stencils
    take half a second at 224 pixels.
    """
    return Drawing(image_size)


class Drawing:
    """Draws scenes as square pictures of `image_size` pixels."""

    def __init__(self, image_size: int) -> None:
        self.image_size = image_size
        cell = image_size / GRID
        self.window = int(np.ceil(cell)) + 1
        self.origins = np.minimum((np.arange(GRID) * cell).astype(np.int64), image_size - self.window)
        self.stencils = np.stack(
            [np.stack([self._stencils(shape, RADII[size] * cell) for size in SIZES]) for shape in SHAPES]
        )

    def _stencils(self, shape: str, radius: float) -> NDArray:
        """Returns the coverage of each pixel, 0 to 1, for each grid row, grid column, vertical shift and horizontal
        shift: (3, 3, 3, 3, P, P) float32.
        """
        cell = self.image_size / GRID
        points = (np.arange(self.window * SUPERSAMPLING) + 0.5) / SUPERSAMPLING
        centres = (np.arange(GRID) + 0.5) * cell
        shifts = (np.arange(SHIFTS) - (SHIFTS - 1) / 2) * SHIFT * cell
        # (3 places, 3 shifts, points): distance from the object's centre, in radii
        lines = (self.origins[:, None, None] + points - centres[:, None, None] - shifts[:, None]) / radius
        stencils = np.zeros((GRID, GRID, SHIFTS, SHIFTS, self.window, self.window), dtype=np.float32)
        for row, column, down, right in np.ndindex(stencils.shape[:4]):
            (y, rows), (x, columns) = near(lines[row, down]), near(lines[column, right])
            stencils[row, column, down, right, rows, columns] = coverage(INSIDE[shape](x, y[:, None]))
        return stencils

    def draw(self, layout: Layout, key: tuple[int, ...], rows: NDArray) -> NDArray:
        """Draws the N scenes of `layout`: (N, 3, H, W) uint8. The (N,) `rows` of the random stream `key` decide
        background, tint and shifts.
        """
        numbers = uniform(key, rows, 4 + 5 * MOST_OBJECTS).astype(np.float32)
        low, high = BACKGROUND
        background = low + (high - low) * numbers[:, :1] + BACKGROUND_TINT * (numbers[:, 1:4] - 0.5)
        pictures = np.empty((len(layout), 3, self.image_size, self.image_size), dtype=np.uint8)
        pictures[:] = np.rint(background).astype(np.uint8)[:, :, None, None]
        for i in range(MOST_OBJECTS):
            scenes = np.flatnonzero(layout.number > i)
            self._paint(pictures, layout, i, scenes, numbers[scenes, 4 + 5 * i : 9 + 5 * i])
        return pictures

    def _paint(self, pictures: NDArray, layout: Layout, i: int, scenes: NDArray, numbers: NDArray) -> None:
        """Paints object `i` of the scenes `scenes` over their `pictures`, in place. numbers: (len(scenes), 5) in
        [0, 1).
        """
        down, right = (numbers[:, :2] * SHIFTS).astype(np.int64).T
        colours = np.clip(PALETTE[layout.colour[scenes, i]] + COLOUR_NOISE * (numbers[:, 2:5] - 0.5), 0, 255)
        cells = layout.cell[scenes, i]
        # Objects in the same cell of the grid share a window, which is a slice of the pictures.
        for cell in np.unique(cells).tolist():
            here = np.flatnonzero(cells == cell)
            row, column = divmod(cell, GRID)
            top, left = self.origins[row], self.origins[column]
            window = pictures[:, :, top : top + self.window, left : left + self.window]
            shape, size = layout.shape[scenes[here], i], layout.size[scenes[here], i]
            cover = self.stencils[shape, size, row, column, down[here], right[here]][:, None]
            background = window[scenes[here]].astype(np.float32)
            painted = background + cover * (colours[here, :, None, None] - background)
            window[scenes[here]] = np.rint(painted, out=painted)


def near(line: NDArray) -> tuple[NDArray, slice]:
    """Returns the points of the pixels that have a point not farther than 1 from 0, and these pixels. line: (8 P,),
    ascending.
    """
    first = np.searchsorted(line, -1) // SUPERSAMPLING
    last = -(-np.searchsorted(line, 1, side="right") // SUPERSAMPLING)
    return line[first * SUPERSAMPLING : last * SUPERSAMPLING], slice(first, last)


def coverage(inside: NDArray) -> NDArray:
    """Returns the share of each pixel's points that are inside. (8 h, 8 w) bool -> (h, w) float32."""
    # The 8 points of a pixel in a row are 8 bytes, which are read as one number of 64 bits. A sum of 8 such numbers
    # adds their bytes, because no byte exceeds 8. The sum of all bytes, at most 64, fits into one byte too.
    rows = inside.view(np.uint64)
    sums = rows.reshape(-1, SUPERSAMPLING, rows.shape[1]).sum(axis=1)
    return ((sums * EACH_BYTE) >> np.uint64(56)).astype(np.float32) / SUPERSAMPLING**2
