"""Five captions of a scene, each worded in one of several ways and stating other facts:

1. colour, shape and place of every object,
2. how many there are; size, colour and shape of each,
3. colour and place of each,
4. where they lie relative to one another,
5. the shapes, and how many are large.
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


class Thing(NamedTuple):
    """One object, in words; `size` indexes SIZES, `cell` PLACES."""

    shape: str
    colour: str
    size: int
    cell: int


def captions(things: Sequence[Thing], pick: Sequence[int]) -> list[str]:
    """The five captions of the objects `things`, in reading order. `pick`: five numbers >= 0 that choose the
    wording.
    """
    writers = (whole, inventory, colours_and_places, relations, shapes_and_sizes)
    return [write(things, choice) for write, choice in zip(writers, pick, strict=True)]


def whole(things: Sequence[Thing], pick: int) -> str:
    """Caption 1."""
    form, joint = divmod(pick, 2)
    if form % 4 == 0:
        parts = [f"{t.colour} {t.shape} {PLACES[t.cell]}" for t in things]
    elif form % 4 == 1:
        parts = [f"{t.colour} {t.shape} at the {PLACES[t.cell]}" for t in things]
    elif form % 4 == 2:
        parts = [f"{PLACES[t.cell]} {t.colour} {t.shape}" for t in things]
    else:
        parts = [f"{PLACES[t.cell]} has a {t.colour} {t.shape}" for t in things]
    return " and ".join(parts) if joint else ", ".join(parts)


def inventory(things: Sequence[Thing], pick: int) -> str:
    """Caption 2."""
    pick, word = divmod(pick, 3)
    pick, turn = divmod(pick, len(things))
    parts = [f"{SIZE_WORDS[SIZES[t.size]][word]} {t.colour} {t.shape}" for t in turned(things, turn)]
    number = NUMBERS[len(things)]
    if pick % 3 == 0:
        return f"{number} in all: {', '.join(parts)}"
    if pick % 3 == 1:
        return f"a {' and a '.join(parts)}, {number} in total"
    return f"picture of {number}: {' with '.join(parts)}"


def colours_and_places(things: Sequence[Thing], pick: int) -> str:
    """Caption 3."""
    pick, turn = divmod(pick, len(things))
    things = turned(things, turn)
    if pick % 3 == 0:
        return ", ".join(f"{t.colour} in the {PLACES[t.cell]}" for t in things)
    if pick % 3 == 1:
        return "something " + " and something ".join(f"{t.colour} {PLACES[t.cell]}" for t in things)
    return ", ".join(f"{PLACES[t.cell]} is {t.colour}" for t in things)


def relations(things: Sequence[Thing], pick: int) -> str:
    """Caption 4: one relation for each neighbouring pair in the order of the wording."""
    if len(things) == 1:
        (only,) = things
        return (
            f"{only.colour} {only.shape} alone",
            f"nothing but a {only.colour} {only.shape}",
            f"just one {only.colour} {only.shape}",
        )[pick % 3]
    pick, turn = divmod(pick, len(things))
    things = turned(things, turn)
    parts = []
    for one, other in pairwise(things):
        pick, choice = divmod(pick, 4)
        parts.append(f"{one.colour} {one.shape} {relation(one.cell, other.cell, choice)} {other.colour} {other.shape}")
    return ", ".join(parts)


def relation(one: int, other: int, choice: int) -> str:
    """Where the place `one` lies seen from the place `other`; `choice` (0 to 3) picks among what is true and how it is
    said.
    """
    (row, column), (other_row, other_column) = divmod(one, GRID), divmod(other, GRID)
    said = []
    if column != other_column:
        said.append(("left of", "to the left of") if column < other_column else ("right of", "to the right of"))
    if row != other_row:
        said.append(("above", "over") if row < other_row else ("below", "under"))
    return said[choice % len(said)][choice // 2]


def shapes_and_sizes(things: Sequence[Thing], pick: int) -> str:
    """Caption 5."""
    pick, turn = divmod(pick, len(things))
    shapes = [t.shape for t in turned(things, turn)]
    large = sum(t.size == LARGE for t in things)
    if pick % 3 == 0:
        return f"{', '.join(shapes)}; {NUMBERS[large]} large"
    if pick % 3 == 1:
        return f"a {' and a '.join(shapes)}, {NUMBERS[len(things) - large]} of them small"
    return f"{NUMBERS[large]} big and {NUMBERS[len(things) - large]} little: {' '.join(shapes)}"


def turned(things: Sequence[Thing], turn: int) -> Sequence[Thing]:
    """The objects from number `turn` on, then those before it."""
    return (*things[turn:], *things[:turn])
