"""Which scenes there are, and which split each belongs to. Shapes: N scenes of up to 3 objects, filled from the left.

A scene's full description (shape, colour, size and place of every object) decides its split, so that no scene is in two
of them, whatever the seed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.data.draws import scramble, uniform

SHAPES = ("circle", "square", "triangle", "cross", "ring", "diamond", "bar", "pole")
COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "white")
SIZES = ("small", "large")
GRID = 3
NO_OBJECT = GRID * GRID
MOST_OBJECTS = 3
# Shares of scenes with one, two and three objects: few with one, as there are few such scenes.
COUNT_BOUNDS = (0.1, 0.45)
# Of ten parts of all scenes one is for validation and one for tests.
PARTS = {"val": (0,), "test": (1,), "train": tuple(range(2, 10))}


class Layout(NamedTuple):
    """N scenes. Objects stand in reading order: left to right, then top to bottom."""

    count: NDArray
    """(N,) objects, 1 to 3."""
    shape: NDArray
    """(N, 3) index into SHAPES; 0 where there is no object, as for colour and size."""
    colour: NDArray
    """(N, 3) index into COLOURS."""
    size: NDArray
    """(N, 3) index into SIZES."""
    cell: NDArray
    """(N, 3) place on the 3 x 3 grid, 0 to 8 in reading order; NO_OBJECT where there is none."""

    def __len__(self) -> int:
        return len(self.count)

    def rows(self, indices: NDArray) -> Layout:
        """The scenes at `indices`."""
        return Layout(*(field[indices] for field in self))


def draw(key: tuple[int, ...], rows: NDArray) -> Layout:
    """One scene for each of the (N,) `rows` of the random stream `key`."""
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
    """(N, 3) numbers in [0, 1) -> (N, 3) places, no two of a row alike, each choice of places as likely as any
    other.
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
    """(N,) int64, equal for two scenes exactly if their objects are (leaving sizes aside where `sizes` is False)."""
    size = layout.size if sizes else np.zeros_like(layout.size)
    objects = ((layout.shape * len(COLOURS) + layout.colour) * len(SIZES) + size) * (NO_OBJECT + 1) + layout.cell
    span = len(SHAPES) * len(COLOURS) * len(SIZES) * (NO_OBJECT + 1)
    return (objects[:, 0] * span + objects[:, 1]) * span + objects[:, 2]


def belongs(layout: Layout, split: str) -> NDArray:
    """(N,) bool: whether the scene is one of `split`'s."""
    part = (scramble(description(layout)) % np.uint64(10)).astype(np.int64)
    return np.isin(part, PARTS[split])


def draw_split(split: str, size: int, seed: int) -> Layout:
    """`size` scenes of `split`. Those of train follow `seed` and may repeat; those of val and test are fixed and all
    different, and a smaller `size` gives the first of a larger one.
    """
    if split == "train":
        return redrawn(size, seed)
    found = draw((PARTS[split][0],), np.arange(0))
    start = 0
    while len(found) < size:
        rows = np.arange(start, start + 16 * size)
        more = draw((PARTS[split][0],), rows)
        found = Layout(*(np.concatenate(pair) for pair in zip(found, more.rows(belongs(more, split)), strict=True)))
        first = np.unique(description(found), return_index=True)[1]
        found, start = found.rows(np.sort(first)), start + len(rows)
    return found.rows(np.arange(size))


def redrawn(size: int, seed: int) -> Layout:
    """Training scene i of `seed`: the first draw of row i that belongs to train."""
    layout = draw((len(PARTS), seed, 0), np.arange(size))
    wrong, attempt = np.flatnonzero(~belongs(layout, "train")), 1
    while len(wrong):
        again = draw((len(PARTS), seed, attempt), wrong)
        for field, fresh in zip(layout, again, strict=True):
            field[wrong] = fresh
        wrong, attempt = wrong[~belongs(again, "train")], attempt + 1
    return layout
