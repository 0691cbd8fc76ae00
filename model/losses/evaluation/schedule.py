"""The order in which the directions of a loss are evaluated, and the cells that one direction keeps for another.

The product of two views is a cross term of two directions: the cells of the second are those of the first, transposed.
If the cells of the first direction are kept until the second, with memory for their gradients, three matrix products
are enough for both; otherwise both compute the cells and their gradients, in six. Where memory is not enough for
all cells, as many rows as fit are kept.

Shapes: B rows, D directions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

# Row operand and column operand of a product, numbered by first use.
Places = tuple[int, int]
# The cross terms of each direction: places, or None for a term that is not a product.
Directions = tuple[tuple[Places | None, ...], ...]

# Cells of directions that are evaluated together. So many cells of float32 and their gradients fit a core's L2 cache.
TOGETHER = 1 << 17
# A part of the rows that is kept is a multiple of this number, because thin matrix products are slow.
ROWS_MULTIPLE = 64


class TermOf(NamedTuple):
    """A cross term of a direction, by its place among the terms of that direction."""

    direction: int
    term: int


class Pair(NamedTuple):
    """A cross term, and a later one whose cells are its cells transposed."""

    first: TermOf
    second: TermOf


@dataclass(frozen=True)
class Schedule:
    """Which directions are evaluated together, in order, and which cells are kept."""

    groups: tuple[tuple[int, ...], ...]
    kept_rows: Mapping[TermOf, int]
    """For the first terms of pairs, the number of rows that are kept, if any are."""
    first_of: Mapping[TermOf, TermOf]
    """For the second terms of these pairs, the first."""


@lru_cache(maxsize=256)
def make_schedule(directions: Directions, size: int, capacity: float, cells: int = TOGETHER) -> Schedule:
    """Returns the schedule for a batch of `size` rows. capacity: the number of blocks (B, B), each with memory for its
    gradients, that may be kept at once; cells: those of directions that are evaluated together, at most.
    """
    order = evaluation_order(directions)
    pairs = find_pairs(directions, order)
    kept_rows = {first: rows for (first, _), rows in kept(pairs, order, size, capacity) if rows}
    first_of = {second: first for first, second in pairs if first in kept_rows}
    all_kept = sum(kept_rows.values()) == len(pairs) * size
    groups = together(directions, order, cells // size**2) if all_kept else [(d,) for d in order]
    return Schedule(tuple(groups), kept_rows, first_of)


def evaluation_order(directions: Directions) -> list[int]:
    """Returns the directions in an order in which a direction that needs only cells of earlier ones follows at once."""
    order: list[int] = []
    seen: set[Places] = set()
    waiting = list(range(len(directions)))
    while waiting:
        ready = (d for d in waiting if all(places and places[::-1] in seen for places in directions[d]))
        chosen = next(ready, waiting[0]) if seen else waiting[0]
        waiting.remove(chosen)
        order.append(chosen)
        seen.update(places for places in directions[chosen] if places)
    return order


def find_pairs(directions: Directions, order: Sequence[int]) -> list[Pair]:
    """Returns the pairs of cross terms. A term is part of one pair at most."""
    pairs: list[Pair] = []
    unpaired: dict[Places, TermOf] = {}
    for d in order:
        for k, places in enumerate(directions[d]):
            if places is None:
                continue
            first = unpaired.pop(places[::-1], None)
            if first is None:
                unpaired[places] = TermOf(d, k)
            else:
                pairs.append(Pair(first, TermOf(d, k)))
    return pairs


def kept(pairs: Sequence[Pair], order: Sequence[int], size: int, capacity: float) -> Iterator[tuple[Pair, int]]:
    """Yields each pair with the number of rows of its first term that are kept. Pairs of directions that are close in
    the order come first, because they take memory for the shortest time.
    """
    position = {d: place for place, d in enumerate(order)}
    used = [0.0] * len(order)
    spans = [(position[pair.first.direction], position[pair.second.direction], pair) for pair in pairs]
    for start, stop, pair in sorted(spans, key=lambda span: (span[1] - span[0], span[0])):
        share = min(1.0, capacity - max(used[start : stop + 1]))
        rows = size if share >= 1 else max(0, int(share * size) // ROWS_MULTIPLE * ROWS_MULTIPLE)
        for place in range(start, stop + 1):
            used[place] += rows / size
        yield pair, rows


def together(directions: Directions, order: Sequence[int], most: int) -> list[tuple[int, ...]]:
    """Returns consecutive directions of equally many terms in groups, each of `most` terms or of one direction."""
    groups: list[list[int]] = []
    for d in order:
        terms = len(directions[d])
        fits = groups and terms * (len(groups[-1]) + 1) <= most
        if fits and terms == len(directions[groups[-1][0]]):
            groups[-1].append(d)
        else:
            groups.append([d])
    return [tuple(group) for group in groups]


def places_of(directions: Sequence[Sequence[tuple[object, object] | None]]) -> Directions:
    """Returns the operands of all products, pairs of objects, by number instead of by object."""
    numbers: dict[int, int] = {}

    def number(operand: object) -> int:
        return numbers.setdefault(id(operand), len(numbers))

    return tuple(
        tuple(None if operands is None else (number(operands[0]), number(operands[1])) for operands in direction)
        for direction in directions
    )
