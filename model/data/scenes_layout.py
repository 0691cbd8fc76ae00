"""Samples scenes, and decides the split of each scene. Shapes: N scenes of up to 3 objects, filled from the left.

The full description of a scene (shape, colour, size and place of every object) decides its split. No scene is therefore
in two splits, whatever the seed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.data.random_numbers import scramble, uniform

SHAPES = ("circle", "square", "triangle", "cross", "ring", "diamond", "bar", "pole")
COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "white")
SIZES = ("small", "large")
GRID = 3
NO_OBJECT = GRID * GRID
MOST_OBJECTS = 3
# A random number below the first bound gives one object, below the second two, otherwise three. Few scenes have one
# object, because few such scenes differ.
COUNT_BOUNDS = (0.1, 0.45)
# Split -> remainders modulo 10 of the hash of its scenes: a tenth of all scenes for validation, a tenth for tests.
REMAINDERS = {"val": (0,), "test": (1,), "train": tuple(range(2, 10))}


class Layout(NamedTuple):
    """N scenes. Their objects are in reading order: left to right, then top to bottom."""

    number: NDArray
    """(N,) number of objects, 1 to 3."""
    shape: NDArray
    """(N, 3) index into SHAPES. 0 if there is no object; the same holds for colour and size."""
    colour: NDArray
    """(N, 3) index into COLOURS."""
    size: NDArray
    """(N, 3) index into SIZES."""
    cell: NDArray
    """(N, 3) place on the 3 x 3 grid, 0 to 8 in reading order. NO_OBJECT if there is no object."""

    def __len__(self) -> int:
        return len(self.number)

    def rows(self, indices: NDArray) -> Layout:
        """Returns the scenes at `indices`."""
        return Layout(*(field[indices] for field in self))


def sample(key: tuple[int, ...], rows: NDArray) -> Layout:
    """Samples one scene for each of the (N,) `rows` of the random stream `key`."""
    numbers = uniform(key, rows, 1 + 4 * MOST_OBJECTS)
    count = 1 + (numbers[:, :1] >= COUNT_BOUNDS).sum(axis=1)
    shape, colour, size = (
        (numbers[:, 1 + i * MOST_OBJECTS : 1 + (i + 1) * MOST_OBJECTS] * choices).astype(np.int64)
        for i, choices in enumerate((len(SHAPES), len(COLOURS), len(SIZES)))
    )
    cell = distinct_cells(numbers[:, 1 + 3 * MOST_OBJECTS :])
    absent = np.arange(MOST_OBJECTS) >= count[:, None]
    cell[absent] = NO_OBJECT
    for field in (shape, colour, size):
        field[absent] = 0
    order = cell.argsort(axis=1, kind="stable")
    return Layout(count, *(np.take_along_axis(field, order, axis=1) for field in (shape, colour, size, cell)))


def distinct_cells(numbers: NDArray) -> NDArray:
    """Maps (N, 3) numbers in [0, 1) to (N, 3) places. The places of a row differ, and every choice of three places has
    the same probability.
    """
    first = (numbers[:, 0] * 9).astype(np.int64)
    second = (numbers[:, 1] * 8).astype(np.int64)
    second += second >= first
    third = (numbers[:, 2] * 7).astype(np.int64)
    low, high = np.minimum(first, second), np.maximum(first, second)
    third += third >= low
    third += third >= high
    return np.stack([first, second, third], axis=1)


def description(layout: Layout, *, sizes: bool = True) -> NDArray:
    """Returns (N,) int64, which are equal for two scenes exactly if their objects are equal. sizes: whether the sizes
    of the objects count.
    """
    size = layout.size if sizes else np.zeros_like(layout.size)
    objects = ((layout.shape * len(COLOURS) + layout.colour) * len(SIZES) + size) * (NO_OBJECT + 1) + layout.cell
    span = len(SHAPES) * len(COLOURS) * len(SIZES) * (NO_OBJECT + 1)
    return (objects[:, 0] * span + objects[:, 1]) * span + objects[:, 2]


def is_in_split(layout: Layout, split: str) -> NDArray:
    """Returns whether each scene belongs to `split`, (N,) bool."""
    remainder = (scramble(description(layout)) % np.uint64(10)).astype(np.int64)
    return np.isin(remainder, REMAINDERS[split])


def sample_split(split: str, size: int, seed: int) -> Layout:
    """Samples `size` scenes of `split`.

    Training scenes follow `seed` and may repeat. Validation and test scenes do not depend on `seed` and are all
    different, and a smaller `size` gives the first scenes of a larger one.
    """
    if split == "train":
        return sample_training(size, seed)
    key = (REMAINDERS[split][0],)
    scenes = sample(key, np.arange(0))
    start = 0
    while len(scenes) < size:
        rows = np.arange(start, start + 16 * size)
        more = sample(key, rows)
        more = more.rows(is_in_split(more, split))
        scenes = Layout(*(np.concatenate(pair) for pair in zip(scenes, more, strict=True)))
        first = np.unique(description(scenes), return_index=True)[1]
        scenes, start = scenes.rows(np.sort(first)), start + len(rows)
    return scenes.rows(np.arange(size))


def sample_training(size: int, seed: int) -> Layout:
    """Samples the training scenes of `seed`. Scene i is the first sample of row i that belongs to the split train."""
    layout = sample((len(REMAINDERS), seed, 0), np.arange(size))
    wrong, attempt = np.flatnonzero(~is_in_split(layout, "train")), 1
    while len(wrong):
        again = sample((len(REMAINDERS), seed, attempt), wrong)
        for field, values in zip(layout, again, strict=True):
            field[wrong] = values
        wrong, attempt = wrong[~is_in_split(again, "train")], attempt + 1
    return layout
