"""Writes sets of rows as text, and reads them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

RANGE = re.compile(r"\d+(-\d+)?")


def as_ranges(rows: Iterable[int]) -> str:
    """Returns rows as text, in their order: `0-41,43,7`. A range ascends by one."""
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs(rows))


def runs(rows: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yields the first and the last number of each run of numbers that ascend by one."""
    first = last = None
    for row in rows:
        if first is None or last is None or row != last + 1:
            if first is not None and last is not None:
                yield first, last
            first = row
        last = row
    if first is not None and last is not None:
        yield first, last


def from_ranges(text: str, count: int) -> NDArray:
    """Returns the rows that `as_ranges` has written, as int32. Raises ValueError unless each is below `count`."""
    pieces = text.split(",") if text else []
    if not all(RANGE.fullmatch(piece) for piece in pieces):
        raise ValueError(f"{text[:40]!r} is no list of rows")
    bounds = [tuple(map(int, piece.split("-"))) for piece in pieces]
    if any(pair[-1] >= count for pair in bounds):
        raise ValueError("a row is not in the table")
    blocks = [np.arange(pair[0], pair[-1] + 1, dtype=np.int32) for pair in bounds]
    return np.concatenate(blocks) if blocks else np.zeros(0, np.int32)
