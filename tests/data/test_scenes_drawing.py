"""Pictures of scenes: the same in every version. Their stencils are the shapes' coverage of each pixel, counted point
by point.
"""

from __future__ import annotations

import hashlib
import math
from itertools import product

import numpy as np
import pytest

from model.data.scenes_drawing import Drawing, scene_drawing
from tests.data.helpers import small_scenes

# Shape -> whether a point is inside, from the sides or the radius of the shape.
SHAPES = {
    "circle": lambda x, y: math.hypot(x, y) <= 1,
    "square": lambda x, y: -0.85 <= x <= 0.85 and -0.85 <= y <= 0.85,
    "triangle": lambda x, y: y <= 0.85 and 0.55 * (-y - 0.95) <= x <= 0.55 * (y + 0.95),
    "cross": lambda x, y: sorted((abs(x), abs(y))) <= [0.3, 1] and max(abs(x), abs(y)) <= 1,
    "ring": lambda x, y: math.sqrt(0.3) <= math.hypot(x, y) <= 1,
    "diamond": lambda x, y: abs(x) <= 1 - abs(y),
    "bar": lambda x, y: -1 <= x <= 1 and -0.3 <= y <= 0.3,
    "pole": lambda x, y: -1 <= y <= 1 and -0.3 <= x <= 0.3,
}


def digest(values: np.ndarray) -> str:
    """Returns a hash of the bytes of an array."""
    return hashlib.sha256(values.tobytes()).hexdigest()[:32]


@pytest.mark.parametrize(
    ("image_size", "stencils", "pictures"),
    [
        (48, "0c280df7160cb880e8ab20fa47f3988c", "026823f28e00ad142759735e8eb08210"),
        (224, "e26abfb30c76210bef778e018f4a63f1", "a11a87d38da227169f5a46c13115d742"),
    ],
)
def test_pictures_never_change(image_size, stencils, pictures):
    """The hashes are those of the first drawing, which sampled every point of every window and painted the objects of
    all scenes at once.
    """
    source = small_scenes(val=100, image_size=image_size)
    assert digest(source.images("val", range(100)).numpy()) == pictures
    assert digest(scene_drawing(image_size).stencils) == stencils


@pytest.mark.parametrize("image_size", [10, 13])
def test_a_stencil_is_the_share_of_points_inside(image_size):
    drawing, cell = Drawing(image_size), image_size / 3
    random = np.random.default_rng(image_size)
    for shape, size in product(range(8), range(2)):
        inside, radius = list(SHAPES.values())[shape], (0.28, 0.44)[size] * cell
        row, column, down, right = random.integers(0, 3, 4).tolist()
        expected = np.zeros((drawing.window, drawing.window))
        for i, k in np.ndindex(8 * drawing.window, 8 * drawing.window):
            y = drawing.origins[row] + (i + 0.5) / 8 - (row + 0.5 + 0.05 * (down - 1)) * cell
            x = drawing.origins[column] + (k + 0.5) / 8 - (column + 0.5 + 0.05 * (right - 1)) * cell
            expected[i // 8, k // 8] += inside(x / radius, y / radius) / 64
        # Rounding may decide otherwise for a point on an edge.
        assert np.abs(drawing.stencils[shape, size, row, column, down, right] - expected).max() <= 1 / 64
        assert expected.sum() > 1
