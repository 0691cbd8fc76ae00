"""Writes five captions of a scene. Each caption states other facts and has one of several wordings:

1. colour, shape and place of every object,
2. the number of objects; size, colour and shape of each,
3. colour and place of each object,
4. the places of the objects relative to one another,
5. the shapes, and the number of large objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from model.data.scenes_layout import GRID, SIZES

PLACES = (
    *("top left", "top middle", "top right"),
    *("middle left", "centre", "middle right"),
    *("bottom left", "bottom middle", "bottom right"),
)
NUMBERS = ("none", "one", "two", "three")
SIZE_WORDS = {"small": ("small", "little", "tiny"), "large": ("large", "big", "huge")}
LARGE = SIZES.index("large")


class SceneObject(NamedTuple):
    """One object, as words. `size` is an index into SIZES, `cell` into PLACES."""

    shape: str
    colour: str
    size: int
    cell: int


def captions(objects: Sequence[SceneObject], choices: Sequence[int]) -> list[str]:
    """Returns the five captions of a scene with these objects, which are in reading order.

    choices: five numbers >= 0 that choose the wordings.
    """
    writers = (colours_shapes_and_places, inventory, colours_and_places, relations, shapes_and_sizes)
    return [write(objects, choice) for write, choice in zip(writers, choices, strict=True)]


def colours_shapes_and_places(objects: Sequence[SceneObject], choice: int) -> str:
    """Returns caption 1."""
    form, with_and = divmod(choice, 2)
    if form % 4 == 0:
        phrases = [f"{t.colour} {t.shape} {PLACES[t.cell]}" for t in objects]
    elif form % 4 == 1:
        phrases = [f"{t.colour} {t.shape} at the {PLACES[t.cell]}" for t in objects]
    elif form % 4 == 2:
        phrases = [f"{PLACES[t.cell]} {t.colour} {t.shape}" for t in objects]
    else:
        phrases = [f"{PLACES[t.cell]} has a {t.colour} {t.shape}" for t in objects]
    return " and ".join(phrases) if with_and else ", ".join(phrases)


def inventory(objects: Sequence[SceneObject], choice: int) -> str:
    """Returns caption 2."""
    choice, word = divmod(choice, 3)
    choice, first = divmod(choice, len(objects))
    phrases = [f"{SIZE_WORDS[SIZES[t.size]][word]} {t.colour} {t.shape}" for t in rotate(objects, first)]
    number = NUMBERS[len(objects)]
    if choice % 3 == 0:
        return f"{number} in all: {', '.join(phrases)}"
    if choice % 3 == 1:
        return f"a {' and a '.join(phrases)}, {number} in total"
    return f"picture of {number}: {' with '.join(phrases)}"


def colours_and_places(objects: Sequence[SceneObject], choice: int) -> str:
    """Returns caption 3."""
    choice, first = divmod(choice, len(objects))
    objects = rotate(objects, first)
    if choice % 3 == 0:
        return ", ".join(f"{t.colour} in the {PLACES[t.cell]}" for t in objects)
    if choice % 3 == 1:
        return "something " + " and something ".join(f"{t.colour} {PLACES[t.cell]}" for t in objects)
    return ", ".join(f"{PLACES[t.cell]} is {t.colour}" for t in objects)


def relations(objects: Sequence[SceneObject], choice: int) -> str:
    """Returns caption 4: a relation for each pair of neighbours in the order of the wording."""
    if len(objects) == 1:
        (only,) = objects
        return (
            f"{only.colour} {only.shape} alone",
            f"nothing but a {only.colour} {only.shape}",
            f"just one {only.colour} {only.shape}",
        )[choice % 3]
    choice, first = divmod(choice, len(objects))
    objects = rotate(objects, first)
    phrases = []
    for subject, other in pairwise(objects):
        choice, wording = divmod(choice, 4)
        place = relation(subject.cell, other.cell, wording)
        phrases.append(f"{subject.colour} {subject.shape} {place} {other.colour} {other.shape}")
    return ", ".join(phrases)


def relation(cell: int, other: int, choice: int) -> str:
    """Returns the place of `cell` relative to the cell `other`. `choice` (0 to 3) chooses one of the true relations and
    its wording.
    """
    (row, column), (other_row, other_column) = divmod(cell, GRID), divmod(other, GRID)
    wordings = []
    if column != other_column:
        wordings.append(("left of", "to the left of") if column < other_column else ("right of", "to the right of"))
    if row != other_row:
        wordings.append(("above", "over") if row < other_row else ("below", "under"))
    return wordings[choice % len(wordings)][choice // 2]


def shapes_and_sizes(objects: Sequence[SceneObject], choice: int) -> str:
    """Returns caption 5."""
    choice, first = divmod(choice, len(objects))
    shapes = [t.shape for t in rotate(objects, first)]
    large = sum(t.size == LARGE for t in objects)
    if choice % 3 == 0:
        return f"{', '.join(shapes)}; {NUMBERS[large]} large"
    if choice % 3 == 1:
        return f"a {' and a '.join(shapes)}, {NUMBERS[len(objects) - large]} of them small"
    return f"{NUMBERS[large]} big and {NUMBERS[len(objects) - large]} little: {' '.join(shapes)}"


def rotate(objects: Sequence[SceneObject], first: int) -> Sequence[SceneObject]:
    """Returns the objects from index `first` on, followed by the objects before it."""
    return (*objects[first:], *objects[:first])
